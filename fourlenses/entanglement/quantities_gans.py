"""The quantities that follow real and generated images while a GAN is trained; see quantities.py for their form.

Only GANs whose loss does not hold the soft nearest neighbour loss count. "Some" and "every" are the best and the worst
of them, means over seeds. Resamples are over seeds, each GAN's own.
Source: spec sections 1 (C4, C5) and 4.8, after Frosst et al. 2019.
"""

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.entanglement.tables import Tables, of_seeds, over_seeds, spearman, table
from fourlenses.statistics import Estimate, Undecided

LEAST_RISE = 1.5  # times the initial value


def _curves(tables: Tables) -> dict[str, list[pd.DataFrame]]:
    """The evaluations of every GAN, a frame a seed in order of training."""
    rows = table(tables, "gans")
    rows = rows[rows["guided"] == 0].sort_values("iteration")
    if rows.empty:
        raise Undecided("this study has no GAN without guidance")
    return {
        name: [own for _, own in group.groupby("seed", sort=True)] for name, group in rows.groupby("gan", sort=True)
    }


def _over_gans(
    values: dict[str, Float[ndarray, " seeds"]], n_resamples: int, generator: np.random.Generator, largest: bool
) -> Estimate:
    means = {name: over_seeds(own, n_resamples, generator) for name, own in values.items()}
    note = ", ".join(f"{name} {own[0]:.3g}" for name, own in means.items())
    every = np.stack(list(means.values()))
    return of_seeds((every.max if largest else every.min)(axis=0), min(map(len, values.values())), note)


def correlation_with_training(
    tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str, every: bool
) -> Estimate:
    """Spearman's correlation of the entanglement of real with generated images with the iteration.

    `measure` is the temperature: that of the "minimum", or "fixed" before training.
    """
    values = {
        name: np.array([
            spearman(own[[f"real_fake_{measure}"]].to_numpy().T, own["iteration"].to_numpy()).item() for own in curves
        ])
        for name, curves in _curves(tables).items()
    }  # fmt: skip
    return _over_gans(values, n_resamples, generator, largest=not every)


def rise(tables: Tables, n_resamples: int, generator: np.random.Generator, every: bool) -> Estimate:
    """Entanglement of real with generated images at the end minus LEAST_RISE times that before training, in nats.

    A difference, since at the start real and generated images may be separable, which is 0.
    """
    values = {
        name: np.array([
            own["real_fake_minimum"].iloc[-1] - LEAST_RISE * own["real_fake_minimum"].iloc[0] for own in curves
        ])
        for name, curves in _curves(tables).items()
    }  # fmt: skip
    return _over_gans(values, n_resamples, generator, largest=not every)


def below_ceiling(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Entanglement of real with generated images at the end minus that of two sets of real ones, the largest."""
    values = {
        name: np.array([(own["real_fake_minimum"] - own["real_real_minimum"]).iloc[-1] for own in curves])
        for name, curves in _curves(tables).items()
    }
    return _over_gans(values, n_resamples, generator, largest=True)


def mode_agreement(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Share of the seeds in which GANs with more modes are more entangled with real images, at the end of training.

    Two GANs with equally many modes say nothing of their order; seeds in which all have are left out.
    """
    curves = _curves(tables)
    last = pd.concat([own.iloc[[-1]] for each in curves.values() for own in each])
    if len(curves) < 2:
        raise Undecided("this study has one GAN without guidance, so there is no order")
    agree = []
    for _, group in last.groupby("seed"):
        signs = [
            np.sign(second["modes"] - first["modes"])
            * np.sign(second["real_fake_minimum"] - first["real_fake_minimum"])
            for (_, first), (_, second) in combinations(group.iterrows(), 2)
            if first["modes"] != second["modes"]
        ]
        if signs:
            agree.append(float(min(signs) > 0))
    modes = last.groupby("gan")["modes"].mean()
    note = "modes: " + ", ".join(f"{name} {value:.3g}" for name, value in modes.items())
    if not agree:
        raise Undecided(f"no seed has two GANs that differ in their modes, so there is no order ({note})")
    return of_seeds(over_seeds(np.array(agree), n_resamples, generator), len(agree), note)
