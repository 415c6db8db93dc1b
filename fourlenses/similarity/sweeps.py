"""The quantities that compare the networks of a sweep; see quantities.py for their form.

Source: spec section 1 (C7 to C10), after Cianfarani et al. 2022.
"""

from itertools import combinations

import numpy as np

from fourlenses.similarity.comparisons import (
    FORMS,
    Study,
    Tables,
    cross,
    map_score,
    place,
    rank_correlation,
    read_study,
    resample,
)
from fourlenses.statistics import Estimate, Undecided

LEAST_WIDTH = 4  # from which on the paper's claim speaks of wide networks
LEAST_BUDGETS, LEAST_THREATS, LEAST_WIDTHS, LEAST_PROCEDURES = 3, 3, 3, 2


def _family(study: Study, name: str) -> list[str]:
    """The robust networks of a sweep, the base one first: budgets, threats (models) or (training) procedures."""
    robust, about = study.base("robust"), study.networks
    if name == "budgets":
        return study.alike(robust, "strength")
    if name == "procedures":
        return study.alike(robust, "recipe", "beta")
    way = about.loc[robust, "recipe"].removesuffix(about.loc[robust, "norm"])
    found = study.alike(robust, "recipe", "norm")
    return [each for each in found if about.loc[each, "recipe"] == way + about.loc[each, "norm"]]


def _at_least(least: int, found: list[str], what: str) -> list[str]:
    if len(found) < least:
        raise Undecided(f"this study has {len(found)} {what}, and the claim needs {least} or more")
    return found


def family_lead(
    tables: Tables, n_resamples: int, generator: np.random.Generator, family: str, where: str = "all",
    every: bool = False,
) -> Estimate:  # fmt: skip
    """Similarity among the robust networks of a family minus that of each with the standard network, matched points.

    The difference of the two means over pairs, or of the smallest among them and the largest with the standard one
    (`every`). `family` is "budgets" or "threats"; `where` the points: "all" or the "last convolution".
    """
    study = read_study(tables)
    standard = study.base("standard")
    least, what = (LEAST_THREATS, "threat models") if family == "threats" else (LEAST_BUDGETS, "budgets")
    members = _at_least(least, _family(study, family), what)
    among = [cross(study, a, b) for a, b in combinations(members, 2)]
    beside = [cross(study, standard, each) for each in members]
    found = resample(study.hsic, among + beside, n_resamples, generator)
    chosen = place(study.layout(standard), where)
    levels = np.stack([profile[:, chosen].mean(axis=1) for profile in found.values])
    robust, other = levels[: len(among)], levels[len(among) :]
    low, high = (robust.min(axis=0), other.max(axis=0)) if every else (robust.mean(axis=0), other.mean(axis=0))
    return found.estimate(low - high, f"{len(members)} {what}")


def budget_correlation(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Spearman's correlation, over pairs of robust networks, of their similarity with |log(ratio of budgets)|."""
    study = read_study(tables)
    members = _at_least(LEAST_BUDGETS, _family(study, "budgets"), "budgets")
    pairs = list(combinations(members, 2))
    found = resample(study.hsic, [cross(study, a, b) for a, b in pairs], n_resamples, generator)
    strength = np.log(study.networks["strength"].astype(float))
    apart = np.array([abs(strength[a] - strength[b]) for a, b in pairs])
    levels = np.stack([profile.mean(axis=1) for profile in found.values], axis=1)
    return found.estimate(rank_correlation(levels, apart), f"{len(members)} budgets")


def early_lead(tables: Tables, n_resamples: int, generator: np.random.Generator, family: str) -> Estimate:
    """Similarity between the networks of a family at early points minus that at late points, matched points.

    `family` is "threats", or "widths" of the standard and of the robust network, each compared among themselves; of
    the latter only those count that have equally many points.
    """
    study = read_study(tables)
    if family == "threats":
        pairs = list(combinations(_at_least(LEAST_THREATS, _family(study, family), "threat models"), 2))
    else:
        pairs = [
            pair for role in ("standard", "robust") for pair in combinations(study.alike(study.base(role), "width"), 2)
            if not study.find("cross", study.last(pair[0]), study.last(pair[1])).empty
        ]  # fmt: skip
    if not pairs:
        raise Undecided("this study compares no two networks that differ in their width only")
    found = resample(study.hsic, [cross(study, a, b) for a, b in pairs], n_resamples, generator)
    leads = []
    for profile, (network, _) in zip(found.values, pairs, strict=True):
        early, late = (place(study.layout(network), where) for where in ("early", "late"))
        leads.append(profile[:, early].mean(axis=1) - profile[:, late].mean(axis=1))
    return found.estimate(np.mean(leads, axis=0), f"{len(pairs)} pairs of networks")


def width_correlation(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Spearman's correlation of width with the longest run of mean CKA 0.8 or more, over standard networks."""
    study = read_study(tables)
    members = _at_least(LEAST_WIDTHS, study.alike(study.base("standard"), "width"), "widths of the standard network")
    runs = [map_score(study, study.last(each), "run_0.8") for each in members]
    found = resample(study.hsic, runs, n_resamples, generator)
    widths = study.networks.loc[members, "width"].to_numpy()
    return found.estimate(rank_correlation(np.stack(found.values, axis=1), widths), f"{len(members)} widths")


def contrast_at_widths(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Stage contrast, standard minus robust network of equal width, the smallest over widths of 4 or more."""
    study = read_study(tables)
    width = study.networks["width"]
    wide = [
        {width[each]: each for each in study.alike(study.base(role), "width") if width[each] >= LEAST_WIDTH}
        for role in ("standard", "robust")
    ]
    both = sorted(wide[0].keys() & wide[1].keys())
    if not both:
        raise Undecided(f"no width of {LEAST_WIDTH} or more was trained with both recipes of the base pair")
    scores = [map_score(study, study.last(names[each]), "stage_contrast") for names in wide for each in both]
    found = resample(study.hsic, scores, n_resamples, generator)
    standard, robust = found.values[: len(both)], found.values[len(both) :]
    note = "widths " + ", ".join(f"{each:g}" for each in both)
    return found.estimate(np.min(np.subtract(standard, robust), axis=0), note)


def procedure_change(
    tables: Tables, n_resamples: int, generator: np.random.Generator, score: str, form: str
) -> Estimate:
    """A score of each robust training procedure against the standard network, as in `structure_change`.

    The second best of the procedures, so that a test of it asks for two: the second largest "difference" or the second
    smallest "ratio", chosen anew in every resample.
    """
    study = read_study(tables)
    members = _at_least(LEAST_PROCEDURES, _family(study, "procedures"), "robust training procedures")
    states = [study.last(each) for each in [study.base("standard"), *members]]
    found = resample(study.hsic, [map_score(study, state, score) for state in states], n_resamples, generator)
    changes = np.stack([FORMS[form](values, found.values[0]) for values in found.values[1:]])
    recipes = study.networks.loc[members, "recipe"]
    note = f"{score}: " + ", ".join(f"{name} {change[0]:.3g}" for name, change in zip(recipes, changes, strict=True))
    return found.estimate(np.sort(changes, axis=0)[1 if form == "ratio" else -2], note)
