"""Hash every output and every object of the DVC cache again: DVC itself trusts a file whose time has not changed."""

import hashlib
import os
import re
import sys
from pathlib import Path
from typing import NamedTuple

from fourlenses import runtime
from fourlenses.artifacts import read_json
from fourlenses.errors import UserError

QUARANTINE = Path(".resume/quarantine")
OBJECT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?")


class Output(NamedTuple):
    """An output of a stage: its path, the study's folder, and the MD5 that dvc.lock has of it ("" before its run)."""

    path: Path
    study: Path
    md5: str


def main(quarantine: bool = False) -> None:
    """Check outputs against dvc.lock, objects of the cache against their names, and manifests against outputs.

    Prints what is corrupt or missing, with what to do, and exits with 1 if anything is. Objects that no dvc.lock
    names are only counted: they are what earlier runs made.

    Args:
        quarantine: move what is corrupt to .resume/quarantine, so that it is made or fetched anew
    """
    made, cache = pipeline()
    made = [output for output in made if output.md5]
    objects = sorted(path for path in cache.glob("*/*") if OBJECT.fullmatch(name_of(path)))
    sound, corrupt, problems = {}, [], []
    for path in runtime.progress(objects, "cache"):
        expected = name_of(path).replace("/", "").removesuffix(".dir")
        if _digests(path)[0] != expected:
            corrupt.append(path)
            problems.append(f"corrupt: {path} in the cache; `dvc repro` makes it anew once it is gone")
    kept = {name_of(path).replace("/", "") for path in objects if path not in corrupt}
    for path, _, md5 in runtime.progress(made, "outputs"):
        again = "`dvc checkout` restores it" if md5 in kept else "`dvc repro` makes it anew"
        if not path.is_file():
            problems.append(f"missing: {path}; {again}")
            continue
        found, sound[path] = _digests(path)
        if found != md5:
            del sound[path]
            corrupt.append(path)
            problems.append(f"corrupt: {path} is not what dvc.lock says; {again} once it is gone")
    for path, study, _ in made:
        if path.parent.name == "manifests" and path in sound:
            about = read_json(path)
            for name, digest in (about["inputs"] | about["outputs"]).items():
                if sound.get(study / name, digest) != digest:
                    problems.append(f"corrupt: {study / name} is not what {path} says; `dvc repro --force` its stage")

    for problem in problems:
        print(problem)
    orphans = kept - {output.md5 for output in made}
    print(f"{len(made)} outputs and {len(objects)} objects of the cache: {len(problems)} problems; "
          f"{len(orphans)} objects of earlier runs (`dvc gc --workspace` deletes them)")  # fmt: skip
    if quarantine:
        for path in corrupt:
            target = QUARANTINE / path
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            print(f"moved: {path} to {target}")
    if problems:
        sys.exit(1)


def pipeline() -> tuple[list[Output], Path]:
    """Every output that the stages of all studies own, and the folder of the cache's objects, from the current folder.

    Raises UserError if this is no DVC repository, or if one of its studies cannot be read.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    here = Path.cwd()
    try:
        repo = Repo(".")
        outs = sorted(repo.index.outs, key=lambda out: out.fs_path)
    except DvcException as error:
        raise UserError(f"{here.name}: {error}", "what `dvc status` can read", "mend it") from None
    if Path(repo.root_dir) != here:
        raise UserError(f"the folder {here.name}", f"the root of the repository, {repo.root_dir}", "go there")
    made = [
        Output(Path(out.fs_path).relative_to(here), Path(out.stage.wdir).relative_to(here), out.hash_info.value or "")
        for out in outs
    ]
    return made, Path(os.path.relpath(repo.cache.local.path))


def name_of(path: Path) -> str:
    """An object's name in the cache, such as ab/cdef..."""
    return f"{path.parent.name}/{path.name}"


def _digests(path: Path) -> tuple[str, str]:
    """MD5 and SHA-256 of a file, in hexadecimal."""
    both = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            for digest in both:
                digest.update(block)
    return both[0].hexdigest(), both[1].hexdigest()


if __name__ == "__main__":
    runtime.run(main)
