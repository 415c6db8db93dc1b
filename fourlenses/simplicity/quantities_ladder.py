"""The quantities that ask whether bits under one prior order images by their visual simplicity; see quantities.py.

Bits are those of the study's first prior. A claim names a data set by the names it may have in a study, in order of
preference; every set is resampled on its own. Source: spec section 1 (C1), after Schirrmeister et al. 2022.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fourlenses.simplicity.tables import Tables, arrays, spearman, table
from fourlenses.statistics import Estimate, Undecided, drawn_images

BLACK, NOISE = ("black",), ("noise",)
DIGITS, CLOTHES, NUMBERS = ("mnist", "mnist5k"), ("fashion-mnist",), ("svhn",)
NATURAL = ("cifar10", "cifar10-jpeg75", "photos")  # photographs where a study has no CIFAR-10
IMAGES = ("own", "other", "photo")  # kinds of sets whose images differ in what they show


class _Ladder:
    """The bits of every image, by set."""

    def __init__(self, tables: Tables, n_resamples: int, generator: np.random.Generator) -> None:
        rows = table(tables, "ladder")
        prior = rows["prior"].iloc[0]
        rows = rows[rows["prior"] == prior].sort_values("set")
        self.kinds = rows.set_index("set")["kind"]
        self.kept, self.prior = arrays(tables, "ladder"), prior
        self.n_resamples, self.generator = n_resamples, generator

    def named(self, names: tuple[str, ...]) -> str:
        for name in names:
            if name in self.kinds.index:
                return name
        raise Undecided(f"this study has no bits of {' or '.join(names)}")

    def of_kinds(self, *kinds: str) -> list[str]:
        return self.kinds.index[self.kinds.isin(kinds)].tolist()

    def bits(self, name: str) -> Float[ndarray, " images"]:
        return self.kept[f"{name}/{self.prior}/bpd"].astype(float)

    def counts(self, name: str) -> Float[ndarray, "r images"]:
        return drawn_images(len(self.bits(name)), self.n_resamples, self.generator)

    def estimate(self, values: Float[ndarray, " r"], names: list[str], note: str) -> Estimate:
        return Estimate(values, min(len(self.bits(name)) for name in names), note)


def smallest_gap(
    tables: Tables, n_resamples: int, generator: np.random.Generator, chain: tuple[tuple[str, ...], ...],
    in_errors: bool = False,
) -> Estimate:  # fmt: skip
    """The smallest gap in mean bits between neighbours of a chain of sets, from the simplest to the most complex.

    In bits per dimension, or (`in_errors`) over sqrt(e^2 + e'^2) with the standard errors of the two means.
    """
    ladder = _Ladder(tables, n_resamples, generator)
    names = [ladder.named(each) for each in chain]
    means, errors = [], []
    for name in names:
        counts, bits = ladder.counts(name), ladder.bits(name)
        means.append(counts @ bits / len(bits))
        errors.append(np.maximum(counts @ (bits - bits.mean()) ** 2 / len(bits) - (means[-1] - bits.mean()) ** 2, 0))
        errors[-1] /= len(bits)
    gaps, pooled = np.diff(means, axis=0), np.sqrt(np.add(errors[1:], errors[:-1]))
    if in_errors:
        gaps = np.divide(gaps, pooled, out=np.full_like(gaps, np.nan), where=pooled > 0)
    note = ", ".join(f"{name} {mean[0]:.3g}" for name, mean in zip(names, means, strict=True))
    return ladder.estimate(gaps.min(axis=0), names, note)


def correlation_with_png(
    tables: Tables, n_resamples: int, generator: np.random.Generator, pooled: bool
) -> Estimate:  # fmt: skip
    """Spearman's correlation of an image's bits with those of its PNG file.

    Over the images of all sets (`pooled`), or within the set where it is smallest. Constant images, noise, blurred
    versions and composites are left out.
    """
    ladder = _Ladder(tables, n_resamples, generator)
    names = ladder.of_kinds(*IMAGES)
    if not names:
        raise Undecided("this study has no bits of images")
    bits, files = ([values(name) for name in names] for values in (ladder.bits, lambda n: ladder.kept[f"{n}/png"]))
    counts = [ladder.counts(name) for name in names]
    if pooled:
        values = spearman(np.concatenate(bits), np.concatenate(files), np.hstack(counts))
        return ladder.estimate(values, names, ", ".join(names))
    found = np.stack([spearman(*each) for each in zip(bits, files, counts, strict=True)])
    note = ", ".join(f"{name} {value:.3g}" for name, value in zip(names, found[:, 0], strict=True))
    return ladder.estimate(found.min(axis=0), names, note)


def simplified_by_blur(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Share of the images, in percent, that take fewer bits once blurred; the smaller of the study's own and photos."""
    ladder = _Ladder(tables, n_resamples, generator)
    names = {f"{kind}-blurred": ladder.of_kinds(of)[:1] for kind, of in (("own", "own"), ("photos", "photo"))}
    names = {blurred: own[0] for blurred, own in names.items() if own and blurred in ladder.kinds.index}
    if not names:
        raise Undecided("this study has no bits of blurred images")
    shares = {
        own: 100 * ladder.counts(own) @ (ladder.bits(blurred) < ladder.bits(own)) / len(ladder.bits(own))
        for blurred, own in names.items()
    }
    note = ", ".join(f"{name} {share[0]:.3g}" for name, share in shares.items())
    return ladder.estimate(np.min(list(shares.values()), axis=0), list(shares), note)
