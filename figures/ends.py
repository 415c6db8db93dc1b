"""How fast layers grow unlike the first layer, and alike to the last."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import DEPTH, curve, depth_of, or_nothing, own_maps, with_controls
from figures.results import Results

HALF = 0.5  # spec 2, C4: where similarity to the first layer first drops below it


@or_nothing
def draw(results: Results) -> Figure:
    """CKA of every layer with the first, and with the last; seeds thin, their mean thick."""
    study = results.similarity
    figure, axes = plt.subplots(1, 2, figsize=(6.3, 2.9), sharey=True, layout="constrained")
    for name, (state, look) in with_controls(results).items():
        own = own_maps(study, state)
        for axis, end in zip(axes, (0, -1), strict=True):
            curve(axis, depth_of(study, state[0]), own[:, end], name, **look)
    for axis, title in zip(axes, ("to the first layer", "to the last layer"), strict=True):
        axis.axhline(HALF, color="0.35", linestyle="--", linewidth=0.7)
        axis.set(xlim=(0, 1), ylim=(min(0, axis.get_ylim()[0]), 1.02), title=title, xlabel=DEPTH)
    axes[0].set_ylabel("CKA")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
