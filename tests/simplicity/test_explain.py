"""The descent on latents, against a loop over images, another optimiser, and itself when interrupted."""

import pytest
import torch
from attacked import SHAPE, stream, trained_a_little
from torch.nn import functional as F

from fourlenses.nets.glow import build_glow
from fourlenses.simplicity import explain as lens
from fourlenses.simplicity.bits import bits_per_dimension, dequantisation, to_flow
from fourlenses.simplicity.explain import EVERY, FACTORS, Originals, Settings, objective, pixels, seen
from fourlenses.simplicity.gates import gate_gradients

IMAGES = torch.randint(0, 256, (3, *SHAPE), generator=stream(3), dtype=torch.uint8)
SIZE = IMAGES[0].numel()
STEPS = Settings(steps=EVERY + 3, lr=0.05, weight=1.0)


@pytest.fixture(scope="module")
def glow():
    """A flow that is not the identity and has no gradients of its own."""
    found = build_glow(SHAPE, n_scales=2, depth=2, width=6, coupling="affine", generator=stream(1))
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=stream(parameter.numel())))
    return found.requires_grad_(False)


@pytest.fixture(scope="module")
def originals():
    return Originals(trained_a_little(), IMAGES)


def decoded(glow, z):
    return seen(pixels(glow, z))


def latents_of(glow, x):
    return torch.cat([each.flatten(1) for each in glow(to_flow(x))[0]], 1)


def run(originals, glow, settings=STEPS, seed=0, **saved):
    return list(lens.explain(originals, glow, settings, stream(seed), **saved))


def test_latents_of_an_image_lead_back_to_it(glow):
    pixels = IMAGES.float() / 255
    torch.testing.assert_close(decoded(glow, latents_of(glow, pixels)), pixels, rtol=0, atol=1e-6)
    assert torch.equal(lens.simplified(glow, latents_of(glow, pixels)), IMAGES)


def test_images_are_on_levels_of_bytes(glow):
    found = decoded(glow, 3 * torch.randn(4, SIZE, generator=stream()))
    assert found.min() == 0 and found.max() == 1, "some of these latents lie outside"
    torch.testing.assert_close(255 * found, (255 * found).round(), rtol=0, atol=1e-3)


@pytest.mark.parametrize("pixel,up,down", [(-0.2, 1, 0), (0.5, 1, 1), (1.2, 0, 1)])
def test_pixels_outside_can_only_come_back(pixel, up, down):
    x = torch.tensor([pixel], requires_grad=True)
    for direction, passes in ((-1.0, up), (1.0, down)):  # descent goes against the gradient
        (gradient,) = torch.autograd.grad(lens._Clipped.apply(x), x, torch.tensor([direction]))
        assert gradient.item() == passes * direction
    assert lens._Clipped.apply(x).item() == pytest.approx(min(max(pixel, 0), 1))


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_the_objective_is_the_formula_of_each_image(originals, glow, weight):
    part, network = 5, originals.network.eval()
    x = decoded(glow, 0.5 * torch.randn(3, SIZE, generator=stream(4)))
    noise = dequantisation(tuple(x.shape), stream(5))
    terms = objective(originals, glow, x, part, noise, weight)

    def kl(log_p, log_q):
        return F.kl_div(log_q, log_p, log_target=True, reduction="sum")

    for i in range(3):
        own, other = IMAGES[i : i + 1].float() / 255, x[i : i + 1]
        log_p, log_p_other = (network(each).log_softmax(1).detach() for each in (own, other))
        g, log_q = gate_gradients(network, own, log_p, FACTORS[part])
        g_other, log_q_other = gate_gradients(network, other, log_p_other, FACTORS[part])
        cosines = [
            F.cosine_similarity(*((each * (g[name] < 0)).flatten() for each in (g[name], g_other[name])), dim=0, eps=0)
            for name in g
        ]
        match = torch.stack(cosines).nan_to_num(0).mean()
        bpd = bits_per_dimension(glow, other, noise[i : i + 1])[0]
        loss = (10 * (1 - match) + weight * bpd + kl(log_q, log_q_other) + kl(log_p, log_p_other)) / (12 + weight)
        expected = {"loss": loss, "match": match, "bpd": bpd, "kl": kl(log_p, log_p_other)}
        assert expected.keys() == terms.keys()
        for name, value in expected.items():
            assert terms[name][i].item() == pytest.approx(value.item(), rel=1e-3, abs=1e-5), name


