"""Identically represented inputs of every network, by recipe: what each recipe makes a network blind to."""

import numpy as np
from matplotlib.figure import Figure

from figures.drawing import OUTSIDE, TALLEST, WIDTH, canvas, picture
from figures.names import colour_of, loss_kind, loss_label, main_losses, network_label
from figures.results import SEED_IMAGE, Results, of_seed_image

NAMES, MARGIN, GAP, BETWEEN, HEAD, FOOT = 1.6, 0.02, 0.03, 0.15, 0.42, 0.2  # inches
NARROWEST, SMALLEST, LARGEST = 0.52, 0.24, 0.5


def draw(results: Results) -> Figure:
    """One row a network, one column a loss; two targets of different classes if they fit, of the first seed."""
    losses, networks = _columns(results), results.networks
    tensors = results.iris[results.standard]
    labels = tensors.get_tensor("labels")
    others = np.flatnonzero(labels != labels[0])
    fits = 2 * NARROWEST * len(losses) + BETWEEN <= WIDTH - NAMES - MARGIN
    chosen = [0, int(others[len(others) // 2])] if len(others) and fits else [0]
    pitch = (WIDTH - NAMES - MARGIN - BETWEEN * (len(chosen) - 1)) / (len(chosen) * len(losses))
    tall = (TALLEST - HEAD - FOOT - 0.7) / (len(networks) + 1) - GAP
    size = max(min(pitch - GAP, tall, LARGEST), SMALLEST)
    pitch = min(pitch, 1.5 * size + GAP if size > 0.4 else pitch)
    rules = networks["recipe"].ne(networks["recipe"].shift()).cumsum() - 1  # how many recipes came before
    first = HEAD + size + 0.1
    tops = [first + row * (size + GAP) + 0.06 * rule for row, rule in enumerate(rules)]
    height = tops[-1] + size + FOOT
    axis = canvas(height)

    for top, network, starts in zip(tops, networks.itertuples(), rules.diff().ne(0), strict=True):
        where = {"ha": "right", "va": "center", "fontsize": 6, "linespacing": 1, "color": colour_of(network.recipe)}
        axis.text(NAMES - 0.06, top + size / 2, network_label(network), **where)
        if starts:
            axis.plot([0, WIDTH], [top - 0.045, top - 0.045], color="0.85", linewidth=0.5)
    votes = of_seed_image(results.answers)
    left = NAMES
    for target in chosen:
        shown = {"target": tensors.get_tensor("targets")[target]}
        shown["seed"] = tensors.get_tensor(f"seed_images/{SEED_IMAGE}")
        for column, (title, image) in enumerate(shown.items()):
            x = left + (pitch - size) / 2 + column * (size + GAP)
            axis.text(x + size / 2, 0.02, title, ha="center", va="top", fontsize=6)
            picture(axis, image, x, 0.13, size)
        answered = votes[votes["image"] == tensors.get_tensor("indices")[target]].sort_values("seed")
        answered = answered.drop_duplicates(["network", "loss"]).set_index(["network", "loss"])
        for loss in losses:
            middle = left + pitch / 2
            text = loss_label(results.losses.loc[loss])
            axis.text(middle, first - 0.06, text, ha="center", va="bottom", fontsize=5.5, linespacing=1)
            for top, network in zip(tops, networks.index, strict=True):
                if (network, loss) in answered.index:
                    answer = answered.loc[(network, loss)]
                    x = results.iris[network].get_slice(f"seed{answer['seed']}/{loss}/{SEED_IMAGE}/x")[target]
                    picture(axis, x, middle - size / 2, top, size, answer["accepted"] == 1)
                else:
                    axis.text(middle, top + size / 2, "–", ha="center", va="center", color="0.6")
            left += pitch
        left += BETWEEN
    note = {"y": height - 0.03, "va": "bottom", "fontsize": 6.5}
    axis.text(x=MARGIN, s="–: not made; losses that few networks have are left out", **note)
    axis.text(x=WIDTH - MARGIN, s="framed: not accepted as an IRI", ha="right", color=OUTSIDE, **note)
    return axis.figure


def _columns(results: Results) -> list[str]:
    """Of the losses that half of the networks have: the human-leaning, and each adversarial at its largest weight."""
    main = main_losses(results.losses)
    kinds = {name: loss_kind(row) for name, row in results.losses.iterrows()}
    return [name for name in results.widely_made if name in main or kinds[name] == "human-leaning"]
