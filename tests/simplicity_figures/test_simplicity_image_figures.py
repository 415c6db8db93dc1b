"""Figures of the simplicity lens show the images that its stages kept, in their places, with their numbers."""


import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from figures import complexity, simplified, simplifying
from figures.results import Results
from stages.draw import FIGURES
from tests import synthetic_simplicity_results as made
from tests.looking import EXPLAINED, NAMES, changed, points, said


def shown(axis: Axes) -> list[np.ndarray]:
    """The images of a canvas, 0 to 255, as they stand: by row and then by column."""
    ordered = sorted(axis.images, key=lambda image: (round(image.get_extent()[3], 4), image.get_extent()[0]))
    return [np.round(255 * image.get_array()).astype(int) for image in ordered]


def test_the_ladder_is_in_the_order_of_bits_with_its_numbers(results, drawn, tables):
    figure, first = drawn("complexity"), tables["ladder"].query("prior == 'glow'").sort_values("bpd")
    strip, codec, blur = figure.axes
    stored = [results.simplified["ladder"].get_tensor(f"{name}/images")[0, 0] for name in first["set"]]
    assert all((image == wanted).all() for image, wanted in zip(shown(strip)[: len(first)], stored, strict=True))
    numbers = [text.get_text() for text in strip.texts if text.get_text().replace(".", "").isdigit()]
    assert numbers == [f"{value:.2f}" for row in first.itertuples() for value in (row.bpd, row.png)]
    arrays = results.simplified["ladder"]
    bits = np.concatenate([arrays.get_tensor(f"{name}/glow/bpd") for name in first["set"]])
    png = np.concatenate([arrays.get_tensor(f"{name}/png") for name in first["set"]])
    rho = pd.Series(bits).corr(pd.Series(png), method="spearman")
    assert codec.get_title(loc="left") == f"all sets, n = 200 images each: ρ {rho:.2f}"
    assert len(points(codec)) == complexity.SHOWN * len(first)
    falls = 100 * (arrays.get_tensor("own-blurred/glow/bpd") < arrays.get_tensor("mnist5k/glow/bpd")).mean()
    assert f"MNIST: {falls:.0f} % fall" in said(figure)
    assert set(complexity.changes(results, first.set_index("set"))) == {"mnist5k", "photos"}
    heights = sum(patch.get_height() for patch in blur.patches)
    assert heights == pytest.approx(200)  # two histograms, each of 100 %


def test_images_are_those_of_the_weight_and_of_different_classes(results, drawn, tables):
    axis = drawn("simplified").axes[0]
    each = simplified.COLUMNS // 3
    images, arrays = shown(axis), results.simplified["simplify"]
    keys = ["images/original", *(f"images/seed0/{weight:g}/images" for weight in made.WEIGHTS)]
    stacks = [arrays.get_tensor(key) for key in keys]
    first = each * np.cumsum([0, 3, 3, 3, 2, 2, 2])  # of each row: the third bed has two weights only
    for start, stack in zip(first, stacks, strict=False):
        assert all((images[start + i] == stack[i, 0]).all() for i in range(each))
    means = [f"λ = {w:g}\n{arrays.get_tensor(f'images/seed0/{w:g}/bpd').mean():.2f}" for w in made.WEIGHTS]
    assert set(means) <= set(said(axis.figure))


def test_the_first_of_each_class_comes_before_the_second_of_any():
    labels = np.array([3, 3, 0, 1, 0, 2])
    assert simplified.spread_over_classes(labels, 4) == [2, 3, 5, 0]
    assert simplified.spread_over_classes(labels, 9) == [2, 4, 3, 5, 0, 1]


