"""CKA of all pairs of layers: of a standard and of a robust network, between the two, and of two controls."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import AS_ACCURATE, base_pair, curve, heat_map, maps, or_nothing, own_maps, with_controls
from figures.results import Results
from fourlenses.similarity.comparisons import cross


@or_nothing
def draw(results: Results) -> Figure:
    """Maps on one scale, means over training seeds; last, the mean CKA of layers at each distance."""
    study = results.similarity
    standard, robust = base_pair(study).values()
    points, shown = study.layout(standard), with_controls(results)
    own = {name: own_maps(study, state) for name, (state, _) in shown.items()}
    panels = {place: own[name] for place, name in enumerate(("standard", "robust", None, AS_ACCURATE, "untrained"))
              if name in own}  # fmt: skip
    panels[2] = maps(study, cross(study, standard, robust).rows, standard)
    titles = ["standard", "robust", "standard – robust", AS_ACCURATE, "untrained"]
    figure, axes = plt.subplots(2, 3, figsize=(6.3, 4.7), layout="constrained")
    for axis in axes.flat[:-1]:
        axis.set_visible(False)
    for place, stack in panels.items():
        axis = axes.flat[place]
        axis.set_visible(True)
        image = heat_map(axis, stack.mean(axis=0), points)
        axis.set_title(titles[place], fontsize=7)
        axis.set(xlabel="stage", ylabel="stage")
    axes[0, 2].set(xlabel="stage of the robust one", ylabel="stage of the standard one")
    figure.colorbar(image, ax=axes[0], label="linear CKA, debiased", fraction=0.05, pad=0.02, aspect=25)
    distance = np.arange(1, len(points)) / (len(points) - 1)
    for name, (_, look) in shown.items():
        curve(axes[1, 2], distance, by_distance(own[name]), name, **look)
    lowest = min(0, axes[1, 2].get_ylim()[0])
    axes[1, 2].set(xlim=(0, 1), ylim=(lowest, 1), xlabel="distance, share of depth", ylabel="mean CKA")
    axes[1, 2].set_box_aspect(1)
    figure.legend(*axes[1, 2].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def by_distance(maps: np.ndarray) -> np.ndarray:
    """Mean CKA of two layers at distance 1 to L - 1, by map: the means of its diagonals."""
    return np.stack([np.diagonal(maps, d, -2, -1).mean(axis=-1) for d in range(1, maps.shape[-1])], axis=-1)
