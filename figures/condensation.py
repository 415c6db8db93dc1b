"""What simplifying condensed images costs: accuracy of networks trained on them, over their bits."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.names import architecture_label
from figures.results import Results
from figures.simplifying import BITS, bits_axis, dotted, images_in, look, several, weight_axis, weight_colours


def draw(results: Results) -> Figure:
    """One column a number of images a class: accuracy over bits, what each weight costs, and bits along the rounds."""
    table, history = results.simplicity["condense"], results.simplicity["condense_history"]
    ipcs, weights = sorted(table["ipc"].unique()), sorted(table["weight"].unique())
    networks = {name: look(place) for place, name in enumerate(dict.fromkeys(table["evaluated_on"]))}
    colours = weight_colours(weights)
    figure, axes = plt.subplots(3, len(ipcs), figsize=(6.3, 6.0), sharey="row", squeeze=False, layout="constrained")
    for (over, cost, rounds), ipc in zip(axes.T, ipcs, strict=True):
        for name, (colour, marker) in networks.items():
            rows = table[(table["ipc"] == ipc) & (table["evaluated_on"] == name)]
            _over(over, rows, colour, marker)
            _cost(cost, rows, weights, colour, marker)
        past = history[history["ipc"] == ipc].groupby(["weight", "round"])["bpd"].mean()
        for weight in weights:
            line = past[weight]
            rounds.plot(line.index, line, color=colours[weight], linewidth=1, marker=dotted(line))
        over.set_title(f"{several(ipc, 'image')} a class", fontsize=7.5)
        bits_axis(over, label=f"{BITS} of condensed images")
        rounds.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        cost.axhline(0, color="0.35", linestyle="--", linewidth=0.7)
        weight_axis(cost, weights)
        rounds.set_xlabel("round")
    axes[0, 0].set_ylabel(f"accuracy, %,\nof {images_in(table['n_test'])} images")
    bits_axis(axes[2, 0], "y")
    axes[1, 0].set_ylabel("accuracy minus that\nof λ = 0, points")
    runs, seeds = table["network"].nunique(), table["seed"].nunique()
    note = f"bars: sd of {several(runs, 'network')} × {several(seeds, 'seed')}"
    handles = [
        plt.Line2D([], [], color=colour, marker=marker, label=architecture_label(name))
        for name, (colour, marker) in networks.items()
    ]
    handles += [plt.Line2D([], [], color="0.35", marker="|", linestyle="", label=note)]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    handles = [plt.Line2D([], [], color=colour, label=f"λ = {weight:g}") for weight, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=5)
    return figure


def _over(axis: Axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    groups = rows.groupby("weight")
    bits, mean, sd = groups["bpd"].mean(), 100 * groups["accuracy"].mean(), 100 * groups["accuracy"].std(ddof=0)
    axis.vlines(bits, mean - sd, mean + sd, color=colour, linewidth=0.7, alpha=0.6)
    axis.plot(bits, mean, color=colour, marker=marker, linewidth=1)


def gains(rows: pd.DataFrame) -> pd.DataFrame:
    """By how many points each weight (columns) changes the mean accuracy of each seed (rows) against weight 0."""
    found = 100 * rows.pivot_table(index="seed", columns="weight", values="accuracy")
    return found.sub(found[0.0], axis=0)


def _cost(axis: Axes, rows: pd.DataFrame, weights: list[float], colour: str, marker: str) -> None:
    found = gains(rows)
    at = np.array([weights.index(weight) for weight in found.columns])
    if len(found) > 1:
        axis.plot(at, found.T, color=colour, linewidth=0.4, alpha=0.5)
    axis.plot(at, found.mean(), color=colour, marker=marker, linewidth=1)
