"""The negative control: what metrics with random signed weights make of the same IRIs that the panel judges."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import FREE, loss_kind, loss_label, main_losses, network_label
from figures.results import Results

BUTT = {"solid_capstyle": "butt"}
DRAW, JUDGE, MEDIAN = "#D55E00", "0.5", "#0072B2"


def draw(results: Results) -> Figure:
    """One row a network and loss: ten draws of the control above, the panel and its median below."""
    losses = main_losses(results.losses)
    losses = [loss for loss in losses if loss == FREE or loss_kind(results.losses.loc[loss]) == "adversarial"]
    cells = results.cells
    draws = cells[cells["judge"].str.startswith("J9-")]
    if draws.empty:
        return nothing("This study has no negative control.")
    made = set(zip(cells["network"], cells["loss"], strict=True))
    rows = [(network, loss) for network in (results.standard, results.robust) for loss in losses]
    rows = [row for row in rows if row in made]
    figure, axis = plt.subplots(figsize=(6.3, 0.75 + 0.42 * len(rows)), layout="constrained")
    for y, (network, loss) in enumerate(rows):
        here = cells[(cells["network"] == network) & (cells["loss"] == loss)].set_index("judge")["alignment"]
        random, panel = here[here.index.str.startswith("J9-")], here[here.index.isin(results.panel)]
        axis.plot([random.min(), random.max()], [y - 0.16] * 2, color=DRAW, linewidth=0.8)
        axis.plot(random, [y - 0.16] * len(random), "x", color=DRAW)
        axis.plot([panel.min(), panel.max()], [y + 0.16] * 2, color=JUDGE, linewidth=0.8)
        axis.plot(panel, [y + 0.16] * len(panel), "o", color=JUDGE, markersize=3.5)
    medians = cells[cells["judge"] == "median"].set_index(["network", "loss"])
    for y, row in enumerate(rows):
        median = medians.loc[row]
        axis.plot([median["low"], median["high"]], [y + 0.16] * 2, color=MEDIAN, linewidth=3, alpha=0.35, **BUTT)
        axis.plot(median["alignment"], y + 0.16, "D", color=MEDIAN)
    axis.axhline(sum(network == results.standard for network, _ in rows) - 0.5, color="0.6", linewidth=0.6)
    names = results.networks
    labels = [
        f"{network_label(names.loc[each], ', ')}\n{loss_label(results.losses.loc[loss], ' ')}" for each, loss in rows
    ]
    axis.set(yticks=range(len(rows)), yticklabels=labels, ylim=(len(rows) - 0.5, -0.5), xlim=(-3, 103))
    axis.set_xlabel("alignment of the same images, %")
    axis.grid(axis="y", visible=False)
    n_draws = draws["judge"].nunique()
    handles = [
        plt.Line2D([], [], color=DRAW, marker="x", label=f"control: {n_draws} draws of random signed weights"),
        plt.Line2D([], [], color=JUDGE, marker="o", markersize=3.5, label="judges of the panel"),
        plt.Line2D([], [], color=MEDIAN, marker="D", label="their median, 95 % interval"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
