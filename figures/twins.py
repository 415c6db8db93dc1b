"""Whether two trainings end in the same representations, layer by layer: the control of all comparisons."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import DEPTH, base_pair, curve, depth_of, look, or_nothing, profiles, untrained
from figures.results import Results
from fourlenses.similarity.comparisons import cross


@or_nothing
def draw(results: Results) -> Figure:
    """CKA at matched layers of equal networks of other seeds, of standard and robust, and of shuffled images."""
    study = results.similarity
    base = base_pair(study)
    standard, robust = base.values()
    shuffled = [study.find("shuffled", study.last(name), study.last(name)) for name in base.values()]
    lines = {f"{role} – {role}": (study.twins(name), look(study, name)) for role, name in base.items()}
    both = cross(study, standard, robust).rows
    lines["standard – robust"] = both, {"colour": "black", "marker": "D", "style": "--"}
    if name := untrained(study):
        lines["untrained – untrained"] = study.twins(name), look(study, name) | {"style": ":"}
    lines["control: other images"] = pd.concat(shuffled), {"colour": "#CC79A7", "marker": "v", "style": "-."}
    figure, axis = plt.subplots(figsize=(6.3, 3.1), layout="constrained")
    for label, (rows, shown) in lines.items():
        if len(rows):
            curve(axis, depth_of(study, standard), profiles(study, rows), label, **shown)
    axis.set(xlim=(0, 1), ylim=(min(-0.05, axis.get_ylim()[0]), 1.02), xlabel=DEPTH, ylabel="CKA at matched layers")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
