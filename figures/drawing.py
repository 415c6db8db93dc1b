"""What all figures share: the style, rows of networks, pictures on a canvas, and the same bytes every time."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from figures.names import colour_of, network_label
from fourlenses.artifacts import atomic_path

matplotlib.use("Agg")
plt.style.use(["default", Path(__file__).with_name("style.mplstyle")])
WIDTH, TALLEST = 6.3, 8.5  # inches: the text of a page
OUTSIDE = "#D55E00"  # frame of an image that is no IRI: its error is above that of the nearest 5 % of image pairs


def nothing(text: str) -> Figure:
    """A figure that says in one line why there is nothing to show in this study."""
    figure = plt.figure(figsize=(WIDTH, 0.5))
    figure.text(0.5, 0.5, text, ha="center", va="center", color="0.35")
    return figure


def network_rows(networks: pd.DataFrame, titles: Sequence[str], row_height: float = 0.36) -> tuple[Figure, list[Axes]]:
    """Panels side by side with one row a network, for alignment in percent."""
    height = min(0.95 + row_height * len(networks), TALLEST)
    figure, axes = plt.subplots(1, len(titles), figsize=(WIDTH, height), sharex=True, sharey=True, squeeze=False,
                                layout="constrained")  # fmt: skip
    labels = [network_label(row) for row in networks.itertuples()]
    axes[0, 0].set(yticks=np.arange(len(networks)), yticklabels=labels, ylim=(len(networks) - 0.4, -0.5))
    axes[0, 0].tick_params(axis="y", labelsize=6.5)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set(xlim=(-4, 104), xticks=[0, 50, 100])
        axis.set_title(title, fontsize=7)
        axis.set_xlabel("alignment, %", fontsize=7)
        axis.grid(axis="y", visible=False)
    return figure, list(axes[0])


def judged_rows(axis: Axes, cells: pd.DataFrame, networks: pd.DataFrame, panel: Sequence[str]) -> pd.DataFrame:
    """Draw the alignment of each network in its row: single judges light, the median dark; returns the medians."""
    places = {name: y for y, name in enumerate(networks.index)}
    single, median = cells[cells["judge"].isin(panel)], cells[cells["judge"] == "median"]
    axis.scatter(single["alignment"], single["network"].map(places), color="0.72", s=8, linewidth=0)
    y, colours = median["network"].map(places), median["recipe"].map(colour_of)
    axis.hlines(y, median["low"], median["high"], colors=colours, linewidth=2.2, alpha=0.45)
    axis.scatter(median["alignment"], y, color=colours, s=18, zorder=3, clip_on=False)
    return median.assign(y=y, colour=colours)


def stretched(axis: Axes, side: str, values: Iterable[float]) -> None:
    """Make an axis logarithmic where its values are of different magnitude, with numbers written out."""
    values = np.asarray(list(values))
    if 0 < 3 * values.min() < values.max():
        getattr(axis, f"set_{side}scale")("log")
        side = getattr(axis, f"{side}axis")
        side.set_major_locator(LogLocator(subs=(1, 2, 5) if values.max() < 50 * values.min() else (1, 3)))
        side.set_major_formatter("{x:g}")
        side.set_minor_formatter(NullFormatter())


def canvas(height: float) -> Axes:
    """An empty figure whose coordinates are inches from its upper left corner."""
    axis = plt.figure(figsize=(WIDTH, height)).add_axes((0, 0, 1, 1))
    axis.set(xlim=(0, WIDTH), ylim=(height, 0), autoscale_on=False)
    axis.axis("off")
    return axis


def picture(axis: Axes, image: np.ndarray, left: float, top: float, size: float, accepted: bool = True) -> None:
    """Show an image (channels, height, width) on a canvas; framed if it is not accepted as an IRI."""
    pixels = image.clip(0, 1).transpose(1, 2, 0).squeeze()
    extent = (left, left + size, top + size, top)
    axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=extent, aspect="auto")
    if not accepted:
        axis.add_patch(plt.Rectangle((left, top), size, size, fill=False, edgecolor=OUTSIDE, linewidth=1.4))


def files(out: Path) -> list[Path]:
    """The two files of a figure."""
    return [out.with_suffix(".svg"), out.with_suffix(".png")]


def save(figure: Figure, out: Path) -> None:
    """Write the figure as SVG and PNG, without dates or versions in them, and close it."""
    figure.set_dpi(plt.rcParams["savefig.dpi"])  # letters are a little wider on some rasters than on others
    figure.draw_without_rendering()
    figure.set_layout_engine(None)  # what was laid out once serves both files
    for part in figure.subfigs:  # the last bits of a layout differ from run to run, and show in the ids of an SVG
        part.bbox_relative.set_points(part.bbox_relative.get_points().round(9))
    for axes in figure.axes:
        axes.set_position([round(each, 9) for each in axes.get_position(original=True).bounds])
    for path, metadata in zip(files(out), ({"Date": None, "Creator": None}, {"Software": None}), strict=True):
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata=metadata)
    plt.close(figure)
