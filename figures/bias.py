"""A warning: biased CKA in small batches finds layers alike that look at different images."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from figures.comparing import base_pair, or_nothing
from figures.results import Results

ESTIMATORS = {"biased": ("#D55E00", "s"), "debiased": ("#0072B2", "o")}
IMAGES = {"paired": ("-", None, "the same images"), "shuffled": ("--", "white", "different images: nothing in common")}


@or_nothing
def draw(results: Results) -> Figure:
    """One panel a base network; mean over pairs of layers and seeds, and the middle 90 % of them, by batch size."""
    base = base_pair(results.similarity)
    figure, axes = plt.subplots(1, 2, figsize=(6.3, 3.1), sharey=True, layout="constrained")
    for axis, role, name in zip(axes, base, base.values(), strict=True):
        table = results.bias[(results.bias["network"] == name) & (results.bias["i"] != results.bias["j"])]
        axis.axhline(0, color="0.35", linewidth=0.7)
        for (images, estimator), rows in table.groupby(["images", "estimator"]):
            (colour, marker), (style, face, _) = ESTIMATORS[estimator], IMAGES[images]
            values = rows.groupby("n")["value"]
            mean = values.mean()
            axis.fill_between(mean.index, values.quantile(0.05), values.quantile(0.95), color=colour, alpha=0.12, lw=0)
            look = {"color": colour, "marker": marker, "linestyle": style, "markerfacecolor": face or colour}
            axis.plot(mean.index, mean, **look)
        axis.set_xscale("log", base=2)
        sizes = sorted(table["n"].unique())
        ticks = [n for n in sizes if n == sizes[-1] or 1.5 * n < sizes[-1]]
        axis.set_xticks(ticks, [f"{n}" for n in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set(title=f"{role} network", xlabel="images a batch")
    axes[0].set(ylabel="CKA of two layers", ylim=(min(-0.05, axes[0].get_ylim()[0]), 1.02))
    handles = [
        plt.Line2D([], [], color=ESTIMATORS[estimator][0], marker=ESTIMATORS[estimator][1], linestyle=style,
                   markerfacecolor=face or ESTIMATORS[estimator][0], label=f"{estimator}, {label}")
        for style, face, label in IMAGES.values() for estimator in ESTIMATORS
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
