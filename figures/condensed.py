"""What condensed images look like, by the weight of their bits."""

import numpy as np
from matplotlib.figure import Figure

from figures.drawing import WIDTH, canvas
from figures.names import architecture_label
from figures.results import Results
from figures.simplifying import column, first_seed, several

MOST, LEFT, GAP, HEAD, FOOT, LARGEST = 10, 0.75, 0.04, 0.2, 0.18, 0.6  # inches; classes at most


def draw(results: Results) -> Figure:
    """One row a weight, one column a class: the first image of each class, of the fewest images, of the first seed."""
    table = results.simplicity["condense"]
    rows = first_seed(table[table["ipc"] == table["ipc"].min()])
    ipc, seed, weights = rows["ipc"].iloc[0], rows["seed"].iloc[0], sorted(rows["weight"].unique())
    own = rows[rows["evaluated_on"] == rows["evaluated_on"].iloc[0]].groupby("weight")[["bpd", "accuracy"]].mean()
    stored = results.simplified["condense"]
    labels = {weight: stored.get_tensor(f"{ipc}/{weight:g}/seed{seed}/labels") for weight in weights}
    classes = np.unique(labels[weights[0]])[:MOST]
    size = min((WIDTH - LEFT) / len(classes) - GAP, LARGEST)
    height = HEAD + len(weights) * (size + GAP) + FOOT
    axis = canvas(height)
    for place, each in enumerate(classes):
        middle = LEFT + place * (size + GAP) + size / 2
        axis.text(middle, HEAD - 0.03, f"{each}", ha="center", va="bottom", fontsize=6.5)
    axis.text(LEFT - 0.06, HEAD - 0.03, "class", ha="right", va="bottom", fontsize=6.5)
    for row, weight in enumerate(weights):
        top = HEAD + row * (size + GAP)
        text = f"λ = {weight:g}\n{own.loc[weight, 'bpd']:.2f}\n{100 * own.loc[weight, 'accuracy']:.1f} %"
        axis.text(LEFT - 0.06, top + size / 2, text, ha="right", va="center", fontsize=6)
        images = stored.get_tensor(f"{ipc}/{weight:g}/seed{seed}/images")
        for place, each in enumerate(classes):
            found = images[labels[weight] == each][:1]
            column(axis, found, LEFT + place * (size + GAP), top, size, size)
    network = architecture_label(rows["evaluated_on"].iloc[0])
    note = f"{several(ipc, 'image')} a class, seed {seed}; beside: mean bits per dimension, and how many of"
    note += f" {rows['n_test'].iloc[0]:,} test images a {network} trained on them gets right"
    axis.text(0.03, height - 0.03, note, va="bottom", fontsize=6)
    return axis.figure
