"""The ladder of complexity."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fourlenses.images.shifted import SETS
from fourlenses.simplicity.ladder import Rung, rank_correlation, rungs, stretched, summary


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_the_sets_of_the_ladder():
    own, other, photos = pixels(5, 1, 8, 8), pixels(4, 1, 8, 8, seed=1), pixels(3, 1, 8, 8, seed=2)
    found = rungs("digits", own, {"letters": other}, photos, torch.Generator().manual_seed(9))
    assert {name: (rung.kind, len(rung.x)) for name, rung in found.items()} == {
        "black": ("constant", 5), "grey": ("constant", 5), "own-blurred": ("blurred", 5), "digits": ("own", 5),
        "letters": ("other", 4), "photos-blurred": ("blurred", 3), "photos": ("photo", 3), "noise": ("noise", 5),
    }  # fmt: skip
    assert (found["black"].x == 0).all() and (found["grey"].x == 128).all()
    assert all(found[name].x is each for name, each in {"digits": own, "letters": other, "photos": photos}.items())
    for name, x in {"own-blurred": own, "photos-blurred": photos}.items():
        assert torch.equal(found[name].x, SETS["blurred"](x, torch.Generator())), "the same images in the same order"
    assert found["noise"].x.float().std() > 65 and not torch.equal(found["noise"].x, own)
    assert all(isinstance(rung, Rung) and rung.x.dtype == torch.uint8 for rung in found.values())


@settings(deadline=None)
@given(low=st.integers(0, 255), high=st.integers(0, 255), c=st.sampled_from([1, 3]), seed=st.integers(0, 99))
def test_stretched_images_reach_from_0_to_255_in_the_same_order(low, high, c, seed):
    low, high = sorted((low, high))
    x = (low + (high - low) * pixels(1, c, 4, 5, seed=seed).double() / 255).round().byte()
    x[0, 0, 0, :2] = torch.tensor([low, high], dtype=torch.uint8)
    (found,) = stretched(x)
    if low == high:
        assert torch.equal(found, x[0]), "a constant image stays"
    else:
        expected = np.rint(255 * (x[0].numpy().astype(np.float64) - low) / (high - low))
        np.testing.assert_allclose(found.numpy(), expected, atol=1)
        assert found.min() == 0 and found.max() == 255


def test_every_image_is_stretched_by_itself():
    x = torch.stack([pixels(1, 4, 4) // 2, torch.full((1, 4, 4), 9, dtype=torch.uint8), pixels(1, 4, 4, seed=1) // 9])
    assert torch.equal(stretched(x), torch.cat([stretched(each[None]) for each in x]))
    assert torch.equal(stretched(stretched(x)), stretched(x))


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-3, 3)), min_size=2, max_size=20))
def test_rank_correlation_is_pearson_of_the_ranks(pairs):
    a, b = (torch.tensor(values, dtype=torch.float64) for values in zip(*pairs, strict=True))
    ranks = [stats.rankdata(values) for values in (a.tolist(), b.tolist())]
    found = rank_correlation(a, b)
    if min(map(np.ptp, ranks)) == 0:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)


def test_a_row_by_hand():
    bpd, png = torch.tensor([1.0, 2.0, 6.0]).double(), torch.tensor([5.0, 7.0, 6.0]).double()
    jpeg, first, full = torch.tensor([3.0, 2.0, 1.0]).double(), torch.tensor([0.1, 0.2, 0.3]).double(), bpd + 1
    row = summary("own", bpd, full, png, jpeg, first)
    assert row == pytest.approx({
        "kind": "own", "n": 3, "bpd": 3.0, "sd": 7**0.5, "se": (7 / 3) ** 0.5, "png": 6.0, "jpeg": 2.0,
        "contrast_bpd": 4.0, "rho_png": 0.5, "rho_jpeg": -1.0, "rho_prior": 1.0,
    })  # fmt: skip
    constant = summary("constant", bpd, full, png, jpeg, first)
    assert all(math.isnan(constant[f"rho_{of}"]) for of in ("png", "jpeg", "prior")) and constant["bpd"] == 3
    assert math.isnan(summary("own", bpd[:1], full[:1], png[:1], jpeg[:1], first[:1])["se"])
