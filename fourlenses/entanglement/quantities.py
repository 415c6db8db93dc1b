"""The quantities that decide the claims about entanglement, each recomputed whole in every resample.

A quantity takes the tables, the number of resamples and a generator, and returns an Estimate; it raises Undecided
where the study lacks what it needs. A new quantity is one function and one line in QUANTITIES. Here are those that ask
what the loss measures and what maximising it does; those of training, accuracy, GANs, detection and attacks have files
of their own. Means are over training seeds. Source: spec section 1, after Frosst et al. 2019.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from fourlenses.entanglement.quantities_accuracy import entangling_gain, layer_set_lead
from fourlenses.entanglement.quantities_attacks import gradient_ratio, transfer_drop
from fourlenses.entanglement.quantities_detection import (
    attacked_lead,
    calibration_lead,
    credibility_drop,
    credibility_on_test,
    neighbour_share_drop,
    outside_lead,
)
from fourlenses.entanglement.quantities_gans import below_ceiling, correlation_with_training, mode_agreement, rise
from fourlenses.entanglement.quantities_training import correlation_with_depth, last_block_ratio, rebound
from fourlenses.entanglement.tables import Tables, by_seed, common, named, of_seeds, over_seeds, ratio, table
from fourlenses.statistics import Estimate, Undecided

TOY_LABELS = 4


def toy(
    tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str, when: str, scale: float = 1.0
) -> Estimate:
    """A measure of the labelled points that descend the T-minimised loss, in units of `scale`.

    `measure` is a column of toy.csv; `when` the "first" step, the "last", or the "fall" from one to the other.
    """
    rows = table(tables, "toy")
    curves = rows[rows["rule"] == "minimum"].sort_values("step").groupby("seed")[measure]
    if not len(curves):
        raise Undecided("this study has no points that descend the loss at its minimal temperature")
    first, last = curves.first().to_numpy(float), curves.last().to_numpy(float)
    values = {"first": first, "last": last, "fall": first - last}[when] / scale
    return of_seeds(over_seeds(values, n_resamples, generator), len(values))


def spread(tables: Tables, n_resamples: int, generator: np.random.Generator, rule: str, largest: bool) -> Estimate:
    """How far the value of one fixed representation depends on the starting temperature, in percent, by one rule.

    100 (1 - min / max) over the starts, 0 where all are 0; the `largest` or the smallest over the layers.
    """
    rows = table(tables, "temperatures")
    found = by_seed(rows[rows["rule"] == rule], ["layer", "start"], "value", f"layer measured by the rule {rule}")
    starts = found.columns.get_level_values("start").nunique()
    if starts < 2:
        raise Undecided("this study has one starting temperature, so there is no spread")
    by_layer = found.T.groupby(level="layer")
    low, high = by_layer.min().T.to_numpy(float), by_layer.max().T.to_numpy(float)
    values = 100 * (1 - np.divide(low, high, out=np.ones_like(low), where=high > 0))
    means = over_seeds(values, n_resamples, generator)
    return of_seeds((means.max if largest else means.min)(axis=1), len(found), f"{starts} starting temperatures")


def layers_change(
    tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str, where: str, form: str
) -> Estimate:
    """A measure of layers.csv of the entangled network against that of the plain one.

    `where` is "hidden" (the mean of all layers but the input and the logits) or "logits"; `form` the "difference" or
    the "ratio" of the two means over seeds, undefined where that of the plain network is not positive.
    """
    rows = table(tables, "layers")
    rows = rows[(rows["source"] == "entangled") & (rows["layer"] != "input")]
    rows = rows[(rows["layer"] == "logits") == (where == "logits")]
    both = []
    for role in ("entangled", "plain"):
        name = named(tables, role)
        both.append(by_seed(rows[rows["network"] == name], "layer", measure, f"{where} layers of {name}"))
    own, other = (found.mean(axis=1).to_frame() for found in common(*both))
    means = over_seeds(np.hstack([own, other]), n_resamples, generator)
    if form == "difference":
        return of_seeds(means[:, 0] - means[:, 1], len(own))
    return of_seeds(ratio(means[:, 0], means[:, 1]), len(own))


QUANTITIES: dict[str, Callable[[Tables, int, np.random.Generator], Estimate]] = {
    "entanglement lost by the points": partial(toy, measure="entanglement", when="fall"),
    "entanglement of the points, before": partial(toy, measure="entanglement", when="first", scale=np.log(TOY_LABELS)),
    "entanglement of the points, after": partial(toy, measure="entanglement", when="last"),
    "nearest neighbours of the points, before": partial(toy, measure="accuracy_1nn", when="first"),
    "nearest neighbours of the points, after": partial(toy, measure="accuracy_1nn", when="last"),
    "spread over starts, minimised temperature": partial(spread, rule="tracked", largest=True),
    "spread over starts, fixed temperature": partial(spread, rule="fixed", largest=False),
    "spread over starts, released rule": partial(spread, rule="released", largest=True),
    "entanglement with depth": correlation_with_depth,
    "entanglement, last block over the others": last_block_ratio,
    "rebound of every block but the last": partial(rebound, measure="nats"),
    "rebound of every block but the last, in noise": partial(rebound, measure="noise"),
    "time of the minimum of every block but the last": partial(rebound, measure="time"),
    "real and generated with training, fixed temperature": partial(
        correlation_with_training, measure="fixed", every=False
    ),
    "real and generated with training, some GAN": partial(correlation_with_training, measure="minimum", every=False),
    "real and generated with training, every GAN": partial(correlation_with_training, measure="minimum", every=True),
    "real and generated at the end, some GAN": partial(rise, every=False),
    "real and generated at the end, every GAN": partial(rise, every=True),
    "real and generated below two sets of real images": below_ceiling,
    "modes and entanglement of GANs agree": mode_agreement,
    "accuracy, entangled minus plain": entangling_gain,
    "hidden entanglement, entangled over plain": partial(
        layers_change, measure="entanglement", where="hidden", form="ratio"
    ),
    "entanglement of the logits, entangled over plain": partial(
        layers_change, measure="entanglement", where="logits", form="ratio"
    ),
    "distance within classes, entangled minus plain": partial(
        layers_change, measure="intra_cosine", where="hidden", form="difference"
    ),
    "accuracy, first half against logits": partial(layer_set_lead, better="first-half", worse="logits"),
    "accuracy, first half against hidden": partial(layer_set_lead, better="first-half", worse="hidden"),
    "accuracy, hidden against logits": partial(layer_set_lead, better="hidden", worse="logits"),
    "neighbours of the predicted class lost outside": neighbour_share_drop,
    "transfer, some direction, plain": partial(transfer_drop, than="plain", direction="some"),
}
for _role in ("plain", "control"):  # the tests as stated, and net of scale
    QUANTITIES |= {
        f"credibility lost outside or attacked, {_role}": partial(credibility_drop, than=_role, every=False),
        f"credibility lost outside and attacked, {_role}": partial(credibility_drop, than=_role, every=True),
        f"credibility on test images, {_role}": partial(credibility_on_test, than=_role),
        f"calibration under attack, {_role}": partial(calibration_lead, than=_role),
        f"novelty by credibility, {_role}": partial(outside_lead, than=_role, measure="credibility"),
        f"novelty by softmax, {_role}": partial(outside_lead, than=_role, measure="softmax"),
        f"attacks detected, most, {_role}": partial(attacked_lead, than=_role, every=False),
        f"attacks detected, every, {_role}": partial(attacked_lead, than=_role, every=True),
        f"transfer to the entangled, {_role}": partial(transfer_drop, than=_role, direction="to"),
        f"transfer from the entangled, {_role}": partial(transfer_drop, than=_role, direction="from"),
        f"gradients by class, untargeted, {_role}": partial(gradient_ratio, than=_role, gradient="untargeted"),
        f"gradients by class, targeted, {_role}": partial(gradient_ratio, than=_role, gradient="targeted"),
    }
