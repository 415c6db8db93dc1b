"""Which states are compared: counts by kind, and what the two sides of each kind share."""

from collections import Counter
from dataclasses import replace
from math import comb

import pytest

from fourlenses.similarity.pairs import CONTROLS, Pair, Shown, State, pairs

SEEDS = [0, 1, 2]
POINTS = ("conv", "bn", "relu")
NETWORKS = {
    "standard": Shown(POINTS, [1, 2, 8], attacked=True, base=True),
    "robust": Shown(POINTS, [8], attacked=True, base=True),
    "again": Shown(POINTS, [8], twin_of="standard"),
    "third": Shown(POINTS, [8], twin_of="standard"),
    "wide": Shown((*POINTS, "shortcut"), [8]),
}
FOUND = pairs(NETWORKS, SEEDS)


def of(kind: str) -> list[Pair]:
    return [pair for pair in FOUND if pair.kind == kind]


def test_how_many_there_are_of_each_kind() -> None:
    seeds = len(SEEDS)
    alike = comb(4, 2)  # all but the wide one
    assert Counter(pair.kind for pair in FOUND) == {
        "self": seeds * (3 + 4),
        "epochs": seeds * comb(3, 2),
        "adversarial": seeds * 2,
        "shuffled": seeds * 2,
        **dict.fromkeys(CONTROLS, seeds * 2),
        "cross": seeds * (alike - 3),
        "twin": seeds * 3 + 5 * comb(seeds, 2),  # standard, again and third, and each with its own other seeds
        "cross-adversarial": seeds,
        "reused-adversarial": seeds * 2,
    }


def test_no_comparison_is_made_twice() -> None:
    unordered = [(pair.kind, frozenset((pair.a, pair.b))) for pair in FOUND]
    assert len(unordered) == len(set(unordered))


@pytest.mark.parametrize(
    ("kind", "shared"),
    [
        ("self", {"network", "seed", "epoch", "images"}),
        ("epochs", {"network", "seed", "images"}),
        ("adversarial", {"network", "seed", "epoch"}),
        ("shuffled", {"network", "seed", "epoch"}),
        ("cross", {"seed", "epoch", "images"}),
        ("cross-adversarial", {"seed", "epoch", "images"}),
        ("reused-adversarial", {"seed", "epoch"}),
    ],
)
def test_what_two_sides_share(kind: str, shared: set[str]) -> None:
    for pair in of(kind):
        assert {name for name in vars(pair.a) if getattr(pair.a, name) == getattr(pair.b, name)} == shared


def test_adversarial_images_are_made_on_the_network_that_the_name_says() -> None:
    assert {pair.b.images for pair in of("adversarial")} == {"adversarial"}
    for pair in of("reused-adversarial"):
        assert pair.a.images == "adversarial"
        assert pair.b.images == f"adversarial of {pair.a.network}"


def test_only_the_last_epoch_is_compared_with_others() -> None:
    for kind in ("cross", "twin", "adversarial", *CONTROLS):
        assert {pair.a.epoch for pair in of(kind)} == {8}


def test_networks_of_other_points_are_not_compared() -> None:
    wide = [pair for pair in FOUND if "wide" in (pair.a.network, pair.b.network)]
    assert {pair.a.network for pair in wide} == {pair.b.network for pair in wide} == {"wide"}
    longer = NETWORKS | {"wide": replace(NETWORKS["wide"], points=POINTS)}
    assert Pair("cross", State("standard", 0, 8), State("wide", 0, 8)) in pairs(longer, [0])
