"""Heuristics: the blur against torchvision, and that every one of them saves bits."""

import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.heuristics import HEURISTICS, blurred


def pixels(n: int, c: int, side: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, c, side, side), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.mark.parametrize("sigma", [0.2, 0.7, 1.5])
def test_blur_is_the_gaussian_of_another_library(sigma):
    x = pixels(4, 3, 28)
    reach = int(4 * sigma + 0.5)
    expected = tv.gaussian_blur(x.float(), [2 * reach + 1] * 2, [sigma] * 2)
    assert (blurred(x, sigma).float() - expected).abs().max() < 0.501


def test_blur_leaves_flat_images_and_sigma_zero_alone_and_small_sides_are_no_problem():
    x = pixels(3, 1, 8)
    assert torch.equal(blurred(x, 0.0), x)
    flat = torch.full_like(x, 201)
    assert torch.equal(blurred(flat, 6.0), flat)
    assert (blurred(x, 6.0).float().std((1, 2, 3)) < 2).all(), "nearly flat"


def test_a_wider_blur_is_smoother():
    x = pixels(4, 1, 16)
    rough = [blurred(x, sigma).float().diff(dim=3).abs().mean().item() for sigma in (0.0, 0.5, 1.0, 2.0)]
    assert rough == sorted(rough, reverse=True) and rough[-1] < rough[0] / 5


def test_every_heuristic_makes_images_of_fewer_png_bits():
    smooth = torch.nn.functional.avg_pool2d(pixels(4, 1, 32).float(), 5, 1).round().byte()
    for name, coarse, fine in (("blur", 3.0, 0.5), ("jpeg", 5, 95)):
        bits = [png_bits(HEURISTICS[name](smooth, knob)).mean().item() for knob in (coarse, fine)]
        assert bits[0] < bits[1] < png_bits(smooth).mean().item() * 1.02, name
    assert set(HEURISTICS) == {"blur", "jpeg"}
