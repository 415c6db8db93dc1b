"""The answers of the panel, arranged as cells (network, loss) and resampled once for all of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.statistics import Estimate, Undecided, resampled_means, resampling_counts

SEED_IMAGE = "super-noise"  # the seed of every table in the paper; other seed images are reported, not judged
LEAST_KEPT = 10  # a cell with fewer accepted images says nothing at matched error
ROBUST = ("adversarial", "trades", "mart")
ADVERSARIAL = ("away", "toward")
UNTRAINED = "untrained"  # a control, left out of every claim about trained networks
Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Cell:
    """The IRIs of one network at one epoch by one loss: alignment by judge and mean error, in every resample.

    Arguments: `alignments` and `alignments_kept`, (resamples, judges), percent, over all and over the accepted IRIs;
    `error`, (resamples,), mean relative representation error; `n` and `n_kept`, IRIs behind them.
    """

    network: str
    architecture: str
    recipe: str
    augment: str
    epoch: int
    loss: str
    regularizer: str
    weight: float
    alignments: Float[ndarray, "r judges"]
    alignments_kept: Float[ndarray, "r judges"]
    error: Float[ndarray, " r"]
    n: int
    n_kept: int

    @property
    def alignment(self) -> Float[ndarray, " r"]:
        """Median over the panel, in percent."""
        return np.median(self.alignments, axis=1)

    @property
    def alignment_kept(self) -> Float[ndarray, " r"]:
        """Median over the panel among the IRIs accepted at matched error, in percent."""
        return np.median(self.alignments_kept, axis=1)

    @property
    def usable(self) -> bool:
        """Whether enough IRIs were accepted to speak of matched error."""
        return self.n_kept >= LEAST_KEPT

    @property
    def standard(self) -> bool:
        """Whether the network was trained without any adversary, on the usual augmentation."""
        return self.recipe == "standard" and self.augment == "crop"

    @property
    def robust(self) -> bool:
        """Whether the network was trained against an adversary with labels (AT, TRADES, MART)."""
        return self.recipe.startswith(ROBUST)

    @property
    def adversarial(self) -> bool:
        """Whether the IRIs were made with the adversarial regularizer, in either form."""
        return self.regularizer in ADVERSARIAL


def panel_judges(judges: pd.DataFrame) -> list[str]:
    """Names of the judges that belong to the panel, from results/judges.csv."""
    return judges.loc[judges["panel"] == 1, "judge"].tolist()


def judged(answers: pd.DataFrame, backward: str = "exact", checkpoints: bool = False) -> pd.DataFrame:
    """The answers that claims speak of: trained networks, test images as targets, the super-noise seed.

    Arguments: `answers`, results/answers.csv; `backward`, the rule by which the IRIs were made, of which any but the
    exact one is an ablation and no loss of the paper; `checkpoints`, every epoch and not only a network's last.
    Raises Undecided where there are none.
    """
    rows = answers[
        (answers["recipe"] != UNTRAINED)
        & (answers["targets"] == "test")
        & (answers["seed_image"] == SEED_IMAGE)
        & (answers["backward"] == backward)
    ]
    if rows.empty:
        raise Undecided(f"no IRIs of trained networks from the {SEED_IMAGE} seed with the backward rule {backward}")
    return rows if checkpoints else rows[rows["epoch"] == rows.groupby("network")["epoch"].transform("max")]


def cells(rows: pd.DataFrame, judges: list[str], n_resamples: int, generator: np.random.Generator) -> list[Cell]:
    """Arrange answers by network, loss and epoch, every cell under the same resamples of seeds and images.

    Arguments: `rows`, from `judged`, one per (network, epoch, seed, loss, image), answers in [0, 1]; `judges`, the
    columns to read; `n_resamples`, >= 1; `generator`, the source of the resamples.
    Returns the cells in order of network, loss and epoch, so that the order of rows does not matter.
    Raises ValueError on a repeated row or an answer that is not one.
    """
    if rows.duplicated(["network", "epoch", "loss", "seed", "image"]).any():
        raise ValueError("answers.csv repeats a row of one network, epoch, loss, seed and image")
    if not (rows[judges].ge(0) & rows[judges].le(1)).all(axis=None) or not np.isfinite(rows["error"]).all():
        raise ValueError("answers.csv holds an answer outside [0, 1] or an error that is no number")
    seeds, images = np.unique(rows["seed"]), np.unique(rows["image"])
    counts = resampling_counts(len(seeds), len(images), n_resamples, generator)
    arranged = []
    for (network, loss, epoch), group in rows.groupby(["network", "loss", "epoch"], sort=True):
        where = np.searchsorted(seeds, group["seed"]), np.searchsorted(images, group["image"])
        accepted = (group["accepted"] == 1).to_numpy()
        values = np.full((2 * len(judges) + 1, len(seeds), len(images)), np.nan)
        votes = 100 * group[judges].to_numpy(float).T
        values[: len(judges), *where] = votes
        values[len(judges) : -1, *where] = np.where(accepted, votes, np.nan)
        values[-1, *where] = group["error"]
        means = resampled_means(values, *counts)
        first = group.iloc[0]
        arranged.append(
            Cell(
                str(network), str(first["architecture"]), str(first["recipe"]), str(first["augment"]), int(epoch),
                str(loss), str(first["regularizer"]), float(first["weight"]), means[:, : len(judges)],
                means[:, len(judges) : -1], means[:, -1], len(group), int(accepted.sum()),
            )
        )  # fmt: skip
    return arranged


def read_cells(
    tables: Tables, n_resamples: int, generator: np.random.Generator, backward: str = "exact", checkpoints: bool = False
) -> list[Cell]:
    """The cells of the panel that claims speak of, from the tables of a study; see `judged` and `cells`."""
    rows = judged(tables["results/answers.csv"], backward, checkpoints)
    return cells(rows, panel_judges(tables["results/judges.csv"]), n_resamples, generator)


def of_loss(found: list[Cell], loss: str) -> dict[str, Cell]:
    """The cells of one loss by network, of one epoch each; raises Undecided without any."""
    chosen = {cell.network: cell for cell in found if cell.loss == loss}
    if not chosen:
        raise Undecided(f"this study has no loss called {loss}")
    return chosen


def least_n(chosen: Iterable[Cell]) -> int:
    """The smallest number of IRIs behind any of the cells."""
    return min(cell.n for cell in chosen)


def extreme(estimates: list[Float[ndarray, " r"]], largest: bool, n: int, note: str = "") -> Estimate:
    """The largest or smallest of several quantities, chosen anew in every resample; NaN where none is defined."""
    stacked = np.stack(estimates)
    filled = np.where(np.isnan(stacked), -np.inf if largest else np.inf, stacked)
    values = filled.max(axis=0) if largest else filled.min(axis=0)
    return Estimate(np.where(np.isinf(values), np.nan, values), n, note)
