"""Alignment over the epochs of contrastive training, with and without adversarial views, beside the paper's curves."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import FREE, architecture_label, architectures_in_order
from figures.results import SEED_IMAGE, Results

KINDS = {
    ("simclr-adversarial", "simclr"): ("#56B4E9", "P", "SimCLR + adversarial"),
    ("simclr", "simclr"): ("#009E73", "^", "SimCLR"),
    ("simclr", "simclr-without-colour"): ("#CC79A7", "v", "SimCLR without colour"),
}
SUPERVISED = ("adversarial-l2", "crop")
REFERENCE = "#D55E00"


def draw(results: Results) -> Figure:
    """One panel an architecture that was trained contrastively, then one of the paper; regularizer-free loss."""
    table = results.alignment
    free = table[(table["loss"] == FREE) & (table["seed_image"] == SEED_IMAGE) & (table["targets"] == "test")]
    free = free[free["judge"] == "median"]
    kind = pd.Series(zip(free["recipe"], free["augment"], strict=True), index=free.index)
    curves, supervised = free[kind.isin(list(KINDS))], free[kind == SUPERVISED]
    if curves.empty:
        return nothing("This study trains no network contrastively.")
    architectures = architectures_in_order(curves)
    figure, axes = plt.subplots(
        1, len(architectures) + 1, figsize=(6.3, 2.6), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, architecture in zip(axes[0], architectures, strict=False):
        _ours(axis, curves[curves["architecture"] == architecture], supervised, architecture)
    _theirs(axes[0, -1], results.reported[results.reported["item"] == "simclr"])
    for axis in axes[0]:
        axis.set(xlabel="epoch", ylim=(-4, 104), yticks=[0, 25, 50, 75, 100])
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("alignment, %")
    handles = [plt.Line2D([], [], color=colour, marker=marker, label=label) for colour, marker, label in KINDS.values()]
    handles.append(plt.Line2D([], [], color=REFERENCE, linestyle="--", label="supervised adversarial L2"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def _ours(axis: Axes, curves: pd.DataFrame, supervised: pd.DataFrame, architecture: str) -> None:
    for (recipe, augment), (colour, marker, _) in KINDS.items():
        line = curves[(curves["recipe"] == recipe) & (curves["augment"] == augment)].sort_values("epoch")
        for _, one in line.groupby("network", sort=False):
            axis.fill_between(one["epoch"], one["low"], one["high"], color=colour, alpha=0.2, linewidth=0)
            axis.plot(one["epoch"], one["alignment"], color=colour, marker=marker)
    same = supervised[supervised["architecture"] == architecture]
    for row in same[same["epoch"] == same["epoch"].max()].itertuples():
        axis.axhspan(row.low, row.high, color=REFERENCE, alpha=0.12, linewidth=0)
        axis.axhline(row.alignment, color=REFERENCE, linestyle="--", linewidth=1)
    axis.set_title(f"this study, {architecture_label(architecture)}")


def _theirs(axis: Axes, reported: pd.DataFrame) -> None:
    for (recipe, augment), (_, marker, _) in KINDS.items():
        line = reported[(reported["recipe"] == recipe) & (reported["augment"] == augment)].sort_values("epoch")
        axis.plot(line["epoch"], line["value"], color="0.55", linewidth=0.8, marker=marker, markersize=3)
    for row in reported[reported["recipe"] == SUPERVISED[0]].itertuples():
        axis.axhspan(row.value - row.spread, row.value + row.spread, color="0.9", linewidth=0, zorder=0)
        axis.axhline(row.value, color="0.55", linestyle="--", linewidth=0.8)
    axis.set_title(f"the paper's, {reported['architecture'].iloc[0]}, {reported['data'].iloc[0]}", color="0.35")
