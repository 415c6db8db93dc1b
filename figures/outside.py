"""Whether images from elsewhere are told from test images: credibility, support of the layers, and every detector."""

from math import ceil

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.comparing import or_nothing
from figures.drawing import TALLEST
from figures.entangling import INSIDE, OUTSIDE, SIDE_BY_SIDE, among, by_seed, layer_axis, layers_of
from figures.names import DETECTORS, set_label
from figures.results import Results
from fourlenses.statistics import Undecided

COLUMNS, BINS = 3, np.linspace(0, 1, 21)


@or_nothing
def draw(results: Results) -> Figure:
    """Above, test images and the first other set, one column a network; below, AUROC by set, detector and network."""
    table = results.entanglement["detection"]
    table = table[table["kind"].isin(["test", "ood"])]
    networks, sets = among(results, table["network"]), other_sets(table)
    if not sets:
        raise Undecided("this study shows the networks of the entanglement lens no images from elsewhere")
    few, columns = networks[:SIDE_BY_SIDE], min(COLUMNS, len(sets))
    rows = ceil(len(sets) / columns)
    figure = plt.figure(figsize=(6.3, min(3.7 + 1.75 * rows, TALLEST)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(3.4, 0.3 + 1.75 * rows))
    looks = {"test": ("test images", INSIDE, "o"), sets[0]: (set_label(sets[0]), OUTSIDE, "s")}
    panels = above.subplots(2, len(few), sharey="row", squeeze=False, height_ratios=(1, 1))
    support = results.entanglement["support"]
    for (first, second), (name, network) in zip(panels.T, few.iterrows(), strict=True):
        rows_of = support[support["network"] == name]
        layers = layers_of(rows_of)
        for images, (label, colour, marker) in looks.items():
            scores = credibilities(results, table, name, images)
            shares = np.full(len(scores), 1 / len(scores))
            first.hist(scores, BINS, weights=shares, color=colour, alpha=0.55, label=label)
            seeds = by_seed(rows_of[rows_of["set"] == images], "index", "support").to_numpy()
            second.plot(seeds.mean(axis=0), color=colour, marker=marker)
            second.plot(seeds.T, color=colour, linewidth=0.4, alpha=0.5)
        first.set_title(network["label"], fontsize=7.5)
        first.set(xlim=(0, 1), xlabel=DETECTORS["credibility"])
        layer_axis(second, layers)
        second.set_ylim(0, 1.03)
    panels[0, 0].set_ylabel("share of images")
    panels[1, 0].set_ylabel("neighbours of the\npredicted class, share")
    above.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    axes = below.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axis, images in zip(axes.flat, sets, strict=False):
        _areas(axis, table[table["set"] == images], networks)
        axis.set_title(set_label(images), fontsize=7.5)
    for axis in list(axes.flat)[len(sets) :]:
        axis.axis("off")
    for axis in list(axes.flat)[: len(sets)][-columns:]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("AUROC")
    below.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def other_sets(table: pd.DataFrame) -> list[str]:
    """The sets of images from elsewhere, in the order of params.yaml."""
    return list(table[table["kind"] == "ood"].sort_values("order", kind="stable")["set"].unique())


def credibilities(results: Results, table: pd.DataFrame, network: str, images: str) -> np.ndarray:
    """DkNN credibility of every image of a set, of all seeds together."""
    seeds = sorted(table.loc[table["network"] == network, "seed"].unique())
    stored = [results.detections.get_tensor(f"{network}/seed{seed}/{images}/credibility") for seed in seeds]
    return np.concatenate(stored)


def _areas(axis: Axes, rows: pd.DataFrame, networks: pd.DataFrame) -> None:
    detectors = [each for each in DETECTORS if each in set(rows["measure"])]
    apart = 0.7 / len(networks)
    for place, (name, network) in enumerate(networks.iterrows()):
        mark = {"color": network["colour"], "marker": network["marker"], "linestyle": ""}
        for y, detector in enumerate(detectors):
            seeds = rows.loc[(rows["network"] == name) & (rows["measure"] == detector), "auroc"]
            at = y + (place - (len(networks) - 1) / 2) * apart
            if len(seeds) > 1:
                axis.plot(seeds, np.full(len(seeds), at), **mark, markersize=1.5, alpha=0.6)
            axis.plot(seeds.mean(), at, **mark, markersize=3.5, label=network["label"] if y == 0 else None)
    axis.axvline(0.5, color="0.35", linestyle="--", linewidth=0.7)
    axis.set_yticks(range(len(detectors)), [DETECTORS[each] for each in detectors], fontsize=6)
    axis.set_ylim(len(detectors) - 0.5, -0.5)
    axis.grid(axis="y", visible=False)
