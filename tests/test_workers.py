"""Several workers make what `dvc repro` would make, in an order that the stages allow."""

import subprocess
import sys
from pathlib import Path

import pytest
from commands import is_one_line, run

WORKERS = ["-m", "stages.workers"]
STAGES = """
stages:
  a: {cmd: python make.py a, deps: [make.py], outs: [a.txt]}
  b: {cmd: python make.py b a.txt, deps: [make.py, a.txt], outs: [b.txt]}
  c: {cmd: python make.py c a.txt, deps: [make.py, a.txt], outs: [c.txt]}
  d: {cmd: python make.py d b.txt c.txt, deps: [make.py, b.txt, c.txt], outs: [d.txt]}
"""
MAKE = """
import os, pathlib, sys, time
start, (name, *inputs) = time.time(), sys.argv[1:]
text = name + "".join(pathlib.Path(each).read_text() for each in inputs)
if pathlib.Path("broken").exists() and name == "c":
    sys.exit("error: c is broken")
time.sleep(0.5)
pathlib.Path(name + ".txt").write_text(text)
with open("log", "a") as log:
    seen = [os.environ.get(name) for name in ("FOURLENSES_DEVICE", "FOURLENSES_THREADS", "CUDA_VISIBLE_DEVICES")]
    print(name, start, time.time(), *seen, file=log)
"""


def dvc(folder: Path, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True).stdout


@pytest.fixture
def study(tmp_path) -> Path:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    dvc(tmp_path, "init", "-q")
    (tmp_path / "dvc.yaml").write_text(STAGES.replace("python", sys.executable))
    (tmp_path / "make.py").write_text(MAKE)
    return tmp_path


def log(study: Path) -> dict[str, tuple]:
    rows = [line.split() for line in (study / "log").read_text().splitlines()]
    return {name: (float(start), float(end), *seen) for name, start, end, *seen in rows}


def test_stages_run_side_by_side_in_order_and_only_once(study):
    code, stderr = run(study, *WORKERS, "--devices", "cpu", "other", "--threads", "3", CUDA_VISIBLE_DEVICES="0,1")
    assert code == 0, stderr
    ran = log(study)
    assert sorted(ran) == ["a", "b", "c", "d"]
    assert ran["a"][1] <= min(ran["b"][0], ran["c"][0]) and ran["d"][0] >= max(ran["b"][1], ran["c"][1])
    assert {ran["b"][2], ran["c"][2]} == {"cpu", "other"}, "each had a worker of its own"
    assert {row[3:] for row in ran.values()} == {("3", "0,1")}, "threads, and the GPUs that this process sees"
    assert (study / "d.txt").read_text() == "dbaca"
    assert "up to date" in dvc(study, "status")


def test_what_dvc_remembers_is_not_made_again(study):
    assert run(study, *WORKERS)[0] == 0
    (study / "a.txt").unlink()
    (study / "log").unlink()
    (study / "make.py").write_text(MAKE.replace("text = name", "text = name.upper()"))
    assert run(study, *WORKERS, "b")[0] == 0
    assert (study / "b.txt").read_text() == "BA" and sorted(log(study)) == ["a", "b"]
    (study / "log").unlink()
    (study / "make.py").write_text(MAKE)
    assert run(study, *WORKERS)[0] == 0
    assert (study / "d.txt").read_text() == "dbaca" and not (study / "log").exists()
    assert "up to date" in dvc(study, "status")


def test_a_failure_is_named_and_the_rest_can_go_on_later(study):
    (study / "broken").touch()
    code, stderr = run(study, *WORKERS, "--workers", "1")
    assert code == 2 and is_one_line(stderr) and "failed: c (error: c is broken" in stderr
    assert not (study / "d.txt").exists()
    (study / "broken").unlink()
    before = set(log(study))
    assert run(study, *WORKERS)[0] == 0
    assert before < set(log(study)) and len((study / "log").read_text().splitlines()) == 4


@pytest.mark.parametrize(("options", "words"), [
    (["--workers", "0"], "0 workers"),
    (["--devices", "cpu"], "2 workers and 1 devices"),
    (["nothing"], "no stage nothing; expected one of a, b, c, d"),
])  # fmt: skip
def test_a_wrong_option_is_one_line(study, options, words):
    code, stderr = run(study, *WORKERS, *options)
    assert code == 2 and is_one_line(stderr)
    assert words in stderr
