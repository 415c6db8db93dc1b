"""Whether simplified condensed images still keep earlier tasks from being forgotten."""

from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.names import set_label
from figures.results import Results
from figures.simplifying import images_in, look, own_images

TITLES = {0: "rehearsed", 1: "rehearsed and distilled"}  # by `distilled`


def draw(results: Results) -> Figure:
    """Mean accuracy of the tasks seen so far, without and with distillation; beside, that of each task at the end."""
    table = results.simplicity["rehearse"]
    none, used = table[table["rehearsed"] == 0], table[table["rehearsed"] == 1]
    order = table.groupby("task")["stage"].min().sort_values().index
    tasks = [fill(set_label(own_images(results) if task == "own" else task), 12) for task in order]
    ways = {way: used[used["distilled"] == way] for way in TITLES if (used["distilled"] == way).any()}
    looks = {weight: look(place) for place, weight in enumerate(sorted(used["weight"].unique()))}
    figure, axes = plt.subplots(1, len(ways) + 1, figsize=(6.3, 2.9), sharey=True, layout="constrained")
    for axis, (way, rehearsed) in zip(axes, ways.items(), strict=False):
        for rows, shown in _lines(none, rehearsed, looks):
            _line(axis, over_seen(rows), **shown)
        axis.set_xticks(range(1, len(tasks) + 1), [f"{'+ ' * bool(i)}{task}" for i, task in enumerate(tasks)])
        axis.set_title(f"mean over tasks seen,\n{TITLES[way]}", fontsize=7.5)
    last = table["stage"].max()
    for rows, shown in _lines(none, next(iter(ways.values())), looks):
        end = 100 * rows[rows["stage"] == last].pivot(index="seed", columns="task", values="accuracy")[order]
        _line(axes[-1], end.set_axis(range(1, len(tasks) + 1), axis=1), **shown | {"linestyle": ""})
    axes[-1].set_xticks(range(1, len(tasks) + 1), tasks)
    axes[-1].set_title(f"each task after the last,\n{TITLES[next(iter(ways))]}", fontsize=7.5)
    axes[0].set_ylabel(f"accuracy, %,\nof {images_in(table['n_test'])} images a task")
    for axis in axes:
        axis.set_xlim(0.7, len(tasks) + 0.3)
        axis.tick_params(axis="x", labelsize=6)
    bits = used.groupby("weight")["bpd"].mean()
    handles = [
        plt.Line2D([], [], color=colour, marker=marker, label=f"λ = {weight:g}, {bits[weight]:.2f} bits")
        for weight, (colour, marker) in looks.items()
    ]
    handles.append(plt.Line2D([], [], color="0.35", marker="X", linestyle="--", label="nothing rehearsed"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    return figure


def over_seen(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy in percent over the tasks seen so far, by seed (rows) and stage (columns)."""
    return 100 * rows.pivot_table(index="seed", columns="stage", values="accuracy")


def _lines(none: pd.DataFrame, rehearsed: pd.DataFrame, looks: dict) -> list[tuple[pd.DataFrame, dict[str, Any]]]:
    found = [(none, {"color": "0.35", "marker": "X", "linestyle": "--"})]
    for weight, (colour, marker) in looks.items():
        rows = rehearsed[rehearsed["weight"] == weight]
        found.append((rows, {"color": colour, "marker": marker, "linestyle": "-"}))
    return found


def _line(axis: Axes, seeds: pd.DataFrame, **shown: Any) -> None:
    if len(seeds) > 1:
        axis.plot(seeds.columns, seeds.T, **shown | {"linewidth": 0.4, "markersize": 1.5}, alpha=0.5)
    axis.plot(seeds.columns, seeds.mean(), **shown, linewidth=1)
