"""The quantities that ask whether a network knows what it does not know; see quantities.py for their form.

Each compares the entangled network with another, `than` the plain one (as stated) or the control (net of scale), in
the same resamples of training seeds and images. Adversarial sets are those of ATTACKS, each network's own.
Source: spec section 1 (C8 to C10), after Frosst et al. 2019 and Papernot and McDaniel 2018.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Num
from numpy import ndarray

from fourlenses.entanglement.tables import ATTACKS, FOLDER, Draws, Tables, draw, named, table
from fourlenses.statistics import Estimate, Undecided

BINS = 10  # of a reliability diagram
CHUNK = 64  # resamples whose ranks are held at once, so that they stay in the processor's cache


def auroc(inside: Float[ndarray, " n"], outside: list[ndarray], draws: Draws) -> Float[ndarray, "r sets"]:
    """Area under the ROC curve between one set and each of others, in every resample: P(inside > outside), ties half.

    A = sum_ij u_i v_j ([s_i > t_j] + [s_i = t_j] / 2) / (sum_i u_i sum_j v_j), with the counts u, v of the images:
    ranked once, weighted in every resample.
    """
    levels, place = np.unique(inside, return_inverse=True)
    order = np.argsort(place, kind="stable")
    first = np.searchsorted(place[order], np.arange(len(levels)))
    where = [np.searchsorted(levels, each, "left") + np.searchsorted(levels, each, "right") for each in outside]
    found = []
    for counts in np.array_split(draws.image_counts, -(-len(draws.image_counts) // CHUNK)):
        weights = np.ascontiguousarray(counts.T)
        own = np.add.reduceat(weights[order], first, axis=0)
        upto = np.cumsum(own, axis=0)
        below = np.zeros((2 * len(levels) + 1, len(counts)))  # at 2k + 1 below level k and half of it, at 2k below it
        below[2::2], below[1::2] = upto, upto - own / 2
        lost = [np.einsum("jr,jr->r", weights[: len(at)], below[at]) / weights[: len(at)].sum(axis=0) for at in where]
        found.append(1 - np.transpose(lost) / upto[-1][:, None])
    return np.concatenate(found)


def _sets(tables: Tables, kind: str) -> list[str]:
    """The sets of a kind ("ood" or "adversarial"), in the study's order; raises Undecided without any."""
    rows = table(tables, "detection")
    rows = rows[rows["kind"] == kind]
    if kind == "adversarial":
        rows = rows[rows["attack"].isin(ATTACKS)]
    names = rows.sort_values("order", kind="stable")["set"].unique().tolist()
    if not names:
        what = f"images attacked by {' or '.join(ATTACKS)}" if kind == "adversarial" else "images out of distribution"
        raise Undecided(f"this study has no {what}")
    return names


class _Scores:
    """The scores of one network by seed, set and measure."""

    def __init__(self, tables: Tables, network: str) -> None:
        self.arrays, self.network = tables[f"{FOLDER}/detection.safetensors"], network

    def __call__(self, seed: int, name: str, measure: str) -> Num[ndarray, "*shape n"]:
        return self.arrays[f"{self.network}/seed{seed}/{name}/{measure}"]


def _compared(
    tables: Tables, roles: list[str], n_resamples: int, generator: np.random.Generator
) -> tuple[list[_Scores], Draws, int]:
    """The scores of networks by their roles, in the same resamples of their common seeds, and the number of images."""
    rows, names = table(tables, "detection"), [named(tables, role) for role in roles]
    seeds = set.intersection(*(set(rows.loc[rows["network"] == name, "seed"]) for name in names))
    sizes = rows.loc[rows["network"].isin(names), "n"]
    draws = draw(seeds, int(sizes.max()), n_resamples, generator)
    return [_Scores(tables, name) for name in names], draws, int(sizes.min())


def _lead(
    tables: Tables, n_resamples: int, generator: np.random.Generator, than: str,
    measure: Callable[[_Scores, int, Draws], Float[ndarray, "r *sets"]],
) -> tuple[Float[ndarray, "r *sets"], Draws, int]:  # fmt: skip
    """A measure of one seed of the entangled network minus that of the other, mean over seeds, in every resample."""
    both, draws, n = _compared(tables, ["entangled", than], n_resamples, generator)
    own, other = (draws.over_seeds(measure(scores, seed, draws) for seed in draws.seeds) for scores in both)
    return own - other, draws, n


def _credibility(*groups: list[str]) -> Callable[[_Scores, int, Draws], Float[ndarray, "r groups"]]:
    """Mean credibility over the sets of each group, which are of one size."""

    def means(scores: _Scores, seed: int, draws: Draws) -> Float[ndarray, "r groups"]:
        values = [draws.mean(np.stack([scores(seed, name, "credibility") for name in sets])) for sets in groups]
        return np.stack([value.mean(axis=1) for value in values], axis=1)

    return means


