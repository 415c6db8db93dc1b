"""What the adversarial regularizer buys: alignment against representation error, as its weight grows."""

from math import ceil
from pathlib import Path

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from figures.drawing import FREE, HUMAN, files, network_label, networks_of, of_seed_image, save, use_style
from fourlenses import runtime
from fourlenses.artifacts import read_csv

COLUMNS = 3
FORMS = {"away": ("#D55E00", "away from the target"), "toward": ("#0072B2", "towards the seed")}
MARKERS = "osD^vPX<>"


def main(alignment: Path, out: Path) -> None:
    """Draw alignment against mean representation error for each network, along the weights of both regularizers.

    Args:
        alignment: alignment by network, loss and judge (CSV)
        out: the figure; .svg and .png are both written
    """
    with runtime.stage("draw", "sweep", decides={}, inputs=[alignment], outputs=files(out), uses_torch=False):
        save(draw(of_seed_image(read_csv(alignment))), out)


def draw(table: pd.DataFrame) -> plt.Figure:
    """One panel a network, because the null differs between networks."""
    use_style()
    median = table[table["judge"] == "median"]
    networks = networks_of(median)
    swept = median[median["regularizer"].isin(list(FORMS))]
    weights = sorted(swept["weight"].unique())
    markers = {weight: MARKERS[i % len(MARKERS)] for i, weight in enumerate(weights)}
    rows = ceil(len(networks) / COLUMNS)
    size = 6.3, 0.3 + 1.75 * rows + 0.6 * (len(networks) % COLUMNS == 0)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, network in zip(axes.flat, networks, strict=False):
        _one_network(axis, median[median["network"] == network], markers)
    for axis in list(axes.flat)[len(networks) :]:
        axis.axis("off")
    for axis in list(axes.flat)[: len(networks)][-COLUMNS:]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("mean representation error")
    widest = 1.08 * max(median["error_mean"].max(), median["null_low"].max())
    axes[0, 0].set(ylim=(-5, 105), xlim=(0, widest), yticks=[0, 25, 50, 75, 100])
    figure.supylabel("alignment, % (panel median)", fontsize=8)
    handles = [
        plt.Line2D([], [], marker="o", color="black", linestyle="", label="regularizer-free"),
        plt.Line2D([], [], marker="*", color="#009E73", linestyle="", markersize=7, label="human-leaning"),
        *[plt.Line2D([], [], color=colour, label=f"adversarial, {text}") for colour, text in FORMS.values()],
        *[
            plt.Line2D([], [], marker=marker, color="0.4", linestyle="", markerfacecolor="white", label=f"weight {w:g}")
            for w, marker in markers.items()
        ],
        plt.Line2D([], [], color="0.35", linestyle="--", label="null: closest 5 % of image pairs"),
    ]
    if len(networks) % COLUMNS:
        axes[-1, -1].legend(handles=handles, loc="center", labelspacing=0.35)
    else:
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _one_network(axis: Axes, cells: pd.DataFrame, markers: dict[float, str]) -> None:
    null = cells["null_low"].iloc[0]
    axis.axvspan(0, null, color="0.94", linewidth=0, zorder=0)
    axis.axvline(null, color="0.35", linestyle="--", linewidth=0.9)
    free = cells[cells["loss"] == FREE].iloc[0]
    for form, (colour, _) in FORMS.items():
        line = cells[cells["regularizer"] == form].sort_values("weight")
        errors, alignments = [free.error_mean, *line["error_mean"]], [free.alignment, *line["alignment"]]
        axis.plot(errors, alignments, color=colour, linewidth=1)
        for row in line.itertuples():
            _point(axis, row, markers[row.weight], colour, "white")
    for loss, marker, colour in ((HUMAN, "*", "#009E73"), (FREE, "o", "black")):
        for row in cells[cells["loss"] == loss].itertuples():
            _point(axis, row, marker, colour, colour)
    axis.set_title(network_label(free.architecture, free.recipe, ", "))


def _point(axis: Axes, row: tuple, marker: str, colour: str, face: str) -> None:
    axis.vlines(row.error_mean, row.low, row.high, color=colour, linewidth=0.8)
    size = 7 if marker == "*" else 4.5
    axis.plot(row.error_mean, row.alignment, marker, color=colour, markerfacecolor=face, markersize=size, clip_on=False)


if __name__ == "__main__":
    runtime.run(main)
