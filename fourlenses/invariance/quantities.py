"""The quantities that decide the claims about invariances, each recomputed whole in every resample.

A quantity takes the tables, the number of resamples and a generator, and returns an Estimate; it raises Undecided
where the study lacks what it needs. "Some" and "every" are the best and the worst network, so that a claim about
every network can hold for a part of them. Alignments are panel medians in percent, differences in percentage points.
A new quantity is one function and one line in QUANTITIES. Here are those that compare losses and judges; those that
compare networks by how they were built and trained are in comparisons.py. Source: spec section 1, after Nanda et al.
2023.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import groupby

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fourlenses.invariance import comparisons
from fourlenses.invariance.cells import LEAST_KEPT, Cell, Tables, extreme, least_n, of_loss, panel_judges, read_cells
from fourlenses.statistics import Estimate, Undecided

LARGEST_RATIO = 1.5  # of mean errors, for two losses to be matched


def _strongest(found: list[Cell]) -> dict[str, Cell]:
    """The paper's form of the regularizer (away from the target) at the largest weight of the study, by network.

    Of losses of equal weight (that look through different trunks) it is the one made for most networks.
    """
    away = [cell for cell in found if cell.regularizer == "away"]
    if not away:
        raise Undecided("this study has no loss with the regularizer away")
    made = Counter(cell.loss for cell in away)
    return of_loss(found, max(away, key=lambda cell: (cell.weight, made[cell.loss])).loss)


def _by_network(found: list[Cell]) -> dict[str, list[Cell]]:
    return {network: list(group) for network, group in groupby(found, key=lambda cell: cell.network)}


def _standard(chosen: dict[str, Cell]) -> dict[str, Cell]:
    standard = {network: cell for network, cell in chosen.items() if cell.standard}
    if not standard:
        raise Undecided("this study has no standard network")
    return standard


def _paired(first: dict[str, Cell], second: dict[str, Cell]) -> list[tuple[Cell, Cell]]:
    if set(first) != set(second):
        raise Undecided(f"one of two losses is missing for {', '.join(sorted(set(first) ^ set(second)))}")
    return [(first[network], second[network]) for network in first]


def loss_range(tables: Tables, n_resamples: int, generator: np.random.Generator, kind: str = "any") -> Estimate:
    """Largest range of alignment over losses within one network, at matched error: max_g (max_L A - min_L A).

    Only IRIs accepted at matched error count, and only losses that leave at least ten of them. `kind` is the kind of
    network: any, standard or robust.
    """
    found = [cell for cell in read_cells(tables, n_resamples, generator) if kind == "any" or getattr(cell, kind)]
    if not found:
        raise Undecided(f"this study has no {kind} network")
    ranges, n, short = [], [], []
    for network, group in _by_network(found).items():
        usable = [cell for cell in group if cell.usable]
        short += [f"{cell.loss} of {network} ({cell.n_kept})" for cell in group if not cell.usable]
        if len(usable) > 1:
            kept = np.stack([cell.alignment_kept for cell in usable])
            ranges.append(kept.max(axis=0) - kept.min(axis=0))
            n += [cell.n_kept for cell in usable]
    note = f"fewer than {LEAST_KEPT} IRIs accepted: {', '.join(short)}" if short else ""
    if not ranges:
        raise Undecided(f"no {kind} network has two losses to compare at matched error; {note}".rstrip("; "))
    return extreme(ranges, True, min(n), note)


def adversarial_alignment(tables: Tables, n_resamples: int, generator: np.random.Generator, every: bool) -> Estimate:
    """Alignment by the strongest adversarial loss, all IRIs: the highest (`every`) or lowest over networks."""
    chosen = _strongest(read_cells(tables, n_resamples, generator))
    return extreme([cell.alignment for cell in chosen.values()], every, least_n(chosen.values()))


def adversarial_error_ratio(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Mean error of the strongest adversarial loss over that of the regularizer-free one, the highest over networks."""
    found = read_cells(tables, n_resamples, generator)
    free, chosen = of_loss(found, "free"), _strongest(found)
    return extreme(
        [strong.error / bare.error for strong, bare in _paired(chosen, free)], True, least_n(chosen.values())
    )


