"""What all figures share: the results, the style, rows of networks, and the same bytes every time."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors import SafetensorError, safe_open

from figures.names import ARCHITECTURES, AUGMENTATIONS, RECIPES, colour_of, network_label
from fourlenses.artifacts import atomic_path, read_csv
from fourlenses.errors import UserError
from fourlenses.similarity.comparisons import FOLDER, Study, read_study

matplotlib.use("Agg")
plt.style.use(["default", Path(__file__).with_name("style.mplstyle")])
WIDTH, TALLEST = 6.3, 8.5  # inches: the text of a page
SEED_IMAGE = "super-noise"
OUTSIDE = "#D55E00"  # frame of an image that is no IRI: its error is above that of the nearest 5 % of image pairs
NETWORK = ["architecture", "recipe", "augment", "beta"]
SIMILARITY = ("networks", "points", "pairs", "scores", "components", "metrics", "bias")
ENTANGLEMENT = (
    "networks", "toy", "toy_points", "temperatures", "curves", "layers", "dynamics", "transfer", "gradients",
    "embedding", "detection", "support", "reliability", "calibration", "gans",
)  # fmt: skip
SIMPLICITY = (
    "glow", "ladder", "simplify", "simplify_history", "baselines", "condense", "condense_history", "explain",
    "explain_history", "explain_distances", "rehearse",
)  # fmt: skip
SIMPLIFIED = ("ladder", "simplify", "condense", "explain")
LOSS = ["transforms", "fourier", "backward", "regularizer", "weight", "through"]


@dataclass(frozen=True)
class Results:
    """What the stages measured in a study; each file is read when a figure first asks for it, and then kept.

    Arguments: `folder`, the study's results; `reported_in`, the paper's numbers (CSV); `names`, the study's networks;
    `standard` and `robust`, the two that figures show in detail.
    """

    folder: Path
    reported_in: Path
    names: tuple[str, ...]
    standard: str
    robust: str

    def files(self) -> list[Path]:
        """Every file that a figure may read."""
        tables = ("answers", "alignment", "judges", "clustering", "recognition", "predictions")
        found = [self.folder / f"{name}.csv" for name in tables] + [self.reported_in]
        found += [self.folder / f"train/{name}.csv" for name in self.names]
        found += [self.folder / f"similarity/{name}.csv" for name in SIMILARITY]
        found += [self.folder / "similarity/hsic.safetensors", self.folder / "sweep.csv"]
        found += [self.folder / f"entanglement/{name}.csv" for name in ENTANGLEMENT]
        found += [self.folder / "entanglement/detection.safetensors", self.folder / "gans.safetensors"]
        found += [self.folder / f"simplicity/{name}.csv" for name in SIMPLICITY]
        found += [self.folder / f"simplicity/{name}.safetensors" for name in SIMPLIFIED]
        return found + [self.folder / f"iris/{name}.safetensors" for name in self.names]

    @cached_property
    def answers(self) -> pd.DataFrame:
        """What every judge said of every IRI."""
        return read_csv(self.folder / "answers.csv")

    @cached_property
    def alignment(self) -> pd.DataFrame:
        """Alignment by network, epoch, loss, targets, seed image and judge."""
        return read_csv(self.folder / "alignment.csv")

    @cached_property
    def cells(self) -> pd.DataFrame:
        """The alignments that the paper's tables speak of; see `of_seed_image`."""
        return of_seed_image(self.alignment)

    @cached_property
    def clustering(self) -> pd.DataFrame:
        """Clustering by network, kind and judge."""
        return read_csv(self.folder / "clustering.csv")

    @cached_property
    def recognition(self) -> pd.DataFrame:
        """How each network sees the IRIs of each other."""
        return read_csv(self.folder / "recognition.csv")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """The class that each network gives each test image."""
        return read_csv(self.folder / "predictions.csv")

    @cached_property
    def reported(self) -> pd.DataFrame:
        """The paper's own numbers, with recipe and augmentation in columns of their own."""
        table = read_csv(self.reported_in)
        table[["recipe", "augment"]] = table["recipe"].str.split("/", expand=True)
        return table

    @cached_property
    def training(self) -> pd.DataFrame:
        """Accuracy by network, seed and epoch, of the networks that were trained."""
        return pd.concat([read_csv(self.folder / f"train/{name}.csv") for name in self.names], ignore_index=True)

    @cached_property
    def judges(self) -> pd.DataFrame:
        """What each judge is."""
        return read_csv(self.folder / "judges.csv")

    @property
    def panel(self) -> list[str]:
        """The judges whose median counts."""
        return self.judges.loc[self.judges["panel"] == 1, "judge"].tolist()

    @cached_property
    def networks(self) -> pd.DataFrame:
        """What each network is, by recipe and then by architecture: the order of networks in every figure."""
        return networks_of(self.alignment)

    @cached_property
    def losses(self) -> pd.DataFrame:
        """What each loss is, in the order of params.yaml."""
        return self.answers.drop_duplicates("loss").set_index("loss")[LOSS]

    @property
    def widely_made(self) -> list[str]:
        """The losses by which half of the networks have IRIs, or more."""
        made = self.cells.groupby("loss")["network"].nunique()
        return [loss for loss in self.losses.index if 2 * made.get(loss, 0) >= len(self.networks)]

    @cached_property
    def iris(self) -> dict[str, Any]:
        """For each network its IRIs, open for reading single tensors: `iris[network].get_tensor(name)`."""
        return {name: _open(self.folder / f"iris/{name}.safetensors") for name in self.names}

    @cached_property
    def similarity(self) -> Study:
        """What the similarity lens compared: its networks, their points, pairs of states, and the HSIC of these."""
        names = ("networks", "points", "pairs")
        tables = {f"{FOLDER}/{name}.csv": read_csv(self.folder / f"similarity/{name}.csv") for name in names}
        hsic = _OnDemand(_open(self.folder / "similarity/hsic.safetensors"))
        return read_study(tables | {f"{FOLDER}/hsic.safetensors": hsic})

    @cached_property
    def scores(self) -> pd.DataFrame:
        """What each state's map is like: scores of its block structure."""
        return read_csv(self.folder / "similarity/scores.csv")

    @cached_property
    def components(self) -> pd.DataFrame:
        """What one component, and what a few images, hold of the variance at each point of each state."""
        return read_csv(self.folder / "similarity/components.csv")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Similarity of layers of the base networks by every metric."""
        return read_csv(self.folder / "similarity/metrics.csv")

    @cached_property
    def bias(self) -> pd.DataFrame:
        """CKA by estimator and batch size, of paired and of shuffled images."""
        return read_csv(self.folder / "similarity/bias.csv")

    @cached_property
    def swept(self) -> pd.DataFrame:
        """Accuracy by network, seed and epoch, of the networks that the similarity lens trains for itself."""
        return read_csv(self.folder / "sweep.csv")

    @cached_property
    def entanglement(self) -> dict[str, pd.DataFrame]:
        """What the entanglement lens measured: its tables by name, each read when it is first asked for."""
        return _Tables(self.folder / "entanglement")

    @cached_property
    def detections(self) -> Any:
        """How each detector scores every image of every set, open for reading single tensors."""
        return _open(self.folder / "entanglement/detection.safetensors")

    @cached_property
    def samples(self) -> Any:
        """Images that each GAN generates along its training, open for reading single tensors."""
        return _open(self.folder / "gans.safetensors")

    @cached_property
    def simplicity(self) -> dict[str, pd.DataFrame]:
        """What the simplicity lens measured: its tables by name, each read when it is first asked for."""
        return _Tables(self.folder / "simplicity")

    @cached_property
    def simplified(self) -> dict[str, Any]:
        """What the simplicity lens made of images, by table: files open for reading single tensors."""
        return _Files(self.folder / "simplicity")


class _Tables(dict):
    """The tables of a folder, each read when it is first asked for and then kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, name: str) -> pd.DataFrame:
        return self.setdefault(name, read_csv(self.folder / f"{name}.csv"))


