"""What lowering the soft nearest neighbour loss does to points of four random classes, by its temperature."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from figures.comparing import curve
from figures.entangling import by_seed
from figures.names import TEMPERATURES
from figures.results import Results

CLASSES = (("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"), ("#56B4E9", "P"))
LOOKS = (("#E69F00", "v"), ("#0072B2", "o"), ("#CC79A7", "D"), ("black", "s"))
CURVES = {
    "entanglement": "entanglement, nats",
    "accuracy_1nn": "accuracy of the\nnearest neighbour",
    "ratio": "distance between classes,\nin distances within",
}


def draw(results: Results) -> Figure:
    """Above, the points at the start and at the end under each rule (first seed); below, how they came there."""
    history, points = results.entanglement["toy"], results.entanglement["toy_points"]
    history = history.assign(ratio=(history["inter"] / history["intra"]) ** 0.5)
    rules, seed = list(dict.fromkeys(history["rule"])), history["seed"].min()
    points = points[points["seed"] == seed]
    figure = plt.figure(figsize=(6.3, 3.8), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.1, 1.5))
    for place, axis in enumerate(above.subplots(1, len(rules) + 1)):
        rule, end = (rules[0], "min") if place == 0 else (rules[place - 1], "max")
        rows = points[points["rule"] == rule]
        _scatter(axis, rows[rows["step"] == getattr(rows["step"], end)()])
        at = history[(history["rule"] == rule) & (history["seed"] == seed)]
        at = at[at["step"] == getattr(at["step"], end)()].iloc[0]
        title = "start" if place == 0 else _label(rule)
        values = f"{at['entanglement']:.2f} nats\n1-NN {100 * at['accuracy_1nn']:.0f} %"
        axis.set_title(f"{title}\n{values}", fontsize=6.5)
    for axis, (column, label) in zip(below.subplots(1, len(CURVES)), CURVES.items(), strict=True):
        for rule, (colour, marker) in zip(rules, LOOKS, strict=False):
            seeds = by_seed(history[history["rule"] == rule], "step", column)
            curve(axis, seeds.columns.to_numpy(), seeds.to_numpy(), _label(rule), colour, marker)
        last = history["step"].max()
        axis.set(xlabel="step", ylabel=label, xlim=(-0.02 * last, 1.02 * last))
        if column == "ratio":
            axis.set_yscale("log")
            axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_locator(NullLocator())
        else:
            axis.set_ylim(0, None)
    below.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(rules))
    return figure


def _label(rule: str) -> str:
    return TEMPERATURES.get(rule, rule.replace("=", " = "))


def _scatter(axis: Axes, points: pd.DataFrame) -> None:
    for (_, rows), (colour, marker) in zip(points.groupby("label"), CLASSES, strict=False):
        axis.plot(rows["x"], rows["y"], marker, color=colour, markersize=2, markeredgewidth=0, alpha=0.8)
    axis.set_box_aspect(1)
    axis.locator_params(nbins=3)
    axis.tick_params(labelsize=5.5, pad=1)
