"""How much of single images networks need: bits saved, answers kept, and whether it depends on the network at all."""

from itertools import product

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from figures.results import Results
from figures.simplifying import bits_axis, dotted, explained_networks, hollow, images_in, interval, percent_of, several

GROUPS = ("wrong", "right")
LINEAR = 0.1  # nats up to which an axis that goes far is linear
STYLES = {"wrong": "-", "right": ":"}
PAIRS = ("seeds", "robust", "randomised")
MEDIANS = {"saved": ("median bits saved, %", None), "kl": ("median KL, nats", "kl_blur")}


def draw(results: Results) -> Figure:
    """Medians over images with 95 % intervals by network and group, beside blur of as few bits; below, two controls."""
    table, networks = results.simplicity["explain"], explained_networks(results)
    known = set(zip(table["network"], table["group"], strict=True))
    rows = [each for each in product(networks.index, GROUPS) if each in known]
    figure = plt.figure(figsize=(6.3, 4.4 + 0.1 * len(rows)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1.3 + 0.1 * len(rows), 1.9))
    axes = above.subplots(1, 3, sharey=True)
    for y, (name, group) in enumerate(rows):
        images = by_image(table[(table["network"] == name) & (table["group"] == group)])
        network = networks.loc[name]
        for axis, (column, (label, blur)) in zip(axes, MEDIANS.items(), strict=False):
            _mark(axis, interval(images[column].to_numpy(), np.median), y, network)
            if blur:
                _mark(axis, interval(images[blur].to_numpy(), np.median), y + 0.25, network, "white")
            axis.set_xlabel(label)
        for column, at, face in (("kept", y, None), ("kept_blur", y + 0.25, "white")):
            _mark(axes[2], percent_of(images[column].mean(), len(images)), at, network, face)
    labels = [f"{networks.loc[name, 'label']}, {group}" for name, group in rows]
    axes[0].set(yticks=range(len(rows)), yticklabels=labels, ylim=(len(rows) - 0.4, -0.6))
    if axes[1].get_xlim()[1] > 5 * LINEAR:
        axes[1].set_xscale("symlog", linthresh=LINEAR)
        axes[1].xaxis.set_major_formatter("{x:g}")
    axes[1].set_xlim(0, None)
    axes[2].set(xlabel="same answer, % of images", xlim=(-3, 103))
    n = images_in(table.groupby(["network", "group"])["image"].nunique())
    label = f"simplified (n = {n} images, {several(table['seed'].nunique(), 'seed')})"
    dots = plt.Line2D([], [], color="0.35", linestyle="", marker="o", label=label)
    above.legend(handles=[dots, hollow("blurred to as few bits")], loc="outside lower center", ncols=2)
    left, right = below.subplots(1, 2)
    _distances(left, results.simplicity["explain_distances"], networks)
    _steps(right, results.simplicity["explain_history"], networks)
    return figure


def by_image(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds of what was measured of each image, and the share of its bits that was saved, in percent."""
    rows = rows.assign(saved=100 * (1 - rows["bpd_after"] / rows["bpd_before"]))
    return rows.groupby("image")[["saved", "kl", "kl_blur", "kept", "kept_blur"]].mean()


def _mark(axis: Axes, found: tuple[float, float, float], y: float, network: pd.Series, face: str | None = None) -> None:
    middle, low, high = found
    axis.hlines(y, low, high, color=network["colour"], linewidth=1)
    axis.plot(middle, y, marker=network["marker"], color=network["colour"], markerfacecolor=face or network["colour"])


def _distances(axis: Axes, table: pd.DataFrame, networks: pd.DataFrame) -> None:
    images = table.groupby(["pair", "group", "image"])["ssim"].mean()  # over seeds
    found = dict(list(images.groupby(["pair", "group"])))
    rows = [each for each in product(PAIRS, GROUPS) if each in found]
    for y, row in enumerate(rows):
        values = found[row].to_numpy()
        axis.plot(values, np.full(len(values), y), "o", color="0.72", markersize=2)
        middle, low, high = interval(values, np.median)
        axis.hlines(y, low, high, color="0.15", linewidth=1)
        axis.plot(middle, y, "o", color="0.15")
    names = dict(zip(PAIRS, ["another seed", *networks["label"][1:]], strict=False))
    labels = [f"{names[pair]}, {group}" for pair, group in rows]
    axis.set(yticks=range(len(labels)), yticklabels=labels, ylim=(len(labels) - 0.4, -0.6), xlim=(None, 1.02))
    axis.set_xlabel(f"SSIM with what is left for {networks['label'].iloc[0]}")


def _steps(axis: Axes, history: pd.DataFrame, networks: pd.DataFrame) -> None:
    for (name, network), (group, style) in product(networks.iterrows(), STYLES.items()):
        rows = history[(history["network"] == name) & (history["group"] == group)].groupby("step")["bpd"].mean()
        axis.plot(rows.index, rows, color=network["colour"], linestyle=style, linewidth=1, marker=dotted(rows))
    axis.set_xlabel("step of the optimisation")
    bits_axis(axis, "y")
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    handles = [plt.Line2D([], [], color=network.colour, label=network.label) for network in networks.itertuples()]
    handles += [plt.Line2D([], [], color="0.35", linestyle=style, label=group) for group, style in STYLES.items()]
    axis.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, borderaxespad=0.2,
                columnspacing=1, handlelength=1.5)  # fmt: skip
