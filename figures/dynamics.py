"""How entangled the classes are in each block along training, by recipe."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.entangling import ENTANGLEMENT, chance_line, depth_colours, layers_of
from figures.names import RECIPES
from figures.results import Results

SHOWN = {"start": ("0.45", "X", ":"), "minimum": ("#0072B2", "v", "--"), "end": ("black", "o", "-")}


def draw(results: Results) -> Figure:
    """One column a recipe, means over seeds; above, along training, each minimum marked; below, by depth."""
    table = results.entanglement["dynamics"]
    recipes = list(dict.fromkeys(table["recipe"]))
    figure, axes = plt.subplots(
        2, len(recipes), figsize=(6.3, 4.6), sharey=True, squeeze=False, layout="constrained", height_ratios=(1.35, 1)
    )
    labels = block_labels(table)
    for (above, below), recipe in zip(axes.T, recipes, strict=True):
        rows = table[table["recipe"] == recipe]
        means = rows.pivot_table(index="step", columns="index", values="entanglement")
        seeds = [each.pivot(index="step", columns="index", values="entanglement") for _, each in rows.groupby("seed")]
        _along(above, means, seeds, labels)
        _by_depth(below, means, labels)
        chance_line(above, rows["chance"].max())
        chance_line(below, rows["chance"].max(), "")
        above.set_title(RECIPES.get(recipe, (recipe,))[0], fontsize=7.5)
    for axis in axes[:, 0]:
        axis.set(ylabel=ENTANGLEMENT, ylim=(0, None))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    axes[1, 0].legend(loc="best")
    return figure


def block_labels(table: pd.DataFrame) -> pd.Series:
    """The layers by index: "input", "stem" (what enters the first block), "block 1", ..., "pool", "logits"."""
    layers = layers_of(table)
    kinds = table.drop_duplicates("index").set_index("index")["kind"].reindex(layers.index)
    blocks = (kinds == "block").cumsum() - 1
    named = [f"block {block}" if block else "stem" for block in blocks]
    return kinds.where(kinds != "block", pd.Series(named, layers.index))


def _along(axis: Axes, means: pd.DataFrame, seeds: list[pd.DataFrame], labels: pd.Series) -> None:
    for (index, label), colour in zip(labels.items(), depth_colours(len(labels)), strict=True):
        style = {"input": ":", "logits": "--"}.get(label, "-")
        for each in seeds if len(seeds) > 1 else []:
            axis.plot(each.index, each[index], color=colour, linewidth=0.3, alpha=0.6, linestyle=style)
        axis.plot(means.index, means[index], color=colour, linewidth=1.1, linestyle=style, label=label)
        lowest = means[index].idxmin()
        if label != "input":
            label = "minimum" if label == "logits" else None
            axis.plot(lowest, means.loc[lowest, index], "v", color=colour, markersize=4, markeredgecolor="black",
                      markeredgewidth=0.4, label=label)  # fmt: skip
    axis.set_xscale("function", functions=(lambda x: np.sqrt(np.maximum(x, 0)), np.square))
    last = means.index.max()
    ticks = [0, *(float(f"{share * last:.1g}") for share in (0.05, 0.25, 0.55)), last]
    axis.set(xlim=(0, 1.03 * last), xlabel="step (root scale)")
    axis.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axis.tick_params(axis="x", labelsize=6)


def _by_depth(axis: Axes, means: pd.DataFrame, labels: pd.Series) -> None:
    values = {"start": means.iloc[0], "minimum": means.min(), "end": means.iloc[-1]}
    for name, (colour, marker, style) in SHOWN.items():
        axis.plot(np.arange(len(labels)), values[name], style, color=colour, marker=marker, markersize=3.5, label=name)
    axis.set_xticks(np.arange(len(labels)), labels, rotation=90, fontsize=6)
