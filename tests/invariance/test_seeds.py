"""Where an inversion starts."""

import pytest
import torch

from fourlenses.invariance.seeds import SEED_IMAGES, noise_targets

OTHERS = torch.rand(12, 3, 40, 50, generator=torch.Generator().manual_seed(0))


def draw(name: str, seed: int = 1) -> torch.Tensor:
    return SEED_IMAGES[name](OTHERS, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", SEED_IMAGES)
def test_seed_image_is_an_image_of_the_set_and_reproducible(name):
    before = torch.random.get_rng_state()
    image = draw(name)
    assert image.shape == OTHERS.shape[1:] and image.dtype == OTHERS.dtype
    assert image.min() >= 0 and image.max() <= 1
    assert torch.equal(image, draw(name))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", ["super-noise", "light-noise", "other-image"])
def test_random_seed_image_changes_with_the_stream(name):
    assert any(not torch.equal(draw(name), draw(name, seed)) for seed in (2, 3, 4))


def test_super_noise_is_half_black_and_a_sixth_white():
    image = draw("super-noise")
    assert float((image == 0).float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float((image == 1).float().mean()) == pytest.approx(0.1587, abs=0.02)


def test_light_noise_is_nearly_black():
    image = draw("light-noise")
    assert 0 < image.max() < 0.06 and float((image == 0).float().mean()) == pytest.approx(0.5, abs=0.03)


def test_constants_and_other_image():
    assert (draw("black") == 0).all() and (draw("white") == 1).all()
    found = draw("other-image")
    assert any(torch.equal(found, image) for image in OTHERS)
    found.zero_()
    assert (OTHERS.flatten(1).sum(1) > 0).all(), "a copy, so that no one writes into the data"


def test_noise_targets_are_clipped_normal_draws_of_deviation_one_half():
    before = torch.random.get_rng_state()
    made = noise_targets(30, (3, 20, 21), torch.Generator().manual_seed(5))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert made.shape == (30, 3, 20, 21) and made.dtype == torch.float32 and made.min() == 0 and made.max() == 1
    for end in (0, 1):
        assert float((made == end).float().mean()) == pytest.approx(0.1587, abs=0.01)
    assert float((made < 0.75).float().mean()) == pytest.approx(0.6915, abs=0.01), "half a deviation above the mean"
    flat = made.flatten(1)
    correlation = torch.corrcoef(flat) - torch.eye(30)
    assert correlation.abs().max() < 0.15, "each image a draw of its own"
    assert torch.equal(made, noise_targets(30, (3, 20, 21), torch.Generator().manual_seed(5)))
