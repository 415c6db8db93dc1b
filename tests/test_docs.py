"""What the documents name exists, and the generated parts of the README are those of the results."""

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from dvc.cli.parser import get_main_parser
from ruamel.yaml import YAML

from fourlenses.artifacts import write_csv, write_json
from fourlenses.errors import UserError
from stages import readme

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LISTED = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True).splitlines()
DOCUMENTS = [name for name in LISTED if name.endswith(".md")]
CODE = [name for name in LISTED if name.endswith((".py", "Makefile"))]


def commands() -> list[str]:
    """Lines of the README's sh blocks, and commands in its sentences, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.M | re.S)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`((?:make|dvc|python -m) [^`]+)`", README)
    return list(dict.fromkeys(filter(None, (line.partition("#")[0].strip() for line in lines))))


@pytest.mark.parametrize("command", commands())
def test_commands_exist(command: str) -> None:
    program, *words = shlex.split(command)
    if program == "make":
        assert subprocess.run(["make", "-n", *words], cwd=ROOT, capture_output=True).returncode == 0
        study = next((word.partition("=")[2] for word in words if word.startswith("STUDY=")), "")
        assert (ROOT / ("studies" if study else "") / study / "params.yaml").is_file()
    elif program == "dvc":
        given = get_main_parser().parse_args(words)  # raises on what DVC does not know
        stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        targets = [target.rpartition(":")[2] for target in getattr(given, "targets", None) or []]
        assert all(target.partition("@")[0] in stages or (ROOT / target).is_file() for target in targets)
    elif "-m" in words:
        assert program in ("python", "torchrun") and importlib.util.find_spec(words[words.index("-m") + 1])
    else:
        assert program in ("git", "cd", "conda", "pip", "export")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_and_images_resolve(name: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / name).read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", text)
    local = [target for target in targets if not re.match(r"(https?|mailto):", target)]
    assert not [target for target in local if not (ROOT / name).parent.joinpath(target).exists()]


def test_files_that_the_readme_names_exist() -> None:
    folders = "fourlenses|stages|figures|paper|tests|benchmarks|studies"
    names = re.findall(rf"\b(?:{folders})/[\w./-]+\w", README.replace("\\", ""))
    made = "studies/smoke/"  # what this study makes is not in Git
    assert names
    assert not [name for name in names if not (ROOT / name).exists() and not name.startswith(made)]


def test_environment_variables_are_those_of_the_code() -> None:
    variable = re.compile(r"FOURLENSES_[A-Z]+")
    used = {word for name in CODE for word in variable.findall((ROOT / name).read_text(encoding="utf-8"))}
    assert set(variable.findall(README)) == used


@pytest.mark.parametrize("part", ["claims", "accuracy", "recipes", "benchmarks"])
def test_generated_parts_are_those_of_the_results(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The minutes change with every run and machine; `make readme` writes them all."""
    monkeypatch.chdir(ROOT)
    studies = readme.studies()
    assert studies
    assert readme.replaced(README, part, readme.PARTS[part](studies)) == README


