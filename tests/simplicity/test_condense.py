"""Condensed images, by loops and the optimisers of torch, and what networks learn from them."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fourlenses import runtime
from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.glow import build_glow
from fourlenses.resume import Resume
from fourlenses.simplicity.bits import bits_per_dimension, rounded
from fourlenses.simplicity.condense import GLOW_SPACE, Plan, condense, condensed, condensed_sets, evaluate, rate, stops

SHAPE = (1, 8, 8)
NETWORK = {"architecture": "convnet", "widths": [4, 4, 4]}
PLAN = Plan(ipc=2, weights=(0.0, 10.0), rounds=3, inner=2, net_steps=2, batch=6, lr=0.1)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(turn: int = 0, architecture: str = "convnet", widths: tuple = (4, 4, 4)) -> torch.nn.Module:
    return build(architecture, widths=widths, n_classes=3, image_shape=SHAPE, generator=stream(turn), **GLOW_SPACE)


def smooth(turn: int) -> torch.nn.Module:
    """The same network at every turn."""
    return net(0, "groupnorm", (4, 8, 8, 8))


def prior() -> torch.nn.Module:
    """A density near that of grey images, wide enough to be smooth."""
    glow = build_glow(SHAPE, n_scales=2, depth=1, width=4, coupling="affine", generator=stream(5))
    with torch.no_grad():
        for scale in glow.log_scales:
            scale.fill_(1.5)
    return glow.eval().requires_grad_(False)


def images(n: int = 48) -> tuple[torch.Tensor, torch.Tensor]:
    """Stripes as wide as the class."""
    y = torch.arange(n) % 3
    stripes = (torch.arange(8).view(1, 8) // (y.view(n, 1) + 1) % 2).view(n, 1, 1, 8)
    return (150 * stripes + torch.randint(0, 100, (n, *SHAPE), generator=stream())).byte(), y


def run(plan: Plan = PLAN, glow=None, build_net=net, seed: int = 1, **saved):
    x, y = images()
    return list(condense(x, y, 3, plan, glow or prior(), build_net, stream(seed), **saved))


def by_hand(weight: float, seed: int = 1) -> torch.Tensor:
    """The images after all rounds, by the optimisers of torch, one class after the other."""
    (x, y), generator, glow = images(), stream(seed), prior()
    members = [(y == c).nonzero()[:, 0] for c in range(3)]
    logits = (0.2 * torch.randn(3, 2, *SHAPE, generator=generator)).requires_grad_()
    adam = torch.optim.Adam([logits], lr=0.1, betas=(0.5, 0.99))
    for turn in range(PLAN.rounds):
        network = net(turn)
        sgd = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.5)
        for step in range(PLAN.inner):
            seen = [each[torch.randperm(len(each), generator=generator)[:6]] for each in members]
            noise = torch.rand((6, *SHAPE), generator=generator)
            few, weights = rounded(logits.sigmoid()), list(network.parameters())
            loss = torch.zeros(())
            for c in range(3):
                real = torch.autograd.grad(F.cross_entropy(network(x[seen[c]].float() / 255), y[seen[c]]), weights)
                ours = F.cross_entropy(network(few[c]), torch.full((2,), c))
                ours = torch.autograd.grad(ours, weights, create_graph=True)
                for a, b in zip(real, ours, strict=True):
                    if a.ndim > 1:
                        for row, other in zip(a.flatten(1), b.flatten(1), strict=True):
                            loss = loss + 30 * (1 - row @ other / (row.norm() * other.norm() + 1e-6))
            bpd = bits_per_dimension(glow, few.flatten(0, 1), noise)
            loss = (loss + 2 * weight * bpd.mean()) / (1 + weight)
            adam.param_groups[0]["lr"] = [0.1, 0.1, 0.1, 0.1, 0.2 / 3, 0.1 / 3][2 * turn + step]
            adam.zero_grad()
            loss.backward()
            adam.step()
            if step == 0:
                for _ in range(PLAN.net_steps):
                    sgd.zero_grad()
                    few = rounded(logits.detach().sigmoid()).flatten(0, 1)
                    F.cross_entropy(network(few), torch.arange(3).repeat_interleave(2)).backward()
                    sgd.step()
        for _ in range(2):  # the bits of both sets, for the history
            torch.rand((6, *SHAPE), generator=generator)
    return logits.detach()


def test_the_images_are_those_of_plain_loops() -> None:
    plan = Plan(**vars(PLAN) | {"rounds": 3})
    state, _ = run(plan)[-1]
    for i, weight in enumerate(plan.weights):
        off = (state["logits"][i] - by_hand(weight)).abs()
        assert off.median() < 1e-3 and off.mean() < 0.02, weight  # where a slope is near 0, rounding turns its sign


def test_history_and_images() -> None:
    before = torch.get_rng_state()
    found = run()
    assert torch.equal(before, torch.get_rng_state())
    state, history = found[-1]
    assert [(row["round"], row["weight"]) for row in history] == [(t, w) for t in (1, 2, 3) for w in PLAN.weights]
    assert all(math.isfinite(row[name]) for row in history for name in ("match", "bpd"))
    few = condensed(state, 1)
    assert few.shape == (6, *SHAPE) and few.dtype == torch.uint8
    assert not torch.equal(few, condensed(state, 0))


def test_bits_cost_something_and_the_match_gets_better() -> None:
    plan = Plan(ipc=1, weights=(0.0, 1e4), rounds=20, inner=9, net_steps=1, batch=99, lr=0.1)
    _, history = run(plan, build_net=smooth)[-1]
    free, dear = ([row for row in history if row["weight"] == weight] for weight in plan.weights)
    assert dear[-1]["bpd"] < dear[0]["bpd"] < free[0]["bpd"] < free[-1]["bpd"]
    assert free[-1]["match"] < 0.6 * free[0]["match"] and free[-1]["match"] < dear[-1]["match"]


def test_sets_of_the_same_weight_are_the_same() -> None:
    state, _ = run(Plan(**vars(PLAN) | {"weights": (10.0, 10.0)}))[-1]
    assert torch.equal(state["logits"][0], state["logits"][1])


def test_it_goes_on_from_what_it_yielded() -> None:
    whole = run()
    state, history = whole[0]
    rest = run(seed=99, state=state, history=history)
    assert len(rest) == len(whole) - 1 and rest[-1][1] == whole[-1][1]
    assert all(torch.equal(value, whole[-1][0][name]) for name, value in rest[-1][0].items())


@given(total=st.integers(1, 500), peak=st.floats(1e-3, 1))
def test_the_rate_is_the_peak_and_then_falls_to_nothing(total, peak) -> None:
    rates = [rate(step, total, peak) for step in range(total)]
    assert rates[: total // 2 + 1] == [peak] * (total // 2 + 1)
    assert all(a > b > 0 for a, b in zip(rates[total // 2 + 1 :], rates[total // 2 + 2 :], strict=False))
    assert rates[-1] == pytest.approx(peak * min(1, 2 / total))


@pytest.mark.parametrize("rounds, n", [(1, 1), (7, 7), (20, 20), (21, 20), (1000, 20)])
def test_stops_are_few_and_end_at_the_end(rounds, n) -> None:
    found = stops(rounds)
    assert len(found) == n and found[-1] == rounds and found == sorted(set(found)) and found[0] >= 1


def test_what_cannot_be_condensed_is_said() -> None:
    x, y = images()
    with pytest.raises(UserError, match="class 2"):
        next(condense(x, y % 2, 3, PLAN, prior(), net, stream()))
    with pytest.raises(UserError, match="BatchNorm"):
        run(build_net=partial(net, architecture="resnet"))
    with pytest.raises(FloatingPointError, match="round 0"):
        run(glow=prior().to(torch.float32).apply(spoil))


def spoil(module: torch.nn.Module) -> None:
    for parameter in module.parameters(recurse=False):
        parameter.fill_(math.nan)


def test_sets_are_finished_and_kept(tmp_path) -> None:
    x, y = images()
    call = partial(condensed_sets, x, y, 3, PLAN, prior(), NETWORK, partial(runtime.generator, 0))
    first, history = call(Resume(tmp_path, "key"), "a")
    again, same = call(Resume(tmp_path, "key"), "a", progress=lambda rows, name, total: pytest.fail() if total else [])
    assert same == history and all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    with pytest.raises(UserError, match="lower condense.lr"):
        partial(condensed_sets, x, y, 3, PLAN, prior().apply(spoil))(
            NETWORK, partial(runtime.generator, 0), Resume(tmp_path, "key"), "b"
        )


def test_a_network_learns_from_a_few_images() -> None:
    (x, y), few = images(), torch.arange(12)
    learning = {"architecture": "groupnorm", "widths": [4, 8, 8, 8], "epochs": 150, "crop_padding": 0, "flip": False}
    learning |= {"streams": partial(runtime.generator, 0)}
    right = evaluate(x[few], y[few], 3, (x.float() / 255, y), **learning)
    assert right.dtype == torch.bool and right.float().mean() > 0.8
    assert torch.equal(right, evaluate(x[few], y[few], 3, (x.float() / 255, y), **learning))
    wrong = evaluate(x[few], (y[few] + 1) % 3, 3, (x.float() / 255, y), **learning)
    assert wrong.float().mean() < 0.2
