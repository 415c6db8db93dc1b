"""`dvc repro` of the smoke study, for real: in a copy of the checkout, from an empty cache."""

import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from importlib.util import source_from_cache
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from ruamel.yaml import YAML

from fourlenses.artifacts import load_tensors, read_csv, read_json, sha256_file

pytestmark = pytest.mark.pipeline
ROOT = Path(__file__).parents[1]
STUDY = "studies/smoke"
PIPELINE = f"{STUDY}/dvc.yaml"
TRAINED = {"resnet-standard", "resnet-adversarial", "vgg-standard", "resnet-simclr"}
INVERTED = {f"invert@{network}" for network in TRAINED}
# In every process of the copy: write down which of its files are opened and by which module, and whom it calls.
SPY = '''
import os, sys
if len(sys.orig_argv) > 2 and sys.orig_argv[1] == "-m" and sys.orig_argv[2].startswith(("stages.", "figures.")):
    book = os.open({book!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    def spy(event, values, words=sys.orig_argv):
        if event == "open" and isinstance(values[0], (str, bytes, os.PathLike)):
            path = os.path.abspath(os.fsdecode(values[0]))
            if path.startswith({copy!r} + os.sep):
                os.write(book, f"{{' '.join(words[1:])}}\\t{{path[len({copy!r}) + 1:]}}\\n".encode())
        elif event in ("socket.connect", "socket.getaddrinfo"):
            os.write(book, f"{{' '.join(words[1:])}}\\tnetwork\\n".encode())
    sys.addaudithook(spy)
'''


class Copy:
    """A copy of the checkout with its own Git, DVC cache and settings."""

    def __init__(self, folder: Path) -> None:
        self.root, self.study, self.opened = folder / "code", folder / "code" / STUDY, folder / "opened.tsv"
        spy = folder / "spy/sitecustomize.py"
        spy.parent.mkdir(parents=True, exist_ok=True)
        spy.write_text(SPY.format(book=str(self.opened), copy=str(self.root)))
        home = {f"DVC_{name}_DIR": str(folder / name) for name in ("GLOBAL_CONFIG", "SYSTEM_CONFIG", "SITE_CACHE")}
        self.environment = os.environ | home | {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join([str(self.root), str(spy.parent)]),
            "PYTHONDONTWRITEBYTECODE": "",  # compiling all that is imported takes longer than importing it
            "FOURLENSES_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "DVC_NO_ANALYTICS": "1",
        }  # fmt: skip

    def run(self, *command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=cwd or self.root, env=self.environment, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=1800,
        )  # fmt: skip

    def repro(self, *targets: str) -> str:
        done = self.run(sys.executable, "-m", "dvc", "repro", *(targets or [PIPELINE]))
        assert done.returncode == 0, done.stdout
        return done.stdout

    def set(self, old: str, new: str) -> None:
        """Change one line of the study's parameters."""
        path = self.study / "params.yaml"
        text = path.read_text()
        assert text.count(f"{old}\n") == 1
        path.write_text(text.replace(f"{old}\n", f"{new}\n"))

    def outputs(self) -> dict[str, str]:
        """MD5 of every output of every stage, as DVC recorded it."""
        stages = YAML(typ="safe").load((self.study / "dvc.lock").read_text())["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def checkout(folder: Path, source: Path = ROOT) -> Copy:
    """The checkout's files, new and changed ones too, without what the smoke study made."""
    copy = Copy(folder)
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=source, text=True)
    for name in filter(None, listed.split("\0")):
        made = name.startswith(f"{STUDY}/") and Path(name).name not in ("dvc.yaml", "params.yaml")
        if not made and os.path.lexists(source / name):
            (copy.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, copy.root / name, follow_symlinks=False)
    copy.run("git", "init", "-q")
    return copy


