"""What a benchmark costs at other sizes: one grows at a time, the table and the figure that show it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.side_by_side import interleaved
from fourlenses import runtime
from fourlenses.artifacts import write_csv

Sides = dict[str, Callable[[int], Any]]  # name: what is timed, of the repetition


def write_scaling(
    path: Path,
    repetitions: int,
    base: Mapping[str, int],
    sizes: Mapping[str, Sequence[int]],
    sides_of: Callable[..., Sides],
    ylabel: str = "seconds",
    names: Mapping[str, str] | None = None,
) -> None:
    """Median seconds of every side as each size grows from `base`, into a table (CSV) and a figure (SVG) beside it.

    Arguments: `path`, of the table (varied, the sizes, side, seconds); `sides_of`, the sides at given sizes; `names`,
    of the axes, where they are not those of the sizes.
    """
    rows = []
    for varied, values in sizes.items():
        for value in values:
            size = {**base, varied: value}
            sides = sides_of(**size)
            interleaved(1, **sides)
            spent, _ = interleaved(repetitions, **sides)
            rows += [{"varied": varied, **size, "side": side, "seconds": each} for side, each in spent.items()]
    table = pd.DataFrame(rows)
    write_csv(path, table)
    draw(table, ylabel, names or {}).savefig(path.with_suffix(".svg"))


def draw(table: pd.DataFrame, ylabel: str, names: Mapping[str, str]) -> Figure:
    """Seconds against each size, a panel each, both axes logarithmic."""
    panels = list(table.groupby("varied", sort=False))
    with plt.style.context(runtime.ROOT / "figures" / "style.mplstyle"):
        size = (2.0 * len(panels) + 0.5, 2.2)
        figure, axes = plt.subplots(1, len(panels), figsize=size, sharey=True, layout="constrained", squeeze=False)
        for axis, (varied, part) in zip(axes[0], panels, strict=True):
            for side, line in part.groupby("side", sort=False):
                axis.loglog(line[varied], line["seconds"], "o-", label=side)
            axis.set_xlabel(names.get(varied, varied))
            axis.set_xticks(part[varied].unique(), part[varied].unique())
            axis.xaxis.set_minor_locator(NullLocator())
        spread = table["seconds"].max() / table["seconds"].min()
        shared = axes[0, 0].yaxis
        shared.set_major_locator(LogLocator(10, subs=(1, 2, 5) if spread > 5 else (1, 1.5, 2, 3, 4, 5, 6, 8)))
        shared.set_major_formatter("{x:g}")
        shared.set_minor_locator(NullLocator())
        axes[0, 0].set_ylabel(ylabel)
        axes[0, 0].legend()
    return figure
