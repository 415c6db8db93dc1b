"""The quantities of simplified natural images: the knob, and the trade-off of bits and accuracy; see quantities.py.

A bed of natural images has no distractor. Accuracy is that on the simplified test images, of the classifier trained
jointly or of one retrained on simplified images. Source: spec section 1 (C2, C4), after Schirrmeister et al. 2022.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fourlenses.simplicity.tables import (
    FORM,
    Draws,
    Tables,
    Trained,
    draw,
    kendall,
    simplest,
    table,
    trained,
)
from fourlenses.statistics import Estimate, Undecided, drawn_images

KNOB = "images"  # the bed of the study's own images
LEAST_WEIGHTS, LEAST_SEEDS = 5, 3  # for a rank correlation with the weight
LEAST_SHARE = 0.2  # of the original's bits: so far down goes the area of the trade-off


def _drawn(bed: Trained, n_resamples: int, generator: np.random.Generator) -> Draws:
    return draw(bed.seeds, drawn_images(bed.n_images, n_resamples, generator), n_resamples, generator)


def _knob(tables: Tables, n_resamples: int, generator: np.random.Generator, ranks: bool) -> tuple[Trained, Draws]:
    bed = trained(tables, KNOB)
    if ranks and len(bed.weights) < LEAST_WEIGHTS:
        raise Undecided(f"this study has {len(bed.weights)} weights of the bits, of {LEAST_WEIGHTS} or more")
    return bed, _drawn(bed, n_resamples, generator)


def _ranked(bed: Trained, draws: Draws, values: Float[ndarray, " r"], note: str) -> Estimate:
    """A quantity that compares weights by rank; of fewer than LEAST_SEEDS seeds it can refute and not support."""
    few = len(bed.seeds) < LEAST_SEEDS
    note += f"; training seeds: {len(bed.seeds)}, of {LEAST_SEEDS} or more" if few else ""
    return Estimate(values, len(draws.seeds) * bed.n_images, note, complete=not few)


def bits_with_weight(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Kendall's correlation of the weight of the bits with the bits of the simplified test images, mean over seeds."""
    bed, draws = _knob(tables, n_resamples, generator, ranks=True)
    by_seed = (kendall(draws.mean(bed.images(seed, "bpd")), bed.weights) for seed in draws.seeds)
    bits = bed.mean(draws, "bpd")[0]
    note = "bits " + ", ".join(f"{value:.3g} at {weight:g}" for weight, value in zip(bed.weights, bits, strict=True))
    return _ranked(bed, draws, draws.over_seeds(by_seed), note)


def accuracy_with_weight(
    tables: Tables, n_resamples: int, generator: np.random.Generator, classifier: str
) -> Estimate:  # fmt: skip
    """How accuracy changes with the weight: the median over pairs of weights of larger minus smaller one, in points.

    It is negative just where Kendall's correlation is, and small where accuracy is flat. The `classifier` is the
    "joint" or the "retrained" one; accuracies are means over seeds.
    """
    bed, draws = _knob(tables, n_resamples, generator, ranks=True)
    accuracy = 100 * bed.mean(draws, classifier)
    first, second = np.triu_indices(len(bed.weights), 1)
    note = ", ".join(f"{value:.4g} % at {weight:g}" for weight, value in zip(bed.weights, accuracy[0], strict=True))
    return _ranked(bed, draws, np.median(accuracy[:, second] - accuracy[:, first], axis=1), note)


