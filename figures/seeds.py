"""Alignment by where the descent starts, and for targets out of the distribution."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import judged_rows, network_rows, nothing
from figures.names import FREE, recipe_handles
from figures.results import SEED_IMAGE, Results


def draw(results: Results) -> Figure:
    """One panel a seed image, then noise targets; one row a network; regularizer-free loss."""
    table = results.alignment
    free = table[(table["loss"] == FREE) & (table["epoch"] == table.groupby("network")["epoch"].transform("max"))]
    panels = {
        f"{name} seed,\ntest images": free[(free["seed_image"] == name) & (free["targets"] == "test")]
        for name in dict.fromkeys(free["seed_image"])
    }
    noise = free[(free["targets"] == "noise") & (free["seed_image"] == SEED_IMAGE)]
    panels |= {} if noise.empty else {f"{SEED_IMAGE} seed,\nnoise as targets": noise}
    if len(panels) < 2:
        return nothing("This study starts from one seed image only, and takes no noise as targets.")
    figure, axes = network_rows(results.networks, list(panels), 0.3)
    for axis, cells in zip(axes, panels.values(), strict=True):
        judged_rows(axis, cells, results.networks, results.panel)
    handles = recipe_handles(results.networks["recipe"])
    handles.append(plt.Line2D([], [], marker="o", color="0.72", linestyle="", markersize=3.5, label="one judge"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.2, handletextpad=0.5)
    return figure
