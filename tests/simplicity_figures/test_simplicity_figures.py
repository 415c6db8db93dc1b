"""Figures of the simplicity lens show what its tables say: marks and numbers are looked up in made-up ones."""


import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from figures import condensation, explaining, names, rehearsal, simplifying
from figures.results import SIMPLICITY
from stages.draw import FIGURES
from tests import synthetic_simplicity_results as made
from tests.looking import EXPLAINED, NAMES, changed, points, said


def on_grid(found: np.ndarray, wanted: np.ndarray | pd.DataFrame) -> bool:
    """Whether points stand where they should, in whatever order."""
    wanted = np.asarray(wanted)
    return found.shape == wanted.shape and np.allclose(found, wanted[np.lexsort(wanted.T[::-1])])


def test_every_file_that_figures_read_is_listed_and_read_once(results, tables):
    listed = [path for path in results.files() if path.parent.name == "simplicity"]
    assert {path.name for path in listed} == {path.name for path in (results.folder / "simplicity").iterdir()}
    assert set(SIMPLICITY) == set(tables)
    assert results.simplicity["ladder"] is results.simplicity["ladder"]
    assert results.simplified["ladder"] is results.simplified["ladder"]


def test_beds_have_names_and_looks_of_their_own_and_natural_ones_come_first(results, tables):
    beds = simplifying.beds(results)
    assert beds["name"].to_dict() == NAMES
    assert list(beds["natural"]) == [True] * 3 + [False] * 8
    assert not beds[["colour", "marker"]].duplicated().any()
    twice = pd.concat([tables["simplify"], tables["simplify"].query("bed == 'beside'").assign(bed="beside-letters")])
    again = simplifying.beds(changed(results, simplify=twice))["name"]
    assert again["beside-letters"] == "MNIST beside another (beside-letters)"
    assert again.is_unique
    assert simplifying.set_name(results, "own-blurred") == "MNIST, blurred"


def test_looks_differ():
    assert len({simplifying.look(place) for place in range(72)}) == 72
    colours = simplifying.weight_colours([10.0, 0.0, 1.0, 1.0])
    assert list(colours) == [0.0, 1.0, 10.0]
    assert len({to_hex(colour) for colour in colours.values()}) == 3


@pytest.mark.parametrize(("values", "most", "found"), [([1, 2], 3, [1, 2]), ([0, 1, 2, 5, 10], 3, [0, 2, 10])])
def test_a_few_of_many_are_spread_evenly(values, most, found):
    assert simplifying.few(values, most) == found


@pytest.mark.parametrize(("share", "n"), [(0.9, 200), (0.5, 10), (1.0, 16), (0.0, 16)])
def test_intervals_of_shares_are_wilsons(share, n):
    z = 1.959964
    centre, half = (share + z**2 / 2 / n), z * np.sqrt(share * (1 - share) / n + z**2 / 4 / n**2)
    wanted = 100 * np.array([share, *((centre + side * half) / (1 + z**2 / n) for side in (-1, 1))])
    assert simplifying.percent_of(share, n) == pytest.approx(wanted, abs=1e-4)


def test_bootstrap_intervals_hold_the_statistic_and_stay_the_same():
    values = np.random.default_rng(0).normal(size=40)
    middle, low, high = simplifying.interval(values, np.median)
    assert (middle, low, high) == simplifying.interval(values, np.median)
    assert values.min() < low < middle == np.median(values) < high < values.max()
    drawn = np.random.default_rng(1).choice(values, (4000, 40))
    assert (low, high) == pytest.approx(np.quantile(np.median(drawn, axis=1), [0.025, 0.975]), abs=0.05)
    assert simplifying.interval(values[:1], np.median) == (values[0],) * 3


