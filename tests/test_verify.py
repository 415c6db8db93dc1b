"""`make verify` finds what DVC would not, and `make tidy` what nobody owns; on a small pipeline of their own."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fourlenses.artifacts import sha256_file, write_json
from fourlenses.errors import UserError
from stages import tidy, verify

PIPELINE = """
stages:
  make:
    foreach: ${networks}
    do:
      cmd: cp big.in models/${key}.safetensors && cp ${key}.json results/manifests/make@${key}.json
      deps: [big.in]
      outs:
        - models/${key}.safetensors
        - results/manifests/make@${key}.json:
            cache: false
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with a study of two items that have run."""
    root = tmp_path_factory.mktemp("verify")
    study = root / "studies/one"
    for folder in ("models", "results/manifests"):
        (study / folder).mkdir(parents=True)
    (study / "big.in").write_text("x" * 1000)
    (study / "dvc.yaml").write_text(PIPELINE)
    (study / "params.yaml").write_text("networks: {a: 1, b: 2}\n")
    for name in "ab":
        outputs = {f"models/{name}.safetensors": sha256_file(study / "big.in")}
        write_json(study / f"{name}.json", {"inputs": {"elsewhere": "0"}, "outputs": outputs})
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(root / ".dvc/site")}
    dvc = [sys.executable, "-m", "dvc"]
    for command in (["git", "init", "-q"], [*dvc, "init", "-q"], [*dvc, "repro", "-q", "studies/one/dvc.yaml"]):
        subprocess.run(command, cwd=root, env=environment, check=True)
    return root


@pytest.fixture
def study(ran: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the current folder."""
    shutil.copytree(ran, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Path("studies/one")


def rot(path: Path) -> None:
    """Change one byte without changing the file's size, mode or times: what a bad disk does, and DVC does not see."""
    about = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"y" + path.read_bytes()[1:])
    path.chmod(about.st_mode)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def problems(capsys: pytest.CaptureFixture[str], **options: bool) -> list[str]:
    with pytest.raises(SystemExit) as exit_:
        verify.main(**options)
    assert exit_.value.code == 1
    return capsys.readouterr().out.splitlines()


def test_sound_outputs_pass(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify.main()
    said = capsys.readouterr().out
    assert said.startswith("4 outputs and 1 objects of the cache: 0 problems; 0 objects of earlier runs")


@pytest.mark.parametrize("name", ["models/a.safetensors", "results/manifests/make@a.json"])
def test_rotten_output_is_found(study: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    rot(study / name)
    said = problems(capsys)
    assert said[0].startswith(f"corrupt: {study / name} is not what dvc.lock says; `dvc ")
    assert ": 1 problems;" in said[-1]


def test_missing_output_is_found_with_the_way_back(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (study / "models/a.safetensors").unlink()
    (study / "results/manifests/make@b.json").unlink()
    assert problems(capsys)[:2] == [
        "missing: studies/one/models/a.safetensors; `dvc checkout` restores it",
        "missing: studies/one/results/manifests/make@b.json; `dvc repro` makes it anew",
    ]


def test_rotten_object_of_the_cache_is_found_and_moved_away(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (bad,) = Path(".dvc/cache/files/md5").glob("*/*")
    rot(bad)
    said = problems(capsys, quarantine=True)
    assert said[0] == f"corrupt: {bad} in the cache; `dvc repro` makes it anew once it is gone"
    assert not bad.exists()
    assert (verify.QUARANTINE / bad).read_bytes().startswith(b"yx")
    verify.main()  # the outputs themselves were sound


def test_manifest_of_other_outputs_is_found(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both files are as dvc.lock says, but the manifest tells of others."""
    path = study / "results/manifests/make@a.json"
    write_json(path, {"inputs": {}, "outputs": {"models/a.safetensors": "0" * 64}})
    lock = study / "dvc.lock"
    old, new = (verify._digests(file)[0] for file in (study / "a.json", path))
    assert old != new
    lock.write_text(lock.read_text().replace(old, new))
    assert problems(capsys)[0].startswith(f"corrupt: {study}/models/a.safetensors is not what {path} says; ")


def test_objects_of_earlier_runs_are_counted_only(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Path(".dvc/cache/files/md5")
    content = b"of yesterday"
    name = verify._digests(_write(cache / "new", content))[0]
    _write(cache / name[:2] / name[2:], content)
    verify.main()
    assert "2 objects of the cache: 0 problems; 1 objects of earlier runs" in capsys.readouterr().out


def test_elsewhere_is_a_users_error(study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(study)
    with pytest.raises(UserError, match="expected the root of the repository"):
        verify.main()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="expected what `dvc status` can read"):
        verify.main()


def _write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_tidy_lists_then_deletes_what_nobody_owns(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = study / "params.yaml"
    params.write_text("networks: {a: 1}\n")  # a shrunken study: what belonged to b is an orphan now
    leftovers = [
        _write(study / ".resume/make@a/key/.tmp-x.safetensors"),
        _write(study / ".resume/make@gone/key/x.safetensors").parents[1],
        study / "models/b.safetensors",
        _write(study / "models/old/c.safetensors"),
        _write(study / "results/.tmp-x.csv"),
        study / "results/manifests/make@b.json",
        _write(Path(".dvc/cache/files/md5/ab/torn.tmp")),
    ]
    kept = [
        _write(study / ".resume/make@a/key/x.safetensors"),
        _write(study / "results/runs.csv"),
        _write(study / "models/README.md"),
        _write(study / "notes.json"),
        _write(study / ".resume/quarantine/x.safetensors"),
        study / "models/a.safetensors",
    ]
    tidy.main()
    said = capsys.readouterr().out.splitlines()
    assert said[:-1] == [f"nobody owns: {path}" for path in sorted(leftovers)]
    assert all(path.exists() for path in leftovers)
    tidy.main(apply=True)
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in kept)
    tidy.main()
    assert capsys.readouterr().out.splitlines() == [f"deleted: {path}" for path in sorted(leftovers)]


def test_old_checkpoints_are_leftovers(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _write(study / ".resume/make@a/key/x.safetensors")
    for each in (path, path.parent):
        os.utime(each, (0, 0))
    tidy.main()
    assert f"nobody owns: {study}/.resume/make@a" in capsys.readouterr().out


def test_tidy_leaves_a_running_stage_alone(study: Path) -> None:
    orphan = _write(study / "models/old.safetensors")
    with open(_write(study / ".resume/make@a.lock")) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="stage make@a runs in one; expected no stage that runs"):
            tidy.main(apply=True)
    assert orphan.exists()
