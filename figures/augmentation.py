"""Alignment by augmentation, for standard and adversarial training, beside the paper's numbers."""

from types import SimpleNamespace

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import (
    AUGMENTATIONS,
    COUNTERPARTS,
    FREE,
    RECIPES,
    architecture_label,
    architectures_in_order,
    colour_of,
)
from figures.results import Results

SHOWN = ["standard", "adversarial-l2", "adversarial-linf"]
HOLLOW = {"markerfacecolor": "white", "markersize": 4.5}


def draw(results: Results) -> Figure:
    """One panel an architecture, one row a recipe and augmentation; regularizer-free loss."""
    networks = results.networks[results.networks["recipe"].isin(SHOWN)]
    if networks["augment"].nunique() < 2:
        return nothing("This study trains its standard and adversarial networks on one augmentation only.")
    free = results.cells[(results.cells["loss"] == FREE) & (results.cells["judge"] == "median")]
    reported = results.reported[results.reported["item"] == "augmentation"]
    used = set(zip(networks["recipe"], networks["augment"], strict=True))
    used |= set(zip(reported["recipe"], reported["augment"], strict=True))
    rows = [(recipe, augment) for recipe in SHOWN for augment in AUGMENTATIONS if (recipe, augment) in used]
    ours = {each: COUNTERPARTS.get(each, architecture_label(each)) for each in architectures_in_order(networks)}
    others = [each for each in dict.fromkeys(reported["architecture"]) if each not in ours.values()]
    n_panels = len(ours) + len(others)
    figure, axes = plt.subplots(
        1, n_panels, figsize=(6.3, 0.95 + 0.25 * len(rows)), sharex=True, sharey=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for axis, (architecture, theirs) in zip(axes[0], [*ours.items(), *((None, each) for each in others)], strict=True):
        for row in free[(free["architecture"] == architecture) & free["network"].isin(networks.index)].itertuples():
            _mark(axis, rows, row)
        for row in reported[reported["architecture"] == theirs].itertuples():
            y = rows.index((row.recipe, row.augment)) + 0.25
            spread = row.value - row.spread, row.value + row.spread
            axis.plot(spread, [y, y], color="0.45", linewidth=0.9, linestyle=":")
            axis.plot(row.value, y, "o", color="0.45", **HOLLOW)
        title = f"{theirs}\n(paper only)" if architecture is None else architecture_label(architecture)
        axis.set_title(title.replace(", ", ",\n"), fontsize=7)
        axis.set(xlim=(-6, 106), xticks=[0, 50, 100], ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)))
        axis.set_xlabel("alignment, %", fontsize=6.5)
        axis.grid(axis="y", visible=False)
    axes[0, 0].set_yticklabels([f"{RECIPES[recipe][0]}, {AUGMENTATIONS[augment]}" for recipe, augment in rows])
    paper = f"the paper on the architecture's counterpart, {reported['data'].iloc[0]}: spread over four metrics"
    handles = [
        plt.Line2D([], [], color="black", marker="o", label="panel median, 95 % interval"),
        plt.Line2D([], [], color="0.45", marker="o", linestyle=":", label=paper, **HOLLOW),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def _mark(axis: Axes, rows: list[tuple[str, str]], row: SimpleNamespace) -> None:
    y, colour = rows.index((row.recipe, row.augment)), colour_of(row.recipe)
    axis.plot([row.low, row.high], [y, y], color=colour, linewidth=2, solid_capstyle="butt", alpha=0.5)
    axis.plot(row.alignment, y, "o", color=colour)
