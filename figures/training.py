"""Training curves: held-out accuracy by epoch, clean and under attack."""

from math import ceil

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import colour_of, network_label, wrapped
from figures.results import Results

COLUMNS = 5
PANELS = {"accuracy_clean": ("-", "clean held-out images"), "accuracy_robust": ("--", "under the attack of training")}


def draw(results: Results) -> Figure:
    """One panel a trained network; seeds thin, their mean thick."""
    table = results.training
    networks = results.networks[results.networks.index.isin(set(table["network"]))]
    if networks.empty:
        return nothing("This study trains no network.")
    columns = min(COLUMNS, len(networks))
    rows = ceil(len(networks) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(6.3, 0.35 + 1.3 * rows), sharey=True, squeeze=False, layout="constrained"
    )
    for axis, (name, network) in zip(axes.flat, networks.iterrows(), strict=False):
        measured = table[table["network"] == name]
        for column, (style, _) in PANELS.items():
            seeds = measured.pivot(index="epoch", columns="seed", values=column)
            look = {"color": colour_of(network["recipe"]), "linestyle": style}
            if seeds.shape[1] > 1:
                axis.plot(seeds.index, seeds, linewidth=0.4, alpha=0.6, **look)
            axis.plot(seeds.index, seeds.mean(axis=1), linewidth=1.2, **look)
        axis.set_title(wrapped(network_label(network, ", "), 22), fontsize=6.5, pad=2)
        axis.set(ylim=(0, 1.02), yticks=[0, 0.5, 1])
        axis.xaxis.get_major_locator().set_params(integer=True, nbins=4)
    for axis in list(axes.flat)[len(networks) :]:
        axis.axis("off")
    for axis in list(axes.flat)[: len(networks)][-columns:]:  # the lowest of each column
        axis.set_xlabel("epoch")
    figure.supylabel("accuracy", fontsize=8)
    handles = [plt.Line2D([], [], color="0.3", linestyle=style, label=label) for style, label in PANELS.values()]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
