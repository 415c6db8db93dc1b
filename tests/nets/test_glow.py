"""Glow: the density is right, the inverse inverts, and the first batch standardises."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import jacrev, vmap

from benchmarks.glow import peer
from fourlenses.errors import UserError
from fourlenses.nets.glow import COUPLINGS, Glow, build_glow, sigmoid, squeezed, unsqueezed

SHAPES = [(1, 4, 4), (3, 4, 4), (1, 8, 4)]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh(shape=(1, 4, 4), coupling="affine", n_scales=2, depth=2, width=5, seed=0) -> Glow:
    return build_glow(shape, n_scales=n_scales, depth=depth, width=width, coupling=coupling, generator=stream(seed))


def used(*args, spread: float = 0.3, **kwargs) -> Glow:
    """A Glow every weight of which has moved away from where it starts."""
    glow, noise = fresh(*args, **kwargs), stream(7)
    with torch.no_grad():
        for parameter in glow.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=noise)
    return glow


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_density_against_the_determinant_of_the_jacobian(shape, coupling):
    glow = used(shape, coupling).double()
    x = torch.rand(3, *shape, generator=stream(1), dtype=torch.float64) - 0.5

    def latents(image: torch.Tensor) -> torch.Tensor:
        return torch.cat([z.flatten() for z in glow(image[None])[0]])

    jacobians = torch.stack([jacrev(latents)(image).flatten(1) for image in x])
    normal = torch.distributions.Normal(0, 1).log_prob(torch.stack([latents(image) for image in x])).sum(1)
    exact = normal + torch.linalg.slogdet(jacobians).logabsdet
    torch.testing.assert_close(glow.log_density(x), exact, rtol=0, atol=1e-5)
    batched = vmap(lambda image: glow.log_density(image[None])[0])(x)
    torch.testing.assert_close(batched, exact, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=15)
@given(
    shape=st.sampled_from([(1, 16, 8), (2, 8, 24), (3, 8, 8)]),
    coupling=st.sampled_from(COUPLINGS),
    n_scales=st.integers(1, 3),
    depth=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_inverse(shape, coupling, n_scales, depth, seed):
    glow = used(shape, coupling, n_scales, depth, spread=0.05, seed=seed)
    x = torch.rand(4, *shape, generator=stream(seed)) - 0.5
    latents, density = glow(x)
    assert [z.shape for z in latents] == [z.shape for z in glow.zeros(4)]
    assert sum(z[0].numel() for z in latents) == math.prod(shape) and density.shape == (4,)
    assert (glow.inverse(latents) - x).abs().max() < 1e-4
    back, _ = glow(glow.inverse(glow.zeros(2)))
    assert all(z.abs().max() < 1e-2 for z in back)


@pytest.mark.filterwarnings("ignore:torch.lu is deprecated")
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize(("shape", "n_scales"), [((1, 8, 8), 1), ((3, 8, 8), 2), ((1, 8, 16), 3)])
def test_density_and_latents_against_normflows(shape, n_scales, coupling):
    glow = used(shape, coupling, n_scales, spread=0.1).double()
    other = peer(glow)
    x = torch.rand(5, *shape, generator=stream(1), dtype=torch.float64) - 0.5
    torch.testing.assert_close(glow.log_density(x), other.log_prob(x, None), rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:torch.lu is deprecated")
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_first_batch_against_normflows(coupling):
    """Whose normalisations start themselves, each from what the ones before it have made of the batch."""
    glow = fresh((1, 8, 8), coupling, depth=3).double()
    x = torch.rand(400, 1, 8, 8, generator=stream(1), dtype=torch.float64).square() - 0.1
    other = peer(glow)
    for name, buffer in other.named_buffers():
        if name.endswith("data_dep_init_done"):
            buffer.zero_()
    other.log_prob(x, None)
    glow.initialise(x)
    started = dict(peer(glow).named_parameters())
    for name, parameter in other.named_parameters():
        if not name.startswith("q0"):  # normflows has no first batch for the distribution of the latents
            torch.testing.assert_close(parameter, started[name], rtol=1e-2, atol=1e-2)  # it divides by n - 1
    latents, _ = glow(x)
    for z in latents:
        torch.testing.assert_close(z.mean(0), torch.zeros_like(z[0]), rtol=0, atol=1e-9)
        torch.testing.assert_close(z.std(0, correction=0), torch.ones_like(z[0]))


def test_first_batch_of_equal_images_leaves_finite_weights():
    glow = fresh()
    glow.initialise(torch.zeros(8, 1, 4, 4))
    assert all(torch.isfinite(parameter).all() for parameter in glow.parameters())
    assert torch.isfinite(glow.log_density(torch.rand(4, 1, 4, 4, generator=stream()))).all()


@settings(deadline=None, max_examples=25)
@given(size=st.floats(0, 1e6), spread=st.floats(0, 1), coupling=st.sampled_from(COUPLINGS), seed=st.integers(0, 99))
def test_density_is_finite_on_any_finite_image(size, spread, coupling, seed):
    glow = used(coupling=coupling, spread=spread, seed=seed)
    x = (size * torch.randn(4, 1, 4, 4, generator=stream(seed))).requires_grad_(True)
    density = glow.log_density(x)
    density.sum().backward()
    assert torch.isfinite(density).all() and torch.isfinite(x.grad).all()


def test_factor_of_a_coupling_against_the_logistic_function():
    logits = torch.tensor([-1e30, -79.0, -3.0, 0.0, 5.0, 1e30], dtype=torch.float64)[:, None, None, None]
    found = sigmoid(logits).log()
    torch.testing.assert_close(found[1:], F.logsigmoid(logits[1:]))
    assert found[0] == pytest.approx(-80)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_autocast_reaches_the_nets_alone(coupling):
    x = torch.rand(4, 1, 4, 4, generator=stream(1)) - 0.5
    for glow, same in ((fresh(coupling=coupling), True), (used(coupling=coupling), False)):
        exact = glow.log_density(x)
        with torch.autocast("cpu", torch.bfloat16):
            latents, found = glow(x)
            again = glow.inverse(latents)
        assert found.dtype == torch.float32 and all(z.dtype == torch.float32 for z in latents)
        assert torch.equal(found, exact) == same  # the last layer of a fresh net is zero
        torch.testing.assert_close(found, exact, rtol=0.02, atol=0.5)
        torch.testing.assert_close(again, x, rtol=0, atol=0.02)


def test_latents_of_zero_are_the_most_probable():
    glow = used()
    at_zero = [z.requires_grad_(True) for z in glow.zeros(1)]
    log_normal = sum(torch.distributions.Normal(0, 1).log_prob(z).sum() for z in glow(glow.inverse(at_zero))[0])
    assert float(log_normal.detach()) == pytest.approx(-8 * math.log(2 * math.pi), rel=1e-5)


def test_samples_come_from_the_generator_and_shrink_with_the_temperature():
    glow, state = used(spread=0.1), torch.get_rng_state()
    first, again, other = (glow.sample(3, stream(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (3, 1, 4, 4) and not first.requires_grad
    assert torch.equal(glow.sample(3, stream(1), temperature=0.0), glow.inverse(glow.zeros(3)))
    latents = torch.cat([z.flatten() for z in glow(glow.sample(2000, stream(3), temperature=0.5))[0]])
    assert float(latents.detach().std()) == pytest.approx(0.5, rel=0.02)
    assert torch.equal(torch.get_rng_state(), state)


def test_weights_come_from_the_generator_alone():
    state = torch.get_rng_state()
    first, again, other = (fresh(seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
        if name.rpartition(".")[2] in ("first", "middle", "lower", "upper", "log_diagonal"):
            assert not torch.equal(weight, other.state_dict()[name]), name
    step = first.scales[0].folded(torch.float32)[0]
    torch.testing.assert_close(step[0] @ step[0].T, torch.eye(4))
    assert float(first.scales[0].first.detach().std()) == pytest.approx(0.05, rel=0.2)


def test_arguments_make_the_same_glow():
    glow = used((3, 8, 8), "additive", 2, 3)
    again = build_glow(**glow.arguments, generator=stream(9))
    again.load_state_dict(glow.state_dict())
    x = torch.rand(2, 3, 8, 8, generator=stream(1))
    assert torch.equal(again.log_density(x), glow.log_density(x)) and again.image_shape == glow.image_shape


@pytest.mark.parametrize(("change", "message"), [
    ({"shape": (1, 6, 8)}, "2 scales of a Glow for images of 6x8 pixels; expected sides that are multiples of 4"),
    ({"coupling": "spline"}, "coupling 'spline'; expected one of affine, additive"),
])  # fmt: skip
def test_what_cannot_be_built_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        fresh(**change)


@settings(deadline=None, max_examples=20)
@given(n=st.integers(1, 3), height=st.integers(1, 4), length=st.integers(1, 4), channels=st.integers(1, 4))
def test_squeezing_against_torch(n, height, length, channels):
    x = torch.randn(n, 2 * height, 2 * length, channels, generator=stream())
    small = squeezed(x)
    assert torch.equal(small.permute(0, 3, 1, 2), F.pixel_unshuffle(x.permute(0, 3, 1, 2), 2))
    assert torch.equal(unsqueezed(small), x)
