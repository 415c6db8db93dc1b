"""How far generated images are entangled with real ones along the training of generative networks."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from figures.comparing import curve
from figures.entangling import by_seed
from figures.names import gan_label
from figures.results import Results

LOOKS = (("#0072B2", "o"), ("#D55E00", "s"), ("#56B4E9", "^"), ("#E69F00", "D"))
PANELS = {
    "minimum": "entanglement, nats\n(T minimised)",
    "fixed": "loss, nats\n(T fixed)",
    "modes": "classes that appear",
}
TIMES, EACH, GAP = 3, 6, 0.35  # moments of training, images at each, and the space between, in images


def draw(results: Results) -> Figure:
    """Above, seeds and means, with real against real images dashed; below, samples of the first seed over training."""
    table = results.entanglement["gans"]
    kinds = dict(zip(dict.fromkeys(table["gan"]), LOOKS, strict=False))
    tall = 0.2 + 0.34 * len(kinds)
    figure = plt.figure(figsize=(6.3, 2.4 + tall), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2.4, tall))
    axes = above.subplots(1, len(PANELS))
    for axis, (column, label) in zip(axes, PANELS.items(), strict=True):
        for kind, (colour, marker) in kinds.items():
            rows = table[table["gan"] == kind]
            seeds = by_seed(rows, "iteration", column if column == "modes" else f"real_fake_{column}")
            curve(axis, seeds.columns.to_numpy(), seeds.to_numpy(), gan_label(kind), colour, marker)
        if column != "modes":
            ceiling = table.groupby("iteration")[f"real_real_{column}"].mean()
            axis.plot(ceiling.index, ceiling, color="0.35", linestyle="--", linewidth=0.8, label="real against real")
        last = table["iteration"].max()
        axis.set(xlabel="iteration", ylabel=label, ylim=(0, None), xlim=(-0.02 * last, 1.03 * last))
    above.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    _strips(below, results, table, list(kinds))
    return figure


def moments(iterations: list[int]) -> list[int]:
    """The first, a middle and the last of the iterations whose images are kept, each once."""
    places = np.linspace(0, len(iterations) - 1, TIMES).round().astype(int)
    return [iterations[place] for place in dict.fromkeys(places.tolist())]


def kept(results: Results, gan: str, seed: int) -> list[int]:
    """The iterations at which images of a generative network are kept, in order."""
    names = [name.split("/") for name in results.samples.keys()]  # noqa: SIM118 (no mapping)
    return sorted(int(name[2]) for name in names if name[:2] == [gan, f"seed{seed}"])


def _strips(figure: SubFigure, results: Results, table: pd.DataFrame, kinds: list[str]) -> None:
    axes = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for axis, kind in zip(axes, kinds, strict=True):
        seed = table.loc[table["gan"] == kind, "seed"].min()
        times = moments(kept(results, kind, seed))
        for block, iteration in enumerate(times):
            images = results.samples.get_tensor(f"{kind}/seed{seed}/{iteration}")[:EACH]
            start = block * (EACH + GAP)
            for place, image in enumerate(images):
                _show(axis, image, start + place)
            if axis is axes[0]:
                axis.text(start + EACH / 2, -0.08, f"iteration {iteration}", ha="center", va="bottom", fontsize=6)
        axis.set(xlim=(0, TIMES * (EACH + GAP) - GAP), ylim=(1, 0), xticks=[], yticks=[], aspect="equal")
        axis.set_ylabel(gan_label(kind).replace(", ", ",\n"), rotation=0, ha="right", va="center", fontsize=6.5)
        axis.spines[:].set_visible(False)
        axis.grid(visible=False)


def _show(axis: Axes, image: np.ndarray, left: float) -> None:
    pixels = image.transpose(1, 2, 0).squeeze()
    extent = (left + 0.03, left + 0.97, 0.97, 0.03)
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=255, interpolation="nearest", extent=extent, aspect="auto")
