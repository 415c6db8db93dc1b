"""What depends on the flow: bits of every set by every flow, the refused among them, their ranks, and the training."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.drawing import TALLEST, stretched
from figures.results import Results
from figures.simplifying import BITS, bits_axis, dotted, hollow, look, set_name


def draw(results: Results) -> Figure:
    """Mean bits with two standard errors by set; rank correlation within a set; bits along training."""
    table, history = results.simplicity["ladder"], results.simplicity["glow"]
    priors = {prior: look(place) for place, prior in enumerate(dict.fromkeys(table["prior"]))}
    sets = list(table[table["prior"] == table["prior"].iloc[0]].sort_values("bpd")["set"])
    size = (6.3, min(1.1 + 0.2 * max(len(sets), 8), TALLEST))
    figure, (bits, ranks, training) = plt.subplots(1, 3, figsize=size, width_ratios=(1.2, 1, 1.2), layout="constrained")
    figure.get_layout_engine().set(wspace=0.05)
    apart = 0.5 / len(priors)
    for place, (prior, (colour, marker)) in enumerate(priors.items()):
        rows = table[table["prior"] == prior].set_index("set").loc[sets]
        y = np.arange(len(sets)) + (place - (len(priors) - 1) / 2) * apart
        bits.errorbar(rows["bpd"], y, xerr=2 * rows["se"], fmt=marker, color=colour, markersize=3.5, linewidth=0.8,
                      label=prior)  # fmt: skip
        ranks.plot(rows["rho_png"], y, marker, color=colour, markersize=3.5)
        if place:
            ranks.plot(rows["rho_prior"], y, marker, color=colour, markersize=3.5, markerfacecolor="white")
        _training(training, history[history["prior"] == prior], colour)
    bits.set(yticks=np.arange(len(sets)), yticklabels=[set_name(results, name) for name in sets], xlabel=BITS)
    stretched(bits, "x", table["bpd"])
    stretched(training, "y", history[["bpd_train", "bpd_photos"]].max())
    ranks.set(xlim=(min(0, ranks.get_xlim()[0]), 1.05), xlabel="rank correlation")
    ranks.set(yticks=np.arange(len(sets)), yticklabels=[])
    for axis in (bits, ranks):
        axis.set_ylim(len(sets) - 0.4, -0.6)
    training.set_xlabel("training step")
    bits_axis(training, "y")
    training.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    refused = table[table["refused"] == 1]["prior"].unique()
    names = {prior: f"{prior} (refused)" if prior in refused else prior for prior in priors}
    handles = [plt.Line2D([], [], color=c, marker=m, label=names[prior]) for prior, (c, m) in priors.items()]
    handles += [plt.Line2D([], [], color="0.35", linestyle="", marker="o", label="ranks of PNG")]
    handles += [hollow(f"ranks of {next(iter(priors))}")] if len(priors) > 1 else []
    handles += [plt.Line2D([], [], color="0.35", label="held-out photos")]
    handles += [plt.Line2D([], [], color="0.35", linestyle=":", label="training images")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _training(axis: Axes, history: pd.DataFrame, colour: str) -> None:
    axis.plot(history["step"], history["bpd_photos"], color=colour, marker=dotted(history))
    axis.plot(history["step"], history["bpd_train"], color=colour, linestyle=":", linewidth=0.9, marker=dotted(history))
