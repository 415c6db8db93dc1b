"""Whether credibility and the softmax say how often a network is right, on test images and on attacked ones."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import or_nothing
from figures.entangling import INSIDE, OUTSIDE, SIDE_BY_SIDE, among, middle, untargeted
from figures.names import DETECTORS, attack_label
from figures.results import Results
from fourlenses.statistics import Undecided

SCORES = ("credibility", "softmax")


@or_nothing
def draw(results: Results) -> Figure:
    """One column a network: accuracy in each bin of a score, and below it the share of images there; all seeds."""
    table, (attacked, attack) = results.entanglement["reliability"], attacked_set(results)
    networks = among(results, table["network"], SIDE_BY_SIDE)
    sets = {"test": ("test images", INSIDE, "o"), attacked: (attack, OUTSIDE, "s")}
    figure, axes = plt.subplots(
        4, len(networks), figsize=(6.3, 6), sharex=True, sharey="row", squeeze=False, layout="constrained",
        height_ratios=(2.2, 1, 2.2, 1),
    )  # fmt: skip
    errors = results.entanglement["calibration"]
    for column, (name, network) in zip(axes.T, networks.iterrows(), strict=True):
        column[0].set_title(network["label"], pad=13)
        for (above, below), score in zip((column[:2], column[2:]), SCORES, strict=True):
            above.plot([0, 1], [0, 1], color="0.35", linestyle="--", linewidth=0.7, label="as often as it says")
            for place, (images, (label, colour, marker)) in enumerate(sets.items()):
                chosen = {"network": name, "set": images, "score": score}
                rows = pooled(_where(table, chosen))
                above.plot(rows["mean_score"], rows["accuracy"], color=colour, marker=marker, label=label)
                left = rows.index / (table["bin"].max() + 1) + 0.01 + 0.04 * place
                below.bar(left, rows["n"] / rows["n"].sum(), 0.04, align="edge", color=colour)
                error = _where(errors, chosen)["ece"].mean()
                side = {"ha": ("left", "right")[place], "va": "bottom", "transform": above.transAxes}
                above.text(place, 1.02, f"ECE {error:.3f}", color=colour, fontsize=7, **side)
            above.set(ylim=(0, 1.02), xlim=(0, 1))
            below.set_xlabel(DETECTORS[score])
            below.tick_params(labelbottom=True)
    for axis, label in zip(axes[:, 0], ("accuracy", "share of images") * 2, strict=True):
        axis.set_ylabel(label)
    figure.align_ylabels(axes[:, 0])
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def attacked_set(results: Results) -> tuple[str, str]:
    """The images attacked by the first untargeted attack at its middle strength: the set, and a name for a reader.

    Raises Undecided without such a set.
    """
    sets = results.entanglement["detection"].drop_duplicates("set")
    attacks = untargeted(sets.loc[sets["kind"] == "adversarial", "attack"])
    if not attacks:
        raise Undecided("this study judges no attacked images with the entanglement lens")
    rows = sets[sets["attack"] == attacks[0]]
    row = rows[rows["eps"] == middle(rows["eps"])].iloc[0]
    return row["set"], f"attacked, {attack_label(row['attack'])} {row['eps']:g}"


def pooled(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean score, accuracy and number of images in each bin, of all seeds together; empty bins are left out."""
    rows = rows[rows["n"] > 0]
    sums = rows.assign(mean_score=rows["mean_score"] * rows["n"], accuracy=rows["accuracy"] * rows["n"])
    sums = sums.groupby("bin")[["mean_score", "accuracy", "n"]].sum()
    return sums[["mean_score", "accuracy"]].div(sums["n"], axis=0).assign(n=sums["n"])


def _where(table: pd.DataFrame, chosen: dict[str, str]) -> pd.DataFrame:
    return table[np.logical_and.reduce([table[column] == value for column, value in chosen.items()])]
