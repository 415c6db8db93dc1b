"""Whether networks that were trained at different budgets of the attack represent alike."""

from itertools import combinations

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import base_pair, look, matrix, or_nothing, profiles, similarities
from figures.names import NORMS
from figures.results import Results
from fourlenses.similarity.comparisons import cross
from fourlenses.statistics import Undecided


@or_nothing
def draw(results: Results) -> Figure:
    """A matrix of networks by budget, beside it the same numbers over the ratio of two budgets."""
    study = results.similarity
    standard, robust = base_pair(study).values()
    budgets = study.networks.loc[study.alike(robust, "strength"), "strength"].sort_values()
    if len(budgets) < 2:
        raise Undecided("this study trains no two networks at different budgets of one attack")
    names = [standard, *budgets.index]
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.3, 3.2), layout="constrained")
    image = matrix(left, similarities(study, names), ["none", *[f"{strength:g}" for strength in budgets]])
    where = {"location": "bottom", "shrink": 0.9, "aspect": 25}
    figure.colorbar(image, ax=left, label="mean CKA at matched layers", **where)
    budget = f"{NORMS[study.networks.loc[robust, 'norm']]} budget in training, of the usual"
    left.set(xlabel=budget, ylabel=budget, title="diagonal: two seeds of one network")
    apart = np.log2(budgets.max() / budgets.min())
    for a, b in combinations(names, 2):
        values = profiles(study, cross(study, a, b).rows).mean(axis=1)
        shown = look(study, a if a == standard else robust)
        x = apart + 1 if a == standard else abs(np.log2(budgets[a] / budgets[b]))
        right.plot([x] * len(values), values, shown["marker"], color=shown["colour"], alpha=0.8, markersize=4)
    ticks = np.arange(np.ceil(apart) + 1 if apart == int(apart) else np.ceil(apart))
    right.set_xticks([*ticks, apart + 1], [*[f"{2**tick:g}" for tick in ticks], "one is\nstandard"])
    right.set(xlim=(0, apart + 1.5), ylim=(min(0, right.get_ylim()[0]), 1.02), title="one mark a pair and seed")
    right.set(xlabel="ratio of the two budgets", ylabel="mean CKA at matched layers")
    return figure