def credibility_drop(
    tables: Tables, n_resamples: int, generator: np.random.Generator, than: str, every: bool
) -> Estimate:
    """How much less credible images are out of distribution and under attack, the other minus the entangled network.

    The smaller of the two (`every`) or the larger, each a mean over its sets.
    """
    measure = _credibility(_sets(tables, "ood"), _sets(tables, "adversarial"))
    lead, draws, n = _lead(tables, n_resamples, generator, than, measure)
    note = f"out of distribution {-lead[0, 0]:.3g}, under attack {-lead[0, 1]:.3g}"
    return draws.estimate((np.min if every else np.max)(-lead, axis=1), n, note)


def credibility_on_test(tables: Tables, n_resamples: int, generator: np.random.Generator, than: str) -> Estimate:
    """How far the mean credibilities of the two networks on the test images are apart."""
    lead, draws, n = _lead(tables, n_resamples, generator, than, _credibility(["test"]))
    return draws.estimate(np.abs(lead[:, 0]), n)


def calibration_error(
    score: Float[ndarray, "sets n"], right: Bool[ndarray, "sets n"], draws: Draws
) -> Float[ndarray, "r sets"]:
    """Expected calibration error in every resample: sum_b |sum_{i in b} u_i (right_i - score_i)| / sum_i u_i.

    Bins b are BINS equal parts of [0, 1]; u counts the images.
    """
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    apart = np.where(np.arange(BINS) == place[..., None], (right - score.astype(float))[..., None], 0.0)
    return np.abs(draws.mean(apart.swapaxes(1, 2))).sum(axis=2)


def calibration_lead(tables: Tables, n_resamples: int, generator: np.random.Generator, than: str) -> Estimate:
    """Calibration error of credibility under attack, mean over the sets, the other minus the entangled network."""
    sets = _sets(tables, "adversarial")

    def error(scores: _Scores, seed: int, draws: Draws) -> Float[ndarray, " r"]:
        score, right = (np.stack([scores(seed, name, of) for name in sets]) for of in ("credibility", "right_dknn"))
        return calibration_error(score, right > 0, draws).mean(axis=1)

    lead, draws, n = _lead(tables, n_resamples, generator, than, error)
    return draws.estimate(-lead, n)


def _detected(sets: list[str], measure: str) -> Callable[[_Scores, int, Draws], Float[ndarray, "r sets"]]:
    """AUROC of the test images against each set."""

    def areas(scores: _Scores, seed: int, draws: Draws) -> Float[ndarray, "r sets"]:
        return auroc(scores(seed, "test", measure), [scores(seed, name, measure) for name in sets], draws)

    return areas


def outside_lead(tables: Tables, n_resamples: int, generator: np.random.Generator, than: str, measure: str) -> Estimate:
    """AUROC of test images against the study's first set out of distribution, entangled minus the other network."""
    first = _sets(tables, "ood")[:1]
    lead, draws, n = _lead(tables, n_resamples, generator, than, _detected(first, measure))
    return draws.estimate(lead[:, 0], n, f"against {first[0]}")


def attacked_lead(tables: Tables, n_resamples: int, generator: np.random.Generator, than: str, every: bool) -> Estimate:
    """AUROC by credibility of test images against attacked ones, entangled minus the other network.

    The smallest over attacks and sizes (`every`), or the largest value that most of them reach.
    """
    sets = _sets(tables, "adversarial")
    lead, draws, n = _lead(tables, n_resamples, generator, than, _detected(sets, "credibility"))
    note = ", ".join(f"{name} {value:.3g}" for name, value in zip(sets, lead[0], strict=True))
    return draws.estimate(np.sort(lead, axis=1)[:, 0 if every else (len(sets) - 1) // 2], n, note)


def neighbour_share_drop(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Share of neighbours of the predicted class, test images minus the first set out of distribution.

    In the entangled network, at the hidden layer where the share falls least.
    """
    first = _sets(tables, "ood")[0]
    (scores,), draws, n = _compared(tables, ["entangled"], n_resamples, generator)
    layers = _hidden(table(tables, "support"), scores.network)
    share = [
        draws.over_seeds(draws.mean(scores(seed, name, "support")[layers]) for seed in draws.seeds)
        for name in ("test", first)
    ]
    return draws.estimate((share[0] - share[1]).min(axis=1), n, f"against {first}")


def _hidden(rows: pd.DataFrame, network: str) -> list[int]:
    """Places of the hidden layers among the layers whose neighbours were sought."""
    layers = rows[rows["network"] == network].sort_values("index")["layer"].unique().tolist()
    return [place for place, layer in enumerate(layers) if layer not in ("input", "logits")]