def test_priors_stand_beside_each_other(drawn, tables):
    bits, ranks, training = drawn("priors").axes
    for place, (prior, rows) in enumerate(tables["ladder"].groupby("prior", sort=False)):
        colour, _ = simplifying.look(place)
        assert np.allclose(points(bits, colour)[:, 0], sorted(rows["bpd"]))
        found = points(ranks, colour, colour)[:, 0]
        assert sorted(found[np.isfinite(found)]) == pytest.approx(sorted(rows["rho_png"].dropna()))
        history = tables["glow"][tables["glow"]["prior"] == prior]
        lines = {line.get_linestyle(): line.get_xydata() for line in training.lines if line.get_color() == colour}
        assert np.allclose(lines["-"], history[["step", "bpd_photos"]])
        assert np.allclose(lines[":"], history[["step", "bpd_train"]])
    (legend,) = bits.figure.legends
    assert [text.get_text() for text in legend.get_texts()][:3] == ["glow", "shallow", "additive (refused)"]
    assert bits.get_xscale() == "log"  # a flow that explodes on noise leaves the others room


def test_a_mark_a_weight_at_its_bits_and_accuracy_and_the_original_hollow(results, drawn, tables):
    beds, figure = simplifying.beds(results), drawn("tradeoff")
    rows_of = {True: figure.axes[:3], False: figure.axes[3:]}
    for name, bed in beds.iterrows():
        rows = tables["simplify"][tables["simplify"]["bed"] == name].assign(percent=lambda t: 100 * t["accuracy_joint"])
        wanted = rows.groupby("weight")[["bpd_simplified", "percent"]].mean()
        joint, _, gate = rows_of[bed["natural"]]
        (line,) = (line for line in joint.lines if line.get_label() == bed["name"])
        assert np.allclose(line.get_xydata(), wanted)
        at = [line.get_xydata()[0] for line in joint.lines if line.get_markerfacecolor() == "white"
              and (line.get_color(), line.get_marker()) == (bed["colour"], bed["marker"])]  # fmt: skip
        assert np.allclose(at, [[rows["bpd_original"].iloc[0], 100 * rows["accuracy_plain"].iloc[0]]])
        look = bed["colour"], bed["marker"]
        (means,) = (line for line in gate.lines if (line.get_color(), line.get_marker()) == look)
        assert np.allclose(means.get_ydata(), rows.groupby("weight")["gate"].mean())
        assert np.allclose(means.get_xdata(), [made.WEIGHTS.index(weight) for weight in wanted.index])


def test_a_study_of_natural_images_alone_has_one_row(results, tables):
    figure = FIGURES["tradeoff"](changed(results, simplify=tables["simplify"].query("bed == 'images'")))
    assert len(figure.axes) == 3
    plt.close(figure)


def test_gates_are_means_over_seeds_along_training(results, drawn, tables):
    figure, history = drawn("gates"), tables["simplify_history"]
    panels = {" ".join(axis.get_title().split()): axis for axis in figure.axes if axis.get_title()}
    assert list(panels) == list(NAMES.values())
    colours = simplifying.weight_colours(history["weight"])
    for weight in made.WEIGHTS:
        rows = history[(history["bed"] == "noise") & (history["weight"] == weight)].groupby("step")["gate"].mean()
        thick = [line for line in panels["MNIST under noise"].lines if line.get_linewidth() == 1
                 and to_hex(line.get_color()) == to_hex(colours[weight])]  # fmt: skip
        assert np.allclose(thick[0].get_xydata(), rows.reset_index())


def test_condensation_is_compared_with_no_weight(drawn, tables):
    table = tables["condense"]
    rows = table[(table["ipc"] == 10) & (table["evaluated_on"] == "groupnorm")]
    found = condensation.gains(rows)
    one = rows[rows["seed"] == 1].groupby("weight")["accuracy"].mean()
    assert found.loc[1, 100.0] == pytest.approx(100 * (one[100.0] - one[0.0]))
    over, cost, rounds = drawn("condensation").axes[1::2]
    assert over.get_title() == "10 images a class"
    means = rows.assign(percent=100 * rows["accuracy"]).groupby("weight")[["bpd", "percent"]].mean()
    assert on_grid(points(over, simplifying.look(1)[0]), means)
    assert np.allclose(points(cost, simplifying.look(1)[0])[:, 1], found.mean())
    assert len(rounds.lines) == 4


