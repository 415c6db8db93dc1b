"""Whether layers are alike because one component, or a few images, dominate them."""

from dataclasses import replace
from math import ceil

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.comparing import DEPTH, base_pair, curve, depth_of, look, or_nothing, with_controls
from figures.results import Results
from fourlenses.similarity.comparisons import Comparison, State, Study, map_score, resample
from fourlenses.statistics import Estimate

SHARE = 0.01  # of the images, those of largest norm
LARGEST = f"largest {100 * SHARE:g} % of images"
SHARES = {"first_component": "first component", "largest_norms": LARGEST}
KINDS = {
    "self": "as it is",
    "no-first-component": "without the\nfirst component",
    "no-largest-norms": f"without the\n{LARGEST}",
}
SCORES = {"s_off": "any two layers", "s_far": "layers more than half the depth apart"}
CHANGE = "robust − standard"
APART, N_RESAMPLES = 0.22, 1000


@or_nothing
def draw(results: Results) -> Figure:
    """Above, how far one component and a few images dominate each layer; below, how alike layers are without them.

    Intervals are over training seeds and batches of images, in the same resamples for all marks.
    Source: Nguyen et al. 2021, section 5, and 2022 (arXiv:2202.07184); spec 2, sections 6.2 and 7.3.
    """
    study = results.similarity
    looks = {role: look(study, name) for role, name in base_pair(study).items()}
    looks[CHANGE] = {"colour": "black", "marker": "D"}
    figure, axes = plt.subplots(2, 2, figsize=(6.3, 4.6), layout="constrained")
    for axis, column in zip(axes[0], SHARES, strict=True):
        _shares(axis, results, column)
    axes[1, 1].sharex(axes[1, 0])
    for axis, (score, pairs) in zip(axes[1], SCORES.items(), strict=True):
        for row, estimates in enumerate(changed(study, score).values()):
            for place, (name, shown) in enumerate(looks.items()):
                y, mark = row + (place - 1) * APART, {"color": shown["colour"], "linewidth": 1}
                axis.plot(estimates[name].interval, [y, y], **mark)
                axis.plot(estimates[name].effect, y, marker=shown["marker"], label=name, **mark | {"linewidth": 0})
        axis.axvline(0, color="0.35", linewidth=0.7)
        axis.set_title(pairs, fontsize=7.5)
        axis.set(xlabel="mean CKA", yticks=range(len(KINDS)), yticklabels=KINDS.values(), ylim=(len(KINDS) - 0.5, -0.5))
        axis.grid(axis="y", visible=False)
    axes[1, 1].tick_params(labelleft=False)
    entries = [axis.get_legend_handles_labels() for axis in (axes[1, 0], axes[0, 1])]
    named = {label: handle for handles, labels in entries for handle, label in zip(handles, labels, strict=True)}
    figure.legend(named.values(), named, loc="outside lower center", ncols=3)
    return figure


def changed(study: Study, score: str) -> dict[str, dict[str, Estimate]]:
    """A score of the map of the standard network, of the robust one, and their difference, as it is and without.

    Arguments: `score`, in structure.SCORES. Returns estimates by name, for each of KINDS. Raises Undecided where the
    study lacks the base pair or one of KINDS.
    """
    states = {role: study.last(name) for role, name in base_pair(study).items()}
    kinds = [(kind, role) for kind in KINDS for role in states]
    comparisons = [_of_kind(study, kind, states[role], score) for kind, role in kinds]
    found = resample(study.hsic, comparisons, N_RESAMPLES, np.random.default_rng(0))
    values = dict(zip(kinds, found.values, strict=True))
    values |= {(kind, CHANGE): values[kind, "robust"] - values[kind, "standard"] for kind in KINDS}
    return {kind: {name: found.estimate(values[kind, name]) for name in (*states, CHANGE)} for kind in KINDS}


def _of_kind(study: Study, kind: str, state: State, score: str) -> Comparison:
    whole = map_score(study, state, score)
    return replace(whole, rows=study.find(kind, state, state), what=f"{whole.what} ({kind})")


def _shares(axis: Axes, results: Results, column: str) -> None:
    study, table = results.similarity, results.components
    for name, ((network, epoch), shown) in with_controls(results).items():
        rows = table[(table["network"] == network) & (table["epoch"] == epoch)]
        seeds = rows.pivot(index="seed", columns="index", values=column)
        curve(axis, depth_of(study, network), seeds.to_numpy(), name, **shown)
    if column == "largest_norms":
        n = study.pairs["n"].max()
        axis.axhline(ceil(SHARE * n) / n, color="0.35", linestyle="--", linewidth=0.7, label="images of equal norm")
    axis.set(xlim=(0, 1), ylim=(0, None), xlabel=DEPTH, ylabel="share of the variance")
    axis.set_title(SHARES[column], fontsize=7.5)
