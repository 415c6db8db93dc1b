"""Typeset the paper; every number in it is read from the studies by the document itself."""

import json
from pathlib import Path

import typst

from fourlenses import runtime
from fourlenses.artifacts import atomic_path
from fourlenses.errors import UserError


def main(document: Path, root: Path, studies: list[Path], out: Path) -> None:
    """Typeset the paper of a study.

    Args:
        document: the paper (Typst)
        root: folder that holds the document and all studies
        studies: the paper's own study, then any others whose verdicts stand beside its own
        out: the paper (PDF)
    """
    inputs = [document] + [study / "results/claims.csv" for study in studies]
    with runtime.stage("paper", decides={}, inputs=inputs, outputs=[out], uses_torch=False):
        typeset(document, root, studies, out)


def typeset(document: Path, root: Path, studies: list[Path], out: Path) -> None:
    """Compile the paper of the first study, with the verdicts of all; the arguments are those of `main`."""
    shown = {"studies": json.dumps([_below(root, study) for study in studies])}
    with atomic_path(out) as temporary:
        try:
            typst.compile(
                document, output=temporary, root=root, format="pdf", sys_inputs=shown, ignore_system_fonts=True
            )
        except typst.TypstError as error:
            where = f"{document.name} does not compile: {error.message} {' '.join(error.trace)}"
            raise UserError(where, "every number in the results", "run the earlier stages: `dvc repro`") from None


def _below(root: Path, study: Path) -> str:
    """A study as Typst names it: "" is the root itself, "/studies/fashion" a folder below it."""
    try:
        inside = study.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise UserError(f"study {study} is outside {root}", "a folder below the root", "move it there") from None
    return "" if inside == "." else f"/{inside}"


if __name__ == "__main__":
    runtime.run(main)
