"""How far an attack moves what each layer represents."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import DEPTH, base_pair, curve, depth_of, look, or_nothing, profiles
from figures.names import NORMS
from figures.results import Results
from fourlenses.similarity.comparisons import Study

MARKERS = "osD^vPX"


@or_nothing
def draw(results: Results) -> Figure:
    """CKA of each layer on benign images with itself on adversarial images, made on the network that sees them."""
    study = results.similarity
    base = base_pair(study)
    panels = {"equal but for the recipe": {name: (role, look(study, name)) for role, name in base.items()}}
    budgets = study.networks.loc[study.alike(base["robust"], "strength"), "strength"].sort_values()
    budgets = budgets[[len(_attacked(study, name)) > 0 for name in budgets.index]]
    if len(budgets) > 1:
        shades = colormaps["viridis"](np.linspace(0, 0.85, len(budgets)))
        norm = NORMS[study.networks.loc[base["robust"], "norm"]]
        panels[f"{norm} budget in training, of the usual"] = {
            name: (f"{strength:g}", {"colour": shade, "marker": marker})
            for (name, strength), shade, marker in zip(budgets.items(), shades, cycle(MARKERS), strict=False)
        }
    figure, axes = plt.subplots(1, len(panels), figsize=(6.3, 3.2), sharey=True, squeeze=False, layout="constrained")
    for axis, (title, networks) in zip(axes[0], panels.items(), strict=True):
        for name, (label, shown) in networks.items():
            rows = _attacked(study, name)
            if len(rows):
                curve(axis, depth_of(study, name), profiles(study, rows), label, **shown)
        axis.set(xlim=(0, 1), xlabel=DEPTH, title=title)
        axis.legend(loc="lower left")
    axes[0, 0].set(ylim=(min(0, axes[0, 0].get_ylim()[0]), 1.02), ylabel="CKA, benign images – adversarial images")
    return figure


def _attacked(study: Study, name: str) -> pd.DataFrame:
    return study.find("adversarial", study.last(name), study.last(name))
