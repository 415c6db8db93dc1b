"""Claims of the papers and the rule that turns numeric tests into verdicts.

A test holds when its effect is on the right side of its threshold, and excludes the null when its whole 95 % interval
lies beyond the null on that side. The first test of a claim is its weakest reading; the rule is
    not tested   the claim has no test, or its first cannot be decided on this study (the reason says what is missing)
    not          the first test fails
    reproduced   every test holds and every interval excludes its null
    partly       anything between
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from fourlenses.errors import UserError
from fourlenses.statistics import Estimate, Undecided

OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
Quantity = Callable[[Mapping[str, Any], int, np.random.Generator], Estimate]


class Strict(BaseModel):
    """A model without unknown keys or silent conversions."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Test(Strict):
    """One numeric test: `quantity operator threshold`, and the value that its interval must exclude."""

    __test__ = False  # not a test of pytest
    name: str = Field(min_length=1)
    quantity: str
    operator: Literal[">=", "<=", ">", "<"]
    threshold: float = Field(allow_inf_nan=False)
    null_value: float = Field(allow_inf_nan=False)
    unit: str


class Claim(Strict):
    """One claim of a paper, in our words, with the tests that decide it; the first is its weakest reading.

    A claim that nothing here can decide has no tests and reads nothing, but gives the `reason`.
    """

    id: str = Field(pattern=r"^[a-z]+-C[0-9]+[a-z]?$")
    paper: str
    statement: str = Field(min_length=1)
    reads: list[str] = []
    paper_value: str = Field(min_length=1)
    tests: list[Test] = []
    reason: str = ""

    @model_validator(mode="after")
    def _tests_or_a_reason(self) -> "Claim":
        if not bool(self.reads) == bool(self.tests) == (not self.reason):
            raise ValueError("give tests and what they read, or a reason why there are none")
        return self


class Outcome(Strict):
    """What one test gave; `holds` and `excludes_null` are None where it could not be decided."""

    claim: str
    test: str
    quantity: str
    effect: float
    low: float
    high: float
    null: float
    operator: str
    threshold: float
    holds: bool | None
    excludes_null: bool | None
    n: int
    unit: str
    note: str


class _Book(Strict):
    claims: list[Claim] = Field(min_length=1)


def load_claims(path: Path, quantities: Mapping[str, Quantity]) -> list[Claim]:
    """Read the claims from YAML; a UserError for anything unknown, mistyped, missing or repeated."""
    remedy = f"correct {path.name}"
    try:
        claims = _Book.model_validate(YAML(typ="safe").load(path.read_text(encoding="utf-8"))).claims
    except FileNotFoundError as error:
        raise UserError(f"no file {path}", "the list of claims", "give its path by --claims") from error
    except YAMLError as error:
        raise UserError(f"{path.name} does not parse: {error}", "YAML", remedy) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole file"
        raise UserError(f"{path.name}: {where}: {first['msg']}", "a claim as documented", remedy) from error
    for claim in claims:
        for test in claim.tests:
            if test.quantity not in quantities:
                known = ", ".join(sorted(quantities))
                raise UserError(f"{claim.id} asks for the quantity {test.quantity!r}", f"one of {known}", remedy)
    ids = [claim.id for claim in claims]
    if len(set(ids)) < len(ids):
        raise UserError(f"{path.name} repeats a claim id", "each id once", remedy)
    return claims


def decide(test: Test, estimate: Estimate, claim: str) -> Outcome:
    """Compare an estimate with the threshold and the null of a test; an incomplete one can refute, not support it."""
    low, high = estimate.interval
    if np.isnan([estimate.effect, low, high]).any():
        return undecided(test, claim, f"{test.quantity} is undefined on these answers")
    holds = OPERATORS[test.operator](estimate.effect, test.threshold)
    if holds and not estimate.complete:
        return undecided(test, claim, estimate.note)
    beyond = low > test.null_value if test.operator.startswith(">") else high < test.null_value
    return _outcome(test, claim, estimate.effect, low, high, holds, beyond, estimate.n, estimate.note)


