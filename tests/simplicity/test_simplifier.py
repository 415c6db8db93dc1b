"""The simplifier: it starts as the identity, and every pixel of its output may move."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.errors import UserError
from fourlenses.simplicity.joint import simplified
from fourlenses.simplicity.simplifier import CLIP, FORMS, Simplifier, build_simplifier


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moved(simplifier: Simplifier, by: float = 0.1) -> Simplifier:
    """The same with every parameter changed at random."""
    generator = stream(9)
    with torch.no_grad():
        for parameter in simplifier.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return simplifier


@settings(deadline=None, max_examples=20)
@given(
    form=st.sampled_from(FORMS), channels=st.sampled_from([1, 3]), height=st.integers(4, 40), width=st.integers(4, 40),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_starts_as_the_identity_up_to_the_clip_at_any_size(form, channels, height, width, seed):
    simplifier = build_simplifier((channels, height, width), 2, form, stream(seed))
    x = torch.rand(3, channels, height, width, generator=stream(seed))
    x[0], x[1] = 0, 1
    torch.testing.assert_close(simplifier(x), x.clamp(CLIP, 1 - CLIP), rtol=0, atol=2e-6)


@pytest.mark.parametrize("form", FORMS)
def test_stored_images_come_back_to_the_bit_at_the_start(form):
    x = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    simplifier = build_simplifier((1, 8, 8), 2, form, stream())
    assert torch.equal(simplified(simplifier, x, batch=3), x)
    assert simplified(simplifier, x[:0]).shape == (0, 1, 8, 8)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 20), (1, 5, 9)])
def test_output_stays_inside_the_open_interval_and_keeps_the_shape(form, shape):
    x = torch.rand(2, *shape, generator=stream(), dtype=torch.float64)
    out = moved(build_simplifier(shape, 2, form, stream()), {"mix": 0.05, "residual": 0.3}[form]).double()(x)
    assert out.shape == x.shape and (out > 0).all() and (out < 1).all()
    assert not torch.allclose(out, x, atol=1e-3)


@pytest.mark.parametrize("form", FORMS)
def test_images_do_not_see_each_other_and_are_seen_whole(form):
    simplifier = moved(build_simplifier((1, 8, 8), 3, form, stream()), 0.3).double()
    x = torch.rand(3, 1, 8, 8, generator=stream(), dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(simplifier(x)[1:2], simplifier(x[1:2]))
    (influence,) = torch.autograd.grad(simplifier(x)[1, 0, 0, 0], x)
    assert (influence[1] != 0).all() and (influence[0] == 0).all() and (influence[2] == 0).all()


def test_forms_by_their_formulas():
    x = torch.rand(2, 3, 8, 8, generator=stream(), dtype=torch.float64)
    clipped = x.clamp(1e-3, 1 - 1e-3)
    logits = torch.log(clipped / (1 - clipped))
    mix = moved(build_simplifier((3, 8, 8), 2, "mix", stream())).double()
    change = mix.unet(2 * x - 1)
    assert change.shape == (2, 6, 8, 8)
    torch.testing.assert_close(mix(x), 1 / (1 + torch.exp(-(1 + change[:, :3]) * logits - change[:, 3:])))
    residual = moved(build_simplifier((3, 8, 8), 2, "residual", stream())).double()
    torch.testing.assert_close(residual(x), torch.sigmoid(logits + residual.gate * residual.unet(2 * x - 1)))


def test_the_paper_has_five_levels_on_its_canvas_and_its_widths():
    simplifier = build_simplifier((3, 32, 32), 64, "residual", stream())
    assert [layer.out_channels for layer in simplifier.unet.down] == [64, 128, 256, 512, 512]
    assert [(layer.in_channels, layer.out_channels) for layer in simplifier.unet.up] == [
        (512 + 512, 512), (512 + 256, 256), (256 + 128, 128), (128 + 64, 64),
    ]  # fmt: skip
    assert build_simplifier((1, 28, 28), 4, "mix", stream()).unet.levels == 4
    assert simplifier.gate == 0 and simplifier.unet.last.weight.any()


@pytest.mark.parametrize("form", FORMS)
def test_gradient_reaches_what_must_move_first(form):
    simplifier = build_simplifier((1, 8, 8), 2, form, stream())
    x = torch.rand(4, 1, 8, 8, generator=stream())
    simplifier(x).square().sum().backward()
    first = [simplifier.gate] if form == "residual" else [simplifier.unet.last.weight, simplifier.unet.last.bias]
    assert all(parameter.grad.abs().sum() > 0 for parameter in first)


def test_the_generator_alone_draws_the_weights():
    state = torch.random.get_rng_state()
    a, b, c = (build_simplifier((1, 8, 8), 2, "residual", stream(seed)).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["unet.last.weight"], c["unet.last.weight"])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_wrong_arguments_are_named():
    with pytest.raises(UserError, match="form 'add'.*mix or residual"):
        build_simplifier((1, 8, 8), 2, "add", stream())
    with pytest.raises(UserError, match="3x8 pixels"):
        build_simplifier((1, 3, 8), 2, "mix", stream())
