"""Figures and the paper, drawn from made-up results in a temporary folder."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
from ruamel.yaml import YAML

from figures import alignment, drawing, iris, sweep, training
from fourlenses.artifacts import read_csv, write_csv
from fourlenses.claims import evaluate, load_claims
from fourlenses.errors import UserError
from fourlenses.invariance.quantities import QUANTITIES
from stages import paper
from tests import synthetic

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
    return json.dumps(content)


def draw_all(folder: Path, out: Path) -> None:
    """Every figure, by the same functions that the command lines call."""
    tables, judges = folder / "results", folder / "results/judges.csv"
    standard, robust = (folder / f"iris/resnet-{kind}.safetensors" for kind in ("standard", "adversarial"))
    iris.main(standard, robust, tables / "answers.csv", judges, out / "iris.svg")
    alignment.main(tables / "alignment.csv", judges, out / "alignment.svg")
    sweep.main(tables / "alignment.csv", out / "sweep.svg")
    training.main(tables / "train", out / "training.svg")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = synthetic.study(tmp_path_factory.mktemp("study"))
    (folder / "params.yaml").write_text(params())
    tables = {name: read_csv(folder / name) for name in ("results/answers.csv", "results/judges.csv")}
    book = load_claims(ROOT / "paper/claims.yaml", QUANTITIES)
    for name, frame in zip(("claims", "tests"), evaluate(book, tables, QUANTITIES, 200, 0), strict=True):
        write_csv(folder / f"results/{name}.csv", frame)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a stage keeps its lock and its log in the study
        draw_all(folder, folder / "figures")
    shutil.copytree(ROOT / "paper", folder / "paper", ignore=shutil.ignore_patterns("*.pdf"))
    return folder


def test_figures_have_the_same_bytes_every_time(study, tmp_path, monkeypatch):
    monkeypatch.chdir(study)
    draw_all(study, tmp_path)
    for name in ("iris", "alignment", "sweep", "training"):
        for suffix in (".svg", ".png"):
            again, first = tmp_path / f"{name}{suffix}", study / f"figures/{name}{suffix}"
            assert again.read_bytes() == first.read_bytes()
            assert again.stat().st_size > 5000


def test_figures_are_as_wide_as_the_text(study):
    for name in ("iris", "alignment", "sweep", "training"):
        assert 'width="453.6pt"' in (study / f"figures/{name}.svg").read_text()[:1000]


def test_figures_fit_other_studies():
    table = synthetic.alignment(synthetic.answers(1, 20), 50)
    few = table[(table["network"] == "resnet-standard") & table["loss"].isin(["free", "away-1"])]
    assert drawing.main_losses(few) == ["free", "away-1"]
    for figure in (sweep.draw(few), alignment.draw(few, synthetic.PANEL)):
        assert figure.get_figwidth() == 6.3
        drawing.plt.close(figure)
    with pytest.raises(UserError, match="no loss called free"):
        drawing.main_losses(few[few["loss"] == "away-1"])
    with pytest.raises(UserError, match="super-noise"):
        drawing.of_seed_image(few.assign(seed_image="black"))


def test_the_sweep_shows_every_weight_at_its_error_and_alignment():
    table = synthetic.alignment(synthetic.answers(1, 20), 50)
    figure = sweep.draw(table)
    median = table[(table["judge"] == "median") & (table["network"] == "vgg-adversarial")]
    panel = next(axis for axis in figure.axes if axis.get_title().startswith("VGG, adversarial"))
    points = [line for line in panel.lines if line.get_marker() != "None"]
    shown = {(x, y) for line in points for x, y in zip(*line.get_data(), strict=True)}
    assert shown == set(zip(median["error_mean"], median["alignment"], strict=True))
    null = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"]
    assert null == [synthetic.TAU]
    drawing.plt.close(figure)


def test_the_paper_has_the_same_bytes_every_time_and_takes_other_studies(study, monkeypatch):
    monkeypatch.chdir(study)
    other = study / "studies/other/results"
    other.mkdir(parents=True, exist_ok=True)
    shutil.copy(study / "results/claims.csv", other)
    shutil.copy(study / "params.yaml", other.parent)
    outs = [study / f"paper/{name}.pdf" for name in ("first", "second", "both")]
    for out, studies in zip(outs, ([Path()], [Path()], [Path(), other.parent]), strict=True):
        paper.main(Path("paper/main.typ"), Path(), studies, out)
    first, second, both = (out.read_bytes() for out in outs)
    assert first == second != both
    assert first.startswith(b"%PDF")


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


def test_every_command_line_explains_itself(capsys):
    import tyro

    for main in (alignment.main, iris.main, sweep.main, training.main, paper.main):
        with pytest.raises(SystemExit) as end:
            tyro.cli(main, args=["--help"])
        assert end.value.code == 0
        assert "--out" in capsys.readouterr().out
