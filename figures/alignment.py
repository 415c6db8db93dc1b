"""Alignment of every network by every kind of loss, with intervals and the judges behind the median."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import judged_rows, network_rows
from figures.names import loss_title, main_losses, recipe_handles
from figures.results import Results

LEAST_KEPT = 10


def draw(results: Results) -> Figure:
    """One panel a loss, one row a network."""
    networks, losses = results.networks, main_losses(results.losses)
    figure, axes = network_rows(networks, [loss_title(results.losses.loc[loss]) for loss in losses])
    for axis, loss in zip(axes, losses, strict=True):
        median = judged_rows(axis, results.cells[results.cells["loss"] == loss], networks, results.panel)
        kept = median[median["n_kept"] >= LEAST_KEPT]
        hollow = {"marker": "D", "facecolor": "white", "edgecolor": kept["colour"], "s": 10, "linewidth": 0.9}
        axis.scatter(kept["alignment_kept"], kept["y"] + 0.3, zorder=3, clip_on=False, **hollow)
        for row in median.itertuples():
            share, beside = f"{100 * row.kept_fraction:.0f}%", axis.get_yaxis_transform()
            axis.text(1.05, row.y + 0.3, share, transform=beside, fontsize=5.5, va="center", color="0.35")
    handles = recipe_handles(networks["recipe"])
    handles += [
        plt.Line2D([], [], marker="D", color="0.3", markerfacecolor="white", linestyle="", label="accepted IRIs only"),
        plt.Line2D([], [], marker="o", color="0.72", linestyle="", markersize=3.5, label="one judge"),
        plt.Line2D([], [], marker="", linestyle="", label="grey %: share accepted"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, columnspacing=1.2, handletextpad=0.5)
    return figure
