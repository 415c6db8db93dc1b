"""Identically represented inputs of a standard and a robust network, by every kind of loss."""

import numpy as np
from matplotlib.figure import Figure

from figures.drawing import OUTSIDE, WIDTH, canvas, picture
from figures.names import loss_label, main_losses, network_label
from figures.results import SEED_IMAGE, Results, of_seed_image

ROWS = 5
MARGIN, GAP, BETWEEN, UNDER, HEAD, FOOT, LARGEST = 0.02, 0.035, 0.13, 0.135, 0.45, 0.2, 0.8  # inches


def draw(results: Results) -> Figure:
    """One row a target; target, seed, then one column a loss for each network; the first training seed."""
    networks, panel = [results.standard, results.robust], results.panel
    losses = main_losses(results.losses)
    votes = of_seed_image(results.answers)
    tensors = results.iris[results.standard]
    indices, chosen = tensors.get_tensor("indices"), _spread_over_classes(tensors.get_tensor("labels"))
    blocks = [2] + [len(losses)] * len(networks)
    spare = 2 * MARGIN + GAP * (sum(blocks) - len(blocks)) + BETWEEN * (len(blocks) - 1)
    size = min((WIDTH - spare) / sum(blocks), LARGEST)
    height = HEAD + len(chosen) * (size + UNDER) + FOOT
    axis = canvas(height)
    tops = [HEAD + row * (size + UNDER) for row in range(len(chosen))]

    left = MARGIN
    shown = {"target": tensors.get_tensor("targets")[chosen]}
    shown["seed"] = np.broadcast_to(tensors.get_tensor(f"seed_images/{SEED_IMAGE}"), shown["target"].shape)
    for title, images in shown.items():
        axis.text(left + size / 2, HEAD - 0.03, title, ha="center", va="bottom", fontsize=6)
        for top, image in zip(tops, images, strict=True):
            picture(axis, image, left, top, size)
        left += size + GAP
    for network in networks:
        left += BETWEEN - GAP
        middle = left + (len(losses) * (size + GAP) - GAP) / 2
        name = network_label(results.networks.loc[network], ", ")
        axis.text(middle, 0.02, name, ha="center", va="top", fontsize=8)
        rows = votes[votes["network"] == network]
        rows = rows[rows["seed"] == rows["seed"].min()]
        for loss in losses:
            answered = rows[rows["loss"] == loss].set_index("image")
            label = loss_label(results.losses.loc[loss])
            axis.text(left + size / 2, HEAD - 0.03, label, ha="center", va="bottom", fontsize=6, linespacing=1)
            if answered.empty:
                axis.text(left + size / 2, tops[0] + size / 2, "not made", ha="center", fontsize=6, color="0.35")
            else:
                images = results.iris[network].get_tensor(f"seed{answered['seed'].iloc[0]}/{loss}/{SEED_IMAGE}/x")
                for top, target in zip(tops, chosen, strict=True):
                    answer = answered.loc[indices[target]]
                    picture(axis, images[target], left, top, size, answer["accepted"] == 1)
                    text = f"{answer['error']:.2f} · {answer[panel].sum():g}/{len(panel)}"
                    axis.text(left + size / 2, top + size + 0.02, text, ha="center", va="top", fontsize=5.5)
            left += size + GAP
    note = f"under each image: representation error · judges, of {len(panel)}, that see the target"
    axis.text(MARGIN, height - 0.03, note, va="bottom", fontsize=6.5)
    framed = "framed: not accepted as an IRI"
    axis.text(WIDTH - MARGIN, height - 0.03, framed, ha="right", va="bottom", fontsize=6.5, color=OUTSIDE)
    return axis.figure


def _spread_over_classes(labels: np.ndarray) -> list[int]:
    """The first target of each of a few classes, evenly spread."""
    classes = np.unique(labels)
    some = classes[np.linspace(0, len(classes) - 1, min(ROWS, len(classes))).round().astype(int)]
    return [int(np.flatnonzero(labels == each)[0]) for each in some]
