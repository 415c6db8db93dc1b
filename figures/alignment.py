"""Alignment of every network by every kind of loss, with intervals and the judges behind the median."""

from pathlib import Path

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from figures.drawing import files, loss_label, main_losses, network_label, networks_of, of_seed_image, save, use_style
from fourlenses import runtime
from fourlenses.artifacts import read_csv

LEAST_KEPT = 10
STANDARD, ROBUST = "#0072B2", "#D55E00"


def main(alignment: Path, judges: Path, out: Path) -> None:
    """Draw alignment by network and loss: panel median with its interval, single judges as light dots.

    Args:
        alignment: alignment by network, loss and judge (CSV)
        judges: who belongs to the panel (CSV)
        out: the figure; .svg and .png are both written
    """
    with runtime.stage(
        "draw", "alignment", decides={}, inputs=[alignment, judges], outputs=files(out), uses_torch=False
    ):
        known = read_csv(judges)
        save(draw(of_seed_image(read_csv(alignment)), known.loc[known["panel"] == 1, "judge"].tolist()), out)


def draw(table: pd.DataFrame, panel: list[str]) -> plt.Figure:
    """One panel a loss, one row a network."""
    use_style()
    losses, networks = main_losses(table), networks_of(table)
    size = 6.3, 0.95 + 0.36 * len(networks)
    figure, axes = plt.subplots(
        1, len(losses), figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, loss in zip(axes[0], losses, strict=True):
        cells = table[table["loss"] == loss]
        single = cells[cells["judge"].isin(panel)]
        heights = single["network"].map(networks.index)
        sns.scatterplot(x=single["alignment"], y=heights, color="0.72", s=11, linewidth=0, legend=False, ax=axis)
        for row in cells[cells["judge"] == "median"].itertuples():
            y, colour = networks.index(row.network), STANDARD if row.recipe == "standard" else ROBUST
            axis.plot([row.low, row.high], [y, y], color=colour, linewidth=2.2, solid_capstyle="butt", alpha=0.45)
            axis.plot(row.alignment, y, "o", color=colour)
            if row.n_kept >= LEAST_KEPT:
                axis.plot(row.alignment_kept, y + 0.3, "D", color=colour, markerfacecolor="white", markersize=3.3)
            share, beside = f"{100 * row.kept_fraction:.0f}%", axis.get_yaxis_transform()
            axis.text(1.02, y + 0.3, share, transform=beside, fontsize=5.5, va="center", color="0.35")
        axis.set(title=loss_label(loss), xlabel="alignment, %", ylabel="", xlim=(-4, 104), xticks=[0, 50, 100])
        axis.grid(axis="y", visible=False)
    names = table.drop_duplicates("network").set_index("network")
    labels = [network_label(names.loc[each, "architecture"], names.loc[each, "recipe"]) for each in networks]
    axes[0, 0].set(yticks=np.arange(len(networks)), yticklabels=labels, ylim=(len(networks) - 0.4, -0.5))
    handles = [
        plt.Line2D([], [], marker="o", color=STANDARD, linestyle="-", label="standard training"),
        plt.Line2D([], [], marker="o", color=ROBUST, linestyle="-", label="robust training"),
        plt.Line2D([], [], marker="D", color="0.3", markerfacecolor="white", linestyle="", label="accepted IRIs only"),
        plt.Line2D([], [], marker="o", color="0.72", linestyle="", markersize=3.5, label="one judge"),
        plt.Line2D([], [], marker="", linestyle="", label="grey %: share accepted"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.2, handletextpad=0.5)
    return figure


if __name__ == "__main__":
    runtime.run(main)
