"""The quantities that compare networks by how they were built and trained; see quantities.py for their form.

All use the regularizer-free loss. Networks of one architecture, recipe and augmentation count as one, by their mean.
Source: spec section 1 (C5 to C10, C13), after Nanda et al. 2023.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.invariance.cells import Cell, Tables, extreme, least_n, of_loss, read_cells
from fourlenses.statistics import Estimate, Undecided, resampled_means, resampling_counts

AT = "adversarial-l2"  # the recipe of the paper's adversarially trained networks
LEAST_GAP = 40.0  # percentage points of alignment, for one of two networks to be the better aligned
OVER = {"some": np.ma.max, "mean": np.ma.mean, "every": np.ma.min}  # how pairs of networks are summed up


def _groups(found: Iterable[Cell], recipe: str, augment: str) -> dict[str, list[Cell]]:
    """The cells of one recipe and augmentation by architecture; raises Undecided without any."""
    groups: dict[str, list[Cell]] = {}
    for cell in found:
        if (cell.recipe, cell.augment) == (recipe, augment):
            groups.setdefault(cell.architecture, []).append(cell)
    if not groups:
        raise Undecided(f"this study has no network of the recipe {recipe} with the augmentation {augment}")
    return groups


def _group(found: Iterable[Cell], architecture: str, recipe: str, augment: str) -> list[Cell]:
    """The cells of one architecture, recipe and augmentation; raises Undecided without any."""
    groups = _groups(found, recipe, augment)
    if architecture not in groups:
        raise Undecided(f"this study has no {architecture} of the recipe {recipe} with the augmentation {augment}")
    return groups[architecture]


def _mean(group: list[Cell]) -> Float[ndarray, " r"]:
    return np.mean([cell.alignment for cell in group], axis=0)


def _differences(
    found: Iterable[Cell], first: tuple[str, str], second: tuple[str, str]
) -> tuple[dict[str, Float[ndarray, " r"]], int]:
    """A(first) - A(second) of two kinds (recipe, augmentation), by architecture, and the smallest n."""
    one, other = _groups(found, *first), _groups(found, *second)
    both = [architecture for architecture in one if architecture in other]
    if not both:
        raise Undecided(f"no architecture was trained both by {' with '.join(first)} and by {' with '.join(second)}")
    n = least_n(cell for architecture in both for cell in one[architecture] + other[architecture])
    return {architecture: _mean(one[architecture]) - _mean(other[architecture]) for architecture in both}, n


def _by_architecture(effects: dict[str, Float[ndarray, " r"]], what: str) -> str:
    return f"{what}: " + ", ".join(f"{architecture} {values[0]:+.3g}" for architecture, values in effects.items())


def _free(tables: Tables, n_resamples: int, generator: np.random.Generator) -> list[Cell]:
    return list(of_loss(read_cells(tables, n_resamples, generator), "free").values())


def robust_gain(tables: Tables, n_resamples: int, generator: np.random.Generator, every: bool) -> Estimate:
    """A(robust) - A(standard), same architecture and augmentation: the smallest (`every`) or largest over pairs."""
    free = _free(tables, n_resamples, generator)
    gains = [
        robust.alignment - standard.alignment
        for robust in free
        for standard in free
        if robust.robust and standard.standard
        and (robust.architecture, robust.augment) == (standard.architecture, standard.augment)
    ]  # fmt: skip
    if not gains:
        raise Undecided("no architecture was trained both with the standard and with a robust recipe")
    return extreme(gains, not every, least_n(free))


def residual_gain(tables: Tables, n_resamples: int, generator: np.random.Generator, plain: str, loss: str) -> Estimate:
    """A(resnet) - A(`plain`), adversarially trained networks; `loss` is "free" or, same loss, "straight-through".

    With `plain` the residual network without its skips, it is the ablation.
    """
    backward = "exact" if loss == "free" else loss
    found = of_loss(read_cells(tables, n_resamples, generator, backward), loss).values()
    residual, other = _group(found, "resnet", AT, "crop"), _group(found, plain, AT, "crop")
    return Estimate(_mean(residual) - _mean(other), least_n(residual + other))


def augmentation_alone(tables: Tables, n_resamples: int, generator: np.random.Generator, every: bool) -> Estimate:
    """A(standard, SimCLR's augmentation): the highest (`every`) or lowest over architectures."""
    groups = _groups(_free(tables, n_resamples, generator), "standard", "simclr")
    n = least_n(cell for group in groups.values() for cell in group)
    return extreme([_mean(group) for group in groups.values()], every, n)


def augmentation_range(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Range over architectures of what augmentation adds to adversarial training, A(AT) - A(AT, no augmentation)."""
    effects, n = _differences(_free(tables, n_resamples, generator), (AT, "crop"), (AT, "none"))
    note = _by_architecture(effects, "crop minus none")
    if len(effects) < 2:
        raise Undecided(f"one architecture only was adversarially trained without augmentation ({note})")
    stacked = np.stack(list(effects.values()))
    return Estimate(stacked.max(axis=0) - stacked.min(axis=0), n, note)


def adversarial_views_gain(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """A(SimCLR + adversarial views) - A(SimCLR) at the final epoch, the smallest over architectures."""
    free = _free(tables, n_resamples, generator)
    effects, n = _differences(free, ("simclr-adversarial", "simclr"), ("simclr", "simclr"))
    return extreme(list(effects.values()), False, n)


def colour_effect(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """|A(SimCLR) - A(SimCLR without colour augmentation)|, the largest over architectures."""
    free = _free(tables, n_resamples, generator)
    effects, n = _differences(free, ("simclr", "simclr"), ("simclr", "simclr-without-colour"))
    return extreme([np.abs(values) for values in effects.values()], True, n, _by_architecture(effects, "with colour"))


def contrastive_lead(tables: Tables, n_resamples: int, generator: np.random.Generator, best: bool) -> Estimate:
    """A(SimCLR + adversarial views) - A(AT), residual networks; AT at its final epoch.

    The former is at its final epoch or, chosen anew in every resample, at its `best` one.
    """
    curves: dict[str, list[Cell]] = {}
    for cell in read_cells(tables, n_resamples, generator, checkpoints=True):
        if cell.loss == "free":
            curves.setdefault(cell.network, []).append(cell)
    finals = [curve[-1] for curve in curves.values()]
    supervised = _group(finals, "resnet", AT, "crop")
    contrastive = [curves[final.network] for final in _group(finals, "resnet", "simclr-adversarial", "simclr")]
    chosen = contrastive if best else [curve[-1:] for curve in contrastive]
    reached = np.mean([np.max([cell.alignment for cell in curve], axis=0) for curve in chosen], axis=0)
    note = "one checkpoint only, the final one" if best and max(map(len, contrastive)) == 1 else ""
    n = least_n(supervised + [cell for curve in chosen for cell in curve])
    return Estimate(reached - _mean(supervised), n, note)


def trust(tables: Tables, n_resamples: int, generator: np.random.Generator, over: str) -> Estimate:
    """Accuracy of the better aligned of two networks minus that of the other, on test images where they disagree.

    Delta = 100 sum_i ([h_i = y_i] - [l_i = y_i]) / #{i: h_i != l_i}, for every pair of networks whose alignments
    differ by 40 points or more; resampled over training seeds and test images. `over` all pairs it is the largest
    ("some"), their "mean" or the smallest ("every"). In percentage points.
    """
    free = _free(tables, n_resamples, generator)
    pairs = [(high, low) for high in free for low in free if high.alignment[0] - low.alignment[0] >= LEAST_GAP]
    hits, classes, counts = _predictions(tables["results/predictions.csv"], n_resamples, generator)
    missing = sorted({cell.network for pair in pairs for cell in pair} - set(classes))
    if missing:
        raise Undecided(f"results/predictions.csv lacks {', '.join(missing)}")
    leads = []
    for high, low in ((high.network, low.network) for high, low in pairs):
        disagree = classes[high] != classes[low]
        if disagree.any():
            leads.append(np.where(disagree, 100.0 * (hits[high] - hits[low]), np.nan))
    if not leads:
        raise Undecided(f"no two networks that ever disagree differ by {LEAST_GAP:g} points of alignment")
    means = np.ma.masked_invalid(resampled_means(np.stack(leads), *counts))
    n = min(int((~np.isnan(lead)).sum()) for lead in leads)
    note = f"{len(leads)} pair{'s' * (len(leads) > 1)} of networks"
    return Estimate(OVER[over](means, axis=1).filled(np.nan), n, note)


def _predictions(table: pd.DataFrame, n_resamples: int, generator: np.random.Generator):
    """Hits and predicted classes of every network, (seeds, images), and the resamples of seeds and images."""
    table = table.sort_values(["seed", "image"])
    shape = table["seed"].nunique(), table["image"].nunique()
    if len(table) != np.prod(shape) or table.duplicated(["seed", "image"]).any():
        raise ValueError("predictions.csv must hold every test image once for each seed")
    labels = table["label"].to_numpy().reshape(shape)
    classes = {name: table[name].to_numpy().reshape(shape) for name in table.columns.drop(["seed", "image", "label"])}
    hits = {name: (found == labels).astype(float) for name, found in classes.items()}
    return hits, classes, resampling_counts(*shape, n_resamples, generator)
