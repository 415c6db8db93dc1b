"""Whether the signs of adversarial gradients of one class lie together, by network."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.comparing import or_nothing
from figures.entangling import SIDE_BY_SIDE, among
from figures.results import Results
from fourlenses.statistics import Undecided

CLASSES = (  # Paul Tol's muted colours, safe for colour-blind readers
    "#332288", "#CC6677", "#117733", "#882255", "#44AA99", "#999933", "#AA4499", "#6699CC", "#BB8822", "#555555",
)  # fmt: skip
ROWS = {  # which gradient, and by which class its signs are grouped: the column of embedding.csv
    ("untargeted", "true"): ("untargeted,\nby true class", "label"),
    ("targeted", "true"): ("targeted,\nby true class", "label"),
    ("targeted", "target"): ("targeted,\nby target class", "target"),
}


@or_nothing
def draw(results: Results) -> Figure:
    """t-SNE of the signs, each mark the number of its class (first seed); in the titles, means over seeds."""
    table, where = results.entanglement["gradients"], results.entanglement["embedding"]
    networks = among(results, table["network"], SIDE_BY_SIDE)
    if networks.empty:
        raise Undecided("this study compares no adversarial gradients")
    figure, axes = plt.subplots(len(ROWS), len(networks), figsize=(6.3, 6.4), squeeze=False, layout="constrained")
    for row, ((gradient, grouping), (label, column)) in zip(axes, ROWS.items(), strict=True):
        for axis, (name, network) in zip(row, networks.iterrows(), strict=True):
            points = where[(where["network"] == name) & (where["gradient"] == gradient)]
            _numbers(axis, points, column)
            measured = table[(table["network"] == name) & (table["gradient"] == gradient)]
            means = measured[measured["grouping"] == grouping][["entanglement", "purity", "chance_purity"]].mean()
            found = f"{means['entanglement']:.2f} nats, purity {means['purity']:.2f}"
            title = f"{network['label']}\n" if axis in axes[0] else ""
            axis.set_title(f"{title}{found}", fontsize=7)
        row[0].set_ylabel(f"{label}\n(purity by chance {means['chance_purity']:.2f})")
    return figure


def _numbers(axis: Axes, points: pd.DataFrame, column: str) -> None:
    for number, rows in points.groupby(column):
        look = {"color": CLASSES[number % len(CLASSES)], "markersize": 3.4, "markeredgewidth": 0, "alpha": 0.9}
        axis.plot(rows["x"], rows["y"], linestyle="", marker=f"${number}$", **look)
    axis.set(xticks=[], yticks=[])
    axis.set_box_aspect(1)
    axis.spines[["top", "right"]].set_visible(True)
