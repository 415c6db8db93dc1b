"""What width and depth do to the block structure of standard and of robust networks."""

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from figures.comparing import base_pair, look, or_nothing, score_of
from figures.results import Results
from fourlenses.statistics import Undecided

SCORES = {
    "s_off": "mean CKA\nof two layers",
    "stage_contrast": "within stages minus\nbetween stages",
    "run_0.8": "longest window\nof mean CKA ≥ 0.8",
}
SWEEPS = {"width": (["width"], "width factor"), "depth": (["depth", "architecture"], "depth, layers with weights")}


@or_nothing
def draw(results: Results) -> Figure:
    """One column a sweep, one row a score; seeds as small marks, their means as a line."""
    study = results.similarity
    base = base_pair(study)
    sweeps = {
        column: {role: study.networks.loc[study.alike(name, *free), column] for role, name in base.items()}
        for column, (free, _) in SWEEPS.items()
    }
    sweeps = {column: found for column, found in sweeps.items() if max(map(len, found.values())) > 1}
    if not sweeps:
        raise Undecided("this study trains networks of one width and depth only")
    figure, axes = plt.subplots(
        len(SCORES), len(sweeps), figsize=(6.3, 5), sharex="col", sharey="row", squeeze=False, layout="constrained"
    )
    for column, (sweep, families) in zip(axes.T, sweeps.items(), strict=True):
        for axis, score in zip(column, SCORES, strict=True):
            for role, sizes in families.items():
                _line(axis, results, sizes.sort_values(), score, role)
            sizes = sorted(set(pd.concat(families.values())))
            axis.set_xscale("log", base=2)
            axis.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axis.xaxis.set_minor_locator(NullLocator())
        column[-1].set_xlabel(SWEEPS[sweep][1])
    for axis, label in zip(axes[:, 0], SCORES.values(), strict=True):
        axis.set_ylabel(label)
    figure.align_ylabels(axes[:, 0])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _line(axis: Axes, results: Results, sizes: pd.Series, score: str, role: str) -> None:
    shown = look(results.similarity, sizes.index[0])
    colour, marker = shown["colour"], shown["marker"]
    values = [score_of(results, name, score) for name in sizes.index]
    for size, seeds in zip(sizes, values, strict=True):
        axis.plot([size] * len(seeds), seeds, marker, color=colour, markersize=3, alpha=0.5)
    axis.plot(sizes, [seeds.mean() for seeds in values], color=colour, marker=marker, label=role)
