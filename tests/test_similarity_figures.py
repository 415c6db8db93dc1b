"""Figures of the similarity lens show what its tables say: maps, profiles and marks are looked up in made-up ones."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from safetensors.numpy import load_file
from scipy.stats import spearmanr

from figures import budgets, comparing, dominant, maps, names, overfitting, released
from figures.results import Results
from fourlenses.nets import NETWORKS
from fourlenses.statistics import Undecided
from stages.draw import FIGURES
from tests import synthetic_figures
from tests.synthetic_similarity import EPOCHS, LONG


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return synthetic_figures.study(tmp_path_factory.mktemp("study"), 4, seeds=2, images=12)


@pytest.fixture(scope="module")
def drawn(results) -> Iterator[Callable[[str], Figure]]:
    yield cache(lambda name: FIGURES[name](results))
    plt.close("all")


@pytest.fixture(scope="module")
def measured(results) -> Callable[..., np.ndarray]:
    """CKA of each pair of a kind between two networks, entry by entry, in the order of the pairs."""
    arrays = load_file(results.folder / "similarity/hsic.safetensors")
    pairs = results.similarity.pairs

    def look_up(kind: str, a: str, b: str, epoch_a: int | None = None, epoch_b: int | None = None) -> np.ndarray:
        rows = pairs[(pairs["kind"] == kind) & (pairs["network_a"] == a) & (pairs["network_b"] == b)]
        last_a, last_b = (epoch or rows[column].max() for epoch, column in ((epoch_a, "epoch_a"), (epoch_b, "epoch_b")))
        rows = rows[(rows["epoch_a"] == last_a) & (rows["epoch_b"] == last_b)]
        found = []
        for pair in rows.index:
            ab, aa, bb = (arrays[f"{pair}/{sides}"].astype(float) for sides in ("ab", "aa", "bb"))
            values = [[sum(ab[:, i, j]) / (sum(aa[:, i]) * sum(bb[:, j])) ** 0.5 for j in range(ab.shape[2])]
                      for i in range(ab.shape[1])]  # fmt: skip
            found.append(values)
        return np.array(found)

    return look_up


def matched(maps: np.ndarray) -> np.ndarray:
    return np.array([[one[i][i] for i in range(len(one))] for one in maps])


def thick(axis: Axes) -> dict[str, np.ndarray]:
    """The means that are drawn, by their label."""
    return {line.get_label(): line.get_ydata() for line in axis.lines if not line.get_label().startswith("_")}


def test_every_file_that_figures_read_is_listed(results):
    listed = results.files()
    assert all(path.exists() for path in listed)
    read = {"networks", "points", "pairs", "scores", "components", "metrics", "bias"}
    assert {path.stem for path in listed if path.parent.name == "similarity"} == read | {"hsic"}
    assert results.folder / "sweep.csv" in listed


def test_every_recipe_has_a_look_and_a_name_of_its_own():
    assert len({(colour, marker) for _, colour, marker in names.RECIPES.values()}) == len(names.RECIPES)
    assert len({label for label, _, _ in names.RECIPES.values()}) == len(names.RECIPES)
    labels = [names.architecture_label(each) for each in NETWORKS]
    assert not set(labels) & set(NETWORKS)
    assert len(set(labels)) == len(labels)


def test_maps_are_means_over_seeds_on_one_scale(results, drawn, measured):
    shown = {axis.get_title(): axis.images[0] for axis in drawn("maps").axes if axis.images and axis.get_title()}
    for role in ("standard", "robust", "untrained"):
        assert np.allclose(shown[role].get_array(), measured("self", role, role).mean(axis=0), atol=1e-6)
    across = measured("cross", "standard", "robust").mean(axis=0)
    assert not np.allclose(across, across.T, atol=0.01)
    assert np.allclose(shown["standard – robust"].get_array(), across, atol=1e-6)
    assert {(image.get_clim(), image.origin, image.get_cmap().name) for image in shown.values()} == {
        ((0, 1), "lower", "inferno")
    }
    study = results.similarity
    rows = study.find("cross", study.last("robust"), study.last("standard"))
    assert np.allclose(comparing.maps(study, rows, "robust").mean(axis=0), across.T, atol=1e-6)


def test_the_control_of_equal_accuracy_is_the_nearest_kept_epoch(results, drawn, measured):
    clean = results.swept.groupby(["network", "epoch"])["accuracy_clean"].mean()
    gaps = {epoch: abs(clean["standard", epoch] - clean["robust", EPOCHS]) for epoch in (1, 3, 6, EPOCHS)}
    nearest = min(gaps, key=gaps.get)
    assert nearest != EPOCHS
    image = next(axis.images[0] for axis in drawn("maps").axes if axis.get_title() == comparing.AS_ACCURATE)
    assert np.allclose(image.get_array(), measured("self", "standard", "standard", nearest, nearest).mean(axis=0))
    assert set(thick(drawn("ends").axes[0])) >= {"standard", "robust", comparing.AS_ACCURATE, "untrained"}


def test_the_mean_by_distance_is_that_of_the_diagonals():
    square = np.array([[1.0, 0.6, 0.1], [0.8, 1.0, 0.2], [0.3, 0.4, 1.0]])
    assert maps.by_distance(square[None]).tolist() == [[pytest.approx(0.4), pytest.approx(0.1)]]


def test_ends_are_the_first_and_the_last_row(drawn, measured):
    own = measured("self", "robust", "robust").mean(axis=0)
    first, last = (thick(axis)["robust"] for axis in drawn("ends").axes)
    assert np.allclose(first, own[0], atol=1e-6)
    assert np.allclose(last, own[-1], atol=1e-6)


def test_twins_are_seeds_of_one_network_and_shuffled_images_are_unlike(drawn, measured):
    lines = thick(drawn("twins").axes[0])
    assert np.allclose(lines["robust – robust"], matched(measured("twin", "robust", "robust")).mean(axis=0), atol=1e-6)
    both = matched(measured("cross", "standard", "robust"))
    assert np.allclose(lines["standard – robust"], both.mean(axis=0), atol=1e-6)
    shuffled = [matched(measured("shuffled", name, name)) for name in ("standard", "robust")]
    assert np.allclose(lines["control: other images"], np.concatenate(shuffled).mean(axis=0), atol=1e-6)


def test_budgets_stand_in_order_with_twins_on_the_diagonal(drawn, measured):
    left, right = drawn("budgets").axes[:2]
    assert [tick.get_text() for tick in left.get_xticklabels()] == ["none", "0.25", "0.5", "1", "2"]
    values = left.images[0].get_array()
    assert values[0, 3] == values[3, 0] == pytest.approx(matched(measured("cross", "standard", "robust")).mean())
    assert values[3, 3] == pytest.approx(matched(measured("twin", "robust", "robust")).mean())
    assert len(left.texts) == 25
    far = {round(float(y), 6) for line in right.lines for x, y in line.get_xydata() if x == 3}
    assert far == set(matched(measured("cross", "robust-0.25", "robust-2")).mean(axis=1).round(6))


def test_without_a_second_seed_the_diagonal_is_blank(results):
    study = results.similarity
    alone = replace(study, pairs=study.pairs[(study.pairs["seed_a"] == 0) & (study.pairs["seed_b"] == 0)])
    values = comparing.similarities(alone, ["standard", "robust"])
    assert np.isnan(np.diag(values)).all()
    assert np.isfinite(values[0, 1])


def test_what_the_study_lacks_is_the_reason(results):
    study = results.similarity
    few = replace(study, networks=study.networks[study.networks["strength"] == 1])
    with_few = Results(results.folder, results.reported_in, (), "", "")
    with_few.__dict__["similarity"] = few
    with pytest.raises(Undecided, match="different budgets"):
        budgets.draw.__wrapped__(with_few)
    (text,) = [text.get_text() for text in budgets.draw(with_few).texts]
    assert text == "This study trains no two networks at different budgets of one attack."


def test_threats_are_compared_early_and_late(results, drawn, measured):
    depth = results.similarity.layout("l2")["depth"].to_numpy()
    both = matched(measured("cross", "l2", "snow")).mean(axis=0)
    early, late = drawn("threats").axes[:2]
    labels = [tick.get_text() for tick in early.get_xticklabels()]
    assert labels == ["none", "Linf", "L2", "JPEG", "Gabor", "snow"]
    assert early.images[0].get_array()[2, 5] == pytest.approx(both[depth <= 1 / 3].mean())
    assert late.images[0].get_array()[5, 2] == pytest.approx(both[depth >= 2 / 3].mean())


def test_widths_show_the_scores_of_all_layers(results, drawn):
    axes = np.array([axis for axis in drawn("widths").axes]).reshape(3, 2)
    scores = results.scores[(results.scores["layers"] == "all")]
    for row, score in zip(axes, ("s_off", "stage_contrast", "run_0.8"), strict=True):
        for axis, networks in zip(
            row, (["standard-k1", "standard", "standard-k4"], ["standard-d10", "standard", "standard-d22"]), strict=True
        ):
            of_score = scores[(scores["score"] == score) & (scores["epoch"] == EPOCHS)]
            means = of_score.groupby("network")["value"].mean()
            assert np.allclose(thick(axis)["standard"], means[networks])


def test_overfitting_goes_from_the_best_epoch_to_the_last(results, drawn, measured):
    history = results.swept[results.swept["network"] == "robust-step"]
    robust = history.groupby("epoch")["accuracy_robust"].mean()
    assert overfitting.best_and_last(results.similarity, "robust-step", history) == (16, 32)
    assert robust[LONG[:-1]].idxmax() == 16
    lines = thick(drawn("overfitting").axes[1])
    assert set(lines) == {"robust, epochs 16 to 32", "robust, epochs 1 to 16", "standard, epochs 16 to 32"}
    for role in ("robust", "standard"):
        moved = 1 - matched(measured("epochs", f"{role}-step", f"{role}-step", 16, 32)).mean(axis=0)
        assert np.allclose(lines[f"{role}, epochs 16 to 32"], moved, atol=1e-6)


def test_agreement_is_spearmans_of_pairs_of_layers(results, drawn):
    table = results.metrics[results.metrics["network"] == "robust"]
    means = table.groupby(["metric", "i", "j"])["value"].mean()
    panel = next(axis for axis in drawn("metrics").axes if axis.get_title() == "Procrustes")
    rho = spearmanr(means["linear CKA"], means["Procrustes"]).statistic
    assert f"robust: ρ {rho:.2f}" in [text.get_text() for text in panel.texts]
    assert not [axis for axis in drawn("metrics").axes if axis.get_title() == "linear CKA"]


def test_bias_is_the_mean_over_pairs_of_layers_at_each_batch(results, drawn):
    table = results.bias[results.bias["network"] == "standard"]
    panel = drawn("bias").axes[0]
    shown = {tuple(line.get_ydata().round(9)) for line in panel.lines if line.get_marker() != "None"}
    wanted = table.groupby(["images", "estimator", "n"])["value"].mean().unstack()
    assert shown == {tuple(row.round(9)) for row in wanted.to_numpy()}


def test_an_attack_is_compared_with_the_benign_images_of_one_network(drawn, measured):
    left, right = (thick(axis) for axis in drawn("attacked").axes)
    assert np.allclose(left["standard"], matched(measured("adversarial", "standard", "standard")).mean(axis=0))
    assert list(right) == ["0.25", "0.5", "1", "2"]
    assert np.allclose(right["2"], matched(measured("adversarial", "robust-2", "robust-2")).mean(axis=0))


def test_the_released_map_shows_what_overwrote_each_point():
    square = np.array([[1.0, 0.6, 0.1], [0.6, 1.0, 0.2], [0.1, 0.2, 1.0]])
    assert released.as_released(square, np.array([0, 2, 2])).tolist() == [[1, 0.1, 0.1], [0.1, 1, 1], [0.1, 1, 1]]
    assert released.off_diagonal(square) == pytest.approx(0.3)


def test_the_released_map_stands_beside_ours(results, drawn, measured):
    own = measured("self", "robust", "robust").mean(axis=0)
    images = {axis.get_title().split(":")[0]: axis.images[0] for axis in drawn("released").axes if axis.images}
    assert np.allclose(images["robust, ours"].get_array(), own, atol=1e-6)
    kinds = results.similarity.layout("robust")["kind"]
    bn = np.flatnonzero(kinds == "bn")
    shown = images["robust, as released"].get_array()
    assert np.allclose(shown[bn], shown[bn + 1])
    assert not np.allclose(own[bn], own[bn + 1], atol=1e-4)
    assert np.allclose(images["robust, released − ours"].get_array(), shown - own, atol=1e-6)


def test_shares_are_of_each_layer_of_the_networks_and_their_controls(results, drawn):
    table, shown = results.components, comparing.with_controls(results)
    assert list(shown) == ["standard", "robust", comparing.AS_ACCURATE, "untrained"]
    for axis, column in zip(drawn("dominant").axes, ("first_component", "largest_norms"), strict=False):
        for name, ((network, epoch), _) in shown.items():
            rows = table[(table["network"] == network) & (table["epoch"] == epoch)]
            assert np.allclose(thick(axis)[name], rows.groupby("index")[column].mean())
    assert set(thick(drawn("dominant").axes[1])["images of equal norm"]) == {1 / 64}  # 1 % of 64, rounded up


def test_layers_are_compared_with_and_without_what_dominates(drawn, measured):
    index = np.arange(measured("self", "robust", "robust").shape[1])
    for axis, least in zip(drawn("dominant").axes[2:], (1, len(index) / 2), strict=True):
        far, wanted = abs(index[:, None] - index) >= least, {}
        for row, kind in enumerate(dominant.KINDS):
            standard, robust = (measured(kind, each, each)[:, far].mean() for each in ("standard", "robust"))
            wanted |= {row - dominant.APART: standard, row: robust, row + dominant.APART: robust - standard}
        marks = [line.get_xydata()[0] for line in axis.lines if line.get_marker() != "None"]
        assert {y: x for x, y in marks} == pytest.approx(wanted, abs=1e-6)
        assert len({round(x, 5) for x in wanted.values()}) == 9


def test_the_change_between_equal_networks_is_zero_in_every_resample(results):
    study = results.similarity
    own = study.pairs[(study.pairs["network_a"] == "standard") & (study.pairs["epoch_a"] == EPOCHS)]
    equal = replace(study, pairs=pd.concat([own, own.replace({"standard": "robust"})]))
    for found in dominant.changed(equal, "s_off").values():
        assert found[dominant.CHANGE].interval == (0, 0)
        assert found["robust"].interval[0] < found["robust"].effect < found["robust"].interval[1]


def test_a_missing_control_is_named(results):
    study = results.similarity
    lacking = replace(study, pairs=study.pairs[study.pairs["kind"] != "no-largest-norms"])
    with pytest.raises(Undecided, match=r"not compare the layers of standard at epoch 12 \(no-largest-norms\)"):
        dominant.changed(lacking, "s_off")


def test_two_lenses_meet_in_one_network(results, drawn):
    left, right = drawn("lenses").axes
    scores = results.scores
    scores = scores[(scores["score"] == "s_off") & (scores["layers"] == "all")]
    mean = scores[scores["network"] == "vgg-standard"]["value"].mean()
    cells = results.cells
    row = cells[(cells["network"] == "vgg-standard") & (cells["judge"] == "median") & (cells["loss"] == "free")]
    marks = {(round(float(x), 6), round(float(y), 6)) for line in right.lines for x, y in line.get_xydata()}
    assert (round(mean, 6), round(row["alignment"].item(), 6)) in marks
    assert len(left.get_yticks()) == len(results.names)