def bits_saved(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """How many bits fewer the simplified test images take at the largest weight, in percent of the originals'."""
    bed, draws = _knob(tables, n_resamples, generator, ranks=False)
    values = 100 * (1 - bed.mean(draws, "bpd")[:, -1] / bed.original(draws, "original/bpd"))
    return draws.estimate(values, bed.n_images, f"weight {bed.weights[-1]:g}")


def saved_otherwise(tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str) -> Estimate:
    """The same by another measure, a pair of columns of the table: bits of "png" files, or at full "contrast_bpd".

    Resamples are over seeds alone; one seed gives no interval.
    """
    bed, draws = _knob(tables, n_resamples, generator, ranks=False)
    original, simplified = (draws.of_table(bed.column(f"{measure}_{of}"))[:, -1] for of in ("original", "simplified"))
    several = len(bed.seeds) > 1
    note = f"weight {bed.weights[-1]:g}" + ("" if several else "; one seed gives no interval")
    return Estimate(100 * (1 - simplified / original), len(bed.seeds), note, complete=several)


class _Curve:
    """What a natural bed keeps of its accuracy at what share of its bits, in every resample.

    `bits` and `accuracy` are (r, 1 + weights), relative to originals, the first being the originals themselves;
    `lost` is the accuracy lost in points.
    """

    def __init__(self, bed: Trained, n_resamples: int, generator: np.random.Generator) -> None:
        draws = _drawn(bed, n_resamples, generator)
        plain, retrained = bed.original(draws, "plain")[:, None], bed.mean(draws, "retrained")
        bits = bed.mean(draws, "bpd") / bed.original(draws, "original/bpd")[:, None]
        ones = np.ones_like(plain)
        self.name, self.plain, self.n = bed.name, plain[0, 0], len(bed.seeds) * bed.n_images
        self.bits, self.alone = np.hstack([ones, bits]), len(bed.seeds) == 1
        relative = np.divide(retrained, plain, out=np.full_like(retrained, np.nan), where=plain > 0)
        self.accuracy = np.hstack([ones, relative])
        self.lost = np.hstack([0 * ones, 100 * (plain - retrained)])

    def area(self, lowest: float) -> Float[ndarray, " r"]:
        """Between the accuracy and 1, over the share of bits from `lowest` to 1: the integral of a broken line."""
        found = np.empty(len(self.bits))
        for row, (bits, accuracy) in enumerate(zip(self.bits, self.accuracy, strict=True)):
            order = np.argsort(bits, kind="stable")
            inside = bits[order][(bits[order] > lowest) & (bits[order] < 1)]
            at = np.concatenate([[lowest], inside, [1.0]])
            found[row] = np.trapezoid(1 - np.interp(at, bits[order], accuracy[order]), at)
        return found

    def fewest(self) -> Float[ndarray, " r"]:
        """The smallest share of bits at which MOST_LOST points of accuracy or less are lost."""
        chosen = simplest(self.lost, 1 - self.bits)
        return self.bits[np.arange(len(chosen)), chosen]


def _curves(tables: Tables, n_resamples: int, generator: np.random.Generator) -> list[_Curve]:
    """Every natural bed, the easiest first: by the accuracy of a classifier trained and tested on originals."""
    rows = table(tables, "simplify")
    names = np.sort(rows.loc[rows["distractor"].isna() & (rows["form"] == FORM), "bed"].unique())
    if len(names) < 2:
        raise Undecided(f"this study simplifies {len(names)} sets of natural images, of two or more")
    curves = [_Curve(trained(tables, name), n_resamples, generator) for name in names]
    return sorted(curves, key=lambda curve: -curve.plain)


def _harder_minus_easier(curves: list[_Curve], values: list[Float[ndarray, " r"]], note: str = "") -> Estimate:
    found = ", ".join(f"{curve.name} {value[0]:.3g}" for curve, value in zip(curves, values, strict=True))
    notes = [note, f"from easy to hard {found}"]
    notes += [f"{curve.name} has one training seed" for curve in curves if curve.alone]
    return Estimate(np.diff(values, axis=0).min(axis=0), min(c.n for c in curves), "; ".join(filter(None, notes)))


def area_gap(tables: Tables, n_resamples: int, generator: np.random.Generator, whole: bool) -> Estimate:
    """How much more accuracy a harder set loses over the same share of bits, at neighbours where it is least.

    The difference of the areas between relative accuracy and 1, over shares of bits from LEAST_SHARE to 1 (`whole`),
    which every bed must reach, or as far down as every bed reaches.
    """
    curves = _curves(tables, n_resamples, generator)
    reached = max(curve.bits[0].min() for curve in curves)
    if reached >= 1:
        raise Undecided("not every set of natural images takes fewer bits at some weight")
    if whole and reached > LEAST_SHARE:
        raise Undecided(f"a set reaches {100 * reached:.3g} % of its bits, of {100 * LEAST_SHARE:g} % or less")
    lowest = max(LEAST_SHARE, reached)
    areas = [curve.area(lowest) for curve in curves]
    return _harder_minus_easier(curves, areas, f"down to {100 * lowest:.3g} % of the bits")


def fewest_bits_gap(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """How much further an easier set goes down within MOST_LOST points, as a share of bits, at neighbours of least."""
    curves = _curves(tables, n_resamples, generator)
    return _harder_minus_easier(curves, [curve.fewest() for curve in curves])
