"""Whether the effect of the architecture survives when every network's gradient follows the same backward rule."""

from math import ceil

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import nothing
from figures.names import FREE, architecture_label, architectures_in_order, loss_kind, recipe_label, wrapped
from figures.results import Results

COLUMNS = 3
RULES = {
    "exact": ("#0072B2", "o", "exact gradient"),
    "straight-through": ("#D55E00", "s", "straight-through last ReLU"),
    "cut-skip": ("#009E73", "^", "gradient through skips cut"),
}


def draw(results: Results) -> Figure:
    """One panel a recipe; an architecture's marks side by side, one for each backward rule."""
    ablations = [name for name, row in results.losses.iterrows() if loss_kind(row) == "ablation"]
    cells = results.cells[(results.cells["judge"] == "median") & results.cells["loss"].isin([FREE, *ablations])]
    cells = cells.assign(rule=cells["loss"].map(results.losses["backward"]))
    ablated = set(cells.loc[cells["rule"] != "exact", "network"])
    networks = results.networks[results.networks.index.isin(ablated)]
    if networks.empty:
        return nothing("This study makes no IRIs by another backward rule.")
    panels = list(dict.fromkeys(recipe_label(row) for row in networks.itertuples()))
    places = architectures_in_order(networks)
    rows, columns = ceil(len(panels) / COLUMNS), min(len(panels), COLUMNS)
    figure, axes = plt.subplots(
        rows, columns, figsize=(6.3, 0.5 + 1.75 * rows), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    rules = [rule for rule in RULES if rule in set(cells["rule"])]
    for axis, panel in zip(axes.flat, panels, strict=False):
        for name, network in networks.iterrows():
            if recipe_label(network) != panel:
                continue
            for row in cells[cells["network"] == name].itertuples():
                colour, marker, _ = RULES[row.rule]
                x = places.index(row.architecture) + 0.22 * (rules.index(row.rule) - (len(rules) - 1) / 2)
                axis.vlines(x, row.low, row.high, color=colour, linewidth=1.2)
                axis.plot(x, row.alignment, marker, color=colour)
        axis.set(title=panel, ylim=(-5, 105), yticks=[0, 25, 50, 75, 100], xlim=(-0.5, len(places) - 0.5))
        axis.set_xticks(range(len(places)), [wrapped(architecture_label(each), 12) for each in places], fontsize=6.5)
        axis.grid(axis="x", visible=False)
    for axis in list(axes.flat)[len(panels) :]:
        axis.axis("off")
    figure.supylabel("alignment, % (panel median)", fontsize=8)
    handles = [plt.Line2D([], [], color=RULES[rule][0], marker=RULES[rule][1], label=RULES[rule][2]) for rule in rules]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure
