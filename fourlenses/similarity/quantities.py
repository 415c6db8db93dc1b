"""The quantities that decide the claims about similarity, each recomputed whole in every resample.

A quantity takes the tables, the number of resamples and a generator, and returns an Estimate; it raises Undecided
where the study lacks what it needs. A new quantity is one function and one line in QUANTITIES. Means are over training
seeds, then over points; resamples are over seeds and batches of images. "Early" and "late" points lie in the first and
the last third of the depth. Source: spec section 1, after Cianfarani et al. 2022.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from fourlenses.similarity.agreement import metric_agreement, metric_change
from fourlenses.similarity.comparisons import (
    FORMS,
    Comparison,
    State,
    Study,
    Tables,
    accuracy,
    cross,
    map_score,
    matched,
    matched_cka,
    place,
    read_study,
    resample,
)
from fourlenses.similarity.overfitting import overfitting_concentration, overfitting_profile
from fourlenses.similarity.sweeps import (
    budget_correlation,
    contrast_at_widths,
    early_lead,
    family_lead,
    procedure_change,
    width_correlation,
)
from fourlenses.statistics import Estimate, Undecided

LARGEST_MISMATCH = 0.05  # clean accuracy, for two networks to be called equally accurate


def equally_accurate(study: Study, tables: Tables) -> tuple[State, str]:
    """The standard network at the epoch where its clean accuracy is nearest to the robust one's last, and a note.

    Only kept epochs count, those whose map the study has. Arguments: `tables`, of which results/sweep.csv is read.
    Raises Undecided where none is within LARGEST_MISMATCH, and without a base pair. Source: spec sections 5 and 7.2.
    """
    name, robust = study.base("standard"), study.base("robust")
    curve, other = (accuracy(tables, network, "accuracy_clean") for network in (name, robust))
    reached = other.iloc[-1]
    own = study.pairs[(study.pairs["kind"] == "self") & (study.pairs["network_a"] == name)]
    mismatch = (curve[curve.index.isin(own["epoch_a"])] - reached).abs()
    if mismatch.empty or mismatch.min() > LARGEST_MISMATCH:
        raise Undecided(
            f"no kept epoch of {name} is within {100 * LARGEST_MISMATCH:g} points of the clean accuracy of {robust}, "
            f"{100 * reached:.1f} %"
        )
    epoch = int(mismatch.idxmin())
    note = f"clean accuracy of {name} after epoch {epoch} {100 * curve[epoch]:.1f} %, of {robust} {100 * reached:.1f} %"
    return (name, epoch), note


def structure_change(
    tables: Tables, n_resamples: int, generator: np.random.Generator, score: str, layers: str = "all",
    control: str = "standard", form: str = "difference",
) -> Estimate:  # fmt: skip
    """A score of the map of the robust network against that of the standard one: s(robust) - s(standard).

    Arguments: `score`, in structure.SCORES; `layers`, in structure.LAYERS; `control`, "standard" or that network at
    "equal accuracy"; `form`, the "difference", its "magnitude" or the "ratio" s(robust) / s(standard), undefined where
    s(standard) <= 0.
    """
    study = read_study(tables)
    robust, standard, note = study.last(study.base("robust")), study.last(study.base("standard")), ""
    if control == "equal accuracy":
        standard, note = equally_accurate(study, tables)
    both = [map_score(study, state, score, layers) for state in (robust, standard)]
    found = resample(study.hsic, both, n_resamples, generator)
    if np.isnan([values[0] for values in found.values]).any():
        raise Undecided(f"the {score} of the layers called {layers} is undefined on so small a network")
    return found.estimate(FORMS[form](*found.values), note)


def cross_similarity(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Mean CKA of matched points of the standard and the robust network."""
    study = read_study(tables)
    found = resample(study.hsic, [cross(study, study.base("standard"), study.base("robust"))], n_resamples, generator)
    return found.estimate(found.values[0].mean(axis=1))


