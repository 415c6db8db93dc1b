"""List, and delete if asked to, what no stage owns: outputs of stages that are gone, stale checkpoints, torn files."""

import fcntl
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from fourlenses import runtime
from fourlenses.errors import UserError
from stages.verify import OBJECT, Output, name_of, pipeline

DAY = 86_400  # seconds


def main(apply: bool = False, days: int = 7) -> None:
    """List what no stage owns.

    Args:
        apply: delete it, too
        days: checkpoints of stages that still exist are kept this long after they were written
    """
    made, cache = pipeline()
    found = sorted({*_outputs(made), *_checkpoints(made, days), *_torn(made, cache)})
    if apply:
        for study in {output.study for output in made}:
            _nothing_runs(study)
    for path in found:
        print(f"{'deleted' if apply else 'nobody owns'}: {path}")
        if apply:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    if found and not apply:
        print("`make tidy APPLY=1` deletes them; those in Git can be had back")


def _outputs(made: list[Output]) -> Iterator[Path]:
    """Files in the folders of outputs that look like outputs, but belong to no stage."""
    owned = {output.path for output in made} | {output.study / runtime.RUNS for output in made}
    kinds = {path.suffix for path in owned}
    for folder in {output.study / output.path.relative_to(output.study).parts[0] for output in made}:
        for path in folder.rglob("*"):
            if path.suffix in kinds and path not in owned and path.is_file() and not path.name.startswith(".tmp-"):
                yield path


def _checkpoints(made: list[Output], days: int) -> Iterator[Path]:
    """Checkpoints of stages that are gone, or that nobody went on with."""
    for study in {output.study for output in made}:
        labels = {output.path.stem for output in made if output.path.parent == study / runtime.MANIFESTS}
        for path in (study / runtime.SCRATCH).glob("*"):
            if path.is_dir() and path.name not in ("quarantine", "workers"):
                newest = max((file.stat().st_mtime for file in path.rglob("*")), default=None)
                if path.name not in labels or (newest is not None and newest < time.time() - days * DAY):
                    yield path


def _torn(made: list[Output], cache: Path) -> Iterator[Path]:
    """What killed processes left beside outputs, checkpoints and objects of the cache."""
    for study in {output.study for output in made}:
        folders = {study / output.path.relative_to(study).parts[0] for output in made if output.study == study}
        for folder in folders | {study / runtime.SCRATCH}:
            yield from folder.rglob(".tmp-*")
    yield from (path for path in cache.glob("*/*") if not OBJECT.fullmatch(name_of(path)))


def _nothing_runs(study: Path) -> None:
    """Raises UserError while a stage of the study runs: its checkpoints and temporary files are no leftovers."""
    for path in (study / runtime.SCRATCH).glob("*.lock"):
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                given = f"stage {path.stem} runs in {study.resolve().name}"
                raise UserError(given, "no stage that runs", "wait until it ends, or stop it") from None


if __name__ == "__main__":
    runtime.run(main)
