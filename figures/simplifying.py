"""What figures of the simplicity lens share: beds and weights with their names and looks, and accuracy over bits."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from scipy.stats import binomtest, bootstrap

from figures.drawing import WIDTH, picture
from figures.names import DISTRACTORS, colour_of, marker_of, recipe_label, set_label
from figures.results import Results

BITS, WEIGHT = "bits per dimension", "weight λ of bits"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.3", "#8C6D31")
MARKERS = "osD^vP<X>"
ORIGINAL = "0.35"


def look(place: int) -> tuple[str, str]:
    """Colour and marker of the thing at a place of a list; no two of the first 72 are alike."""
    return COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]


def own_images(results: Results) -> str:
    """The data set of the study's own images."""
    ladder = results.simplicity["ladder"]
    return ladder.loc[ladder["kind"] == "own", "set"].iloc[0]


def set_name(results: Results, images: str) -> str:
    """A set of the ladder for a reader."""
    return set_label(images.replace("own-", f"{own_images(results)}-"))


def beds(results: Results) -> pd.DataFrame:
    """What each bed is, its name for a reader, colour and marker; those without a distractor first."""
    about = results.simplicity["simplify"].drop_duplicates("bed").set_index("bed")
    about = about[["source", "distractor", "label", "form"]].astype(object)
    about = about.where(about.notna(), "")
    about = about.assign(natural=about["distractor"] == "").sort_values("natural", ascending=False, kind="stable")
    name = pd.Series([_bed_label(bed, own_images(results)) for bed in about.itertuples()], index=about.index)
    name = name.where(~name.duplicated(keep=False), name + [f" ({bed})" for bed in about.index])
    colour, marker = zip(*(look(place) for place in range(len(about))), strict=True)
    return about.assign(name=name, colour=colour, marker=marker)


def _bed_label(bed: Any, own: str) -> str:
    how, other = DISTRACTORS.get(bed.distractor, ("", ""))
    parts = [f"{set_label(bed.source or own)} {how}".strip()]
    parts += [f"label: {other}"] if bed.label == "distractor" else []
    parts += ["residual"] if bed.form == "residual" else []
    return ", ".join(parts)


def weight_colours(weights: Iterable[float]) -> dict[float, Any]:
    """A colour for each weight, lighter with it, in order."""
    weights = sorted(set(weights))
    return dict(zip(weights, plt.get_cmap("viridis")(np.linspace(0, 0.9, len(weights))), strict=True))


def weight_axis(axis: Axes, weights: Sequence[float]) -> None:
    """Name weights below an axis on which they stand at 0, 1, 2, ..."""
    axis.set_xticks(np.arange(len(weights)), [f"{weight:g}" for weight in weights])
    axis.set(xlim=(-0.4, len(weights) - 0.6), xlabel=WEIGHT)


def few(values: Sequence, most: int) -> list:
    """At most so many of some values, evenly spread, the first and the last among them."""
    places = np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int)
    return [values[place] for place in places]


