"""How the gate opens while simplifier and classifier are trained, and how bits fall behind it."""

from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.drawing import TALLEST
from figures.results import Results
from figures.simplifying import beds, bits_axis, dotted, weight_colours

COLUMNS = 4


def draw(results: Results) -> Figure:
    """A pair of panels a bed: the mean gate above, mean bits below, along training, a line a weight."""
    history, table, about = results.simplicity["simplify_history"], results.simplicity["simplify"], beds(results)
    columns = min(COLUMNS, len(about))
    groups = -(-len(about) // columns)
    figure = plt.figure(figsize=(6.3, min(0.5 + 2.2 * groups, TALLEST)), layout="constrained")
    colours = weight_colours(history["weight"])
    axes = figure.subplots(2 * groups, columns, sharex=True, squeeze=False)
    places = [(2 * (i // columns), i % columns) for i in range(groups * columns)]
    for (row, column), bed in zip(places, about.index, strict=False):
        gate, bits = axes[row, column], axes[row + 1, column]
        rows, before = history[history["bed"] == bed], table.loc[table["bed"] == bed, "bpd_original"].mean()
        for weight, line in rows.groupby("weight"):
            _line(gate, line, "gate", colours[weight])
            _line(bits, line, "bpd", colours[weight])
        bits.axhline(before, color="0.35", linestyle="--", linewidth=0.7)
        gate.set_ylim(-0.03, 1.03)
        gate.set_title(fill(about.loc[bed, "name"], 22), fontsize=6.5)
        bits_axis(bits, "y", "" if column else "bits per dim.")
        if column:
            gate.tick_params(labelleft=False)
        else:
            gate.set_ylabel("mean gate")
    axes[0, 0].set_xlim(0, 1.12 * history["step"].max())  # room for the number of the last tick
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(3, integer=True))
    for row, column in places[len(about) :]:
        axes[row, column].axis("off")
        axes[row + 1, column].axis("off")
    for row, column in places[: len(about)][-columns:]:
        axes[row + 1, column].tick_params(labelbottom=True)
        axes[row + 1, column].set_xlabel("training step")
    handles = [plt.Line2D([], [], color=colour, label=f"λ = {weight:g}") for weight, colour in colours.items()]
    handles.append(plt.Line2D([], [], color="0.35", linestyle="--", linewidth=0.7, label="originals"))
    figure.legend(handles=handles, loc="outside lower center", ncols=6)
    return figure


def _line(axis: Axes, rows: pd.DataFrame, value: str, colour: Any) -> None:
    seeds = rows.pivot(index="step", columns="seed", values=value)
    if seeds.shape[1] > 1:
        axis.plot(seeds.index, seeds, color=colour, linewidth=0.4, alpha=0.5)
    axis.plot(seeds.index, seeds.mean(axis=1), color=colour, linewidth=1, marker=dotted(seeds))
