"""Which layers move while a robust network overfits, and whether they move in any training."""

from contextlib import suppress

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.comparing import DEPTH, curve, depth_of, look, or_nothing, profiles
from figures.results import Results
from fourlenses.similarity.comparisons import Study
from fourlenses.similarity.overfitting import standard_of, window
from fourlenses.statistics import Undecided

CURVES = {
    "accuracy_train": (":", "training images, attacked"),
    "accuracy_robust": ("--", "held-out images, attacked"),
    "accuracy_clean": ("-", "held-out images, clean"),
}


@or_nothing
def draw(results: Results) -> Figure:
    """Accuracy by epoch of the robust network, and 1 - CKA of each layer between two epochs, with two controls."""
    study = results.similarity
    robust = _stepped(study)
    history = results.swept[results.swept["network"] == robust]
    best, last = best_and_last(study, robust, history)
    spans = {"best to last": (best, last)}
    lines = [("robust", robust, best, last, look(study, robust))]
    with suppress(Undecided):
        spans["earlier"] = window(study, robust, best, last)
        earlier = look(study, robust) | {"colour": "#E69F00", "marker": "v", "style": "--"}
        lines.append(("robust", robust, *spans["earlier"], earlier))
    with suppress(Undecided):
        standard = standard_of(study, robust)
        lines.append(("standard", standard, best, last, look(study, standard)))
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.3, 3.3), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    _accuracy(left, history, look(study, robust)["colour"])
    for (name, (start, end)), shade in zip(spans.items(), ("0.9", "0.96"), strict=False):
        left.axvspan(start, end, color=shade, linewidth=0, zorder=0)
        left.text((start + end) / 2, 0.01, name, ha="center", va="bottom", fontsize=6.5)
    for role, name, start, end, shown in lines:
        rows = study.find("epochs", (name, start), (name, end))
        if len(rows):
            moved = 1 - profiles(study, rows)
            curve(right, depth_of(study, name), moved, f"{role}, epochs {start} to {end}", **shown)
    right.set(xlim=(0, 1), xlabel=DEPTH, ylabel="1 − CKA of the two epochs")
    right.set_ylim(0, max(right.get_ylim()[1], 0.1))
    for axis in (left, right):
        axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), borderaxespad=0.3)
    return figure


def best_and_last(study: Study, name: str, history: pd.DataFrame) -> tuple[int, int]:
    """The kept epoch of a network's best robust accuracy, mean over seeds, before its last; and that.

    Raises Undecided if the study does not compare its epochs.
    """
    rows = study.pairs[(study.pairs["kind"] == "epochs") & (study.pairs["network_a"] == name)]
    _, last = study.last(name)
    kept = sorted(set(rows["epoch_a"]) - {last})
    if not kept:
        raise Undecided(f"this study does not compare {name} between epochs")
    robust = history.groupby("epoch")["accuracy_robust"].mean()
    return int(robust[robust.index.isin(kept)].idxmax()), last


def _stepped(study: Study) -> str:
    """The first network of the step schedule with the recipe of the base robust one."""
    about = study.networks
    found = about.index[(about["schedule"] == "step") & (about["recipe"] == about.loc[study.base("robust"), "recipe"])]
    if found.empty:
        raise Undecided("this study trains no robust network on a schedule of steps")
    return found[0]


def _accuracy(axis: Axes, history: pd.DataFrame, colour: str) -> None:
    for column, (style, label) in CURVES.items():
        seeds = history.pivot(index="epoch", columns="seed", values=column)
        if seeds.shape[1] > 1:
            axis.plot(seeds.index, seeds, color=colour, linewidth=0.4, alpha=0.5, linestyle=style)
        axis.plot(seeds.index, seeds.mean(axis=1), color=colour, linestyle=style, label=label)
    axis.set(ylim=(0, 1.02), xlim=(0, history["epoch"].max()), xlabel="epoch", ylabel="accuracy, robust network")
