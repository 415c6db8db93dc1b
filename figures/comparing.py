"""What figures of the similarity lens share: maps and profiles of CKA, the networks they compare, and their looks."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from figures.drawing import nothing
from figures.names import colour_of, marker_of
from figures.results import Results
from fourlenses.similarity.comparisons import State, Study, cka_maps, matched_cka
from fourlenses.similarity.quantities import equally_accurate
from fourlenses.statistics import Undecided

AS_ACCURATE = "standard, as accurate as robust"
DEPTH = "depth of the layer (0 first, 1 last)"


def or_nothing(draw: Callable[[Results], Figure]) -> Callable[[Results], Figure]:
    """A figure that says in one line what the study lacks, where it lacks something."""

    @wraps(draw)
    def drawn(results: Results) -> Figure:
        try:
            return draw(results)
        except Undecided as lack:
            text = f"{lack}."
            return nothing(text[0].upper() + text[1:])

    return drawn


def base_pair(study: Study) -> dict[str, str]:
    """The standard and the robust network that are equal but for the recipe, by role. Raises Undecided without them."""
    return {role: study.base(role) for role in ("standard", "robust")}


def untrained(study: Study) -> str | None:
    """The standard network of the base pair before any training, if the study has it."""
    names = study.alike(study.base("standard"), "recipe", "schedule", "epochs")
    return next((name for name in names if study.networks.loc[name, "recipe"] == "untrained"), None)


def with_controls(results: Results) -> dict[str, tuple[State, dict[str, str]]]:
    """The states whose own maps are shown, and how: standard, robust, and the controls that the study has.

    The controls are the standard network at the epoch where its clean accuracy is nearest to the robust one's last, and
    the untrained one. Source: spec 2, sections 5 and 7.2.
    """
    study = results.similarity
    shown = {role: (study.last(name), look(study, name)) for role, name in base_pair(study).items()}
    with suppress(Undecided):
        state, _ = equally_accurate(study, {"results/sweep.csv": results.swept})
        if state != shown["standard"][0]:
            shown[AS_ACCURATE] = state, {"colour": "#56B4E9", "marker": "v", "style": "--"}
    if name := untrained(study):
        shown["untrained"] = study.last(name), look(study, name) | {"style": ":"}
    return shown


def maps(study: Study, rows: pd.DataFrame, first: str) -> np.ndarray:
    """CKA of all points of one side, the network `first`, with all of the other, (pairs, L, L)."""
    found = []
    for pair, name in rows["network_a"].items():
        arrays = [study.hsic[f"{pair}/{sides}"] for sides in ("ab", "aa", "bb")]
        (values,) = cka_maps(*arrays, np.ones((1, len(arrays[0]))))
        found.append(values if name == first else values.T)
    return np.stack(found)


def own_maps(study: Study, state: State) -> np.ndarray:
    """CKA of all points of a network with each other, (seeds, L, L)."""
    return maps(study, study.find("self", state, state), state[0])


def profiles(study: Study, rows: pd.DataFrame) -> np.ndarray:
    """CKA of each point with its like on the other side, (pairs, L); without rows (0, 1)."""
    found = [np.empty((0, 1))]
    for pair in rows.index:
        arrays = [study.hsic[f"{pair}/{sides}"] for sides in ("ab", "aa", "bb")]
        found.append(matched_cka(*arrays, np.ones((1, len(arrays[0])))))
    return np.concatenate(found[1:] or found)


def similarities(study: Study, names: Sequence[str], depths: tuple[float, float] = (0, 1)) -> np.ndarray:
    """Mean CKA at matched points between each two networks, and on the diagonal between two seeds of one.

    Arguments: `depths`, which points count, from and to, in [0, 1]. Returns NaN where nothing was compared.
    """
    inside = depth_of(study, names[0])
    inside = (inside >= depths[0]) & (inside <= depths[1])
    values = np.full((len(names), len(names)), np.nan)
    for i, a in enumerate(names):
        for j, b in enumerate(names[: i + 1]):
            rows = study.twins(a) if i == j else study.find("cross", study.last(a), study.last(b))
            if len(rows):
                values[i, j] = values[j, i] = profiles(study, rows)[:, inside].mean()
    return values


def depth_of(study: Study, name: str) -> np.ndarray:
    """Depth of each point of a network, in [0, 1]."""
    return study.layout(name)["depth"].to_numpy()


def score_of(results: Results, name: str, score: str) -> pd.Series:
    """A score of a network's map, of all its points, at the end of training, by seed."""
    rows = results.scores
    rows = rows[(rows["network"] == name) & (rows["score"] == score) & (rows["layers"] == "all")]
    return rows[rows["epoch"] == rows["epoch"].max()].set_index("seed")["value"]


def look(study: Study, name: str) -> dict[str, str]:
    """Colour and marker of a network's recipe, for `curve`."""
    recipe = study.networks.loc[name, "recipe"]
    return {"colour": colour_of(recipe), "marker": marker_of(recipe)}


def curve(axis: Axes, x: np.ndarray, lines: np.ndarray, label: str, colour: str, marker: str = "", style: str = "-",
          ) -> None:  # fmt: skip
    """Draw lines over x: each thin, their mean thick with a few markers, so that colour is never alone."""
    if len(lines) > 1:
        axis.plot(x, lines.T, color=colour, linewidth=0.4, alpha=0.5, linestyle=style)
    every = max(1, len(x) // 6)
    axis.plot(x, lines.mean(axis=0), color=colour, linestyle=style, marker=marker, markevery=every, label=label,
              markersize=4)  # fmt: skip


def heat_map(axis: Axes, values: np.ndarray, points: pd.DataFrame) -> AxesImage:
    """Show a map of CKA from 0 to 1, origin bottom left, its axes marked where a stage of the networks begins."""
    image = axis.imshow(values, vmin=0, vmax=1, cmap="inferno", origin="lower", interpolation="nearest")
    axis.grid(visible=False)
    stages = points[points["stage"] != 0].groupby("stage")["index"].agg(["min", "max"])
    inside = stages[stages.index > 0]
    for side in (axis.xaxis, axis.yaxis):
        side.set_ticks(stages["min"] - 0.5, labels=[])
        side.set_ticks(inside.mean(axis=1), labels=[f"{stage}" for stage in inside.index], minor=True)
        side.set_tick_params(which="minor", length=0)
    return image


def matrix(axis: Axes, values: np.ndarray, labels: Sequence[str]) -> AxesImage:
    """Show similarities of networks from 0 to 1 with numbers in them; blank where there is none."""
    image = axis.imshow(np.ma.masked_invalid(values), vmin=0, vmax=1, cmap="cividis", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            text = {"ha": "center", "va": "center", "fontsize": min(6.5, 40 / len(values))}
            axis.text(column, row, f"{value:.2f}", color="white" if value < 0.5 else "black", **text)
    axis.set_xticks(np.arange(len(labels)), labels)
    axis.set_yticks(np.arange(len(labels)), labels)
    axis.tick_params(length=0)
    axis.grid(visible=False)
    axis.set_facecolor("0.92")
    return image
