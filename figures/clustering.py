"""Clustering, the other measure of alignment, against the two-alternative forced choice."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import FREE, RECIPES, colour_of, marker_of
from figures.results import Results

CHANCE = 100 / 3
TITLES = {"easy": "easy: three targets of different classes", "hard": "hard: three targets of one class"}


def draw(results: Results) -> Figure:
    """One panel a kind of clustering, one mark a network; regularizer-free loss, panel medians."""
    table = results.clustering
    table = table[(table["judge"] == "median") & (table["loss"] == FREE)]
    kinds = [kind for kind in TITLES if kind in set(table["kind"])]
    if not kinds:
        return nothing("Clustering takes three seed images and three targets of a class; this study has fewer.")
    free = results.cells[(results.cells["loss"] == FREE) & (results.cells["judge"] == "median")]
    both = table.merge(free[["network", "alignment", "low", "high"]], on="network", suffixes=("", "_2afc"))
    figure, axes = plt.subplots(
        1, len(kinds), figsize=(6.3, 3.3), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, kind in zip(axes[0], kinds, strict=True):
        axis.axhline(CHANCE, color="0.35", linestyle="--", linewidth=0.9)
        axis.text(102, CHANCE + 1, "chance", fontsize=6, ha="right", va="bottom", color="0.35")
        for row in both[both["kind"] == kind].itertuples():
            colour = colour_of(row.recipe)
            axis.plot([row.low_2afc, row.high_2afc], [row.clustering] * 2, color=colour, linewidth=0.7, alpha=0.7)
            axis.plot([row.alignment] * 2, [row.low, row.high], color=colour, linewidth=0.7, alpha=0.7)
            axis.plot(row.alignment, row.clustering, marker_of(row.recipe), color=colour, alpha=0.9)
        axis.set_title(TITLES[kind])
        axis.set(xlim=(-4, 104), ylim=(-4, 104), xlabel="2AFC alignment, %")
    axes[0, 0].set_ylabel("clustering, % placed with their target")
    present = [each for each in dict.fromkeys([*RECIPES, *both["recipe"]]) if each in set(both["recipe"])]
    handles = [plt.Line2D([], [], color=colour_of(each), marker=marker_of(each), linestyle="",
                          label=RECIPES.get(each, (each,))[0]) for each in present]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure
