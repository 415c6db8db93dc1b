"""The quantities that ask whether perturbations carry over between networks, and why; see quantities.py for their form.

Each compares the entangled network with another, `than` the plain one (as stated) or the control (net of scale).
Source: spec section 1 (C11, C12), after Frosst et al. 2019.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.entanglement.tables import (
    ATTACKS,
    FOLDER,
    Draws,
    Tables,
    by_seed,
    common,
    draw,
    named,
    of_seeds,
    over_seeds,
    ratio,
    table,
)
from fourlenses.statistics import Estimate, Undecided


def _carried(tables: Tables, rows: pd.DataFrame, source: str, target: str, draws: Draws) -> Float[ndarray, " r"]:
    """Error of a target on images perturbed for a source of another seed, among those that both had right.

    Mean over attacks and sizes, then over pairs of seeds, each as often as both were drawn; NaN without a pair.
    """
    arrays = tables[f"{FOLDER}/perturbed.safetensors"]
    labels, places = arrays["labels"], {seed: place for place, seed in enumerate(draws.seeds)}
    pairs = rows[(rows["source"] == source) & (rows["target"] == target) & (rows["source_seed"] != rows["target_seed"])]
    if pairs.empty:
        raise Undecided(f"this study does not carry perturbations from {source} to {target} of another seed")
    total = weight = 0.0
    for (seed, other), group in pairs.groupby(["source_seed", "target_seed"]):
        both = (arrays[f"clean/{source}/seed{seed}"] == labels) & (arrays[f"clean/{target}/seed{other}"] == labels)
        wrong = np.stack([
            arrays[f"{row.attack}/{row.eps:g}/{source}/seed{seed}/on/{target}/seed{other}"] != labels
            for row in group.itertuples()
        ])  # fmt: skip
        shares = draws.mean(np.vstack([wrong & both, both[None]]).astype(float))
        times = draws.seed_counts[:, places[seed]] * draws.seed_counts[:, places[other]]
        some = shares[:, -1] > 0
        total += times * np.divide(shares[:, :-1].mean(axis=1), shares[:, -1], out=np.zeros(len(some)), where=some)
        weight += times * some
    return np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)


def transfer_drop(
    tables: Tables, n_resamples: int, generator: np.random.Generator, than: str, direction: str
) -> Estimate:
    """How much less perturbations carry over to or from the entangled network, in error of the target.

    "to": error(plain -> than) - error(plain -> entangled); "from": error(than -> plain) - error(entangled -> plain);
    "some": the larger of the two. With `than` plain this is the fall below transfer among plain networks.
    """
    plain, own, other = (named(tables, role) for role in ("plain", "entangled", than))
    rows = table(tables, "transfer")
    rows = rows[rows["attack"].isin(ATTACKS)]
    n = len(tables[f"{FOLDER}/perturbed.safetensors"]["labels"])
    draws = draw(set(rows["source_seed"]) | set(rows["target_seed"]), n, n_resamples, generator)
    pairs = dict.fromkeys([(plain, own), (own, plain), (plain, other), (other, plain)])
    error = {pair: _carried(tables, rows, *pair, draws) for pair in pairs}
    drops = {"to": error[plain, other] - error[plain, own], "from": error[other, plain] - error[own, plain]}
    values = np.maximum(drops["to"], drops["from"]) if direction == "some" else drops[direction]
    return draws.estimate(values, n, f"to the entangled {drops['to'][0]:.3g}, from it {drops['from'][0]:.3g}")


def gradient_ratio(
    tables: Tables, n_resamples: int, generator: np.random.Generator, than: str, gradient: str
) -> Estimate:
    """Entanglement by true class of the signs of adversarial gradients, entangled over the other network.

    `gradient` is that of the "untargeted" or the "targeted" loss.
    """
    rows = table(tables, "gradients")
    rows = rows[(rows["gradient"] == gradient) & (rows["grouping"] == "true")]
    names = [named(tables, role) for role in ("entangled", than)]
    both = common(*(
        by_seed(rows[rows["network"] == name], "grouping", "entanglement", f"{gradient} gradients of {name}")
        for name in names
    ))  # fmt: skip
    means = over_seeds(np.hstack(both), n_resamples, generator)
    note = f"{names[0]} {means[0, 0]:.3g}, {names[1]} {means[0, 1]:.3g}"
    return of_seeds(ratio(means[:, 0], means[:, 1]), len(both[0]), note)
