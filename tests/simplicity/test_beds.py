"""Beds: which images, partners and labels they are made of, and that training and testing share none."""

import pytest
import torch

from fourlenses.errors import UserError
from fourlenses.images import Images
from fourlenses.images.composites import compose
from fourlenses.sections import Bed
from fourlenses.simplicity.beds import load_bed, make_bed

SIZES = {"train": 20, "test": 12}


def bed(**given) -> Bed:
    return Bed(weights=[1.0], seeds=[0], **given)


def levels(start: int, n: int, n_classes: int, shape=(1, 8, 8)) -> Images:
    """Flat images, each of its own level, so that they can be told apart."""
    x = torch.arange(start, start + n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, *shape).contiguous()
    return Images(x, torch.arange(n) % n_classes)


OWN = {"train": levels(0, 30, 3), "test": levels(40, 20, 3)}
PHOTOS = levels(100, 16, 5)
SETS = {
    "whole": {"all": levels(120, 60, 4, (1, 16, 16))},
    "parted": {"train": levels(120, 40, 4), "test": levels(180, 30, 4)},
    "small": {"all": levels(120, 10, 2)},
}


def loaded(given: Bed, seed: int = 0) -> dict:
    return load_bed(given, OWN, PHOTOS, lambda name: SETS[name], SIZES, seed)


def shown(x: torch.Tensor) -> list[int]:
    return x.amax((1, 2, 3)).tolist()


def test_without_a_distractor_images_stay_as_they_are():
    found = loaded(bed())
    for name, n in SIZES.items():
        each = found[name]
        assert len(each) == n and torch.equal(each.x, OWN[name].x[:n]) and torch.equal(each.y, OWN[name].y[:n])
        assert each.distractor is None and each.y_distractor is None and each.halves is None
        assert torch.equal(each.target, each.x) and each.n_classes == 3 and each.n_distractors == 0


@pytest.mark.parametrize("source", ["whole", "parted"])
def test_another_source_gives_its_own_images_and_none_twice(source):
    found = loaded(bed(source=source))
    train, test = (shown(found[name].x) for name in SIZES)
    assert len(train) == 20 and len(test) == 12 and len(set(train + test)) == 32
    if source == "parted":
        assert max(train) < 160 and min(test) >= 180
    assert found["train"].x.shape[1:] == (1, 8, 8) and found["train"].n_classes == 4
    assert found["train"].y.bincount().tolist() == [5] * 4
    assert all(level % 4 == y for level, y in zip(train, found["train"].y.tolist(), strict=True)), "with its labels"


def test_a_source_with_too_few_images_is_one_line():
    with pytest.raises(UserError, match="32 images"):
        loaded(bed(source="small"))


@pytest.mark.parametrize(
    ("given", "n_partners", "classes"),
    [
        (bed(distractor="photo"), 8, 5),
        (bed(distractor="beside", partner="whole"), 20, 4),
        (bed(distractor="stacked", partner="parted"), 20, 4),
        (bed(distractor="beside", partner="small"), 5, 2),
    ],
)
def test_training_and_testing_see_different_partners(given, n_partners, classes):
    found = loaded(given)
    train, test = (set(shown(found[name].distractor)) for name in SIZES)
    assert len(train) == n_partners and not train & test
    if given.partner == "parted":
        assert max(train) < 160 and min(test) >= 180
    for each in found.values():
        assert each.n_classes == 3 and each.n_distractors == classes
        start = 100 if given.partner is None else 120
        for level, label in zip(shown(each.distractor), each.y_distractor.tolist(), strict=True):
            assert level >= 180 or (level - start) % classes == label


@pytest.mark.parametrize("kind", ["stripes", "photo", "beside"])
def test_the_label_of_the_other_part_exchanges_the_roles_and_nothing_else(kind):
    partner = {"partner": "whole"} if kind == "beside" else {}
    found, other = (loaded(bed(distractor=kind, label=label, **partner))["train"] for label in ("target", "distractor"))
    assert torch.equal(found.x, other.x)
    assert torch.equal(found.target, other.distractor) and torch.equal(found.distractor, other.target)
    assert torch.equal(found.y, other.y_distractor) and torch.equal(found.y_distractor, other.y)
    assert (found.n_classes, found.n_distractors) == (other.n_distractors, other.n_classes) == (
        3, {"stripes": 2, "photo": 5, "beside": 4}[kind]
    )  # fmt: skip
    assert (found.halves is None) == (kind != "beside")
    if kind == "beside":
        assert torch.equal(found.halves, ~other.halves)
        assert not (other.target * ~other.halves[:, None]).any()


def test_noise_has_one_class_and_is_the_composite_of_its_split():
    x, y = OWN["train"].x, OWN["train"].y
    for name in SIZES:
        found = make_bed(bed(distractor="noise"), (x, y), None, 7, name)
        assert torch.equal(found.x, compose("noise", x, y, None, None, f"7 {name}").x)
        assert found.n_distractors == 1 and not found.y_distractor.any()


def test_classes_count_over_both_splits():
    own = {"train": levels(0, 30, 3), "test": Images(levels(40, 12, 1).x, torch.zeros(12).long())}
    found = load_bed(bed(distractor="stripes"), own, PHOTOS, SETS.get, SIZES, 0)
    assert found["test"].n_classes == found["train"].n_classes == 3


def test_the_seed_decides():
    given = bed(distractor="beside", partner="whole")
    one, again, other = loaded(given), loaded(given), loaded(given, seed=1)
    assert torch.equal(one["test"].x, again["test"].x) and not torch.equal(one["test"].x, other["test"].x)
    assert shown(one["test"].target) == shown(other["test"].target)