def test_medians_of_what_is_saved_and_kept(results, drawn, tables):
    table = tables["explain"]
    (saved, kl, kept), (distances, steps) = (part.axes for part in drawn("explaining").subfigs)
    rows = [(network, group) for network in EXPLAINED for group in ("wrong", "right")]
    for y, (network, group) in enumerate(rows):
        images = explaining.by_image(table[(table["network"] == network) & (table["group"] == group)])
        assert len(images) == 16
        assert [line.get_xdata()[0] for line in saved.lines if line.get_ydata()[0] == y] == [images["saved"].median()]
        blurred = [line.get_xdata()[0] for line in kl.lines if line.get_ydata()[0] == y + 0.25]
        assert blurred == [images["kl_blur"].median()]
        found = [line.get_xdata()[0] for line in kept.lines if line.get_ydata()[0] == y]
        assert found == pytest.approx([100 * images["kept"].mean()])
    one = table[(table["image"] == 7) & (table["network"] == "randomised") & (table["group"] == "right")]
    assert explaining.by_image(one)["saved"][7] == pytest.approx(100 * (1 - one["bpd_after"] / 3).mean())
    labels = [tick.get_text() for tick in distances.get_yticklabels()]
    assert labels[:3] == ["another seed, wrong", "another seed, right", "adversarial L2, wrong"]
    assert len(steps.lines) == 6


def test_networks_that_err_on_no_image_leave_one_group(results, tables):
    sought = "explain", "explain_history", "explain_distances"
    right = {name: tables[name].query("group == 'right'") for name in sought}
    for name in ("explained", "explaining"):
        figure = FIGURES[name](changed(results, **right))
        assert not [text for text in said(figure) if "wrong" in text and "classified" in text]
        plt.close(figure)


def test_every_method_has_its_curve_at_equal_bits(drawn, tables):
    figure, others = drawn("matched"), tables["baselines"]
    (axis,) = (axis for axis in figure.axes if axis.get_title() == "MNIST under noise")
    lines = {line.get_label(): line.get_xydata() for line in axis.lines}
    for method in ("blur", "jpeg", "mse"):
        rows = others[(others["bed"] == "noise") & (others["method"] == method)]
        means = rows.assign(percent=100 * rows["accuracy"]).groupby("knob")[["bpd", "percent"]].mean()
        assert np.allclose(lines[names.SIMPLIFIERS[method][0]], means)
    own = tables["simplify"].query("bed == 'noise'")
    own = own.assign(percent=100 * own["accuracy_retrained"]).groupby("weight")[["bpd_simplified", "percent"]].mean()
    assert np.allclose(lines["simplified"], own)


def test_rehearsal_is_the_mean_over_tasks_seen(drawn, tables):
    plain, distilled, last = drawn("rehearsal").axes
    table = tables["rehearse"]
    none = table[table["rehearsed"] == 0]
    two = none[(none["stage"] == 2) & (none["seed"] == 1)]["accuracy"]
    assert len(two) == 2
    assert rehearsal.over_seen(none).loc[1, 2] == pytest.approx(100 * two.mean())
    wanted = rehearsal.over_seen(table.query("rehearsed == 1 and distilled == 1 and weight == 100")).mean()
    colour, _ = simplifying.look(2)
    thick = [line for line in distilled.lines if line.get_color() == colour and line.get_linewidth() == 1]
    assert np.allclose(thick[0].get_xydata(), wanted.reset_index())
    assert [tick.get_text() for tick in plain.get_xticklabels()] == ["USPS", "+ letters", "+ MNIST"]
    end = none[none["stage"] == 3].groupby("task")["accuracy"].mean()
    grey = [line.get_xydata() for line in last.lines if line.get_color() == "0.35" and line.get_linewidth() == 1]
    assert np.allclose(grey[0][:, 1], 100 * end[["usps", "letters", "own"]])


@pytest.mark.parametrize("name", list(FIGURES)[-12:])
def test_no_mark_lies_outside_its_axes(drawn, name):
    for axis in drawn(name).findobj(Axes):
        for line in axis.get_lines():
            if line.get_transform() == axis.transData:
                found = line.get_xydata()
                for (low, high), values in zip((axis.get_xlim(), axis.get_ylim()), found.T, strict=True):
                    values = values[np.isfinite(values)]
                    assert ((values >= min(low, high) - 1e-9) & (values <= max(low, high) + 1e-9)).all(), (
                        line.get_label()
                    )
