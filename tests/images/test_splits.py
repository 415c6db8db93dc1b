"""Splits: disjoint, as balanced as the images allow, the same for the same seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.errors import UserError
from fourlenses.images import Images, split
from fourlenses.images.splits import apportion


def numbered(counts, first=0):
    """Images of one pixel row that spell their own number, so that each can be told from all others."""
    y = torch.cat([torch.full((m,), k) for k, m in enumerate(counts)]) if counts else torch.zeros(0, dtype=torch.long)
    n = torch.arange(first, first + len(y))
    x = torch.stack([n // 256, n % 256], 1).to(torch.uint8).reshape(-1, 1, 1, 2)
    return Images(x, y)


def numbers(images):
    x = images.x.reshape(-1, 2).long()
    return (x[:, 0] * 256 + x[:, 1]).tolist()


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=6).filter(lambda counts: sum(counts) > 0)


@settings(max_examples=150, deadline=None)
@given(COUNTS, st.lists(st.floats(0, 1), min_size=4, max_size=4), st.integers(0, 2**31))
def test_disjoint_and_balanced(counts, shares, seed):
    pool = numbered(counts)
    left, sizes = len(pool), {}
    for name, share in zip(("train", "judges", "calibration", "test"), shares, strict=True):
        sizes[name] = int(share * left)
        left -= sizes[name]
    samples = split({"all": pool}, sizes, rng(seed))
    drawn = [number for images in samples.values() for number in numbers(images)]
    assert len(drawn) == len(set(drawn)) == sum(sizes.values())
    label = dict(zip(numbers(pool), pool.y.tolist(), strict=True))
    total = torch.zeros(len(counts), dtype=torch.long)
    for name, images in samples.items():
        assert len(images) == sizes[name]
        assert [label[number] for number in numbers(images)] == images.y.tolist()
        total += torch.bincount(images.y, minlength=len(counts))
    # equal up to one image, apart from classes of which every image was taken
    free = total[total < torch.tensor(counts)]
    if len(free):
        assert free.max() - free.min() <= 1
        assert total.max() <= free.max() + 1


@given(st.integers(1, 12), st.integers(1, 8), st.integers(1, 8))
@settings(max_examples=50, deadline=None)
def test_whole_shares_are_exactly_equal(n_classes, a, b):
    samples = split({"all": numbered([a + b + 1] * n_classes)}, {"train": a * n_classes, "test": b * n_classes}, rng())
    assert torch.bincount(samples["train"].y).tolist() == [a] * n_classes
    assert torch.bincount(samples["test"].y).tolist() == [b] * n_classes


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.data())
@settings(max_examples=100, deadline=None)
def test_apportion_is_within_one_of_proportional(weights, data):
    total = data.draw(st.integers(0, sum(weights)))
    parts = apportion(total, torch.tensor(weights))
    assert int(parts.sum()) == total
    for part, weight in zip(parts.tolist(), weights, strict=True):
        assert 0 <= part <= weight
        assert abs(part - total * weight / max(sum(weights), 1)) < 1


def test_largest_remainder_gets_the_rest():
    assert apportion(10, torch.tensor([10, 35, 55])).tolist() == [1, 4, 5]  # shares 1.0, 3.5, 5.5: the tie to the lower
    assert apportion(3, torch.tensor([5, 3, 2])).tolist() == [1, 1, 1]  # shares 1.5, 0.9, 0.6


def test_test_comes_from_the_test_part():
    parts = {"train": numbered([20, 20]), "test": numbered([10, 10], first=1000)}
    samples = split(parts, {"train": 10, "judges": 10, "calibration": 4, "test": 8}, rng())
    assert all(number >= 1000 for number in numbers(samples["test"]))
    assert all(n < 1000 for name in ("train", "judges", "calibration") for n in numbers(samples[name]))


def test_same_seed_same_split_other_seed_other_split():
    pool, sizes = {"all": numbered([50, 50])}, {"train": 60, "test": 20}
    first, again, other = (numbers(split(pool, sizes, rng(seed))["train"]) for seed in (1, 1, 2))
    assert first == again != other
    assert split(pool, sizes, rng())["train"].y.tolist() != sorted(split(pool, sizes, rng())["train"].y.tolist())


@pytest.mark.parametrize("parts", [{"all": numbered([5, 5])}, {"train": numbered([30, 30]), "test": numbered([5, 5])}])
def test_too_few_images(parts):
    with pytest.raises(UserError, match=r"test 11.*; expected at most 10; make fetch.n_\* smaller"):
        split(parts, {"test": 11}, rng())
