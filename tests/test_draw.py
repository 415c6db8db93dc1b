"""The stage that draws: every figure of studies of any size, on one page, with the same bytes every time."""

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from ruamel.yaml import YAML

from figures import drawing
from figures.results import Results
from fourlenses.artifacts import write_csv
from fourlenses.errors import UserError
from stages import draw
from stages.draw import FIGURES
from tests import synthetic_figures

ROOT = Path(__file__).parents[1]
SHORT = {name: synthetic_figures.LOSSES[name] for name in ("free", "away-1")}
ONCE = "import sys; from stages import draw; draw.main(draw.Path('results'), draw.Path('once')); "
LEAN = "assert not {'torch', 'torchvision'} & set(sys.modules)"


def params(results: Results) -> str:
    """Parameters of a study of the made-up results, on top of the default study's; JSON is YAML."""
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content |= {"root": str(ROOT), "draw": {"standard": results.standard, "robust": results.robust}}
    content["networks"] = {
        name: {"architecture": row.architecture, "recipe": row.recipe, "augment": row.augment, "beta": row.beta}
        for name, row in results.networks.loc[list(results.names)].iterrows()
    }
    content["invert"]["losses"] = {"free": {}}
    return json.dumps(content)


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return synthetic_figures.study(tmp_path_factory.mktemp("study"), 13, seeds=2, images=12)


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Results:
    folder = tmp_path_factory.mktemp("small")
    return synthetic_figures.study(folder, 3, sweep=False, losses=SHORT, starts=["super-noise"], noise=False)


def texts(figure: Figure) -> list[plt.Text]:
    return [text for text in figure.findobj(plt.Text) if text.get_text().strip() and text.get_visible()]


def test_the_stage_draws_every_figure_with_the_same_bytes_and_without_torch(small, monkeypatch):
    folder = small.folder.parent
    (folder / "params.yaml").write_text(params(small))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run([sys.executable, "-c", ONCE + LEAN], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    manifest = json.loads(Path("results/manifests/draw.json").read_text())
    assert {Path(path).stem for path in manifest["outputs"]} == set(FIGURES)
    assert any(path.endswith("paper/reported.csv") for path in manifest["inputs"])
    draw.main(Path("results"), Path("again"))
    for name in FIGURES:
        for path in drawing.files(Path("once") / name):
            assert path.read_bytes() == (Path("again") / path.name).read_bytes()
        assert 'width="453.6pt"' in Path(f"once/{name}.svg").read_text()[:1000]  # the text of a page


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_fits_the_page_and_no_letters_overlap(name, results, monkeypatch):
    figure, drawn = FIGURES[name](results), set()
    figure.set_dpi(200)
    show = plt.Text.draw
    monkeypatch.setattr(plt.Text, "draw", lambda text, *given: (drawn.add(text), show(text, *given)))
    figure.draw_without_rendering()
    assert figure.get_figwidth() == drawing.WIDTH
    assert figure.get_figheight() <= drawing.TALLEST
    upright = [text for text in drawn if text in texts(figure) and text.get_rotation() % 90 == 0]
    boxes = [(text.get_text(), text.get_window_extent().padded(-1)) for text in upright]
    assert boxes
    page = figure.bbox
    assert not [text for text, box in boxes if not (page.contains(*box.min) and page.contains(*box.max))]
    assert not [(a, b) for (a, one), (b, other) in combinations(boxes, 2) if one.overlaps(other)]
    plt.close(figure)


def test_what_a_study_lacks_is_said_in_one_line(small):
    missing = set()
    for name, make in FIGURES.items():
        figure = make(small)
        found = [text.get_text() for text in texts(figure)]
        missing |= {name} if len(found) == 1 and found[0].startswith(("This study", "Clustering takes")) else set()
        assert found
        plt.close(figure)
    of_pairs = {"maps", "twins", "ends", "budgets", "threats", "widths", "overfitting", "metrics", "bias", "attacked"}
    lacking = {"backward", "augmentation", "simclr", "sweep", "seeds", "clustering", "released", "dominant"}
    assert missing == lacking | of_pairs


def test_what_is_missing_or_torn_is_one_line(small, tmp_path):
    lost = Results(tmp_path, small.reported_in, small.names, small.standard, small.robust)
    with pytest.raises(UserError, match="answers.csv"):
        _ = lost.answers
    with pytest.raises(UserError, match="resnet-standard.safetensors"):
        _ = lost.iris
    (tmp_path / "iris").mkdir()
    (tmp_path / "iris/resnet-standard.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        _ = lost.iris
    write_csv(tmp_path / "judges.csv", pd.DataFrame({"judge": ["J1", "J9-0"], "panel": [1, 0]}))
    assert lost.panel == ["J1"]


def test_the_papers_numbers_are_as_reported():
    table = pd.read_csv(ROOT / "paper/reported.csv")
    columns = ["item", "data", "recipe", "architecture", "epoch", "value", "spread", "provenance"]
    assert list(table) == columns
    assert not table.duplicated(columns[:5]).any()
    assert table["value"].between(0, 100).all()
    assert table["provenance"].str.startswith(("[N]", "[D]")).all()
    curves = table[table["epoch"].notna()].groupby("recipe")["value"]
    assert curves.count().to_dict() == {"simclr-adversarial/simclr": 20, "simclr/simclr": 20,
                                        "simclr/simclr-without-colour": 20}  # fmt: skip
    assert curves.sum().round(1).to_dict() == {"simclr-adversarial/simclr": 1153.0, "simclr/simclr": 90.5,
                                               "simclr/simclr-without-colour": 34.0}  # fmt: skip
