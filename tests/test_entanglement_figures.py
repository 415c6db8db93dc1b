"""Figures of the entanglement lens show what its tables say: marks and numbers are looked up in made-up ones."""

from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import ttest_1samp

from figures import alphas, dynamics, entangling, names
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


def changed(results: Results, **tables: pd.DataFrame) -> Results:
    """The same results but for some tables."""
    others = Results(results.folder, results.reported_in, results.names, results.standard, results.robust)
    others.entanglement.update(tables)
    return others


def test_every_file_that_figures_read_is_listed_and_read_once(results, tables):
    listed = results.files()
    assert all(path.exists() for path in listed)
    assert {path.stem for path in listed if path.parent.name == "entanglement"} == {*tables, "detection"}
    assert results.folder / "gans.safetensors" in listed
    assert results.entanglement["toy"] is results.entanglement["toy"]


def test_the_compared_networks_come_first_and_all_are_told_apart(results):
    networks = entangling.entangled_networks(results)
    assert list(networks.index) == [*ROLES, *made.OTHERS]
    assert list(networks["label"][:3]) == list(ROLES.values())
    assert networks["label"].is_unique
    assert not networks[["colour", "marker"]].duplicated().any()
    assert networks.loc["cnn-first-half", "label"] == "α −0.03, T tracked, first half"
    assert networks.loc["cnn-fixed-10", "label"] == "α −10, T fixed"
    assert networks.loc["cnn-shuffled", "label"] == "α −0.03, T tracked, shuffled labels"
    assert list(entangling.among(results, ["cnn-tracked-0.1", "cnn-scale", "cnn-plain"], 2).index) == [
        "cnn-plain", "cnn-scale",
    ]  # fmt: skip


def test_names_for_a_reader():
    assert [names.attack_label(each) for each in ("fgsm", "bim-targeted")] == ["FGSM", "targeted BIM"]
    assert [names.gan_label(each) for each in ("mlp", "conv-guided")] == ["fully connected", "convolutional, guided"]
    assert [names.layer_label(each) for each in ("stage2", "block1", "stem")] == ["stage 2", "block 1", "stem"]


@pytest.mark.parametrize(("values", "found"), [([0.3], 0.3), ([0.3, 0.1], 0.1), ([0.3, 0.1, 0.2, 0.2], 0.2)])
def test_the_middle_strength_is_one_of_them(values, found):
    assert entangling.middle(values) == found


def test_points_are_shown_at_the_start_and_at_the_end(drawn, tables):
    panels, (mixed, *_) = axes(drawn("toy"), 0), axes(drawn("toy"), 1)
    points = tables["toy_points"][tables["toy_points"]["seed"] == 0]
    for panel, (rule, step) in zip(panels, [(made.TOY_RULES[0], 0), *product(made.TOY_RULES, [600])], strict=True):
        rows = points[(points["rule"] == rule) & (points["step"] == step)]
        marks = {tuple(mark) for line in panel.lines for mark in line.get_xydata()}
        assert marks == set(rows[["x", "y"]].itertuples(index=False, name=None))
    history = tables["toy"][tables["toy"]["rule"] == "T=100"].groupby("step")["entanglement"].mean()
    assert np.allclose(lines(mixed)["T = 100"], history)
    assert "1-NN 25 %" in panels[0].get_title()


def test_the_least_loss_is_marked_and_what_lies_above_the_axis_is_an_arrow(drawn, tables):
    curves, found = tables["curves"], tables["temperatures"]
    for panel, (name, label) in zip(axes(drawn("temperature"), 0), ROLES.items(), strict=True):
        assert panel.get_title() == label
        for index, layer in enumerate(made.LAYERS):
            rows = curves[(curves["network"] == name) & (curves["index"] == index)]
            assert lines(panel)[names.layer_label(layer)] == [rows["value"].min()]
    panel = next(axis for axis in axes(drawn("temperature"), 1) if axis.get_title() == "plain, stage 2")
    rows = found[(found["layer"] == "stage2") & (found["rule"] == "fixed")].groupby("start")["value"].mean()
    top = 1.25 * made.CHANCE
    assert np.allclose(lines(panel)["fixed"], np.minimum(rows, top))
    arrows = [line for line in panel.lines if line.get_marker() == "^" and line.get_color() == "#E69F00"]
    assert [line.get_xdata()[0] for line in arrows] == list(rows.index[rows > top])
    assert 0 < len(arrows) < len(rows)


def test_blocks_are_counted_from_what_enters_the_first(tables):
    table = tables["dynamics"]
    wanted = ["input", "stem", *(f"block {i}" for i in range(1, 7)), "pool", "logits"]
    assert list(dynamics.block_labels(table)) == wanted


def test_minima_of_blocks_are_marked_along_training(drawn, tables):
    figure, table = drawn("dynamics"), tables["dynamics"]
    (panel,) = (axis for axis in figure.axes if axis.get_title() == "adversarial L2")
    rows = table[table["recipe"] == "adversarial-l2"].groupby(["index", "step"])["entanglement"].mean()
    marks = {tuple(np.ravel(line.get_xydata())) for line in panel.lines if line.get_marker() == "v"}
    assert marks == {(rows[index].idxmin(), rows[index].min()) for index in range(1, 10)}
    assert 0 < min(step for step, _ in marks) < max(step for step, _ in marks) == 210
    below = figure.axes[figure.axes.index(panel) + 3]
    assert np.allclose(lines(below)["end"], [rows[index].iloc[-1] for index in range(10)])
    assert np.allclose(lines(below)["minimum"], [rows[index].min() for index in range(10)])


