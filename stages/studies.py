"""Typeset one paper of all studies: that of the study with the most evidence, the others' verdicts beside its own."""

from pathlib import Path

from fourlenses import runtime
from fourlenses.errors import UserError
from stages.paper import typeset
from stages.readme import studies

MOST = Path("studies/fashion")  # three seeds and the most networks


def main(document: Path = Path("paper/main.typ"), out: Path = Path("paper/four-lenses.pdf")) -> None:
    """Typeset the paper of all studies that have results.

    Args:
        document: the paper (Typst)
        out: the paper (PDF)
    """
    found = list(studies().values())
    if MOST not in found:
        raise UserError(f"no results in {MOST}", "a study that has run", f"run `dvc repro {MOST / 'dvc.yaml'}`")
    typeset(document, Path(), [MOST, *(study for study in found if study != MOST)], out)


if __name__ == "__main__":
    runtime.run(main)
