"""Decide the claims of the papers from the results files."""

from pathlib import Path

from fourlenses import runtime
from fourlenses.artifacts import load_arrays, read_csv, write_csv
from fourlenses.claims import evaluate, load_claims
from fourlenses.entanglement import quantities as entanglement
from fourlenses.invariance import quantities as invariance
from fourlenses.params import read_params
from fourlenses.similarity import quantities as similarity
from fourlenses.simplicity import quantities as simplicity

SEED = 0  # of the resamples
QUANTITIES = invariance.QUANTITIES | similarity.QUANTITIES | entanglement.QUANTITIES | simplicity.QUANTITIES


def main(claims: Path, results: list[Path], out: Path, tests: Path) -> None:
    """Decide the claims of the papers from the results files.

    Args:
        claims: every claim and its numeric tests (YAML)
        results: what claims may read (CSV, safetensors), named as they name it
        out: one verdict a claim (CSV)
        tests: one row a numeric test (CSV)
    """
    n_resamples = read_params().judge.n_bootstrap
    book = load_claims(claims, QUANTITIES)
    decides = {"n_resamples": n_resamples, "seed": SEED}
    inputs, outputs = [claims, *results], [out, tests]
    with runtime.stage("claims", decides=decides, inputs=inputs, outputs=outputs, uses_torch=False):
        tables = {path.as_posix(): (read_csv if path.suffix == ".csv" else load_arrays)(path) for path in results}
        verdicts, outcomes = evaluate(book, tables, QUANTITIES, n_resamples, SEED)
        write_csv(out, verdicts)
        write_csv(tests, outcomes)


if __name__ == "__main__":
    runtime.run(main)
