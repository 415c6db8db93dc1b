"""Alignment by architecture and recipe, beside the paper's numbers."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.names import (
    COUNTERPARTS,
    architecture_label,
    architectures_in_order,
    colour_of,
    loss_title,
    main_losses,
    marker_of,
    on_usual_views,
    recipe_label,
)
from figures.results import Results

TAKEN = 0.76  # share of an architecture's place that its marks take
MORE = "<>*hd"  # markers of a recipe's further weights beta


def draw(results: Results) -> Figure:
    """One panel a loss; an architecture's marks side by side, one for each recipe and beta on its usual views."""
    networks = results.networks[on_usual_views(results.networks)]
    recipes = {recipe_label(row): row.recipe for row in networks.itertuples()}
    series = list(recipes)
    markers = {}
    for label, recipe in recipes.items():
        before = sum(recipes[each] == recipe for each in markers)
        markers[label] = MORE[(before - 1) % len(MORE)] if before else marker_of(recipe)
    reported = results.reported[results.reported["item"] == "architectures"]
    ours = {each: COUNTERPARTS.get(each, architecture_label(each)) for each in architectures_in_order(networks)}
    others = [each for each in dict.fromkeys(reported["architecture"]) if each not in ours.values()]
    losses = [loss for loss in main_losses(results.losses) if loss in results.widely_made]

    heights = [1.9] + [1.15] * (len(losses) - 1)
    grid = {"height_ratios": heights}
    figure, axes = plt.subplots(
        len(losses), figsize=(6.3, 1.1 + sum(heights)), sharex=True, sharey=True, squeeze=False, gridspec_kw=grid,
        layout="constrained",
    )  # fmt: skip
    cells = results.cells[(results.cells["judge"] == "median") & results.cells["network"].isin(networks.index)]
    for axis, loss in zip(axes[:, 0], losses, strict=True):
        for row in cells[cells["loss"] == loss].itertuples():
            label = recipe_label(row)
            x = list(ours).index(row.architecture) + _beside(series.index(label), len(series))
            colour = colour_of(row.recipe)
            axis.vlines(x, row.low, row.high, color=colour, linewidth=1)
            axis.plot(x, row.alignment, markers[label], color=colour, markersize=4)
        axis.set_title(loss_title(results.losses.loc[loss], " "), fontsize=7, loc="left", pad=3)
        axis.set(ylim=(-5, 105), yticks=[0, 50, 100])
        axis.grid(axis="x", visible=False)
        for place in range(1, len(ours) + len(others)):
            axis.axvline(place - 0.5, color="0.85", linewidth=0.6)
    _draw_reported(axes[0, 0], reported, [*ours.values(), *others], series)
    labels = [architecture_label(each).replace(", ", ",\n") for each in ours]
    axes[-1, 0].set(xlim=(-0.5, len(ours) + len(others) - 0.5), xticks=range(len(ours) + len(others)))
    axes[-1, 0].set_xticklabels(labels + [f"{each}\n(paper only)" for each in others])
    figure.supylabel("alignment, % (panel median)", fontsize=8)
    handles = [
        plt.Line2D([], [], color=colour_of(recipe), marker=markers[label], label=label)
        for label, recipe in recipes.items()
    ]
    paper = {"marker": "o", "linestyle": ":", "color": "0.35", "markerfacecolor": "white"}
    handles.append(plt.Line2D([], [], label=f"hollow, dotted: the paper, {reported['data'].iloc[0]}", **paper))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, columnspacing=1.2, handletextpad=0.5)
    return figure


def _draw_reported(axis: Axes, reported: pd.DataFrame, places: list[str], series: list[str]) -> None:
    """The paper's numbers at the right edge of each mark of the same recipe; spread over its four metrics."""
    for row in reported.assign(beta=0).itertuples():
        label = recipe_label(row)
        offset = _beside(series.index(label), len(series)) + 0.35 * TAKEN / len(series) if label in series else 0
        for place in (i for i, name in enumerate(places) if name == row.architecture):
            colour, low, high = colour_of(row.recipe), row.value - row.spread, row.value + row.spread
            axis.vlines(place + offset, low, high, color=colour, linewidth=0.9, linestyle=":")
            marker = {"marker": marker_of(row.recipe), "markersize": 4, "markerfacecolor": "white"}
            axis.plot(place + offset, row.value, color=colour, **marker)


def _beside(rank: int, n: int) -> float:
    return ((rank + 0.5) / n - 0.5) * TAKEN
