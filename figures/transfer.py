"""Whether other networks recognise a network's IRIs, and whether they represent them as it does."""

import numpy as np
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import FREE, network_label, wrapped
from figures.results import Results

MEASURES = {
    "recognised": ("recognised as the target's class, %", 100, ".0f"),
    "cka": ("STIR: linear CKA of IRIs and targets", 1, ".2f"),
}
MOST_NUMBERS = 13


def draw(results: Results) -> Figure:
    """Two matrices: rows make the IRIs, columns look at them; means over training seeds; outlined: the same network."""
    free = results.recognition[results.recognition["loss"] == FREE]
    names = [name for name in results.networks.index if name in set(free["network"])]
    if len(names) < 2:
        return nothing("This study has no two networks to show each other's IRIs.")
    n = len(names)
    cell, few = (6.3 - 2.1) / 2 / n, n <= MOST_NUMBERS  # inches
    figure, axes = plt.subplots(1, 2, figsize=(6.3, n * min(cell, 0.4) + 1.05), sharey=True)
    ticks, numbers = np.arange(n) + 0.5, [f"{i}" for i in range(1, n + 1)]
    for axis, (column, (_, most, form)) in zip(axes, MEASURES.items(), strict=True):
        values = free.groupby(["network", "observer"])[column].mean().unstack().reindex(index=names, columns=names)
        sns.heatmap(values, vmin=0, vmax=most, cmap="cividis", linewidths=0.3, annot=few, fmt=form,
                    annot_kws={"fontsize": min(6.5, 24 * cell)}, cbar=False, ax=axis)  # fmt: skip
        for i in range(n):
            axis.add_patch(plt.Rectangle((i, i), 1, 1, fill=False, edgecolor="#D55E00", linewidth=1.1, clip_on=False))
        axis.set_xticks(ticks, numbers, fontsize=6 if few else 4.5, rotation=0)
        axis.set(xlabel="observer", ylabel="")
        axis.tick_params(length=0, pad=1)
        axis.xaxis.set_label_position("top")
        axis.xaxis.tick_top()
        axis.grid(visible=False)
    made_by = [wrapped(network_label(results.networks.loc[name], ", "), 24 if n < 9 else 60) for name in names]
    rows = [f"{name}  {i}" for name, i in zip(made_by, numbers, strict=True)]
    axes[0].set_yticks(ticks, rows, fontsize=6, rotation=0)
    figure.set_layout_engine("constrained")  # only now: seaborn draws the whole figure for each matrix
    for axis, (title, _, _) in zip(axes, MEASURES.values(), strict=True):
        where = {"location": "bottom", "shrink": 0.8, "pad": 0.03, "aspect": 25}
        figure.colorbar(axis.collections[0], ax=axis, label=title, **where)
    return figure
