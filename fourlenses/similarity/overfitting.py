"""The quantities that ask which layers a robust network changes while it overfits; see quantities.py for their form.

Source: spec section 1 (C5) and 5, after Cianfarani et al. 2022; the controls are ours.
"""

import numpy as np

from fourlenses.similarity.comparisons import (
    Comparison,
    Study,
    Tables,
    accuracy,
    matched_cka,
    place,
    rank_correlation,
    ratio,
    read_study,
    resample,
)
from fourlenses.statistics import Estimate, Undecided

LEAST_LOST = 2.0  # points of robust accuracy, best minus last epoch: below it there is no overfitting to explain


def _overfitted(study: Study, tables: Tables) -> tuple[str, int, int, str]:
    """The first robust network of the step schedule, its best and its last epoch, and a note.

    The best epoch has the highest robust accuracy on the calibration images, mean over seeds, among those kept.
    """
    about = study.networks
    steps = (about["schedule"] == "step") & (about["recipe"] == about.loc[study.base("robust"), "recipe"])
    if not steps.any():
        raise Undecided("this study has no robust network of the step schedule")
    network = steps.idxmax()
    last = study.last(network)[1]
    curve = accuracy(tables, network, "accuracy_robust")
    kept = study.pairs[(study.pairs["kind"] == "epochs") & (study.pairs["network_a"] == network)]["epoch_a"]
    earlier = curve[curve.index.isin(kept) & (curve.index < last)]
    if earlier.empty:
        raise Undecided(f"this study does not compare {network} between epochs")
    best = int(earlier.idxmax())
    lost = 100 * (earlier[best] - curve[last])
    if lost < LEAST_LOST:
        raise Undecided(
            f"{network} does not overfit: from its best epoch to its last it loses {lost:.1f} points of robust "
            f"accuracy, and the claim needs {LEAST_LOST:g} or more"
        )
    return network, best, last, f"epochs {best} to {last}, {lost:.1f} points of robust accuracy lost"


def standard_of(study: Study, network: str) -> str:
    """The standard network trained as long on as many images as this robust one; raises Undecided without one."""
    recipe = study.networks.loc[study.base("standard"), "recipe"]
    alike = study.alike(network, "recipe", "norm", "beta", "strength")
    found = [name for name in alike if study.networks.loc[name, "recipe"] == recipe]
    if not found:
        raise Undecided(f"this study has no standard network trained as {network} was")
    return found[0]


def _movement(study: Study, network: str, first: int, second: int) -> Comparison:
    """p = 1 - CKA of each point with itself at another epoch of the training."""
    rows = study.find("epochs", (network, first), (network, second))
    what = f"epochs {first} and {second} of {network}"
    return Comparison(rows, lambda *arrays: 1 - matched_cka(*arrays), what)


def overfitting_profile(tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str) -> Estimate:
    """How a robust network moves from its best epoch to its last, p = 1 - CKA by point, where it overfits.

    `measure` is "late minus early", of the means of p, or Spearman's "correlation" of p with the depth.
    """
    study = read_study(tables)
    robust, best, last, note = _overfitted(study, tables)
    found = resample(study.hsic, [_movement(study, robust, best, last)], n_resamples, generator)
    (profile,) = found.values
    early, late = (place(study.layout(robust), where) for where in ("early", "late"))
    if measure == "correlation":
        return found.estimate(rank_correlation(profile, np.arange(profile.shape[1])), note)
    return found.estimate(profile[:, late].mean(axis=1) - profile[:, early].mean(axis=1), note)


def overfitting_concentration(
    tables: Tables, n_resamples: int, generator: np.random.Generator, control: str
) -> Estimate:
    """Late over early movement of an overfitting network, over the same of a `control`.

    c = (mean p, late / mean p, early) / (the same of the control), which is the "standard" network over the same
    epochs, or the "earlier window" of the robust one: that of the windows up to its best epoch whose length is nearest,
    and at least half.
    """
    study = read_study(tables)
    robust, best, last, note = _overfitted(study, tables)
    if control == "earlier window":
        start, end = window(study, robust, best, last)
        other, note = _movement(study, robust, start, end), f"{note}; earlier window {start} to {end}"
    else:
        other = _movement(study, standard_of(study, robust), best, last)
    found = resample(study.hsic, [_movement(study, robust, best, last), other], n_resamples, generator)
    early, late = (place(study.layout(robust), where) for where in ("early", "late"))
    own, others = (ratio(profile[:, late].mean(axis=1), profile[:, early].mean(axis=1)) for profile in found.values)
    return found.estimate(ratio(own, others), note)


def window(study: Study, network: str, best: int, last: int) -> tuple[int, int]:
    """The compared window of epochs up to the best whose length is nearest to that from there to the last.

    Of two as near, the later. Raises Undecided where every window is shorter than half of that.
    """
    rows = study.pairs[(study.pairs["kind"] == "epochs") & (study.pairs["network_a"] == network)]
    epochs = rows[["epoch_a", "epoch_b"]]
    windows = set(zip(epochs.min(axis=1).tolist(), epochs.max(axis=1).tolist(), strict=True))
    length = last - best
    fitting = sorted(each for each in windows if each[1] <= best and 2 * (each[1] - each[0]) >= length)
    if not fitting:
        raise Undecided(f"{network} has no two kept epochs up to {best} that are {length / 2:g} or more apart")
    return min(fitting, key=lambda each: (abs(each[1] - each[0] - length), -each[1]))
