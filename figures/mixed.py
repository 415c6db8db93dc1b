"""How entangled the classes are in each layer of the networks of the zoo, by recipe."""

from math import ceil

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import TALLEST, nothing
from figures.entangling import ENTANGLEMENT, by_seed
from figures.names import RECIPES, architecture_label, architectures_in_order, colour_of, on_usual_views
from figures.results import Results

STYLES, COLUMNS = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ((0, (5, 1, 1, 1, 1, 1)), "v")), 3


def draw(results: Results) -> Figure:
    """One panel a recipe; mean over training seeds of each network, the standard ones grey in every panel."""
    table = results.entanglement["layers"]
    table = table[table["source"] == "zoo"]
    networks = results.networks[results.networks.index.isin(table["network"])]
    if networks.empty:
        return nothing("This study measures the entanglement of no network of the zoo.")
    recipes, architectures = list(dict.fromkeys(networks["recipe"])), architectures_in_order(networks)
    styles = {each: STYLES[i % len(STYLES)] for i, each in enumerate(architectures)}
    lines = {}
    for name in networks.index:
        seeds = by_seed(table[table["network"] == name], "depth", "entanglement")
        lines[name] = seeds.columns.to_numpy(), seeds.mean().to_numpy()
    columns = min(COLUMNS, len(recipes))
    rows = ceil(len(recipes) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.3, min(0.8 + 1.7 * rows, TALLEST)), sharex=True, sharey=True,
                                squeeze=False, layout="constrained")  # fmt: skip
    usual = on_usual_views(networks)
    for axis, recipe in zip(axes.flat, recipes, strict=False):
        for name in networks.index[(networks["recipe"] == "standard") & (recipe != "standard")]:
            axis.plot(*lines[name], color="0.75", linewidth=0.8)
        for name, network in networks[networks["recipe"] == recipe].iterrows():
            style, marker = styles[network["architecture"]]
            filled = colour_of(recipe) if usual[name] else "white"
            axis.plot(*lines[name], linestyle=style, marker=marker, color=colour_of(recipe), linewidth=1,
                      markersize=3.5, markerfacecolor=filled)  # fmt: skip
        axis.set_title(RECIPES.get(recipe, (recipe,))[0], fontsize=7.5)
    axes[0, 0].set(xlim=(-0.03, 1.03), ylim=(0, None))
    for axis in list(axes.flat)[len(recipes) :]:
        axis.axis("off")
    for axis in list(axes.flat)[: len(recipes)][-columns:]:  # the lowest of each column
        axis.tick_params(labelbottom=True)
        axis.set_xlabel("depth of the layer")
    figure.supylabel(f"{ENTANGLEMENT} (chance level {table['chance'].max():.2f})", fontsize=8)
    figure.legend(handles=_legend(styles, recipes, bool((~usual).any())), loc="outside lower center", ncols=4)
    return figure


def _legend(styles: dict, recipes: list[str], others: bool) -> list[plt.Line2D]:
    handles = [
        plt.Line2D([], [], color="black", linestyle=style, marker=mark, markersize=3.5, label=architecture_label(name))
        for name, (style, mark) in styles.items()
    ]
    if others:
        handles.append(plt.Line2D([], [], color="black", linestyle="", marker="o", markerfacecolor="white",
                                  label="hollow: other augmentation"))  # fmt: skip
    if "standard" in recipes and len(recipes) > 1:
        handles.append(plt.Line2D([], [], color="0.75", label="the standard ones"))
    return handles