STAGES = """
stages:
  train:
    foreach: ${networks}
    do:
      desc: Train
      outs: ["models/${key}.bin"]
      metrics: [{"results/train/${key}.json": {cache: false}}]
  judge: {desc: Judge, outs: [results/answers.csv: {cache: false}]}
  draw-iris: {desc: Draw, outs: [figures/iris.svg: {cache: false}]}
"""
LOCK = """
stages:
  train@a: {outs: [{path: models/a.bin}, {path: results/manifests/train@a.json}]}
  train@b: {outs: [{path: models/b.bin}, {path: results/manifests/train@b.json}]}
  judge: {deps: [{path: models}], outs: [{path: results/answers.csv}, {path: results/manifests/judge.json}]}
  draw-iris: {deps: [{path: models/a.bin}], outs: [{path: figures/iris.svg}, {path: results/manifests/draw@iris.json}]}
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root study of a small project, and its README."""
    monkeypatch.chdir(tmp_path)
    Path("dvc.yaml").write_text(STAGES)
    Path("dvc.lock").write_text(LOCK)
    parts = [f"# {part}\n<!-- {part} -->\ntyped by hand\n<!-- /{part} -->\n" for part in readme.PARTS]
    Path("README.md").write_text("".join(parts))
    claim = {"statement": "It holds: in detail.", "effect": 45.678, "low": 40.2, "high": 50, "threshold": ">= 40"}
    rows = [
        claim | {"claim": "invariance-C1", "quantity": "range", "verdict": "reproduced", "reason": "all hold"},
        claim | {"claim": "invariance-C2", "quantity": "gain", "verdict": "not tested", "reason": "no people | here"},
    ]
    write_csv("results/claims.csv", pd.DataFrame(rows))
    tests = [{"claim": row["claim"], "quantity": row["quantity"], "unit": "pp"} for row in rows]
    write_csv("results/tests.csv", pd.DataFrame(tests))
    write_csv("results/alignment.csv", pd.DataFrame({"network": ["b", "a", "b"]}))
    for name in "ab":
        seeds = [{"clean": {"value": v, "low": v - 0.02, "high": v + 0.01, "n": 1000},
                  "robust": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 1000}} for v in (0.9, 0.8)]  # fmt: skip
        write_json(f"results/train/{name}.json", {"seeds": seeds, "attack": {"norm": "l2", "eps": 1.5, "steps": 20}})
    runs = [("draw", "iris", 30), ("judge", "", 60), ("train", "a", 120), ("train", "b", 240)]
    table = pd.DataFrame(runs, columns=["stage", "item", "seconds"])
    table = table.assign(torch=["", *["2.14"] * 3], peak_memory_mib=1536, cores=2, threads=1, device="cpu")
    write_csv("results/runs.csv", table)
    return tmp_path


def test_the_readme_is_rewritten_in_place(study: Path) -> None:
    readme.main()
    text = Path("README.md").read_text()
    assert "typed by hand" not in text
    assert "| invariance-C1 | It holds | **reproduced**: range 45.7 [40.2, 50] pp, sought >= 40 |\n" in text
    assert "| invariance-C2 | It holds | **not tested**: no people / here |\n" in text
    assert text.index("| b | 0.850 [0.780, 0.910] | 0.500 [0.400, 0.600] |") < text.index("| a | 0.850")
    assert "2 training seeds, 1,000 test images, radius L2 1.5" in text
    assert "| Train | [results/train](results/train) | `dvc repro train` | 6.0 |\n" in text
    assert "| Judge | [results/answers.csv](results/answers.csv) | `dvc repro judge` | 7.0 |\n" in text
    assert "| Draw | [figures/iris.svg](figures/iris.svg) | `dvc repro draw-iris` | 2.5 |\n" in text  # b is not in it
    assert "| Everything |  | `make repro` | 7.5 |\n" in text
    assert "cpu, 2 cores, threads: 1, PyTorch 2.14, at most 1.5 GiB" in text
    readme.main()
    assert Path("README.md").read_text() == text


def test_studies_stand_side_by_side(study: Path) -> None:
    other = Path("studies/fashion")
    for name in ("results/claims.csv", "results/tests.csv"):
        write_csv(other / name, pd.read_csv(name).iloc[1:])
    text = readme.claims(readme.studies())
    assert text.splitlines()[0] == "| claim | statement, in short | MNIST-5k | Fashion-MNIST |"
    assert text.splitlines()[2].endswith("sought >= 40 | – |")


def test_without_results_the_parts_are_empty(study: Path) -> None:
    Path("results/claims.csv").unlink()
    readme.main()
    assert "<!-- claims -->\n<!-- /claims -->" in Path("README.md").read_text()


def test_a_missing_part_is_a_users_error(study: Path) -> None:
    Path("README.md").write_text("no parts")
    with pytest.raises(UserError, match="no part claims in the README"):
        readme.main()
