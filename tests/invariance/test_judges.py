"""The judges of the panel: sanity, SSIM, distances by hand and in matrices, and the negative control."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from small_judges import SEED_IMAGE, SHAPE, TRUNKS, images, trunks

from fourlenses.errors import UserError
from fourlenses.invariance.judges import JUDGES, PANEL, choose, control, look, sanity

PANELISTS = {name: JUDGES[name].build(TRUNKS) for name in PANEL}


@pytest.mark.parametrize("name", PANEL)
def test_target_scores_100_and_seed_scores_0_exactly(name):
    result = sanity(PANELISTS[name], images(12), SEED_IMAGE)
    assert result == {"target_score": 100.0, "seed_score": 0.0, "non_negative": 1.0, "symmetric": 1.0, "passes": 1.0}


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 33, 40)])
@pytest.mark.parametrize("name", PANEL)
def test_sanity_at_other_sizes(name, shape):
    judge = JUDGES[name].build(trunks(shape))
    seed_image = torch.randn(shape, generator=torch.Generator().manual_seed(9)).clamp(0, 1)
    assert sanity(judge, images(4, shape), seed_image)["passes"] == 1


@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["noise", "smooth", "constant", "near"]))
@settings(max_examples=12, deadline=None)
@pytest.mark.parametrize("name", PANEL)
def test_non_negative_symmetric_zero_on_itself(name, seed, kind):
    x = images(2, seed=seed)
    noise = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(seed))
    other = {"noise": noise, "smooth": images(2, seed=seed + 1),
             "constant": torch.full((2, *SHAPE), seed % 2), "near": (x + 1e-3).clamp(0, 1)}[kind].float()
    judge = PANELISTS[name]
    forth, back, same = judge(x, other), judge(other, x), judge(x, x)
    assert forth.shape == (2,) and forth.dtype == torch.float32 and not forth.requires_grad
    assert (forth >= 0).all() and torch.allclose(forth, back, atol=1e-6, rtol=1e-6)
    assert same.abs().max() <= 1e-6 and (kind == "near" or (forth > same).all())


def test_the_negative_control_fails_and_its_draws_differ():
    controls = control(TRUNKS["standard"], torch.Generator().manual_seed(0))
    assert list(controls) == [f"J9-{k}" for k in range(10)]
    results = [sanity(judge, images(20), SEED_IMAGE) for judge in controls.values()]
    assert sum(result["passes"] for result in results) <= 5
    assert min(result["target_score"] for result in results) == 0
    assert any(result["non_negative"] == 0 for result in results)
    distances = torch.stack([judge(images(3), images(3, seed=1)) for judge in controls.values()])
    assert (distances < 0).any() and (distances > 0).any()
    again = control(TRUNKS["standard"], torch.Generator().manual_seed(0), draws=2)
    assert torch.equal(again["J9-1"](images(3), images(3, seed=1)), distances[1])


def test_judges_measure_in_float32_under_autocast():
    x, y = images(7), images(7, seed=1)
    plain = PANELISTS["J1"](x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(PANELISTS["J1"](x, y), plain)


def test_judges_that_see_alike_look_once():
    x, y = images(5), images(5, seed=1)
    jury = PANELISTS | control(TRUNKS["standard"], torch.Generator().manual_seed(0))
    seen_x, seen_y = look(jury.values(), x), look(jury.values(), y)
    assert len(seen_x) == 5  # three trunks, the control's own copy, and pixels
    for name, judge in jury.items():
        assert torch.equal(judge.between(seen_x[judge.see], seen_y[judge.see]), judge(x, y)), name


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 33, 40)])
@pytest.mark.parametrize("name", [*PANEL, "J9-0"])
def test_a_matrix_of_distances_is_between_row_by_row(name, shape):
    given = TRUNKS if shape == SHAPE else trunks(shape)
    judge = JUDGES[name].build(given) if name in JUDGES else control(given["standard"], torch.Generator(), 1)[name]
    x, y = images(30, shape), images(27, shape, seed=1)  # more than 25: few rows would not go through the GEMM
    y[:3] = (x[:3] + torch.tensor([1e-3, 1e-2, 1e-1]).reshape(3, 1, 1, 1)).clamp(0, 1)  # small by cancellation
    seen_x, seen_y = look([judge], x)[judge.see], look([judge], y)[judge.see]
    every = torch.ones(30, 27, dtype=torch.bool)
    found = judge.matrix(seen_x, seen_y, every)
    assert found.shape == (30, 27) and found.dtype == torch.float32 and not found.requires_grad
    for j in range(27):
        one = y[j : j + 1].expand(30, -1, -1, -1).contiguous()
        torch.testing.assert_close(found[:, j], judge(x, one), rtol=1e-5, atol=1e-7 if name in ("J5", "J9-0") else 0)
    torch.testing.assert_close(found.T, judge.matrix(seen_y, seen_x, every.T), rtol=1e-5, atol=1e-6)
    assert (name == "J9-0") == bool((found < 0).any())


@pytest.mark.parametrize("name", PANEL)
def test_in_a_matrix_every_image_is_nearest_to_itself(name):
    judge, x = PANELISTS[name], images(30)
    seen = look([judge], x)[judge.see]
    found = judge.matrix(seen, seen, torch.ones(30, 30, dtype=torch.bool))
    assert (found.argmin(1) == torch.arange(30)).all()
    assert found.diagonal().abs().max() < 1e-5 * found.median()


@pytest.mark.parametrize("name", PANEL)
def test_of_a_matrix_only_what_is_asked_for_is_needed(name):
    judge, asked = PANELISTS[name], torch.rand(30, 30, generator=torch.Generator().manual_seed(0)) < 0.3
    seen = look([judge], images(30))[judge.see]
    some, all_ = judge.matrix(seen, seen, asked), judge.matrix(seen, seen, torch.ones_like(asked))
    torch.testing.assert_close(some[asked], all_[asked], rtol=1e-6, atol=1e-7)
    assert some[~asked].isnan().all() == (judge.vectors is None)


def noisy_pair(shape):
    x = images(3, shape)
    return x, (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 40)])
def test_ssim_equals_scikit_image(shape):
    x, y = noisy_pair(shape)
    ours = JUDGES["J5"].build({})(x, y)
    for i in range(3):
        expected = structural_similarity(x[i].double().numpy(), y[i].double().numpy(), channel_axis=0, data_range=1.0,
                                         gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        assert ours[i].item() == pytest.approx(1 - expected, abs=1e-4)


@pytest.mark.parametrize(("shape", "window"), [((1, 8, 8), 7), ((1, 9, 30), 9), ((2, 10, 12), 9)])
def test_ssim_of_small_images_uses_the_largest_window_that_fits(shape, window):
    x, y = noisy_pair(shape)
    offsets = np.arange(window) - window // 2
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    ours = JUDGES["J5"].build({})(x, y)
    for i in range(3):
        values = []
        for a, b in zip(x[i].double().numpy(), y[i].double().numpy(), strict=True):
            for row in range(shape[1] - window + 1):
                for column in range(shape[2] - window + 1):
                    u, v = (z[row:row + window, column:column + window] for z in (a, b))
                    mu, mv = (kernel * u).sum(), (kernel * v).sum()
                    su, sv = (kernel * (u - mu) ** 2).sum(), (kernel * (v - mv) ** 2).sum()
                    suv = (kernel * (u - mu) * (v - mv)).sum()
                    values.append((2 * mu * mv + 1e-4) * (2 * suv + 9e-4) / (mu**2 + mv**2 + 1e-4) / (su + sv + 9e-4))
        assert ours[i].item() == pytest.approx(1 - np.mean(values), abs=1e-4)


def test_pixel_and_pooled_distances_by_hand():
    x, y = torch.zeros(2, 1, 10, 8), torch.zeros(2, 1, 10, 8)
    y[0, 0, 0, 0], y[1, 0, 9, 7] = 0.8, 0.6
    assert torch.allclose(JUDGES["J4"].build({})(x, y), torch.tensor([0.8, 0.6]))
    assert torch.allclose(JUDGES["J6"].build({})(x, y), torch.tensor([0.8 / 16, 0.6 / 8]))


def test_choose():
    target, seed = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 1.0, 3.0])
    assert choose(target, seed).tolist() == [1.0, 0.0, 0.5]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(UserError, match="finite"):
            choose(torch.tensor([1.0, bad]), torch.tensor([1.0, 1.0]))


def test_sanity_catches_each_fault():
    def ok(x, y):
        return (x - y).flatten(1).norm(dim=1)

    faults = {"target_score": lambda x, y: -ok(x, y), "non_negative": lambda x, y: ok(x, y) - 1e-3,
              "symmetric": lambda x, y: ok(x, y) * (1 + x.mean((1, 2, 3))),
              "seed_score": lambda x, y: torch.zeros(len(x))}
    assert sanity(ok, images(5), SEED_IMAGE)["passes"] == 1
    good = {"target_score": 100, "seed_score": 0, "non_negative": 1, "symmetric": 1}
    for name, judge in faults.items():
        result = sanity(judge, images(5), SEED_IMAGE)
        assert result["passes"] == 0 and result[name] != good[name], name
