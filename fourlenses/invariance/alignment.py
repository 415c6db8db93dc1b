"""2AFC alignment: how often the judges see the target, and not the seed image, in an IRI."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fourlenses.statistics import Estimate, resampled_alignment, resampling_counts

CELL = [
    "network", "architecture", "recipe", "augment", "beta", "epoch", "loss", "regularizer", "weight", "through",
    "backward", "fourier", "transforms", "targets", "seed_image",
]  # fmt: skip

NUMBERS = ("alignment", "low", "high", "alignment_kept", "low_kept", "high_kept")


def tabulate(
    answers: pd.DataFrame,
    judges: Sequence[str],
    panel: Sequence[str],
    n_resamples: int,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Alignment of each cell (network, epoch, loss, targets, seed image) by each judge, and by the panel's median.

    A = 100/N sum_i [judge picks x_t for x*_i], a tie counting half, over all IRIs and over those accepted at matched
    representation error (`_kept`); intervals are 95 % bootstrap over images and seeds, from one set of resamples that
    all cells of equally many seeds and images share.

    Arguments: `answers`, one row per IRI with the columns of results/answers.csv; `judges`, its columns to tabulate;
    `panel`, those whose median is taken. Returns the rows of results/alignment.csv; `_kept` is NaN where no IRI is
    accepted. Source: spec 2.7, 3.1; Nanda et al. 2023.
    """
    rows, drawn = [], {}
    members = [list(judges).index(judge) for judge in panel]
    for cell, group in answers.groupby(CELL, sort=False):
        group = group.sort_values(["seed", "image"])
        seeds = group["seed"].nunique()
        accepted = group["accepted"].to_numpy(bool).reshape(seeds, -1)
        common = dict(zip(CELL, cell, strict=True)) | {
            "n": len(group),
            "n_kept": int(accepted.sum()),
            "seeds": seeds,
            "kept_fraction": accepted.mean(),
            "error_mean": group["error"].mean(),
            "error_median": group["error"].median(),
            "null_low": group["null_low"].mean(),
            "null_median": group["null_median"].mean(),
        }
        if accepted.shape not in drawn:
            drawn[accepted.shape] = resampling_counts(*accepted.shape, n_resamples, generator)
        votes = group[list(judges)].to_numpy(float).T.reshape(len(judges), seeds, -1)
        found = [
            _estimates(each, members, *drawn[accepted.shape]) for each in (votes, np.where(accepted, votes, np.nan))
        ]
        for judge, all_, kept in zip([*judges, "median"], *found, strict=True):
            numbers = dict(zip(NUMBERS, (all_.effect, *all_.interval, kept.effect, *kept.interval), strict=True))
            rows.append(common | {"judge": judge} | numbers)
    return pd.DataFrame(rows)


def _estimates(votes: np.ndarray, members: list[int], seeds: np.ndarray, images: np.ndarray) -> list[Estimate]:
    """The alignment by each judge, then the median over the panel's `members`."""
    means = resampled_alignment(votes, seeds, images)
    means = np.column_stack([means, np.median(means[:, members], axis=1)])
    return [Estimate(values, votes[0].size) for values in means.T]
