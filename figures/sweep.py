"""What the adversarial regularizer buys: alignment against representation error, as its weight grows."""

from math import ceil

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import FORMS, FREE, loss_label, main_losses, network_label, on_usual_views, wrapped
from figures.results import Results

COLUMNS, MOST = 3, 6
MARKERS = "osD^vPX<>"
HUMAN = "#009E73"


def draw(results: Results) -> Figure:
    """One panel a network with two weights of one adversarial form at least, because the null differs by network."""
    losses = results.losses
    median = results.cells[results.cells["judge"] == "median"].copy()
    median["through"] = median["loss"].map(losses["through"])
    used = list(zip(median["regularizer"], median["through"], strict=True))
    median["form"] = pd.Series([each if each in FORMS else None for each in used], index=median.index, dtype=object)
    counts = median.groupby(["network", "form"])["weight"].nunique()
    enough = set(counts[counts >= 2].index.get_level_values("network"))
    usual = on_usual_views(results.networks)  # these first, where there are too many
    networks = [name for name in [*usual.index[usual], *usual.index[~usual]] if name in enough][:MOST]
    if not networks:
        return nothing("This study has no network with two weights of one adversarial regularizer.")
    median = median[median["network"].isin(networks)]
    human = [loss for loss in main_losses(losses)[1:] if loss not in set(median.loc[median["form"].notna(), "loss"])]
    median = median[median["form"].notna() | median["loss"].isin([FREE, *human])]
    weights = sorted(median.loc[median["form"].notna(), "weight"].unique())
    markers = {weight: MARKERS[i % len(MARKERS)] for i, weight in enumerate(weights)}
    rows = ceil(len(networks) / COLUMNS)
    full = len(networks) % COLUMNS == 0
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(6.3, 0.3 + 1.75 * rows + 0.75 * full), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, network in zip(axes.flat, networks, strict=False):
        _one_network(axis, median[median["network"] == network], markers, human)
        axis.set_title(wrapped(network_label(results.networks.loc[network], ", "), 30), fontsize=7)
    for axis in list(axes.flat)[len(networks) :]:
        axis.axis("off")
    for axis in list(axes.flat)[: len(networks)][-COLUMNS:]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("mean representation error")
    widest = 1.08 * max(median["error_mean"].max(), median["null_low"].max())
    axes[0, 0].set(ylim=(-5, 105), xlim=(0, widest), yticks=[0, 25, 50, 75, 100])
    figure.supylabel("alignment, % (panel median)", fontsize=8)
    present = [form for form in FORMS if form in set(median["form"])]
    handles = [
        plt.Line2D([], [], marker="o", color="black", linestyle="", label="regularizer-free"),
        *[
            plt.Line2D([], [], marker="*", color=HUMAN, linestyle="", markersize=7, label=loss_label(losses.loc[loss]))
            for loss in human
        ],
        *[plt.Line2D([], [], color=FORMS[form][1], label=FORMS[form][0].replace("\n", " ")) for form in present],
        *[
            plt.Line2D([], [], marker=marker, color="0.4", linestyle="", markerfacecolor="white", label=f"weight {w:g}")
            for w, marker in markers.items()
        ],
        plt.Line2D([], [], color="0.35", linestyle="--", label="null: closest 5 % of image pairs"),
    ]
    if full:
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
    else:
        axes[-1, -1].legend(handles=handles, loc="center", labelspacing=0.3)
    return figure


def _one_network(axis: Axes, cells: pd.DataFrame, markers: dict[float, str], human: list[str]) -> None:
    null = cells["null_low"].iloc[0]
    axis.axvspan(0, null, color="0.94", linewidth=0, zorder=0)
    axis.axvline(null, color="0.35", linestyle="--", linewidth=0.9)
    free = cells[cells["loss"] == FREE].iloc[0]
    for form, line in cells.groupby("form"):
        line, colour = line.sort_values("weight"), FORMS[form][1]
        axis.plot([free.error_mean, *line["error_mean"]], [free.alignment, *line["alignment"]], color=colour, lw=1)
        for row in line.itertuples():
            _point(axis, row, markers[row.weight], colour, "white")
    for losses, marker, colour in ((human, "*", HUMAN), ([FREE], "o", "black")):
        for row in cells[cells["loss"].isin(losses)].itertuples():
            _point(axis, row, marker, colour, colour)


def _point(axis: Axes, row: tuple, marker: str, colour: str, face: str) -> None:
    axis.vlines(row.error_mean, row.low, row.high, color=colour, linewidth=0.8)
    size = 7 if marker == "*" else 4.5
    axis.plot(row.error_mean, row.alignment, marker, color=colour, markerfacecolor=face, markersize=size, clip_on=False)
