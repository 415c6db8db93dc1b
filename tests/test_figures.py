"""Figures show what the tables say: marks, numbers and curves are looked up in figures of made-up results."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.stats import kendalltau

from figures import agreement, names, trust
from figures.results import Results, of_seed_image
from fourlenses.errors import UserError
from stages.draw import FIGURES
from tests import synthetic_figures


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return synthetic_figures.study(tmp_path_factory.mktemp("study"), 13, seeds=2, images=12)


@pytest.fixture(scope="module")
def drawn(results) -> Iterator[Callable[[str], Figure]]:
    yield cache(lambda name: FIGURES[name](results))
    plt.close("all")


def medians(results: Results, loss: str = "free") -> pd.DataFrame:
    cells = results.cells
    return cells[(cells["judge"] == "median") & (cells["loss"] == loss)].set_index("network")


def points(axis: plt.Axes) -> set[tuple[float, float]]:
    """Where marks stand: of lines with markers, and of scatters."""
    found = [line.get_xydata() for line in axis.lines if line.get_marker() not in ("None", "")]
    return {(round(float(x), 6), round(float(y), 6)) for x, y in np.concatenate(found)} if found else set()


def test_the_free_loss_and_the_super_noise_seed_are_needed(results):
    with pytest.raises(UserError, match="no loss called free"):
        names.main_losses(results.losses.drop("free"))
    with pytest.raises(UserError, match="super-noise"):
        of_seed_image(results.alignment.assign(seed_image="black"))


def test_only_the_end_of_training_counts(results):
    at = results.cells.groupby("network")["epoch"].unique()
    assert all(list(epochs) == [synthetic_figures.EPOCHS] for epochs in at)
    assert results.alignment["epoch"].nunique() > 1
    assert not results.cells.duplicated(["network", "loss", "judge"]).any()


def test_networks_are_in_order_of_recipe_and_have_names_of_their_own(results):
    order = [list(names.RECIPES).index(recipe) for recipe in results.networks["recipe"]]
    assert order == sorted(order)
    assert set(results.networks.index) == set(results.names)
    labels = [names.network_label(row, ", ") for row in results.networks.itertuples()]
    assert len(set(labels)) == len(labels)
    assert {"ResNet, TRADES, β 6", "ResNet, adversarial L2, no augmentation", "ResNet, SimCLR, no colour"} <= set(
        labels
    )


def test_main_losses_take_each_adversarial_form_at_its_largest_weight(results):
    assert names.main_losses(results.losses) == ["free", "transforms", "away-1", "away-robust-1", "toward-1"]
    assert names.main_losses(results.losses.drop(["transforms", "away-1"]))[1:3] == ["tv", "away-0.3"]


def test_the_sweep_shows_every_weight_at_its_error_and_alignment(results, drawn):
    cells = results.cells[(results.cells["judge"] == "median") & (results.cells["network"] == "resnet-adversarial")]
    swept = results.losses.index[[names.loss_kind(row) == "adversarial" for _, row in results.losses.iterrows()]]
    wanted = cells[cells["loss"].isin([*swept, "free", "transforms"])]
    panel = next(axis for axis in drawn("sweep").axes if axis.get_title() == "ResNet, adversarial L2")
    wanted = wanted[["error_mean", "alignment"]].to_numpy().round(6)
    assert points(panel) == {(x, y) for x, y in wanted.tolist()}
    null = [line.get_xdata()[0] for line in panel.lines if line.get_linestyle() == "--"]
    assert null == [0.3]


def test_alignment_shows_each_median_its_interval_and_its_judges(results, drawn):
    axis = drawn("alignment").axes[1]
    rows = medians(results, "transforms").loc[results.networks.index]
    single, median, kept = (scatter.get_offsets() for scatter in axis.collections if hasattr(scatter, "get_sizes")
                            and len(scatter.get_offsets()) > 1)  # fmt: skip
    assert np.allclose(median[np.argsort(median[:, 1]), 0], rows["alignment"])
    assert len(single) == 6 * len(rows)
    enough = rows[rows["n_kept"] >= 10]
    assert np.allclose(kept[np.argsort(kept[:, 1]), 0], enough["alignment_kept"])
    assert (enough["alignment_kept"] != enough["alignment"]).any()
    spans = next(each for each in axis.collections if hasattr(each, "get_segments")).get_segments()
    assert {tuple(span[:, 0]) for span in spans} == set(zip(rows["low"], rows["high"], strict=True))


def test_architectures_stand_beside_the_papers_numbers(results, drawn):
    axis = drawn("architectures").axes[0]
    heights = {y for _, y in points(axis)}
    usual = results.networks.index[names.on_usual_views(results.networks)]
    ours = {round(value, 6) for value in medians(results).loc[usual, "alignment"]}
    theirs = set(results.reported.loc[results.reported["item"] == "architectures", "value"])
    assert heights == ours | theirs
    hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
    assert sorted(line.get_ydata()[0] for line in hollow) == [0, 0, 0, 0, 0.25, 24.25, 76.5, 93.5]


def test_contrastive_curves_are_ours_and_the_papers(results, drawn):
    ours, theirs = drawn("simclr").axes
    lines = {line.get_color(): line for line in ours.lines if line.get_marker() != "None"}
    table = results.alignment
    table = table[(table["loss"] == "free") & (table["seed_image"] == "super-noise") & (table["targets"] == "test")]
    curve = table[(table["network"] == "resnet-simclr-adversarial") & (table["judge"] == "median")]
    curve = curve.sort_values("epoch")
    assert list(curve["epoch"]) == [3, 6, 12, 18, 24]
    assert np.allclose(lines[names.colour_of("simclr-adversarial")].get_xydata(), curve[["epoch", "alignment"]])
    dashed = [line.get_ydata()[0] for line in ours.lines if line.get_linestyle() == "--"]
    assert dashed == [medians(results).loc["resnet-adversarial", "alignment"]]
    assert [line.get_ydata()[0] for line in theirs.lines if line.get_linestyle() == "--"] == [63.25]
    assert {len(line.get_xdata()) for line in theirs.lines if line.get_marker() != "None"} == {20}
    assert theirs.get_title() == "the paper's, ResNet18, CIFAR-10"


def test_the_heat_map_has_a_number_where_there_are_iris_and_blanks_elsewhere(results, drawn):
    axis = drawn("regularizers").axes[0]
    cells = results.cells[results.cells["judge"] == "median"].set_index(["network", "loss"])["alignment"]
    shown = [name for name, row in results.losses.iterrows() if names.loss_kind(row) != "ablation"]
    wanted = cells[cells.index.get_level_values("loss").isin(shown)]
    assert sorted(text.get_text() for text in axis.texts) == sorted(f"{value:.0f}" for value in wanted)
    assert 0 < len(wanted) < len(results.networks) * len(shown)


def test_rank_agreement_is_kendalls_tau_b(results):
    taus, n = agreement.rank_agreement(results.cells, results.panel)
    wide = results.cells.pivot(index=["network", "loss"], columns="judge", values="alignment")
    assert n == len(wide)
    assert list(taus) == [*results.panel, "J9-0"]
    assert taus.loc["J1", "J5"] == pytest.approx(kendalltau(wide["J1"], wide["J5"], variant="b").statistic)
    assert taus.loc["J1", "J2"] > 0.5 > abs(taus.loc["J1", "J9-0"])


def test_trust_counts_who_is_right_where_two_disagree():
    # they disagree on images 1 (high right), 2 (low right), 3 (neither), 4 (high right): 100 (2 - 1) / 4
    table = pd.DataFrame({"seed": 0, "image": range(6), "label": [0, 1, 2, 3, 4, 5],
                          "high": [0, 1, 9, 9, 4, 5], "low": [0, 9, 2, 8, 9, 5]})  # fmt: skip
    pairs = trust.trusted(table, pd.Series({"low": 10.0, "high": 70.0}))
    assert pairs[["less", "more", "difference", "gain"]].to_numpy().tolist() == [["low", "high", 60.0, 25.0]]
    assert pairs["low"][0] < 25 < pairs["high"][0]
    turned = trust.trusted(table, pd.Series({"low": 70.0, "high": 10.0}))
    assert turned["gain"][0] == -25
    assert trust.trusted(table, pd.Series({"low": 50.0, "high": 50.0})).empty
    assert trust.trusted(table.assign(high=table["low"]), pd.Series({"low": 10.0, "high": 70.0})).empty


def test_recognition_is_a_row_of_the_maker_and_a_mean_over_seeds(results, drawn):
    axis = drawn("transfer").axes[0]
    values = axis.collections[0].get_array().reshape(13, 13)
    table, order = results.recognition, list(results.networks.index)
    pair = table[(table["network"] == "resnet-simclr") & (table["observer"] == "vgg-standard")]
    assert pair["recognised"].nunique() == 2
    assert values[order.index("resnet-simclr"), order.index("vgg-standard")] == pytest.approx(pair["recognised"].mean())


def test_a_network_without_training_has_no_curve(results, drawn):
    titles = [axis.get_title() for axis in drawn("training").axes if axis.get_title()]
    assert len(titles) == len(results.names) - 1
    assert not any("untrained" in title for title in titles)