def test_parts_and_what_is_left_of_them(results, drawn, tables):
    figure = drawn("distractors")
    whole, shares, bits, accuracy = figure.axes
    weights = {bed: simplifying.few(made.BEDS[bed][4], 3) for bed in NAMES if made.BEDS[bed][1]}
    labels = [f"{NAMES[bed]}, λ = {weight:g}" for bed in weights for weight in weights[bed]]
    assert [tick.get_text() for tick in shares.get_yticklabels()] == labels
    table = tables["simplify"].set_index(["bed", "weight"]).loc[[(bed, w) for bed in weights for w in weights[bed]]]
    means = table.groupby(level=[0, 1], sort=False).mean(numeric_only=True)
    for axis, colour, face, column, scale in (
        (shares, "#0072B2", None, "removal", 1), (shares, "#D55E00", None, "retention", 1),
        (shares, "#56B4E9", None, "probe_removal", 1), (bits, "0.35", "white", "bpd_original", 1),
        (accuracy, "0.35", "white", "accuracy_plain", 100),
    ):  # fmt: skip
        large = {round(line.get_ydata()[0]): line.get_xdata()[0] for line in axis.lines if line.get_markersize() == 3.5
                 and line.get_color() == colour and face in (None, line.get_markerfacecolor())}  # fmt: skip
        assert np.allclose([large[y] for y in range(len(means))], scale * means[column])
    arrays = results.simplified["simplify"]
    wanted = [arrays.get_tensor(f"noise/{part}")[0, 0] for part in ("original", "target", "distractor")]
    assert all((image == part).all() for image, part in zip(shown(whole), wanted, strict=False))


def test_a_study_without_distractors_says_so(results, tables):
    figure = FIGURES["distractors"](changed(results, simplify=tables["simplify"].query("distractor.isna()")))
    assert said(figure) == ["This study simplifies no images with a distractor."]
    plt.close(figure)


def test_condensed_images_stand_in_the_column_of_their_class(results, drawn, tables):
    axis = drawn("condensed").axes[0]
    arrays, weights = results.simplified["condense"], sorted(tables["condense"]["weight"].unique())
    stored = [arrays.get_tensor(f"1/{weight:g}/seed0/images")[:, 0] for weight in weights]
    assert all((image == wanted).all() for image, wanted in zip(shown(axis), np.concatenate(stored), strict=True))
    rows = tables["condense"].query("ipc == 1 and seed == 0 and evaluated_on == 'convnet' and weight == 10")
    assert f"λ = 10\n{rows['bpd'].mean():.2f}\n{100 * rows['accuracy'].mean():.1f} %" in said(axis.figure)


def test_what_networks_need_is_framed_where_they_change_their_mind(results, drawn, tables):
    axis, table = drawn("explained").axes[0], tables["explain"]
    arrays, images = results.simplified["explain"], shown(axis)
    chosen = simplifying.few(range(16), 6)
    rows = table[table["seed"] == 0]
    lost = 0
    for network, group in rows.groupby("network"):
        for _, part in group.groupby("group"):
            lost += int((part["kept"].to_numpy()[chosen] == 0).sum())
            lost += int((part["kept_blur"].to_numpy()[chosen] == 0).sum()) * (network == "resnet-standard")
    assert len(axis.patches) == lost > 0
    keys = ["wrong/original", *(f"{each}/wrong/seed0/simplified" for each in EXPLAINED)]
    assert all((image == arrays.get_tensor(key)[0, 0]).all() for image, key in zip(images, keys, strict=False))
    at = rows[(rows["network"] == "resnet-standard") & (rows["group"] == "wrong")].iloc[chosen[1]]
    assert f"{at['label']} → {at['predicted']} · {at['bpd_before']:.2f}" in said(axis.figure)


@pytest.mark.parametrize("name", ["complexity", "simplified", "distractors", "condensed", "explained"])
def test_images_in_colour_and_of_other_sizes_are_shown(results, tmp_path, name):
    made.write(tmp_path, "resnet-standard", "resnet-adversarial", full=False, shape=(3, 12, 12))
    colour = Results(tmp_path / "results", results.reported_in, *EXPLAINED)
    vars(colour)["alignment"] = results.alignment  # as if it had been read
    figure = FIGURES[name](colour)
    assert {image.get_array().shape for image in figure.axes[0].images} == {(12, 12, 3)}
    plt.close(figure)
