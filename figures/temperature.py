"""How the soft nearest neighbour loss of each layer depends on its temperature, and on how that is found."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.comparing import curve, or_nothing
from figures.entangling import SIDE_BY_SIDE, among, by_seed, chance_line, depth_colours, entangled_networks, layers_of
from figures.names import TEMPERATURES, layer_label
from figures.results import Results
from fourlenses.statistics import Undecided

MARKERS = "osD^vPXp"
RULES = {"fixed": ("#E69F00", "v"), "released": ("#D55E00", "s"), "tracked": ("#0072B2", "o"), "search": ("black", "D")}
COLUMNS = 4


@or_nothing
def draw(results: Results) -> Figure:
    """Above, the loss over the temperature, its minimum marked (first seed); below, what each rule makes of a start."""
    curves, found = results.entanglement["curves"], results.entanglement["temperatures"]
    networks = among(results, curves["network"], SIDE_BY_SIDE)
    if networks.empty:
        raise Undecided("this study measures no network of the entanglement lens")
    layers = layers_of(curves)
    figure = plt.figure(figsize=(6.3, 5), layout="constrained")
    above, below = figure.subfigures(2, 1)
    axes = above.subplots(1, len(networks), sharey=True, squeeze=False)[0]
    for axis, (name, network) in zip(axes, networks.iterrows(), strict=True):
        _curves(axis, curves[curves["network"] == name], layers)
        axis.set_title(network["label"], fontsize=7.5)
    axes[0].set_ylabel("loss, nats")
    above.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(layers) + 1)
    shown, labels = layers_of(found).iloc[-COLUMNS:], entangled_networks(results)["label"]
    axes = below.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axis, (index, layer) in zip(axes, shown.items(), strict=True):
        _starts(axis, found[found["index"] == index], 1.25 * curves["chance"].max())
        axis.set_title(f"{labels[found['network'].iloc[0]]}, {layer_label(layer)}", fontsize=7.5)
    axes[0].set_ylabel("loss, nats\n(▲: above the axis)")
    below.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(RULES))
    return figure


def _curves(axis: Axes, rows: pd.DataFrame, layers: pd.Series) -> None:
    chance = rows["chance"].max()
    for (index, layer), colour, marker in zip(layers.items(), depth_colours(len(layers)), MARKERS, strict=False):
        line = rows[rows["index"] == index].sort_values("temperature")
        best = line.loc[line["value"].idxmin()]
        axis.plot(line["temperature"], line["value"], color=colour, linewidth=1)
        axis.plot(best["temperature"], best["value"], marker, color=colour, markeredgecolor="black",
                  markeredgewidth=0.5, label=f"{layer_label(layer)}")  # fmt: skip
    chance_line(axis, chance)
    axis.set_xscale("log")
    axis.set(ylim=(0, 1.25 * chance), xlabel="temperature")


def _starts(axis: Axes, rows: pd.DataFrame, top: float) -> None:
    for rule, (colour, marker) in RULES.items():
        seeds = by_seed(rows[rows["rule"] == rule], "start", "value")
        starts, mean = seeds.columns.to_numpy(), seeds.to_numpy().mean(axis=0)
        curve(axis, starts, np.minimum(seeds.to_numpy(), top), TEMPERATURES[rule], colour, marker)
        for start in starts[mean > top]:
            axis.plot(start, top, "^", color=colour, clip_on=False, zorder=3)
    axis.set_xscale("log")
    axis.set(ylim=(0, top), xlabel="first temperature")
