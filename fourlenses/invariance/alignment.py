"""2AFC alignment: how often the judges see the target, and not the seed image, in an IRI."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fourlenses.statistics import bootstrap_alignment

CELL = [
    "network", "architecture", "recipe", "augment", "beta", "epoch", "loss", "regularizer", "weight", "through",
    "backward", "fourier", "transforms", "targets", "seed_image",
]  # fmt: skip


def tabulate(
    answers: pd.DataFrame,
    judges: Sequence[str],
    panel: Sequence[str],
    n_resamples: int,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Alignment of each cell (network, epoch, loss, targets, seed image) by each judge, and by the panel's median.

    A = 100/N sum_i [judge picks x_t for x*_i], a tie counting half, over all IRIs and over those accepted at matched
    representation error (`_kept`); intervals are 95 % bootstrap over images and seeds.

    Arguments: `answers`, one row per IRI with the columns of results/answers.csv; `judges`, its columns to tabulate;
    `panel`, those whose median is taken. Returns the rows of results/alignment.csv; `_kept` is NaN where no IRI is
    accepted. Source: spec 2.7, 3.1; Nanda et al. 2023.
    """
    rows = []
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
        votes = {judge: group[judge].to_numpy(float).reshape(1, seeds, -1) for judge in judges}
        votes["median"] = np.concatenate([votes[judge] for judge in panel])
        for judge, vote in votes.items():
            value, low, high = bootstrap_alignment(vote, n_resamples, generator)
            kept = bootstrap_alignment(np.where(accepted, vote, np.nan), n_resamples, generator)
            names = ("alignment_kept", "low_kept", "high_kept")
            measured = {"judge": judge, "alignment": value, "low": low, "high": high}
            rows.append(common | measured | dict(zip(names, kept, strict=True)))
    return pd.DataFrame(rows)