def below_twins(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Mean CKA of matched points between standard networks of another seed or name, minus that of standard and robust.

    A resample in which one seed only was drawn has no pair of seeds and is left out.
    """
    study = read_study(tables)
    standard = study.base("standard")
    twins = Comparison(study.twins(standard), matched_cka, f"{standard} with a twin of another seed")
    both = [twins, cross(study, standard, study.base("robust"))]
    found = resample(study.hsic, both, n_resamples, generator)
    return found.estimate(found.values[0].mean(axis=1) - found.values[1].mean(axis=1))


def attacked(
    tables: Tables, n_resamples: int, generator: np.random.Generator, role: str, where: str = "last convolution"
) -> Estimate:
    """CKA of a network's benign with its own adversarial images, at its last convolution or over its early points.

    `role` is that of the network, or "difference" for robust minus standard, or "both" for the smaller of the two.
    """
    study = read_study(tables)
    roles = [role] if role in ("standard", "robust") else ["robust", "standard"]
    states = [study.last(study.base(each)) for each in roles]
    found = resample(
        study.hsic, [matched(study, "adversarial", state, state) for state in states], n_resamples, generator
    )
    values = [
        profile[:, place(study.layout(network), where)].mean(axis=1)
        for profile, (network, _) in zip(found.values, states, strict=True)
    ]
    if role == "difference":
        return found.estimate(values[0] - values[1])
    return found.estimate(np.min(values, axis=0))


QUANTITIES: dict[str, Callable[[Tables, int, np.random.Generator], Estimate]] = {
    "S_off, robust minus standard": partial(structure_change, score="s_off"),
    "S_off, robust minus standard, no batch norm": partial(structure_change, score="s_off", layers="no-bn"),
    "S_off, robust minus standard, block points": partial(structure_change, score="s_off", layers="blocks"),
    "S_off, robust minus standard, equal accuracy": partial(structure_change, score="s_off", control="equal accuracy"),
    "S_mid, robust minus standard": partial(structure_change, score="s_mid"),
    "first to last layer, robust against standard": partial(structure_change, score="first_to_last", form="magnitude"),
    "stage contrast, robust over standard": partial(structure_change, score="stage_contrast", form="ratio"),
    "stage contrast, robust over standard, no batch norm": partial(
        structure_change, score="stage_contrast", layers="no-bn", form="ratio"
    ),
    "stage contrast, robust over standard, equal accuracy": partial(
        structure_change, score="stage_contrast", control="equal accuracy", form="ratio"
    ),
    "edge score, robust minus standard": partial(structure_change, score="edge"),
    "effective rank, robust minus standard, block points": partial(
        structure_change, score="effective_rank", layers="blocks"
    ),
    "matched layers, standard with robust": cross_similarity,
    "matched layers, standard twins minus standard with robust": below_twins,
    "gap, robust minus standard": partial(structure_change, score="gap"),
    "gap, robust minus standard, equal accuracy": partial(structure_change, score="gap", control="equal accuracy"),
    "depth of the drop, robust minus standard": partial(structure_change, score="drop_depth"),
    "movement by overfitting, late minus early": partial(overfitting_profile, measure="late minus early"),
    "movement by overfitting, correlation with depth": partial(overfitting_profile, measure="correlation"),
    "concentration of overfitting, over standard training": partial(overfitting_concentration, control="standard"),
    "concentration of overfitting, over an earlier window": partial(
        overfitting_concentration, control="earlier window"
    ),
    "benign with adversarial, robust minus standard": partial(attacked, role="difference"),
    "benign with adversarial, robust": partial(attacked, role="robust"),
    "benign with adversarial, standard": partial(attacked, role="standard"),
    "benign with adversarial, early layers of both": partial(attacked, role="both", where="early"),
    "budgets, among robust minus with standard": partial(family_lead, family="budgets"),
    "budgets, among robust minus with standard, last convolution": partial(
        family_lead, family="budgets", where="last convolution"
    ),
    "budgets, least among robust minus most with standard": partial(family_lead, family="budgets", every=True),
    "similarity with the ratio of budgets": budget_correlation,
    "threat models, among robust minus with standard": partial(family_lead, family="threats"),
    "threat models, early minus late layers": partial(early_lead, family="threats"),
    "longest run with width, standard": width_correlation,
    "stage contrast, standard minus robust, every width": contrast_at_widths,
    "widths, early minus late layers": partial(early_lead, family="widths"),
    "S_off, second best procedure minus standard": partial(procedure_change, score="s_off", form="difference"),
    "S_mid, second best procedure minus standard": partial(procedure_change, score="s_mid", form="difference"),
    "stage contrast, second best procedure over standard": partial(
        procedure_change, score="stage_contrast", form="ratio"
    ),
    "agreement with linear CKA, some metric": partial(metric_agreement, every=False),
    "agreement with linear CKA, every metric": partial(metric_agreement, every=True),
    "S_off, robust minus standard, every other metric": metric_change,
}
