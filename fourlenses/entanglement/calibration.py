"""Whether a score means what it says: as a ranking of inputs, and as a probability of being right."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import rankdata


@dataclass(frozen=True)
class Reliability:
    """Inputs by their score: n, mean score and accuracy of each bin; NaN for the means of an empty one."""

    n: Int[ndarray, " bins"]
    mean_score: Float[ndarray, " bins"]
    accuracy: Float[ndarray, " bins"]


def auroc(inside: Float[ndarray, " n"], outside: Float[ndarray, " m"]) -> float:
    """The probability that an input from inside has a higher score than one from outside, ties counting half.

    AUROC = (sum of the ranks of the inside scores - n (n + 1) / 2) / (n m), with mean ranks of ties; 0.5 is chance.
    Raises ValueError if either has no score. Source: Mann and Whitney 1947.
    """
    n, m = len(inside), len(outside)
    if not n or not m:
        raise ValueError(f"{n} scores inside and {m} outside: at least one of each is compared")
    ranks = rankdata(np.concatenate([inside, outside]))
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def reliability(score: Float[ndarray, " n"], right: Bool[ndarray, " n"], bins: int = 10) -> Reliability:
    """Accuracy by score, in `bins` bins of equal width: [0, 1 / bins), ..., the last with 1.

    Arguments: `score`, in [0, 1]; `right`, whether each prediction is; `bins`, at least 1.
    Raises ValueError for a score outside [0, 1]. Source: reliability diagram, Guo et al. 2017 (arXiv:1706.04599).
    """
    if len(score) and not 0 <= score.min() <= score.max() <= 1:
        raise ValueError(f"scores from {score.min():g} to {score.max():g}, not in [0, 1]")
    index = np.minimum((score * bins).astype(int), bins - 1)
    n = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        means = [np.bincount(index, weights=each, minlength=bins) / n for each in (score, right)]
    return Reliability(n, *means)


def ece(score: Float[ndarray, " n"], right: Bool[ndarray, " n"], bins: int = 10) -> float:
    """Expected calibration error sum_b n_b / n |accuracy_b - mean score_b| over the bins of `reliability`.

    Raises ValueError without a score. Source: Guo et al. 2017, equation 3.
    """
    if not len(score):
        raise ValueError("no score to calibrate")
    found = reliability(score, right, bins)
    return float(np.nansum(found.n * np.abs(found.accuracy - found.mean_score)) / len(score))
