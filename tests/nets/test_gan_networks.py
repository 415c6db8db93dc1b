"""Generators and discriminators."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fourlenses.errors import UserError
from fourlenses.nets.gan import GANS, HIDDEN, N_NOISE, build_gan


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(deadline=None, max_examples=20)
@given(
    kind=st.sampled_from(sorted(GANS)),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    channels=st.sampled_from([1, 3]),
    sides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    outputs=st.sampled_from([1, 6]),
)
def test_images_have_the_shape_asked_for_and_the_range_of_pixels(kind, widths, channels, sides, outputs):
    shape = (channels, *(side * 2 ** len(widths) for side in sides))
    gan = build_gan(kind, shape, widths, outputs, stream())
    images = gan.generator(10 * torch.randn(4, N_NOISE, generator=stream(1)))
    assert images.shape == (4, *shape) and images.min() >= 0 and images.max() <= 1
    assert gan.discriminator(images).shape == (4, outputs)
    assert torch.isfinite(gan.discriminator(images)).all()


def pairs(module: nn.Module) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases in the order of the layers."""
    return [(layer.weight, layer.bias) for layer in module.modules() if hasattr(layer, "weight")]


def test_convolutional_gan_against_its_layers_written_out():
    gan = build_gan("conv", (1, 28, 28), [6, 4], 3, stream()).eval()
    z, x = torch.randn(5, N_NOISE, generator=stream(1)), torch.rand(5, 1, 28, 28, generator=stream(2))
    (a, b), _, (c, d), _, (e, f) = pairs(gan.generator)
    h = F.linear(z, a, b).view(5, 6, 7, 7) / (1 + 1e-5) ** 0.5  # batch normalisation that has seen nothing
    h = F.conv2d(h.relu().repeat_interleave(2, 2).repeat_interleave(2, 3), c, d, padding=1) / (1 + 1e-5) ** 0.5
    h = F.conv2d(h.relu().repeat_interleave(2, 2).repeat_interleave(2, 3), e, f, padding=1)
    torch.testing.assert_close(gan.generator(z), 1 / (1 + torch.exp(-h)), atol=1e-5, rtol=1e-5)
    (a, b), (c, d), (e, f) = pairs(gan.discriminator)
    h = F.conv2d(2 * x - 1, a, b, stride=2, padding=1)
    h = F.conv2d(torch.where(h > 0, h, 0.2 * h), c, d, stride=2, padding=1)
    h = F.linear(torch.where(h > 0, h, 0.2 * h).reshape(5, 6 * 7 * 7), e, f)
    torch.testing.assert_close(gan.discriminator(x), h, atol=1e-5, rtol=1e-5)


def test_fully_connected_gan_against_its_layers_written_out():
    gan = build_gan("mlp", (3, 8, 6), None, 2, stream())
    z, x = torch.randn(5, N_NOISE, generator=stream(1)), torch.rand(5, 3, 8, 6, generator=stream(2))
    (a, b), (c, d), (e, f) = pairs(gan.generator)
    assert a.shape == (HIDDEN, N_NOISE) and c.shape == (HIDDEN, HIDDEN)
    h = F.linear(F.linear(F.linear(z, a, b).relu(), c, d).relu(), e, f)
    torch.testing.assert_close(gan.generator(z), torch.sigmoid(h).view(5, 3, 8, 6))
    (a, b), (c, d), (e, f) = pairs(gan.discriminator)
    h = F.linear((2 * x - 1).flatten(1), a, b)
    h = F.linear(torch.where(h > 0, h, 0.2 * h), c, d)
    torch.testing.assert_close(gan.discriminator(x), F.linear(torch.where(h > 0, h, 0.2 * h), e, f))


def test_parameters_of_the_widths_of_the_default_study_by_hand():
    gan = build_gan("conv", (1, 28, 28), [32, 16], 1, stream())
    generator = (64 + 1) * 32 * 49 + 2 * 32 + 32 * 9 * 16 + 2 * 16 + (16 * 9 + 1)
    discriminator = (16 + 1) * 16 + (16 * 16 + 1) * 32 + 32 * 49 + 1
    count = [sum(p.numel() for p in part.parameters()) for part in (gan.generator, gan.discriminator)]
    assert count == [generator, discriminator]


@pytest.mark.parametrize("kind", sorted(GANS))
def test_an_embedding_has_no_bias_and_a_logit_has_one(kind):
    embedding, logit = (build_gan(kind, (1, 8, 8), [4, 4], outputs, stream()).discriminator[-1] for outputs in (5, 1))
    assert embedding.bias is None and logit.bias.shape == (1,)


@pytest.mark.parametrize("kind", sorted(GANS))
def test_weights_come_from_the_generator_alone_with_variance_one_over_fan_in(kind):
    before = torch.random.get_rng_state()
    first, same, other = (build_gan(kind, (1, 16, 16), [64, 32], 8, stream(seed)).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(first[key], same[key]) for key in first)
    wide = [key for key in first if key.endswith("weight") and first[key].numel() > 4000]
    assert len(wide) >= 3
    for key in wide:
        assert not torch.equal(first[key], other[key])
        assert float(first[key].var() * first[key][0].numel()) == pytest.approx(1, rel=0.1), key
    assert all((first[key] == 0).all() for key in first if key.endswith("bias"))


def test_sides_that_widths_do_not_double_up_to_are_refused():
    with pytest.raises(UserError, match="multiples of 4"):
        build_gan("conv", (1, 30, 28), [4, 4], 1, stream())
    build_gan("conv", (1, 30, 28), [4], 1, stream())
    build_gan("mlp", (1, 7, 5), [4, 4], 1, stream())


@pytest.mark.parametrize("widths", [None, [], [4, 0]])
def test_widths_that_are_none_are_refused(widths):
    with pytest.raises(UserError, match="widths"):
        build_gan("conv", (1, 8, 8), widths, 1, stream())