def first_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the first seed."""
    return rows[rows["seed"] == rows["seed"].min()]


def percent_of(share: float, n: float) -> tuple[float, float, float]:
    """A share of n images in percent, with its 95 % Wilson interval."""
    found = binomtest(round(share * n), int(n)).proportion_ci(method="wilson")
    return 100 * share, min(100 * found.low, 100 * share), max(100 * found.high, 100 * share)


def interval(values: np.ndarray, statistic: Any) -> tuple[float, float, float]:
    """A statistic of values with its 95 % bootstrap interval, the same every time; of one value, that value."""
    middle = float(statistic(values))
    if len(values) < 2:
        return middle, middle, middle
    found = bootstrap((values,), statistic, method="percentile", n_resamples=2000, rng=np.random.default_rng(0))
    return middle, float(found.confidence_interval.low), float(found.confidence_interval.high)


def accuracy_curve(axis: Axes, rows: pd.DataFrame, knob: str, bits: str, accuracy: str, label: str, colour: str,
                   marker: str, style: str = "-") -> None:  # fmt: skip
    """Accuracy in percent over bits, a mark a value of the knob: seeds thin, their mean thick.

    The bars are 95 % Wilson intervals for the test images, which all seeds share.
    """
    if rows["seed"].nunique() > 1:
        for _, seed in rows.sort_values(knob).groupby("seed"):
            axis.plot(seed[bits], 100 * seed[accuracy], color=colour, linewidth=0.4, alpha=0.5, linestyle=style)
    means = rows.groupby(knob)[[bits, accuracy, "n_test"]].mean()
    found = np.array([percent_of(*row) for row in means[[accuracy, "n_test"]].to_numpy()])
    axis.vlines(means[bits], found[:, 1], found[:, 2], color=colour, linewidth=0.7, alpha=0.6)
    axis.plot(means[bits], found[:, 0], color=colour, marker=marker, linestyle=style, linewidth=1, label=label)


def original_mark(axis: Axes, rows: pd.DataFrame, accuracy: str, colour: str, marker: str) -> None:
    """A hollow mark at the bits of the originals and the accuracy of a network that was trained on them.

    A dotted line leads to the simplified images of the smallest weight.
    """
    start = rows[rows["weight"] == rows["weight"].min()][["bpd_simplified", accuracy]].mean()
    at = rows[["bpd_original", "accuracy_plain"]].mean()
    axis.plot([at.iloc[0], start.iloc[0]], [100 * at.iloc[1], 100 * start.iloc[1]], ":", color=colour, linewidth=0.8)
    axis.plot(at.iloc[0], 100 * at.iloc[1], marker, color=colour, markerfacecolor="white", zorder=3)


def hollow(label: str) -> plt.Line2D:
    """Legend entry of hollow marks."""
    return plt.Line2D([], [], color=ORIGINAL, linestyle="", marker="o", markerfacecolor="white", label=label)


def dotted(values: Any) -> str:
    """Marker of a line, which one point alone needs to be seen."""
    return "." if len(values) == 1 else ""


def bits_axis(axis: Axes, side: str = "x", label: str = BITS) -> None:
    """Name an axis of bits, which spans a tenth of a bit or more, so that its numbers are short."""
    low, high = getattr(axis, f"get_{side}lim")()
    spare = max(0, 0.1 - (high - low)) / 2
    axis.set(**{f"{side}label": label, f"{side}lim": (low - spare, high + spare)})


def images_in(value: Any) -> str:
    """How many test images stand behind accuracies: one number, or from which to which."""
    low, high = int(min(value)), int(max(value))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def placed(axis: Axes, left: float, top: float, width: float, height: float) -> Axes:
    """Axes at a place of a canvas, in its inches."""
    tall = axis.figure.get_figheight()
    return axis.figure.add_axes((left / WIDTH, 1 - (top + height) / tall, width / WIDTH, height / tall))


def column(axis: Axes, images: Iterable[np.ndarray], left: float, top: float, size: float, pitch: float,
           kept: Iterable[bool] | None = None) -> None:  # fmt: skip
    """Show bytes of images (c, h, w) below each other on a canvas; framed where not `kept`."""
    images = list(images)
    for row, (image, held) in enumerate(zip(images, kept or [True] * len(images), strict=True)):
        picture(axis, image / 255, left, top + row * pitch, size, held)


def explained_networks(results: Results) -> pd.DataFrame:
    """The networks whose decisions are looked at, in their order: label, colour and marker."""
    zoo, looks = results.networks, {}
    for name in dict.fromkeys(results.simplicity["explain"]["network"]):
        label, recipe = (
            (recipe_label(zoo.loc[name]), zoo.loc[name, "recipe"]) if name in zoo.index else (name, "untrained")
        )
        looks[name] = label, colour_of(recipe), marker_of(recipe)
    return pd.DataFrame.from_dict(looks, orient="index", columns=["label", "colour", "marker"])


def several(n: int, what: str) -> str:
    """So many of a thing: "1 seed", "3 seeds"."""
    return f"{n:,} {what}" + ("s" if n != 1 else "")
