"""What a table says of a layer."""

import math

import pytest
import torch
from attacked import X, trained_a_little
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.entanglement import measures
from fourlenses.entanglement.measures import curve, followed, mean_squared_distance, measured, representations
from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.perturb import to_bytes
from fourlenses.entanglement.snnl import soft_nearest_neighbor_loss


def clouds(n: int = 40, seed: int = 0, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes that overlap, far from the origin."""
    generator, y = torch.Generator().manual_seed(seed), torch.arange(n) % 3
    centres = torch.randn(3, 6, generator=generator)
    return scale * (5 + centres[y] + torch.randn(n, 6, generator=generator)), y


def test_layers_are_the_pixels_and_what_the_network_makes_of_them():
    network, x = trained_a_little().train(), to_bytes(X)
    found = representations(network, x)
    assert list(found) == ["input", "stem", "block1", "penultimate", "logits"] and network.training
    network.eval()
    with torch.no_grad():
        pixels = x.float() / 255
        assert torch.equal(found["input"], pixels.flatten(1))
        stem = network.body.stem(network.normalize(pixels))
        expected = [stem, network.body.block1(stem), network.features(pixels), network(pixels)]
    for layer, value in zip(list(found)[1:], expected, strict=True):
        assert torch.allclose(found[layer], value.flatten(1), atol=1e-5), layer


@given(st.integers(2, 12), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_mean_squared_distance_is_that_of_a_loop(n, seed):
    x = clouds(n, seed)[0]
    pairs = [math.dist(a, b) ** 2 for i, a in enumerate(x.tolist()) for b in x.tolist()[:i]]
    assert mean_squared_distance(x) == pytest.approx(sum(pairs) / len(pairs), rel=1e-5)


def test_a_row_says_what_its_columns_name():
    x, y = clouds(scale=8.0)
    row, found = measured(x, y), minimum_entanglement(x, y)
    named = {"n": found.n, "entanglement": found.value, "se": found.se, "temperature": found.temperature}
    assert row.items() >= (named | {"chance": found.chance, "dropped": 0}).items()
    assert row["at_100"] == pytest.approx(soft_nearest_neighbor_loss(x.double(), y, 100.0).item(), rel=1e-5)
    assert row["released_at_100"] == pytest.approx(row["at_100"], rel=1e-2), "its epsilons are small here"
    assert row["norm"] == pytest.approx(sum(math.hypot(*each) for each in x.tolist()) / len(x), rel=1e-5)
    assert 0 < row["intra_cosine"] < row["inter_cosine"] < 1
    assert row["entanglement"] <= row["at_100"] and row["entanglement"] < row["chance"]


def test_the_released_formula_fails_where_all_weights_vanish():
    x, y = clouds(scale=1e3)
    row = measured(x, y)
    assert row["released_at_100"] == pytest.approx(-math.log(1e-5), abs=1e-3)
    assert row["entanglement"] == pytest.approx(measured(*clouds())["entanglement"], rel=1e-3), "scale says nothing"


def test_the_point_alone_in_its_class_is_counted():
    x, y = clouds()
    y[0] = 7
    assert (measured(x, y)["dropped"], measured(x, y)["n"]) == (1, minimum_entanglement(x, y).n)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3])
def test_a_curve_goes_from_neighbours_to_chance_around_the_mean_distance(scale):
    x, y = clouds(scale=scale)
    temperatures, values = curve(x, y)
    assert len(values) == measures.CURVE and torch.allclose(
        temperatures[0] * temperatures[-1], torch.tensor(mean_squared_distance(x) ** 2).double()
    )
    assert temperatures[-1] / temperatures[0] == pytest.approx(1e6)
    for i in (0, 30, 59):
        expected = soft_nearest_neighbor_loss(x.double(), y, temperatures[i].item()).item()
        assert values[i].item() == pytest.approx(expected, rel=1e-4)
    found = minimum_entanglement(x, y)
    assert found.value <= values.min() <= found.value + 0.02, "sixty temperatures miss the best by little"
    assert values[-1].item() == pytest.approx(found.chance, abs=1e-2)


def test_no_rule_finds_less_than_the_search():
    rows = followed(*clouds(scale=3.0))
    by_rule = {
        rule: [row for row in rows if row["rule"] == rule] for rule in ("fixed", "released", "tracked", "search")
    }
    assert sum(map(len, by_rule.values())) == len(rows) == 4 * len(measures.STARTS)
    assert all(row["value"] >= row["minimum"] - 1e-3 * (row["rule"] == "released") - 1e-9 for row in rows)
    assert all(row["value"] == row["minimum"] for row in by_rule["search"])
    x, y = clouds(scale=3.0)
    for row in by_rule["fixed"]:
        assert row["temperature"] == row["start"]
        assert row["value"] == pytest.approx(soft_nearest_neighbor_loss(x.double(), y, row["start"]).item(), rel=1e-6)
    spread = {rule: max(row["value"] for row in each) - each[0]["minimum"] for rule, each in by_rule.items()}
    assert spread["tracked"] < 0.01 < spread["fixed"], "what tracks forgets its start"