def adversarial_alignment_matched(
    tables: Tables, n_resamples: int, generator: np.random.Generator, rule: str
) -> Estimate:
    """Alignment at matched error by the adversarial loss that does worst for the network; the highest over networks.

    Every form and weight that matches is tried, which gives the claim its best chance. By the `rule` "accepted" a loss
    matches when it leaves at least ten accepted IRIs, and these count; by "ratio" when its mean error is at most
    1.5 times that of the regularizer-free loss, and all its IRIs count. Incomplete if a network has no such loss.
    """
    found = read_cells(tables, n_resamples, generator)
    free = of_loss(found, "free")
    adversarial = [cell for cell in found if cell.adversarial]
    if not adversarial:
        raise Undecided("this study has no adversarial loss")
    if rule == "accepted":
        matched = [cell for cell in adversarial if cell.usable]
        short = f"no adversarial loss leaves {LEAST_KEPT} accepted IRIs"
    else:
        matched = [cell for cell in adversarial if cell.error[0] <= LARGEST_RATIO * free[cell.network].error[0]]
        short = f"every adversarial loss has more than {LARGEST_RATIO} times the regularizer-free error"
    if not matched:
        raise Undecided(f"{short}, for any network")
    worst, n = [], []
    for group in _by_network(matched).values():
        alignments = [cell.alignment_kept if rule == "accepted" else cell.alignment for cell in group]
        worst.append(np.stack(alignments).min(axis=0))
        n += [cell.n_kept if rule == "accepted" else cell.n for cell in group]
    left = sorted({cell.network for cell in adversarial} - {cell.network for cell in matched})
    note = f"{short} for {', '.join(left)}" if left else ""
    return replace(extreme(worst, True, min(n), note), complete=not left)


def human_leaning_gain(tables: Tables, n_resamples: int, generator: np.random.Generator, every: bool) -> Estimate:
    """A(transforms) - A(free) of a standard network: the smallest (`every`) or largest over them."""
    found = read_cells(tables, n_resamples, generator)
    free, human = _standard(of_loss(found, "free")), _standard(of_loss(found, "transforms"))
    gains = [leaning.alignment - bare.alignment for leaning, bare in _paired(human, free)]
    return extreme(gains, not every, min(least_n(free.values()), least_n(human.values())))


def _between(chosen: dict[str, Cell]) -> Float[ndarray, " r"]:
    if len(chosen) < 2:
        raise Undecided("this study has one network, so there is nothing between networks")
    stacked = np.stack([cell.alignment for cell in chosen.values()])
    return stacked.max(axis=0) - stacked.min(axis=0)


def network_range(tables: Tables, n_resamples: int, generator: np.random.Generator, loss: str) -> Estimate:
    """Range of alignment between networks by one loss; "adversarial" is the strongest adversarial loss."""
    found = read_cells(tables, n_resamples, generator)
    chosen = _strongest(found) if loss == "adversarial" else of_loss(found, loss)
    return Estimate(_between(chosen), least_n(chosen.values()))