def ran(log: str) -> set[str]:
    return set(re.findall(rf"^Running stage '{PIPELINE}:([\w@-]+)'", log, re.M))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The study run once from nothing; tests that change it take a copy."""
    copy = checkout(tmp_path_factory.mktemp("first"))
    assert not (copy.root / ".dvc/cache").exists()
    copy.repro()
    return copy


@pytest.fixture
def study(first: Copy, tmp_path: Path) -> Copy:
    shutil.copytree(first.root, tmp_path / "code", symlinks=True)
    return Copy(tmp_path)


def test_every_output_is_whole(first: Copy) -> None:
    checks = {
        ".safetensors": load_tensors,
        ".csv": lambda path: len(read_csv(path)) or pytest.fail(f"{path} has no rows"),
        ".json": read_json,
        ".svg": ET.parse,
        ".png": lambda path: Image.open(path).verify(),
        ".pdf": lambda path: path.read_bytes().rstrip().endswith(b"%%EOF") or pytest.fail(f"{path} is torn"),
    }
    outputs = first.outputs()
    for name in outputs:
        path = first.study / name
        for file in path.iterdir() if path.is_dir() else [path]:
            checks[file.suffix](file)
    for path in (first.study / "results/manifests").iterdir():
        for name, digest in read_json(path)["outputs"].items():
            assert outputs.keys() & {name, str(Path(name).parent)}
            assert sha256_file(first.study / name) == digest
    assert {path.stem for path in (first.study / "models").iterdir()} == TRAINED | {"judges"}


def test_numbers_are_in_their_range(first: Copy) -> None:
    alignment = read_csv(first.study / "results/alignment.csv")
    assert set(alignment["network"]) == TRAINED
    values = alignment[["alignment", "low", "high"]]
    assert values.notna().all(axis=None)
    assert values.min(axis=None) >= 0
    assert values.max(axis=None) <= 100
    verdicts = set(read_csv(first.study / "results/claims.csv")["verdict"])
    assert verdicts <= {"reproduced", "partly", "not", "not tested"}
    panel = read_csv(first.study / "results/judges.csv").query("panel == 1")
    assert (panel["passes"] == 1).all()


def opened(copy: Copy) -> pd.DataFrame:
    found = pd.read_csv(copy.opened, sep="\t", names=["command", "path"]).drop_duplicates()
    found["path"] = [source_from_cache(path) if path.endswith(".pyc") else path for path in found["path"]]
    return found


def test_stages_open_what_they_declare_and_no_network(first: Copy) -> None:
    lock = YAML(typ="safe").load((first.study / "dvc.lock").read_text())["stages"]
    found = opened(first)
    assert set(found["command"].str.split().str[1]) == {stage["cmd"].split()[2] for stage in lock.values()}
    # every stage may read the parameters and their schema, and write its scratch files, manifest and run log
    schema = ["fourlenses/params.py", "fourlenses/sections.py"]
    shared = [*schema, f"{STUDY}/params.yaml", f"{STUDY}/.resume", f"{STUDY}/results/runs.csv"]
    shared += [f"{package}/__init__.py" for package in ("fourlenses", "stages", "figures")]
    for stage in lock.values():
        entries = [entry["path"] for kind in ("deps", "outs") for entry in stage.get(kind, [])]
        allowed = [os.path.normpath(f"{STUDY}/{entry}") for entry in entries] + shared
        paths = found.loc["python " + found["command"] == stage["cmd"], "path"]
        assert len(paths)
        files = {path.replace("/.tmp-", "/") for path in paths if "__pycache__" not in path}
        surplus = {file for file in files if not any(f"{file}/".startswith(f"{own}/") for own in allowed)}
        assert not {file for file in surplus if not (first.root / file).is_dir()}, stage["cmd"]


def test_the_paper_reads_what_it_declares(first: Copy, tmp_path: Path) -> None:
    """Typst opens files out of Python's sight, so it is given nothing else."""
    lock = YAML(typ="safe").load((first.study / "dvc.lock").read_text())["stages"]["paper"]
    bare = tmp_path / STUDY
    for dep in lock["deps"]:
        source, target = first.study / dep["path"], bare / dep["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    for out in lock["outs"]:
        (bare / out["path"]).parent.mkdir(parents=True, exist_ok=True)
    done = first.run(*lock["cmd"].split(), cwd=bare)
    assert done.returncode == 0, done.stdout
    assert (bare / "paper/paper.pdf").read_bytes() == (first.study / "paper/paper.pdf").read_bytes()


def test_examples_of_the_readme_run(first: Copy) -> None:
    examples = re.findall(r"^```python\n(# tested\n.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert examples
    done = first.run(sys.executable, "-c", "import sys\nfor code in sys.argv[1:]:\n    exec(code, {})", *examples)
    assert done.returncode == 0, done.stdout


def test_a_second_run_runs_nothing(first: Copy) -> None:
    log = first.repro()
    assert not ran(log)
    assert "Data and pipelines are up to date." in log


def test_a_parameter_runs_only_what_depends_on_it(study: Copy) -> None:
    study.set("  n_bootstrap: 500", "  n_bootstrap: 501")
    again = ran(study.repro())
    assert again == {"judge", "cluster", "claims", "draw", "paper"}


def test_inversion_runs_again_without_training_and_is_restored(study: Copy) -> None:
    before = study.outputs()
    study.set("  steps: 30", "  steps: 31")
    assert ran(study.repro(f"{PIPELINE}:invert")) == INVERTED
    after = study.outputs()
    made = {f"results/iris/{network}.safetensors" for network in TRAINED}
    assert made <= {name for name, digest in after.items() if digest != before[name]}
    status = json.loads(study.run(sys.executable, "-m", "dvc", "status", "--json", PIPELINE).stdout)
    waiting = ("judge", "cluster", "transfer", "draw", "paper")  # the rest follows
    assert set(status) == {f"{PIPELINE}:{name}" for name in waiting}
    study.set("  steps: 31", "  steps: 30")
    log = study.repro(f"{PIPELINE}:invert")
    assert not ran(log)
    assert log.count("is cached - skipping run") == len(INVERTED)
    assert study.outputs() == before


def test_a_wrong_parameter_is_one_line_and_nothing_is_lost(study: Copy) -> None:
    before = {path: sha256_file(path) for path in study.study.rglob("*") if path.is_file()}
    command = "python -m stages.claims --claims ../../paper/claims.yaml --results results/answers.csv"
    command += " results/judges.csv results/predictions.csv --out results/claims.csv --tests results/tests.csv"
    for old, new in (("  n_bootstrap: 500", "  n_bootstrap: many"), ("  n_bootstrap: many", "  n_bootstraps: 500")):
        study.set(old, new)
        done = study.run(*command.split(), cwd=study.study)
        assert done.returncode == 2
        assert re.fullmatch(r"error: params.yaml: .*judge.n_bootstrap.*; expected .*; .*\n", done.stdout)
    study.set("  n_bootstraps: 500", "  n_bootstrap: 500")
    study.set("  steps: 30", "  steps: thirty")
    failed = study.run(sys.executable, "-m", "dvc", "repro", PIPELINE)
    assert failed.returncode != 0
    assert len(re.findall(r"^error: params.yaml: invert.steps is 'thirty'; expected .*$", failed.stdout, re.M)) == 1
    assert "Traceback" not in failed.stdout
    study.set("  steps: thirty", "  steps: 30")
    assert not ran(study.repro())
    lost = {path for path, digest in before.items() if not path.exists() or sha256_file(path) != digest}
    assert lost <= {study.study / ".resume/runs.lock"}


def test_two_clean_runs_give_the_same_bytes(first: Copy, tmp_path: Path) -> None:
    """The dear part of it: images, a network, the trunks and IRIs, from which the rest follows."""
    second = checkout(tmp_path, first.root)
    second.repro(f"{PIPELINE}:invert@resnet-adversarial")
    ours, theirs = second.outputs(), first.outputs()
    assert {"models/resnet-adversarial.safetensors", "results/iris/resnet-adversarial.safetensors"} <= ours.keys()
    assert {name for name, digest in ours.items() if theirs[name] != digest} == set()
