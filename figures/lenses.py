"""Two lenses on the same networks: similarity of layers, by recipe and against alignment with people's eyes."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import score_of
from figures.drawing import TALLEST, nothing
from figures.names import FREE, colour_of, marker_of, network_label, wrapped
from figures.results import Results


def draw(results: Results) -> Figure:
    """Mean CKA of two layers of every network of the zoo, seeds and mean; beside it over the alignment of its IRIs."""
    zoo = [name for name in results.networks.index if name in set(results.scores["network"])]
    if len(zoo) < 2:
        return nothing("This study compares the layers of no two networks of the zoo.")
    median = results.cells[(results.cells["judge"] == "median") & (results.cells["loss"] == FREE)].set_index("network")
    height = min(0.8 + 0.27 * len(zoo), TALLEST)
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.3, height), sharex=True, layout="constrained")
    for y, name in enumerate(zoo):
        recipe, seeds = results.networks.loc[name, "recipe"], score_of(results, name, "s_off")
        look = {"color": colour_of(recipe), "marker": marker_of(recipe), "linestyle": ""}
        left.plot(seeds, [y] * len(seeds), markersize=3, alpha=0.5, **look)
        left.plot(seeds.mean(), y, markeredgecolor="black", markeredgewidth=0.4, **look)
        cell = median.loc[name]
        right.vlines(seeds.mean(), cell["low"], cell["high"], color=look["color"], linewidth=0.8)
        right.plot(seeds.mean(), cell["alignment"], **look)
    labels = [wrapped(network_label(results.networks.loc[name], ", "), 28) for name in zoo]
    left.set_yticks(np.arange(len(zoo)), labels, fontsize=6)
    left.set(ylim=(len(zoo) - 0.4, -0.6), xlabel="mean CKA of two layers")
    right.set(ylim=(-4, 104), xlabel="mean CKA of two layers", ylabel="alignment, %")
    return figure