class _Files(_Tables):
    """The safetensors files of a folder, each opened when it is first asked for."""

    def __missing__(self, name: str) -> Any:
        return self.setdefault(name, _open(self.folder / f"{name}.safetensors"))


class _OnDemand(dict):
    """The tensors of an open file, each read when it is asked for and not kept."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __missing__(self, name: str) -> np.ndarray:
        return self.file.get_tensor(name)


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="numpy")
    except FileNotFoundError:
        raise UserError(f"no file {path}", "the output of an earlier stage", "run `dvc repro`") from None
    except SafetensorError as error:
        given = f"{path} cannot be read ({error})"
        raise UserError(given, "a whole safetensors file of this project", "run the stage that writes it") from None


def of_seed_image(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the paper's tables speak of: the super-noise seed, test images, the end of training."""
    final = table["epoch"] == table.groupby("network")["epoch"].transform("max")
    rows = table[final & (table["seed_image"] == SEED_IMAGE) & (table["targets"] == "test")]
    if rows.empty:
        raise UserError(f"no IRIs from the {SEED_IMAGE} seed", "them in the results", "add it to invert.seed_images")
    return rows


def networks_of(table: pd.DataFrame) -> pd.DataFrame:
    """Architecture, recipe, augmentation and beta of each network, sorted by recipe and then by architecture."""
    known = table.drop_duplicates("network").set_index("network")[NETWORK]
    ranks = {"recipe": list(RECIPES), "augment": list(AUGMENTATIONS), "architecture": list(ARCHITECTURES)}

    def rank(column: pd.Series) -> pd.Series:
        order = ranks.get(column.name)
        return column if order is None else column.map(lambda name: order.index(name) if name in order else len(order))

    return known.sort_values(["recipe", "augment", "beta", "architecture"], key=rank, kind="stable")


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