def test_layers_are_means_over_seeds_and_the_matrix_holds_every_network(drawn, tables):
    table = tables["layers"][tables["layers"]["source"] == "entangled"]
    mixed, norm, spread = axes(drawn("entangled"), 0)
    means = table[table["network"] == "cnn-entangled"].groupby("index").mean(numeric_only=True)
    colour = entangling.ROLES["entangled"][1]
    thick = [line for line in mixed.lines if line.get_color() == colour and line.get_marker() != ""]
    thick = {line.get_linestyle(): line.get_ydata() for line in thick if line.get_marker() != "None"}
    assert np.allclose(thick["-"], means["entanglement"])
    assert np.allclose(thick["--"], means["at_100"])
    assert np.allclose(lines(norm)["entangled"], means["norm"][1:])
    assert np.allclose(lines(spread)["entangled"], means["intra_cosine"][1:])
    left, right = axes(drawn("entangled"), 1)
    of_all = table.groupby(["network", "index"])["entanglement"].mean()
    image = left.images[0].get_array()
    for row, name in enumerate([*ROLES, *made.OTHERS]):
        assert np.allclose(image[row], of_all[name])
        assert left.get_yticklabels()[row].get_text()
    assert len(right.texts) == len(image) * (len(made.LAYERS) - 1)


def test_intervals_of_seeds_are_students():
    values = np.array([0.3, -0.1, 0.5, 0.2])
    assert alphas.student(values) == pytest.approx(tuple(ttest_1samp(values, 0).confidence_interval(0.95)))
    assert alphas.student(values[:1]) == (0.3, 0.3)


def test_the_best_network_is_chosen_by_calibration_among_those_that_entangle(results, tables):
    networks, table = entangling.entangled_networks(results), tables["networks"]
    better = {"cnn-plain": 1.0, "cnn-shuffled": 0.999, "cnn-disentangled": 0.998, "cnn-hidden": 0.99}
    table = table.assign(accuracy_calibration=table["network"].map(better).fillna(0.5))
    assert alphas.best_entangled(table, networks) == "cnn-hidden"
    assert alphas.best_entangled(table, networks[:1]) is None


def test_the_power_statement_is_that_of_the_paired_difference():
    gains = 0.42 * np.array([-1.0, 0.0, 1.0])  # ((1.960 + 0.842) 0.42 / 0.2)^2 = 34.6
    text = alphas.power("α −1", gains)
    assert "takes 35 seeds, of which there are 3" in text
    assert "α −1" in text and "0.42;" in text
    assert alphas.power("α −1", gains[2:]).endswith("0.42 points; one seed says nothing of chance")


def test_accuracies_are_paired_with_those_of_the_plain_network(drawn, tables):
    left, right = drawn("alphas").axes
    accuracy = tables["networks"].pivot(index="network", columns="seed", values="accuracy_test") * 100
    labels = [tick.get_text() for tick in right.get_yticklabels()]
    assert len(labels) == len(accuracy) - 1
    y = labels.index("α −10, T as released")
    gains = accuracy.loc["cnn-entangled-10"] - accuracy.loc["cnn-plain"]
    marks = [line.get_xdata() for line in right.lines if y in line.get_ydata() and line.get_marker() != "None"]
    assert sorted(np.concatenate(marks)) == pytest.approx(sorted([*gains, gains.mean()]))
    collapsed = accuracy.loc["cnn-entangled-10"].mean()
    assert collapsed < 50
    assert collapsed in [line.get_ydata()[0] for line in left.lines if line.get_marker() == "s"]


def test_the_zoo_is_shown_by_recipe_beside_the_standard_networks(results, drawn, tables):
    panels = {axis.get_title(): axis for axis in drawn("mixed").axes if axis.get_title()}
    assert list(panels) == [names.RECIPES[each][0] for each in dict.fromkeys(results.networks["recipe"])]
    rows = tables["layers"].query("source == 'zoo'").groupby(["network", "depth"])["entanglement"].mean()
    of = results.networks.index[results.networks["recipe"] == "adversarial-l2"]
    own = [line for line in panels["adversarial L2"].lines if line.get_marker() != "None"]
    assert len(own) == len(of)
    for line, name in zip(own, of, strict=True):
        assert np.allclose(line.get_xydata(), rows[name].reset_index())
    standard = results.networks.index[results.networks["recipe"] == "standard"]
    grey = [line for line in panels["SimCLR"].lines if line.get_marker() == "None"]
    assert [len(line.get_xdata()) for line in grey] == [len(rows[name]) for name in standard]


@pytest.mark.parametrize(("name", "table", "query", "sentence"), [
    ("reliability", "detection", "kind != 'adversarial'", "judges no attacked images"),
    ("detected", "detection", "kind != 'adversarial'", "judges no attacked images"),
    ("outside", "detection", "kind != 'ood'", "no images from elsewhere"),
    ("transferred", "transfer", "source == 'cnn-plain'", "made to fool another"),
    ("transferred", "transfer", "attack == 'fgsm-targeted'", "made to fool another"),
    ("alphas", "networks", "network == 'cnn-plain'", "beside the plain one"),
    ("mixed", "layers", "source == 'entangled'", "no network of the zoo"),
    ("entangled", "layers", "source == 'zoo'", "trains no network of the entanglement lens"),
])  # fmt: skip
def test_what_a_study_lacks_is_said_in_one_line(results, tables, name, table, query, sentence):
    figure = FIGURES[name](changed(results, **{table: tables[table].query(query)}))
    (text,) = said(figure)
    assert text.startswith("This study") and sentence in text and text.endswith(".")
    plt.close(figure)
