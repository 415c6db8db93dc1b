"""The paper, typeset from made-up results in a temporary folder."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file

from figures.results import ENTANGLEMENT, SIMPLICITY
from fourlenses.artifacts import read_csv, write_csv, write_json
from fourlenses.claims import evaluate, load_claims
from fourlenses.errors import UserError
from stages import draw, paper, studies
from stages.claims import QUANTITIES
from tests import synthetic, synthetic_figures, synthetic_similarity

ROOT = Path(__file__).parents[1]


def params() -> str:
    """Parameters of a study of the made-up results, on top of the default study's; JSON is YAML."""
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content |= {"root": str(ROOT), "draw": {"standard": "resnet-standard", "robust": "resnet-adversarial"}}
    content["networks"] = {
        name: {"architecture": architecture, "recipe": recipe, "widths": [8, 16, 32]}
        for name, (architecture, recipe, _) in synthetic.NETWORKS.items()
    }
    content["train"]["seeds"] = [0, 1]
    content["invert"] |= {"n_targets": 30, "seed_images": ["super-noise"]}
    content["invert"]["losses"] = {
        name: {"regularizer": form, "weight": weight} if weight else {"transforms": name == "transforms"}
        for name, (form, weight) in synthetic.LOSSES.items()
    }
    content["sweep"]["networks"] = {
        name: {"architecture": about.get("architecture", "wrn-16"), "recipe": about.get("recipe", "adversarial-linf"),
               "widths": [16, 32, 64, 128]}
        for name, about in synthetic_similarity.SWEEP.items()
    }  # fmt: skip
    content["compare"] |= {"standard": "standard", "robust": "robust"}
    content["represent"] |= {"attacked": ["standard", "robust"]}
    return json.dumps(content)


def sweep() -> dict:
    """results/sweep.json of the made-up networks, as far as the paper reads it."""
    seeds = [{"clean": {"value": 0.9}, "robust": {"value": 0.4}}]
    return {name: {"norm": about.get("norm") or None, "seeds": seeds}
            for name, about in synthetic_similarity.SWEEP.items()}  # fmt: skip


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = synthetic.study(tmp_path_factory.mktemp("study"))
    (folder / "params.yaml").write_text(params())
    synthetic_figures.write(folder, read_csv(folder / "results/answers.csv"))
    names = ("answers", "judges", "predictions", "clustering", "recognition")
    names += ("sweep", *(f"similarity/{name}" for name in ("networks", "points", "pairs", "metrics")))
    names += tuple(f"entanglement/{name}" for name in ENTANGLEMENT if not name.startswith("toy_"))
    names += tuple(f"simplicity/{name}" for name in SIMPLICITY)
    tables = {f"results/{name}.csv": read_csv(folder / f"results/{name}.csv") for name in names}
    arrays = ("similarity/hsic", "simplicity/ladder", "simplicity/simplify", "simplicity/condense")
    tables |= {f"results/{name}.safetensors": load_file(folder / f"results/{name}.safetensors") for name in arrays}
    write_json(folder / "results/sweep.json", sweep())
    book = load_claims(ROOT / "paper/claims.yaml", QUANTITIES)
    for name, frame in zip(("claims", "tests"), evaluate(book, tables, QUANTITIES, 200, 0), strict=True):
        write_csv(folder / f"results/{name}.csv", frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a stage keeps its lock and its log in the study
        draw.main(Path("results"), Path("figures"))
    shutil.copytree(ROOT / "paper", folder / "paper", ignore=shutil.ignore_patterns("*.pdf"))
    return folder


def test_the_paper_has_the_same_bytes_every_time_and_takes_other_studies(study, monkeypatch):
    monkeypatch.chdir(study)
    other = study / "studies/other/results"
    other.mkdir(parents=True, exist_ok=True)
    shutil.copy(study / "results/claims.csv", other)
    shutil.copy(study / "params.yaml", other.parent)
    outs = [study / f"paper/{name}.pdf" for name in ("first", "second", "both")]
    for out, shown in zip(outs, ([Path()], [Path()], [Path(), other.parent]), strict=True):
        paper.main(Path("paper/main.typ"), Path(), shown, out)
    first, second, both = (out.read_bytes() for out in outs)
    assert first == second != both
    assert first.startswith(b"%PDF")


def test_the_paper_of_all_studies_in_git_is_made_of_their_results(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    studies.main(out=tmp_path / "paper.pdf")
    assert (tmp_path / "paper.pdf").read_bytes() == (ROOT / "paper/four-lenses.pdf").read_bytes()


def test_a_paper_of_all_studies_needs_the_one_that_it_shows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no results in studies/fashion; expected a study that has run; run `dvc repro"):
        studies.main()
    assert list(tmp_path.iterdir()) == []


def broken(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study", ignore=shutil.ignore_patterns("iris", ".resume")))


@pytest.mark.parametrize(
    ("name", "column", "where"),
    [
        ("alignment", "alignment", "loss == 'free' and judge == 'median'"),
        ("tests", "effect", "claim == 'invariance-C2'"),
        ("alignment", "error_mean", "judge == 'median'"),
    ],
)
def test_the_paper_does_not_compile_without_a_number(study, tmp_path, monkeypatch, name, column, where):
    folder = broken(study, tmp_path)
    path = folder / f"results/{name}.csv"
    table = pd.read_csv(path)
    table.loc[table.query(where).index, column] = None
    write_csv(path, table)
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match="invalid float") as error:
        paper.main(Path("paper/main.typ"), Path(), [Path()], Path("paper/out.pdf"))
    assert "\n" not in str(error.value)
    assert not (folder / "paper/out.pdf").exists()


def test_the_paper_does_not_compile_without_a_row_or_a_file(study, tmp_path, monkeypatch):
    folder = broken(study, tmp_path)
    monkeypatch.chdir(folder)
    path = folder / "results/claims.csv"
    write_csv(path, pd.read_csv(path).query("claim != 'invariance-C5'"))
    with pytest.raises(UserError, match="claim C5: 0 rows instead of one"):
        paper.main(Path("paper/main.typ"), Path(), [Path()], Path("paper/out.pdf"))
    shutil.copy(study / "results/claims.csv", path)
    (folder / "figures/sweep.svg").unlink()
    with pytest.raises(UserError, match="sweep.svg"):
        paper.main(Path("paper/main.typ"), Path(), [Path()], Path("paper/out.pdf"))
    with pytest.raises(UserError, match="outside"):
        paper.main(Path("paper/main.typ"), Path(), [study], Path("paper/out.pdf"))


def test_the_command_line_explains_itself(capsys):
    import tyro

    for main, option in ((draw.main, "--results"), (paper.main, "--document")):
        with pytest.raises(SystemExit) as end:
            tyro.cli(main, args=["--help"])
        assert end.value.code == 0
        assert {option, "--out"} <= set(capsys.readouterr().out.split())
