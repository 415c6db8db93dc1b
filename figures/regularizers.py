"""Alignment of every network by every loss: the panel's median in numbers, and each judge behind it in colour."""

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.names import loss_kind, loss_label, network_label
from figures.results import Results

COLOURS = "cividis"
NARROWEST = 0.19  # inches that a number takes


def draw(results: Results) -> Figure:
    """Above, the medians, networks by losses; below, the same for each judge of the panel."""
    networks = results.networks
    losses = [name for name, row in results.losses.iterrows() if loss_kind(row) != "ablation"]
    names = [network_label(row, ", ") for row in networks.itertuples()]
    judges = results.panel
    above, below = 0.17 * len(names), 0.085 * len(names)
    figure = plt.figure(figsize=(6.3, above + below + 1.75))
    upper, lower = figure.subfigures(2, 1, height_ratios=[above + 1.3, below + 0.45])
    top = upper.subplots()
    numbers = (6.3 - 2.6) / len(losses) >= NARROWEST
    sns.heatmap(_values(results, "median", losses), vmin=0, vmax=100, cmap=COLOURS, annot=numbers, fmt=".0f",
                annot_kws={"fontsize": 6}, linewidths=0.3, cbar=False, ax=top)  # fmt: skip
    top.set(xlabel="", ylabel="", title="panel median")
    top.set_xticklabels([loss_label(results.losses.loc[loss], " ") for loss in losses], rotation=40, ha="right")
    top.set_yticklabels(names, fontsize=6.5)
    top.tick_params(length=0)
    top.grid(visible=False)
    for axis, judge in zip(lower.subplots(1, len(judges), squeeze=False)[0], judges, strict=True):
        axis.pcolormesh(_values(results, judge, losses), vmin=0, vmax=100, cmap=COLOURS, edgecolor="w", linewidth=0.3)
        axis.set(xticks=[], yticks=[])
        axis.invert_yaxis()
        axis.spines[:].set_visible(False)
        axis.set_title(judge, fontsize=7, pad=2)
    lower.supxlabel("single judges; rows, columns and colours as above; blank: not made", fontsize=7)
    figure.set_layout_engine("constrained")  # only now: seaborn draws the whole figure
    upper.colorbar(top.collections[0], ax=top, label="alignment, %", shrink=0.8, pad=0.02, fraction=0.05)
    return figure


def _values(results: Results, judge: str, losses: list[str]) -> pd.DataFrame:
    cells = results.cells[results.cells["judge"] == judge]
    values = cells.pivot(index="network", columns="loss", values="alignment")
    return values.reindex(index=results.networks.index, columns=losses)
