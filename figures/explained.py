"""What networks need of single images to keep their decision: images simplified after training."""

from matplotlib.figure import Figure

from figures.drawing import OUTSIDE, WIDTH, canvas
from figures.results import Results
from figures.simplifying import column, explained_networks, few, first_seed

GROUPS = {"wrong": "wrongly classified", "right": "rightly classified"}
ROWS, MARGIN, GAP, BETWEEN, HEAD, UNDER, FOOT, LARGEST = 6, 0.03, 0.04, 0.16, 0.42, 0.13, 0.3, 0.62  # inches


def draw(results: Results) -> Figure:
    """One block a group; a row an image: original, simplified for each network, and as few bits by blur; first seed."""
    table, networks, arrays = results.simplicity["explain"], explained_networks(results), results.simplified["explain"]
    table = first_seed(table)
    seed, groups = table["seed"].iloc[0], [group for group in GROUPS if group in set(table["group"])]
    columns = len(networks) + 2
    size = min((WIDTH - 2 * MARGIN - BETWEEN) / (2 * columns) - GAP, LARGEST)
    shown = min(ROWS, table.groupby(["network", "group"]).size().max())
    height = HEAD + shown * (size + UNDER) + FOOT
    axis = canvas(height)
    for block, group in enumerate(groups):
        left = MARGIN + block * (columns * (size + GAP) + BETWEEN)
        own = {name: table[(table["network"] == name) & (table["group"] == group)] for name in networks.index}
        first = own[networks.index[0]]
        chosen = few(range(len(first)), shown)
        axis.text(left, 0.03, GROUPS[group], va="top", fontsize=7.5)
        texts = [
            (f"{row.label} → {row.predicted}" if group == "wrong" else f"{row.label}") + f" · {row.bpd_before:.2f}"
            for row in first.itertuples()
        ]
        stacks = [("original", arrays.get_tensor(f"{group}/original"), texts, [True] * len(first))]
        for name, network in networks.iterrows():
            images = arrays.get_tensor(f"{name}/{group}/seed{seed}/simplified")
            texts = [f"{bits:.2f}" for bits in own[name]["bpd_after"]]
            stacks.append((f"for\n{network['label']}", images, texts, list(own[name]["kept"] == 1)))
        blurred = arrays.get_tensor(f"{networks.index[0]}/{group}/seed{seed}/blurred")
        texts = [f"{bits:.2f}" for bits in first["bpd_blur"]]
        stacks.append(("blurred", blurred, texts, list(first["kept_blur"] == 1)))
        for title, images, under, kept in stacks:
            axis.text(left + size / 2, HEAD - 0.03, title, ha="center", va="baseline", fontsize=5.5, linespacing=1)
            column(axis, images[chosen], left, HEAD, size, size + UNDER, [kept[i] for i in chosen])
            for row, i in enumerate(chosen):
                top = HEAD + row * (size + UNDER) + size + 0.015
                axis.text(left + size / 2, top, under[i], ha="center", va="top", fontsize=5.5)
            left += size + GAP
    first = networks["label"].iloc[0]
    note = f"under each original: its class → what {first} sees, where wrong · bits per dimension; beside: bits left"
    axis.text(MARGIN, height - 0.15, note, va="bottom", fontsize=6)
    framed = "framed: the network sees another class than in the original"
    axis.text(MARGIN, height - 0.03, framed, va="bottom", fontsize=6, color=OUTSIDE)
    return axis.figure
