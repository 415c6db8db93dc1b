"""What the stages measured in a study, as figures read it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors import SafetensorError, safe_open

from figures.names import ARCHITECTURES, AUGMENTATIONS, RECIPES
from fourlenses.artifacts import read_csv
from fourlenses.errors import UserError
from fourlenses.similarity.comparisons import FOLDER, Study, read_study

SEED_IMAGE = "super-noise"
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
