"""Figures of attacked and generated images show what the tables of the entanglement lens say, and the images stored."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.numpy import load_file

from figures import entangling, gans, reliability, transferred
from figures.results import Results
from stages.draw import FIGURES
from tests import synthetic_entanglement as made
from tests import synthetic_figures

ROLES = {"cnn-plain": "plain", "cnn-entangled": "entangled", "cnn-scale": "small activations"}


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return synthetic_figures.study(tmp_path_factory.mktemp("study"), 10, seeds=2, images=6)


@pytest.fixture(scope="module")
def drawn(results) -> Iterator[Callable[[str], Figure]]:
    yield cache(lambda name: FIGURES[name](results))
    plt.close("all")


@pytest.fixture(scope="module")
def tables(results) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in (results.folder / "entanglement").glob("*.csv")}


def lines(axis: Axes) -> dict[str, np.ndarray]:
    """The means that are drawn, by their label."""
    return {line.get_label(): line.get_ydata() for line in axis.lines if not line.get_label().startswith("_")}


def axes(figure: Figure, part: int) -> list[Axes]:
    return figure.subfigs[part].axes


def said(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(plt.Text) if text.get_text()]


def test_bins_are_pooled_by_the_images_in_them():
    rows = pd.DataFrame({"bin": [0, 0, 1, 1], "n": [1, 3, 0, 2], "mean_score": [0.0, 0.08, np.nan, 0.15],
                         "accuracy": [1.0, 0.0, np.nan, 0.5]})  # fmt: skip
    pooled = reliability.pooled(rows)
    assert pooled.loc[0].tolist() == pytest.approx([0.06, 0.25, 4])
    assert pooled.loc[1].tolist() == pytest.approx([0.15, 0.5, 2])


def test_reliability_is_that_of_test_images_and_of_the_first_attack(drawn, tables):
    figure = drawn("reliability")
    assert "attacked, FGSM 0.2" in said(figure)
    diagram, counts = figure.axes[0], figure.axes[3]
    rows = tables["reliability"].query("network == 'cnn-plain' and score == 'credibility'")
    test, attacked = (rows[rows["set"] == each].groupby("bin") for each in ("test", "fgsm-0.2"))
    assert np.allclose(lines(diagram)["attacked, FGSM 0.2"], attacked["accuracy"].mean())
    bars = np.array([bar.get_height() for bar in counts.patches])
    n = [each["n"].sum()[each["n"].sum() > 0] for each in (test, attacked)]
    assert np.allclose(bars, np.concatenate([each / each.sum() for each in n]))
    ece = tables["calibration"].query("network == 'cnn-plain' and score == 'credibility' and set == 'fgsm-0.2'")["ece"]
    assert f"ECE {ece.mean():.3f}" in [text.get_text() for text in diagram.texts]


def test_credibilities_support_and_areas_are_those_of_the_first_set_and_of_all(results, drawn, tables):
    arrays = load_file(results.folder / "entanglement/detection.safetensors")
    panels = axes(drawn("outside"), 0)
    scores = np.concatenate([arrays[f"cnn-scale/seed{seed}/mnist5k/credibility"] for seed in (0, 1)])
    wanted = np.histogram(scores, np.linspace(0, 1, 21))[0] / len(scores)
    assert np.allclose([bar.get_height() for bar in panels[2].containers[1]], wanted)
    support = tables["support"].query("network == 'cnn-scale' and set == 'mnist5k'").groupby("index")["support"].mean()
    assert any(np.allclose(line.get_ydata(), support) for line in panels[5].lines)
    areas = {axis.get_title(): axis for axis in axes(drawn("outside"), 1) if axis.get_title()}
    assert list(areas) == ["MNIST", "letters", "notMNIST", "noise", "blurred", "rotated"]
    means = tables["detection"].groupby(["set", "network", "measure"])["auroc"].mean()
    (mark,) = (line for line in areas["noise"].lines if line.get_label() == "entangled")
    assert mark.get_xdata() == pytest.approx(means["noise", "cnn-entangled", "credibility"])
    marks = {x for line in areas["rotated"].lines if line.get_marker() == "s" for x in line.get_xdata()}
    assert {means["rotated", "cnn-entangled", measure] for measure in made.MEASURES} <= marks


def test_areas_of_attacked_images_are_means_over_seeds(drawn, tables):
    figure = drawn("detected")
    assert [axis.get_title() for axis in figure.axes[:2]] == ["FGSM", "BIM"]
    means = tables["detection"].groupby(["attack", "measure", "network", "eps"])["auroc"].mean()
    for axis, (score, attack) in zip(figure.axes, product(("credibility", "softmax"), ("fgsm", "bim")), strict=True):
        assert np.allclose(lines(axis)["small activations"], means[attack, score, "cnn-scale"])


def test_errors_are_of_networks_of_another_seed_and_last_of_itself(drawn, tables):
    table = tables["transfer"].query("attack == 'bim' and eps == 0.2")
    own, other = [], {}
    for row in table.itertuples():
        if row.source_seed != row.target_seed:
            other.setdefault((row.source, row.target), []).append(row.error)
        elif row.source == row.target == "cnn-scale":
            own.append(row.error)
    image = drawn("transferred").axes[1].images[0].get_array()
    for i, j in product(range(3), repeat=2):
        assert image[i, j] == pytest.approx(np.mean(other[list(ROLES)[i], list(ROLES)[j]]))
    assert image[2, 3] == pytest.approx(np.mean(own))
    curve = tables["transfer"].query("attack == 'bim' and source == 'cnn-plain' and target == 'cnn-entangled'")
    curve = curve[curve["source_seed"] != curve["target_seed"]].groupby("eps")["error"].mean()
    orange = [
        line for line in drawn("transferred").axes[3].lines if line.get_color() == entangling.ROLES["entangled"][1]
    ]
    assert any(np.allclose(line.get_ydata(), curve) for line in orange if line.get_linestyle() == "-")


def test_with_one_seed_other_networks_of_it_are_shown_and_none_to_its_like(tables):
    alone = tables["transfer"].query("source_seed == 0 and target_seed == 0 and attack == 'bim' and eps == 0.2")
    found = transferred.errors(alone, list(ROLES))
    assert np.isnan(np.diag(found)).all()
    assert np.isfinite(found).sum() == 9


def test_every_gradient_is_the_number_of_its_class(drawn, tables):
    figure, where = drawn("gradients"), tables["embedding"]
    panel = figure.axes[3 * 2 + 1]  # entangled, by target class
    rows = where.query("network == 'cnn-entangled' and gradient == 'targeted'")
    for line in panel.lines:
        wanted = rows[rows["target"] == int(line.get_marker().strip("$"))]
        assert np.array_equal(line.get_xydata(), wanted[["x", "y"]])
    means = tables["gradients"].query("network == 'cnn-entangled' and gradient == 'targeted' and grouping == 'target'")
    assert panel.get_title() == f"{means['entanglement'].mean():.2f} nats, purity {means['purity'].mean():.2f}"


@pytest.mark.parametrize(("given", "found"), [([5], [5]), ([0, 9], [0, 9]), ([0, 1, 2, 8, 9], [0, 2, 9])])
def test_samples_are_of_the_start_the_middle_and_the_end(given, found):
    assert gans.moments(given) == found


def test_curves_and_samples_of_gans_are_those_stored(results, drawn, tables):
    minimum, fixed, modes = axes(drawn("gans"), 0)
    means = tables["gans"].groupby(["gan", "iteration"]).mean(numeric_only=True)
    assert np.allclose(lines(minimum)["convolutional, guided"], means.loc["conv-guided", "real_fake_minimum"])
    assert np.allclose(lines(fixed)["fully connected"], means.loc["mlp", "real_fake_fixed"])
    assert np.allclose(lines(modes)["convolutional"], means.loc["conv", "modes"])
    assert np.allclose(lines(minimum)["real against real"], tables["gans"]["real_real_minimum"].iloc[0])
    stored = load_file(results.folder / "gans.safetensors")
    strip = axes(drawn("gans"), 1)[1]
    assert strip.get_ylabel() == "fully connected"
    shown = [image.get_array() for image in strip.images]
    wanted = np.concatenate([stored[f"mlp/seed0/{at}"][: gans.EACH, 0] for at in (0, 200, 1200)])
    assert np.array_equal(shown, wanted)
