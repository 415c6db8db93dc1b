"""What the released code shows where a ReLU in place overwrites a batch normalisation before it is read."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import base_pair, heat_map, or_nothing, own_maps
from figures.results import Results


@or_nothing
def draw(results: Results) -> Figure:
    """One row a base network: its map by our hooks, as the released hooks would show it, and the difference."""
    study = results.similarity
    base = base_pair(study)
    stacks = {role: own_maps(study, study.last(name)).mean(axis=0) for role, name in base.items()}
    points = study.layout(base["standard"])
    released = {role: as_released(values, points["aliased_by"].to_numpy()) for role, values in stacks.items()}
    most = max(0.01, *[np.abs(released[role] - ours).max() for role, ours in stacks.items()])
    figure, axes = plt.subplots(2, 3, figsize=(6.3, 4.6), layout="constrained")
    for row, (role, ours) in zip(axes, stacks.items(), strict=True):
        for axis, title, values in zip(row, ("ours", "as released"), (ours, released[role]), strict=False):
            image = heat_map(axis, values, points)
            axis.set_title(f"{role}, {title}: mean {off_diagonal(values):.3f}", fontsize=7)
        change = heat_map(row[2], released[role] - ours, points)
        change.set(cmap="PuOr", clim=(-most, most))
        row[2].set_title(f"{role}, released − ours", fontsize=7)
        row[0].set_ylabel("stage")
    for axis in axes[1]:
        axis.set_xlabel("stage")
    where = {"location": "bottom", "fraction": 0.05, "pad": 0.02, "aspect": 40}
    figure.colorbar(image, ax=axes[1, :2], label="linear CKA, debiased", **where)
    figure.colorbar(change, ax=axes[1, 2], label="difference", **where | {"aspect": 20})
    return figure


def as_released(values: np.ndarray, aliased_by: np.ndarray) -> np.ndarray:
    """The map in which each overwritten point shows what overwrote it. Source: spec 2, section 6.1, pitfall 1."""
    return values[np.ix_(aliased_by, aliased_by)]


def off_diagonal(values: np.ndarray) -> float:
    """Mean CKA of two different layers."""
    return values[~np.eye(len(values), dtype=bool)].mean()
