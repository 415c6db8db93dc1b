"""Whether the loss entangles hidden layers: entanglement, scale and spread of each layer, by network."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import or_nothing
from figures.drawing import TALLEST, stretched
from figures.entangling import (
    ENTANGLEMENT,
    SIDE_BY_SIDE,
    among,
    chance_line,
    layer_axis,
    layers_of,
    line,
    network_handles,
    numbered,
)
from figures.names import layer_label
from figures.results import Results
from fourlenses.statistics import Undecided

PANELS = {
    "entanglement": f"{ENTANGLEMENT}\n(dashed: at T = 100)",
    "norm": "mean norm\nof activations",
    "intra_cosine": "cosine distance\nwithin a class",
}


@or_nothing
def draw(results: Results) -> Figure:
    """Above, the networks that the claims compare, layer by layer, seeds and mean; below, all networks."""
    table = results.entanglement["layers"]
    table = table[table["source"] == "entangled"]
    networks = among(results, table["network"])
    if networks.empty:
        raise Undecided("this study trains no network of the entanglement lens")
    layers, chance = layers_of(table), table["chance"].max()
    tall = 1 + 0.165 * len(networks)
    figure = plt.figure(figsize=(6.3, min(2.45 + tall, TALLEST)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(2.45, tall))
    panels = above.subplots(1, len(PANELS))
    for axis, (column, label) in zip(panels, PANELS.items(), strict=True):
        for name, network in networks[:SIDE_BY_SIDE].iterrows():
            rows = table[table["network"] == name]
            if column != "entanglement":
                rows = rows[rows["index"] > 0]
            else:
                line(axis, rows, "index", "at_100", network, "--")
            line(axis, rows, "index", column, network)
        layer_axis(axis, layers)
        axis.set_ylabel(label)
        if column != "entanglement":
            axis.set_xlim(left=0.7)
    chance_line(panels[0], chance)
    panels[0].set_ylim(0, 1.06 * chance)
    shown = table["network"].isin(networks[:SIDE_BY_SIDE].index) & (table["index"] > 0)
    stretched(panels[1], "y", table["norm"][shown])
    panels[2].set_ylim(0, None)
    handles = network_handles(networks[:SIDE_BY_SIDE])
    handles.append(plt.Line2D([], [], color="0.35", linestyle="--", linewidth=0.7, label="chance level"))
    above.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    left, right = below.subplots(1, 2, sharey=True)
    for axis, column, form in ((left, "entanglement", ".2f"), (right, "norm", ".3g")):
        values = table.groupby(["network", "index"])[column].mean().unstack().reindex(index=networks.index)
        values = values if column == "entanglement" else values.loc[:, values.columns > 0]
        if column == "norm":
            looks = {"norm": "log"}
            dark = float(np.sqrt(values.min().min() * values.max().max()))
        else:
            looks, dark = {"vmin": 0, "vmax": chance}, chance / 2
        numbered(axis, values.to_numpy(), form, dark, **looks)
        named = [layer_label(layers[index]) for index in values.columns]
        axis.set_xticks(np.arange(values.shape[1]), named, rotation=30, ha="left")
        axis.xaxis.tick_top()
        axis.set_title(PANELS[column].split("\n(")[0].replace("\n", " "), fontsize=7.5)
    left.set_yticks(np.arange(len(networks)), networks["label"], fontsize=6.5)
    for axis in (left, right):
        axis.tick_params(axis="x", labelsize=6, pad=1)
    return figure
