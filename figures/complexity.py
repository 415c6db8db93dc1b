"""Bits of images from plain to noisy: examples in order, bits of the flow against those of PNG, and what blur does."""

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from figures.drawing import WIDTH, canvas, stretched
from figures.results import Results
from figures.simplifying import BITS, column, images_in, look, own_images, placed, set_name

EXAMPLES, LEFT, GAP, HEAD, NUMBERS, PLOT, LARGEST = 3, 0.62, 0.05, 0.42, 0.46, 2.0, 0.62  # inches
SHOWN, BLURRED = 150, "-blurred"


def draw(results: Results) -> Figure:
    """Above, sets by their mean bits; below, the bits of every image, and how they change where images are blurred."""
    table = results.simplicity["ladder"]
    first = table[table["prior"] == table["prior"].iloc[0]].sort_values("bpd").set_index("set")
    size = min((WIDTH - LEFT) / len(first) - GAP, LARGEST)
    strip = HEAD + EXAMPLES * (size + GAP) + NUMBERS
    axis = canvas(strip + PLOT + 0.75)
    under = HEAD + EXAMPLES * (size + GAP) + 0.07
    for line, label in enumerate((BITS.replace("dimension", "dim."), "± sd", "PNG")):
        axis.text(0.03, under + 0.11 * line, label, va="center", fontsize=6)
    for place, (name, row) in enumerate(first.iterrows()):
        left = LEFT + place * (size + GAP)
        middle = left + size / 2
        text = {"ha": "center", "fontsize": 5.5}
        label = fill(set_name(results, name), 9, break_long_words=False)
        axis.text(middle, HEAD - 0.04, label, va="baseline", linespacing=1, **text)
        column(axis, results.simplified["ladder"].get_tensor(f"{name}/images")[:EXAMPLES], left, HEAD, size, size + GAP)
        for line, number in enumerate((row["bpd"], row["sd"], row["png"])):
            axis.text(middle, under + 0.11 * line, ("± " if line == 1 else "") + f"{number:.2f}", va="center", **text)
    _codec(placed(axis, 0.52, strip + 0.25, 2.15, PLOT), results, first)
    _blur(placed(axis, WIDTH - 1.65, strip + 0.25, 1.55, PLOT), results, first)
    return axis.figure


def _codec(axis: Axes, results: Results, first: pd.DataFrame) -> None:
    arrays, pooled = results.simplified["ladder"], []
    for place, (name, row) in enumerate(first.iterrows()):
        values = np.stack([arrays.get_tensor(f"{name}/png"), arrays.get_tensor(f"{name}/{row['prior']}/bpd")])
        pooled.append(values)
        colour, marker = look(place)
        rho = f", ρ {row['rho_png']:.2f}" if np.isfinite(row["rho_png"]) else ""
        label = set_name(results, name) + rho
        axis.plot(*values[:, :SHOWN], marker, color=colour, markersize=2, alpha=0.7, label=label)
    rho = spearmanr(*np.concatenate(pooled, axis=1)).statistic
    axis.set(xlabel="bits per dimension, PNG", ylabel=f"{BITS}, flow", xlim=(0, None))
    axis.set_title(f"all sets, n = {images_in(first['n'])} images each: ρ {rho:.2f}", fontsize=7, loc="left")
    stretched(axis, "y", np.concatenate(pooled, axis=1)[1])
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=5.5, labelspacing=0.4, markerscale=2)


def changes(results: Results, first: pd.DataFrame) -> dict[str, np.ndarray]:
    """By how many bits each image of a set changes where it is blurred, for the sets that are blurred."""
    arrays, prior, own = results.simplified["ladder"], first["prior"].iloc[0], own_images(results)
    names = {name: name.removesuffix(BLURRED) for name in first.index if name.endswith(BLURRED)}
    names = {name: own if sharp == "own" else sharp for name, sharp in names.items()}
    bits = {name: arrays.get_tensor(f"{name}/{prior}/bpd") for name in [*names, *names.values()]}
    return {sharp: bits[name] - bits[sharp] for name, sharp in names.items()}


def _blur(axis: Axes, results: Results, first: pd.DataFrame) -> None:
    found = changes(results, first)
    reach = np.abs(np.concatenate(list(found.values()))).max()
    for place, (name, change) in enumerate(found.items()):
        falls = 100 * (change < 0).mean()
        shares = np.full(len(change), 100 / len(change))
        axis.hist(change, np.linspace(-reach, reach, 31), weights=shares, color=look(place)[0], alpha=0.55,
                  label=f"{set_name(results, name)}: {falls:.0f} % fall")  # fmt: skip
    axis.axvline(0, color="0.35", linestyle="--", linewidth=0.7)
    axis.set(xlabel="bits, blurred minus sharp", ylabel="images, %")
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.2, labelspacing=0.2)
