"""Whether other metrics of similarity agree with linear CKA on which layers are alike."""

from math import ceil

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import base_pair, look, or_nothing
from figures.results import Results
from fourlenses.statistics import Undecided

REFERENCE, COLUMNS = "linear CKA", 3


@or_nothing
def draw(results: Results) -> Figure:
    """One panel a metric, one mark a pair of layers, mean over seeds; pooled features."""
    base = base_pair(results.similarity)
    looks = {role: look(results.similarity, name) for role, name in base.items()}
    wide = results.metrics[results.metrics["i"] < results.metrics["j"]]
    wide = wide.pivot_table(index=["network", "i", "j"], columns="metric", values="value", sort=False)
    others = [metric for metric in dict.fromkeys(results.metrics["metric"]) if metric != REFERENCE]
    if not others:
        raise Undecided("this study compares layers by linear CKA only")
    rows = ceil(len(others) / COLUMNS)
    figure, axes = plt.subplots(
        rows, COLUMNS, figsize=(6.3, 0.4 + 1.85 * rows), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis, metric in zip(axes.flat, others, strict=False):
        for place, (role, name) in enumerate(base.items()):
            values, colour = wide.loc[name, [REFERENCE, metric]], looks[role]["colour"]
            axis.plot(values[REFERENCE], values[metric], looks[role]["marker"], color=colour, markersize=2.2,
                      markeredgewidth=0, alpha=0.45, rasterized=True)  # fmt: skip
            rho = values.corr(method="spearman").iloc[0, 1]
            text = {"fontsize": 6.5, "color": colour, "transform": axis.transAxes, "va": "top"}
            axis.text(0.03, 0.98 - 0.1 * place, f"{role}: ρ {rho:.2f}", **text)
        axis.plot([0, 1], [0, 1], color="0.35", linestyle="--", linewidth=0.7)
        axis.set_title(metric, fontsize=7.5)
    for axis in list(axes.flat)[len(others) :]:
        axis.axis("off")
    for axis in list(axes.flat)[: len(others)][-COLUMNS:]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel(f"{REFERENCE}, debiased")
    figure.supylabel("similarity of two layers by the other metric", fontsize=8)
    handles = [
        plt.Line2D([], [], linestyle="", color=look["colour"], marker=look["marker"], label=role)
        for role, look in looks.items()
    ]
    handles.append(plt.Line2D([], [], color="0.35", linestyle="--", linewidth=0.7, label="equal"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
