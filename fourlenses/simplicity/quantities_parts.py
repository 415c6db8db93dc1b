"""The quantities of composites: does the part that is not asked for go, and the other stay; see quantities.py.

In every bed that weight counts which brings the least of bits, removal and retention furthest, each in units of what
the claim asks of it, among the weights at which a classifier trained anew loses MOST_LOST points or less. Without such
a weight the composites themselves count, of which nothing is removed. "Some" and "every" are the best and the worst
bed. Source: spec sections 1 (C3) and 2.9, after Schirrmeister et al. 2022.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float
from numpy import ndarray

from fourlenses.simplicity.tables import FORM, Draws, Tables, Trained, draw, simplest, table, trained
from fourlenses.statistics import Estimate, Undecided, drawn_images

ASKED = {"bits": 0.3, "removal": 0.5, "retention": 0.5}


@dataclass(frozen=True)
class _Parts:
    """A bed at its weight: what became of its parts, in every resample, and of its accuracy in points."""

    name: str
    weight: str
    measures: dict[str, Float[ndarray, " r"]]
    n: int
    alone: bool


def _medians(bed: Trained, draws: Draws, what: str) -> Float[ndarray, "r weights"]:
    """Median over images of the removal or the retention, mean over seeds."""
    if any(f"{bed.name}/seed{seed}/{bed.weights[-1]:g}/{what}" not in bed.kept for seed in bed.seeds):
        raise Undecided(f"no composite of {bed.name} shows both parts")
    return draws.over_seeds(
        np.stack([draws.median(values) for values in bed.images(seed, what)], axis=1) for seed in draws.seeds
    )


def _parts(bed: Trained, draws: Draws) -> _Parts | None:
    """None where the composites take no more bits than the part that carries the label."""
    before = bed.original(draws, "original/bpd")
    gap = before - draws.of_table(bed.column("bpd_target"))[:, 0]
    if not gap[0] > 0:
        return None
    saved = before[:, None] - bed.mean(draws, "bpd")
    found = {
        "bits": np.divide(saved, gap[:, None], out=np.full_like(saved, np.nan), where=gap[:, None] > 0),
        "removal": _medians(bed, draws, "removal"),
        "retention": _medians(bed, draws, "retention"),
        "accuracy": 100 * (bed.mean(draws, "retrained") - bed.original(draws, "plain")[:, None]),
    }
    whole = {"bits": 0.0, "removal": 0.0, "retention": 1.0, "accuracy": 0.0}  # of the composites themselves
    found = {name: np.insert(values, 0, whole[name], axis=1) for name, values in found.items()}
    worth = np.min([found[name] / least for name, least in ASKED.items()], axis=0)
    chosen = simplest(-found["accuracy"], worth)
    measures = {name: values[np.arange(len(chosen)), chosen] for name, values in found.items()}
    measures["accuracy"] = found["accuracy"][:, chosen[0]]  # of the weight chosen, or it would keep to MOST_LOST
    measures["lead"] = measures["removal"] - (1 - np.minimum(measures["retention"], 1))
    weight = f"weight {bed.weights[chosen[0] - 1]:g}" if chosen[0] else "no weight"
    return _Parts(bed.name, weight, measures, bed.n_images * len(bed.seeds), len(bed.seeds) == 1)


def _composites(tables: Tables) -> pd.DataFrame:
    """The beds with a distractor, a row each."""
    rows = table(tables, "simplify")
    rows = rows[rows["distractor"].notna() & (rows["form"] == FORM)].drop_duplicates("bed").sort_values("bed")
    if rows.empty:
        raise Undecided("this study has no images with a distractor")
    return rows


def _measured(
    tables: Tables, names: list[str], n_resamples: int, generator: np.random.Generator
) -> tuple[list[_Parts], list[str]]:
    """The beds of these names, and the names of those whose composites take no more bits than one part."""
    found, without, counts = [], [], {}
    for name in names:
        bed = trained(tables, name)
        if bed.n_images not in counts:
            counts[bed.n_images] = drawn_images(bed.n_images, n_resamples, generator)
        parts = _parts(bed, draw(bed.seeds, counts[bed.n_images], n_resamples, generator))
        found, without = (found, [*without, name]) if parts is None else ([*found, parts], without)
    if not found:
        raise Undecided("no composite takes more bits than the part of it that carries the label")
    return found, without


def _over_beds(beds: list[_Parts], without: list[str], measure: str, every: bool) -> Estimate:
    values = np.stack([bed.measures[measure] for bed in beds])
    shown = beds[(np.argmin if every else np.argmax)(values[:, 0])]
    notes = [f"{shown.name} at {shown.weight}" + (f", of {len(beds)} beds" if len(beds) > 1 else "")]
    notes += [f"{bed.name} has one training seed" for bed in beds if bed.alone]
    notes += [f"{name} takes no more bits than the part that carries its label" for name in without]
    n = min(bed.n for bed in beds)
    return Estimate((values.min if every else values.max)(axis=0), n, "; ".join(notes), not (every and without))


def of_composites(
    tables: Tables, n_resamples: int, generator: np.random.Generator, measure: str, every: bool
) -> Estimate:  # fmt: skip
    """What became of the parts, in the bed where it is least or (not `every`) most.

    `measure` is "bits", those saved over those that the composite takes more than the part with the label; "removal",
    of the other part; "retention", of the part with the label; "lead", the removal minus what is lost of the part with
    the label (parts that only fade together have none); or "accuracy", of a classifier trained anew, in points above
    one trained on the composites.
    """
    names = _composites(tables)["bed"].tolist()
    return _over_beds(*_measured(tables, names, n_resamples, generator), measure, every)


def lead_both_ways(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """The smallest lead among beds that come in two, of the same composites with the label of one part or the other."""
    same = _composites(tables).groupby(["source", "distractor"], dropna=False)
    pairs = same.filter(lambda beds: beds["label"].nunique() == 2)
    if pairs.empty:
        raise Undecided("this study has no two beds that differ only in the part that carries the label")
    names = pairs["bed"].tolist()
    return _over_beds(*_measured(tables, names, n_resamples, generator), "lead", every=True)
