"""What images look like after simplifying, by the weight of their bits."""

import numpy as np
from matplotlib.figure import Figure

from figures.drawing import TALLEST, WIDTH, canvas
from figures.results import Results
from figures.simplifying import beds, column, first_seed, images_in

COLUMNS, LEFT, BETWEEN, GAP, HEAD, UNDER, FOOT, LARGEST = 12, 0.62, 0.12, 0.03, 0.22, 0.13, 0.17, 0.62  # inches


def draw(results: Results) -> Figure:
    """One block a bed without a distractor: images of different classes, a row a weight, with their bits."""
    table, about, arrays = results.simplicity["simplify"], beds(results), results.simplified["simplify"]
    shown = about.index[about["natural"]]
    weights = {bed: sorted(first_seed(table[table["bed"] == bed])["weight"]) for bed in shown}
    each = max(1, COLUMNS // len(shown))
    width = (WIDTH - len(shown) * LEFT - (len(shown) - 1) * BETWEEN) / len(shown)
    rows = 1 + max(len(found) for found in weights.values())
    size = min(width / each - GAP, LARGEST, (TALLEST - HEAD - FOOT) / rows - UNDER)
    axis = canvas(HEAD + rows * (size + UNDER) + FOOT)
    for place, bed in enumerate(shown):
        left = place * (width + LEFT + BETWEEN) + LEFT
        seed = table.loc[table["bed"] == bed, "seed"].min()
        chosen = spread_over_classes(arrays.get_tensor(f"{bed}/labels"), each)
        axis.text(left, 0.03, about.loc[bed, "name"], va="top", fontsize=7.5)
        folder = f"{bed}/seed{seed}"
        stacks = {"original": (arrays.get_tensor(f"{bed}/original"), arrays.get_tensor(f"{folder}/original/bpd"))}
        for weight in weights[bed]:
            key = f"{folder}/{weight:g}"
            stacks[f"λ = {weight:g}"] = arrays.get_tensor(f"{key}/images"), arrays.get_tensor(f"{key}/bpd")
        for row, (label, (images, bits)) in enumerate(stacks.items()):
            top = HEAD + row * (size + UNDER)
            text = f"{label}\n{bits.mean():.2f}"
            axis.text(left - 0.05, top + size / 2, text, ha="right", va="center", fontsize=6)
            for i, image in enumerate(chosen):
                at = left + i * (size + GAP)
                column(axis, images[image : image + 1], at, top, size, size)
                axis.text(at + size / 2, top + size + 0.015, f"{bits[image]:.2f}", ha="center", va="top", fontsize=5.5)
    n = images_in(table.loc[table["bed"].isin(shown), "n_test"])
    note = f"beside each row: bits per dimension, mean of {n} test images; under each image: its own"
    axis.text(0.03, axis.figure.get_figheight() - 0.03, note, va="bottom", fontsize=6)
    return axis.figure


def spread_over_classes(labels: np.ndarray, most: int) -> list[int]:
    """Some images, the first of each class before the second of any, in the order of their classes."""
    turn = np.array([(labels[:i] == label).sum() for i, label in enumerate(labels)])
    order = np.lexsort((labels, turn))[:most]
    return sorted(order.tolist(), key=lambda i: (labels[i], i))
