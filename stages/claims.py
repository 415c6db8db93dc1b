"""Decide the claims of the papers from the results files."""

from pathlib import Path

from fourlenses import runtime
from fourlenses.artifacts import read_csv, write_csv
from fourlenses.claims import evaluate, load_claims
from fourlenses.invariance.quantities import QUANTITIES
from fourlenses.params import read_params

SEED = 0  # of the resamples


def main(claims: Path, results: list[Path], out: Path, tests: Path) -> None:
    """Decide the claims of the papers from the results files.

    Args:
        claims: every claim and its numeric tests (YAML)
        results: the tables that claims may read (CSV), named as they name them
        out: one verdict a claim (CSV)
        tests: one row a numeric test (CSV)
    """
    n_resamples = read_params().judge.n_bootstrap
    book = load_claims(claims, QUANTITIES)
    decides = {"n_resamples": n_resamples, "seed": SEED}
    inputs, outputs = [claims, *results], [out, tests]
    with runtime.stage("claims", decides=decides, inputs=inputs, outputs=outputs, uses_torch=False):
        tables = {path.as_posix(): read_csv(path) for path in results}
        verdicts, outcomes = evaluate(book, tables, QUANTITIES, n_resamples, SEED)
        write_csv(out, verdicts)
        write_csv(tests, outcomes)


if __name__ == "__main__":
    runtime.run(main)