def undecided(test: Test, claim: str, why: str) -> Outcome:
    """The outcome of a test that the results cannot decide."""
    nan = float("nan")
    return _outcome(test, claim, nan, nan, nan, None, None, 0, why)


def _outcome(
    test: Test, claim: str, effect: float, low: float, high: float, holds: bool | None, beyond: bool | None, n: int,
    note: str,
) -> Outcome:  # fmt: skip
    return Outcome(
        claim=claim, test=test.name, quantity=test.quantity, effect=effect, low=low, high=high, null=test.null_value,
        operator=test.operator, threshold=test.threshold, holds=holds, excludes_null=beyond, n=n, unit=test.unit,
        note=note,
    )  # fmt: skip


def verdict(outcomes: Sequence[Outcome]) -> tuple[str, str, Outcome]:
    """Apply the rule of this module to the tests of one claim, in their order.

    Returns the verdict, its reason, and the test that decided it: the first that fails, else the first whose interval
    includes the null, else the first.
    """
    first = outcomes[0]
    failing = [each for each in outcomes if each.holds is False]
    unsure = [each for each in outcomes if each.holds and not each.excludes_null]
    open_ = [each for each in outcomes if each.holds is None]
    if first.holds is None:
        return "not tested", first.note, first
    parts = [f"{each.test}: {each.effect:.3g} is not {each.operator} {each.threshold:g}" for each in failing]
    parts += [f"{each.test}: the interval {each.low:.3g} to {each.high:.3g} includes {each.null:g}" for each in unsure]
    parts += [f"{each.test}: undecided, {each.note}" for each in open_]
    word = "reproduced" if not parts else "partly" if first.holds else "not"
    parts = parts or ["every test holds and every interval excludes its null"]
    notes = list(dict.fromkeys(each.note for each in outcomes if each.note and each.holds is not None))
    return word, "; ".join(parts + notes), (failing + unsure + [first])[0]


def evaluate(
    claims: Sequence[Claim],
    tables: Mapping[str, Any],
    quantities: Mapping[str, Quantity],
    n_resamples: int,
    seed: int,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decide every claim from the results.

    Arguments: `tables`, the results by the names in `reads`: a frame for CSV, a dict of arrays for safetensors;
    `quantities`, name -> function; `n_resamples`, >= 1; `seed`, of the resamples, the same for every quantity, so that
    all of them see the same resamples.
    Returns the frames of results/claims.csv and results/tests.csv.
    """

    @cache
    def measured(name: str) -> Estimate | Undecided:
        try:
            return quantities[name](tables, n_resamples, np.random.default_rng(seed))
        except Undecided as error:
            return error

    rows, outcomes = [], []
    for claim in claims:
        if claim.reason:
            rows.append(_row(claim, "not tested", claim.reason))
            continue
        missing = [name for name in claim.reads if name not in tables]
        found = []
        for test in claim.tests:
            estimate = Undecided(f"this study has no {', '.join(missing)}") if missing else measured(test.quantity)
            if isinstance(estimate, Undecided):
                found.append(undecided(test, claim.id, str(estimate)))
            else:
                found.append(decide(test, estimate, claim.id))
        rows.append(_row(claim, *verdict(found)))
        outcomes += [outcome.model_dump() for outcome in found]
    tests = pd.DataFrame(outcomes, columns=list(Outcome.model_fields))
    for column in ("holds", "excludes_null"):
        tests[column] = tests[column].map({True: "yes", False: "no"}).fillna("undecided")
    return pd.DataFrame(rows), tests


def _row(claim: Claim, word: str, reason: str, shown: Outcome | None = None) -> dict:
    """A row of results/claims.csv, with the numbers of the test that decided it."""
    numbers = {"quantity": "", "effect": np.nan, "low": np.nan, "high": np.nan, "n": 0, "threshold": ""}
    if shown is not None:
        numbers = {name: getattr(shown, name) for name in numbers}
        numbers["threshold"] = f"{shown.operator} {shown.threshold:g}"
    return {
        "claim": claim.id, "statement": claim.statement, **numbers, "paper": claim.paper_value, "verdict": word,
        "reason": reason,
    }  # fmt: skip