def test_steps_are_those_of_adam_on_the_mean(originals, glow):
    generator = stream(2)
    z = (lens.START * torch.randn(3, SIZE, generator=generator)).requires_grad_(True)
    optimiser = torch.optim.Adam([z])
    for step in range(3):
        optimiser.param_groups[0]["lr"] = STEPS.lr * (1 - step / 3)
        part = int(torch.randint(len(FACTORS), (), generator=generator))
        noise = dequantisation((3, *SHAPE), generator)
        found = z.detach().clone()
        loss = objective(originals, glow, decoded(glow, z), part, noise, 1.0)["loss"].mean()
        z.grad = torch.autograd.grad(loss, z)[0]
        optimiser.step()
    (state, history), *rest = run(originals, glow, Settings(3, STEPS.lr, 1.0), seed=2)
    torch.testing.assert_close(state["z"], z.detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state["found"], found, rtol=1e-4, atol=1e-5)
    assert not rest and [row["step"] for row in history] == [3]


def test_it_approaches_the_answers_and_saves_bits(originals, glow):
    first, last = (run(originals, glow, Settings(60, 0.05, 1.0))[-1][1][i] for i in (0, -1))
    for name, sign in (("loss", -1), ("match", 1)):
        assert all(sign * (end - begin) > 0 for begin, end in zip(first[name], last[name], strict=True)), name
    more = run(originals, glow, Settings(60, 0.05, 50.0))[-1][1][-1]
    assert sum(more["bpd"]) < sum(last["bpd"]) and sum(more["match"]) < sum(last["match"])


def test_nothing_else_moves(originals, glow):
    network, before = originals.network.train(), torch.get_rng_state()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    run(originals, glow)
    assert network.training and all(parameter.requires_grad for parameter in network.parameters())
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), before)


def test_an_interrupted_run_ends_at_the_same_place(originals, glow):
    (state, history), (end, whole) = run(originals, glow)
    ((again, log),) = run(originals, glow, seed=9, state=state, history=history[:1])
    assert log == whole and all(torch.equal(value, again[name]) for name, value in end.items())
    assert not run(originals, glow, state=again, history=log), "nothing is left"
    other = run(originals, glow, seed=1)[-1][0]
    assert not torch.equal(other["z"], end["z"]), "seeds differ"


def test_an_image_without_a_finite_gradient_goes_back(originals, glow, monkeypatch):
    def broken(*arguments):
        terms = objective(*arguments)
        at = torch.tensor([1.0, torch.nan if next(calls) in (1, 2) else 1.0, 1.0])
        return {name: each * at for name, each in terms.items()}

    (one, _), (whole, (row,)) = (run(originals, glow, Settings(n, 0.05, 1.0))[-1] for n in (1, 4))
    calls = iter(range(4))
    monkeypatch.setattr(lens, "objective", broken)
    state, (broken_row,) = run(originals, glow, Settings(4, 0.05, 1.0))[-1]
    assert state["lost"].tolist() == [0, 2, 0] and torch.equal(state["found"][[0, 2]], whole["found"][[0, 2]])
    torch.testing.assert_close(state["found"][1], lens.BACK**2 * one["z"][1])
    for name in lens.TERMS:
        assert broken_row[name][0] == row[name][0] and broken_row[name][1] != row[name][1]
        assert torch.tensor(broken_row[name]).isfinite().all()


def test_an_image_far_out_goes_back(originals, glow):
    state, history = run(originals, glow, Settings(EVERY, 0.05, 1.0))[-1]
    far = state | {"z": state["z"] * torch.tensor([[1], [40], [1]])}
    assert pixels(glow, far["z"])[1].max() > 2
    after, log = run(originals, glow, Settings(EVERY + 1, 0.05, 1.0), state=far, history=history)[-1]
    assert torch.equal(after["z"][1], lens.BACK * far["z"][1]) and not after["mean"][1].any()
    assert torch.equal(after["found"], torch.stack([far["z"][0], state["found"][1], far["z"][2]]))
    assert log[-1]["bpd"][1] == state["bpd"][1].item() and log[-1]["bpd"][0] != state["bpd"][0].item()


@pytest.mark.parametrize("first,said", [(0, "by step 1 "), (1, "by step 10 ")])
def test_images_that_stay_lost_are_refused(originals, glow, monkeypatch, first, said):
    def broken(*arguments):
        bad = next(calls) >= first
        return {name: each * (torch.nan if bad else 1) for name, each in objective(*arguments).items()}

    calls = iter(range(100))
    monkeypatch.setattr(lens, "objective", broken)
    with pytest.raises(FloatingPointError, match=said):
        run(originals, glow, Settings(11, 0.05, 1.0))


def test_factors_and_pieces():
    assert len(FACTORS) == 8 and min(FACTORS) > 0.8 and max(FACTORS) < 0.95
    assert sum(FACTORS) / 8 == pytest.approx(0.875) and FACTORS[1] - FACTORS[0] == pytest.approx(0.15 / 8)
    assert [lens.pieces(steps) for steps in (25, 20, 3)] == [[10, 20, 25], [10, 20], [3]]