def compression(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """How much smaller the range between networks is by the human-leaning loss than by the regularizer-free one."""
    found = read_cells(tables, n_resamples, generator)
    free, human = of_loss(found, "free"), of_loss(found, "transforms")
    return Estimate(_between(free) - _between(human), min(least_n(free.values()), least_n(human.values())))


def kendall_tau(scores: Float[ndarray, "r items judges"]) -> Float[ndarray, "r pairs"]:
    """Kendall's tau-b between every two judges over the items, in every resample.

    tau_jk = sum_p s_jp s_kp / sqrt(sum_p s_jp^2 sum_p s_kp^2), s_jp the sign of judge j's difference on item pair p.
    Arguments: `scores`, at least two items and two judges. Returns NaN for a judge that ties all items.
    """
    first, second = np.triu_indices(scores.shape[1], 1)
    j, k = np.triu_indices(scores.shape[2], 1)
    taus = []
    for block in np.array_split(scores, max(1, len(scores) // 100)):
        signs = np.sign(block[:, first] - block[:, second]).astype(np.float32)
        gram = signs.transpose(0, 2, 1) @ signs
        norm = np.sqrt(gram[:, j, j] * gram[:, k, k])
        taus.append(np.divide(gram[:, j, k], norm, out=np.full(norm.shape, np.nan, np.float32), where=norm > 0))
    return np.concatenate(taus).astype(float)


def judge_agreement(
    tables: Tables, n_resamples: int, generator: np.random.Generator, loss: str, every: bool
) -> Estimate:
    """Kendall's tau between two judges of the panel: its median over pairs of judges, or the smallest (`every`).

    The items are all (network, loss) cells (`loss` "all"), or the networks by one loss.
    """
    found = read_cells(tables, n_resamples, generator)
    chosen = found if loss == "all" else list(of_loss(found, loss).values())
    if len(chosen) < 3:
        raise Undecided(f"a ranking of {len(chosen)} cells says nothing")
    panel = panel_judges(tables["results/judges.csv"])
    if len(panel) < 2:
        raise Undecided("the panel has one judge")
    scores = np.stack([cell.alignments for cell in chosen], axis=1)
    taus = kendall_tau(scores)
    tied = [judge for judge, spread in zip(panel, np.ptp(scores[0], axis=0), strict=True) if spread == 0]
    if np.isnan(taus[0]).all():
        raise Undecided("all judges but one give every cell the same alignment")
    defined, values = ~np.isnan(taus).all(axis=1), np.full(len(taus), np.nan)
    values[defined] = (np.nanmin if every else np.nanmedian)(taus[defined], axis=1)
    note = f"{', '.join(tied)} cannot rank: the same alignment everywhere" if tied else ""
    return Estimate(values, min(cell.n for cell in chosen), note)


def control_failures(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Share of the negative controls J9 that fail the sanity test, in percent; resampled over the draws of J9."""
    judges = tables["results/judges.csv"]
    fails = 1.0 - judges.loc[judges["judge"].str.startswith("J9"), "passes"].to_numpy(float)
    if not len(fails):
        raise Undecided("this study has no negative control J9")
    draws = generator.multinomial(len(fails), np.full(len(fails), 1 / len(fails)), size=n_resamples)
    return Estimate(100 * np.concatenate([[fails.mean()], draws @ fails / len(fails)]), len(fails))


QUANTITIES: dict[str, Callable[[Tables, int, np.random.Generator], Estimate]] = {
    "loss range in some network": loss_range,
    "loss range in some standard network": partial(loss_range, kind="standard"),
    "loss range in some robust network": partial(loss_range, kind="robust"),
    "adversarial alignment in some network": partial(adversarial_alignment, every=False),
    "adversarial alignment in every network": partial(adversarial_alignment, every=True),
    "adversarial error ratio in every network": adversarial_error_ratio,
    "adversarial alignment, accepted IRIs": partial(adversarial_alignment_matched, rule="accepted"),
    "adversarial alignment, matched mean error": partial(adversarial_alignment_matched, rule="ratio"),
    "human-leaning gain in some standard network": partial(human_leaning_gain, every=False),
    "human-leaning gain in every standard network": partial(human_leaning_gain, every=True),
    "range between networks, free": partial(network_range, loss="free"),
    "range between networks, adversarial": partial(network_range, loss="adversarial"),
    "range lost by the human-leaning loss": compression,
    "robust gain in some architecture": partial(comparisons.robust_gain, every=False),
    "robust gain in every architecture": partial(comparisons.robust_gain, every=True),
    "agreement on networks, free": partial(judge_agreement, loss="free", every=False),
    "agreement on cells, median pair": partial(judge_agreement, loss="all", every=False),
    "agreement on cells, every pair": partial(judge_agreement, loss="all", every=True),
    "controls that fail": control_failures,
    "residual gain over vgg, free": partial(comparisons.residual_gain, plain="vgg", loss="free"),
    "residual gain over vgg, straight-through": partial(
        comparisons.residual_gain, plain="vgg", loss="straight-through"
    ),
    "residual gain over resnet-noskip, free": partial(comparisons.residual_gain, plain="resnet-noskip", loss="free"),
    "alignment by augmentation alone in some architecture": partial(comparisons.augmentation_alone, every=False),
    "alignment by augmentation alone in every architecture": partial(comparisons.augmentation_alone, every=True),
    "range between architectures of the effect of augmentation": comparisons.augmentation_range,
    "gain by adversarial views in every architecture": comparisons.adversarial_views_gain,
    "contrastive lead at the best epoch": partial(comparisons.contrastive_lead, best=True),
    "contrastive lead at the final epoch": partial(comparisons.contrastive_lead, best=False),
    "effect of colour in every architecture": comparisons.colour_effect,
    "accuracy lead of the better aligned, some pair": partial(comparisons.trust, over="some"),
    "accuracy lead of the better aligned, mean pair": partial(comparisons.trust, over="mean"),
    "accuracy lead of the better aligned, every pair": partial(comparisons.trust, over="every"),
}
