"""Bootstrap over training seeds and images together, vectorised over resamples."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from numpy import ndarray


class Undecided(Exception):
    """The results do not hold what a quantity needs; the message says what is missing."""


@dataclass(frozen=True)
class Estimate:
    """A quantity, its resamples and the smallest number of answers behind it.

    Arguments: `values`, (1 + resamples,), the estimate first; `n`, answers (images x seeds) in its smallest cell;
    `note`, what a reader must know of it; `complete`, False if it could not be measured on all that it speaks of.
    """

    values: Float[ndarray, " r"]
    n: int
    note: str = ""
    complete: bool = True

    @property
    def effect(self) -> float:
        """The estimate on the answers as they are."""
        return float(self.values[0])

    @property
    def interval(self) -> tuple[float, float]:
        """The central 95 % of the resamples, widened where needed to hold the estimate."""
        resampled = self.values[1:][~np.isnan(self.values[1:])]
        if np.isnan(self.effect) or not len(resampled):
            return float("nan"), float("nan")
        low, high = np.quantile(resampled, (0.025, 0.975))
        return float(min(low, self.effect)), float(max(high, self.effect))


def resampling_counts(
    n_seeds: int, n_images: int, n_resamples: int, generator: np.random.Generator
) -> tuple[Int[ndarray, "r seeds"], Int[ndarray, "r images"]]:
    """Draw how often each seed and each image enters each resample; row 0 is the sample itself.

    Arguments: `n_seeds`, `n_images`, >= 1; `n_resamples`, >= 1; `generator`, the source of the draws.
    Returns counts of shape (1 + n_resamples, n_seeds) and (1 + n_resamples, n_images); each row sums to its width.
    """
    seeds = generator.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=n_resamples)
    images = generator.multinomial(n_images, np.full(n_images, 1 / n_images), size=n_resamples)
    return np.vstack([np.ones((1, n_seeds), int), seeds]), np.vstack([np.ones((1, n_images), int), images])


@dataclass(frozen=True)
class Draws:
    """Resamples of training seeds and of images: how often each was drawn, the first row being the sample itself.

    Image i of every set and network is drawn together, since most sets are versions of the same test images.
    """

    seeds: list[int]
    seed_counts: Float[ndarray, "r seeds"]
    image_counts: Float[ndarray, "r images"]

    def mean(self, values: Num[ndarray, "*shape n"]) -> Float[ndarray, "r *shape"]:
        """Mean over the first n images, of one seed, in every resample; NaN where none of them was drawn."""
        counts = self.image_counts[:, : values.shape[-1]]
        sums = np.tensordot(counts, values.astype(float), (1, values.ndim - 1))
        total = counts.sum(axis=1).reshape(-1, *[1] * (values.ndim - 1))
        return np.divide(sums, total, out=np.full(sums.shape, np.nan), where=total > 0)

    def over_seeds(self, values: Iterable[Float[ndarray, "r *shape"]]) -> Float[ndarray, "r *shape"]:
        """Mean over seeds of what was measured on each, in their order."""
        total = 0.0
        for counts, value in zip(self.seed_counts.T, values, strict=True):
            total = total + counts.reshape(-1, *[1] * (value.ndim - 1)) * value
        return total / len(self.seeds)

    def estimate(self, values: Float[ndarray, " r"], n_images: int, note: str = "", complete: bool = True) -> Estimate:
        """A quantity of these resamples, measured on so many images."""
        alone = "one training seed: the interval is over images only" if len(self.seeds) == 1 else ""
        return Estimate(values, n_images * len(self.seeds), "; ".join(filter(None, [note, alone])), complete)


def drawn_images(n_images: int, n_resamples: int, generator: np.random.Generator) -> Float[ndarray, "r images"]:
    """How often each image is drawn in every resample, after a first row of once each."""
    # the multinomial counts of `resampling_counts` in a fifth of the time, which with many images is what takes long
    drawn = generator.integers(n_images, size=(n_resamples, n_images)) + n_images * np.arange(n_resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
    return np.vstack([np.ones(n_images), counts])


def drawn_seeds(
    seeds: Iterable[int], n_resamples: int, generator: np.random.Generator
) -> tuple[list[int], Float[ndarray, "r seeds"]]:
    """The seeds in order, and how often each is drawn in every resample; raises Undecided without any."""
    seeds = sorted(int(seed) for seed in seeds)
    if not seeds:
        raise Undecided("what is to be compared has no training seed in common")
    counts, _ = resampling_counts(len(seeds), 1, n_resamples, generator)
    return seeds, counts.astype(float)


def resampled_means(
    answers: Float[ndarray, "judges seeds images"],
    seed_counts: Int[ndarray, "r seeds"],
    image_counts: Int[ndarray, "r images"],
) -> Float[ndarray, "r judges"]:
    """Mean over seeds and images in each resample, leaving out what is NaN.

    m_rj = sum_si u_rs v_ri a_jsi / sum_si u_rs v_ri [a_jsi is a number], with the counts u and v.
    Arguments: `answers`, any finite value or NaN where dropped; the counts as from `resampling_counts`.
    Returns (resamples, judges), NaN where a resample holds no answer.
    """
    kept = ~np.isnan(answers)
    total = np.einsum("rs,jsi,ri->rj", seed_counts, np.where(kept, answers, 0.0), image_counts, optimize=True)
    count = np.einsum("rs,jsi,ri->rj", seed_counts, kept.astype(float), image_counts, optimize=True)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def resampled_alignment(
    answers: Float[ndarray, "judges seeds images"],
    seed_counts: Int[ndarray, "r seeds"],
    image_counts: Int[ndarray, "r images"],
) -> Float[ndarray, "r judges"]:
    """Alignment in percent by each judge in each resample: A = 100 / N sum_i a_i.

    Arguments: `answers`, 1 (target), 0 (seed), 0.5 (tie), NaN (dropped); the counts as from `resampling_counts`, which
    all judges share. Returns (resamples, judges), NaN where a resample holds no answer.
    Raises ValueError on an answer outside [0, 1]. Source: Nanda et al. 2023, 2AFC; spec 3.1.
    """
    if np.nanmin(answers, initial=0.0) < 0 or np.nanmax(answers, initial=1.0) > 1:
        raise ValueError("answers outside [0, 1]")
    return 100 * resampled_means(answers, seed_counts, image_counts)
