"""Projected gradient: against robustness and foolbox, and what must hold whatever the network."""

from collections import namedtuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fourlenses.attacks import STEPS, cross_entropy, frozen, projected_gradient
from fourlenses.nets import build
from fourlenses.nets.bridge import import_torchvision

SHAPE = (3, 12, 12)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained_a_little(seed: int = 0) -> nn.Module:
    """A network whose batch normalisation has statistics of its own."""
    network = build("resnet", widths=[4, 8], n_classes=5, image_shape=SHAPE, generator=stream(seed), mean=0.4, std=0.3)
    for _ in range(5):
        network(torch.rand(32, *SHAPE, generator=stream(1)))
    return network


X = torch.rand(8, *SHAPE, generator=stream(2))
Y = torch.randint(5, (8,), generator=stream(3))
L2 = {"norm": "l2", "eps": 0.5, "step_size": 0.2, "steps": 5}
LINF = {"norm": "linf", "eps": 0.05, "step_size": 0.02, "steps": 5}


def attack(network: nn.Module, x: torch.Tensor = X, y: torch.Tensor = Y, **options) -> torch.Tensor:
    with frozen(network):
        return projected_gradient(cross_entropy(network, y), x, **options)


def loss_of(network: nn.Module, x: torch.Tensor, y: torch.Tensor = Y) -> torch.Tensor:
    with frozen(network), torch.no_grad():
        return F.cross_entropy(network(x), y, reduction="none")


# robustness's normaliser clamps its input; in recent torch the gradient of clamp is 0 where a pixel is exactly 0 or 1
NO_CLAMP = {"should_normalize": False}


class Wrapped(nn.Module):
    """The network as robustness calls its models."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x, with_latent=False, fake_relu=False, no_relu=False):
        return self.network(x)


@pytest.fixture
def attacker(monkeypatch):
    """robustness's own attacker of a network, on the CPU."""
    import_torchvision()
    from robustness.attacker import AttackerModel

    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    statistics = namedtuple("Statistics", "mean std")(torch.zeros(3), torch.ones(3))
    # evaluation mode: in training mode it would update the batch-norm statistics after its attack
    return lambda network: AttackerModel(Wrapped(network), statistics).eval()


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize(("constraint", "options"), [("2", L2), ("inf", LINF)])
def test_iterates_are_those_of_robustness(attacker, constraint, options, best, targeted):
    """In float64, since the sign of a gradient near zero is rounding noise."""
    network = trained_a_little().double()
    x = X.double()
    theirs_model = attacker(network)
    for steps in (1, 2, 5):
        ours = attack(network, x, **options | {"steps": steps}, best=best, targeted=targeted)
        budget = {"eps": options["eps"], "step_size": options["step_size"], "iterations": steps}
        _, theirs = theirs_model(
            x, Y, make_adv=True, constraint=constraint, targeted=targeted, use_best=best, **NO_CLAMP, **budget
        )
        assert (theirs - x).abs().max() > 1e-3
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "options"), [("L2PGD", L2), ("LinfPGD", LINF)])
def test_loss_reached_is_that_of_foolbox(name, options):
    import foolbox

    network = trained_a_little().eval()
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    peer = getattr(foolbox.attacks, name)(abs_stepsize=options["step_size"], steps=5, random_start=False)
    _, theirs, _ = peer(model, X, foolbox.criteria.Misclassification(Y), epsilons=options["eps"])
    ours = attack(network, **options, best=False)
    assert (loss_of(network, ours) > loss_of(network, X)).all()
    torch.testing.assert_close(loss_of(network, ours), loss_of(network, theirs), atol=1e-4, rtol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    norm=st.sampled_from(["l2", "linf", "unconstrained"]),
    eps=st.floats(1e-3, 5),
    step=st.floats(1e-3, 10),
    targeted=st.booleans(),
    random=st.booleans(),
    seed=st.integers(0, 100),
)
def test_never_leaves_the_ball_nor_the_pixels(norm, eps, step, targeted, random, seed):
    x = (torch.rand(3, *SHAPE, generator=stream(seed)) * 1.5 - 0.25).clamp(0, 1)
    found = attack(
        NETWORK, x, Y[:3], norm=norm, eps=eps, step_size=step, steps=2, targeted=targeted,
        generator=stream(seed) if random else None,
    )  # fmt: skip
    assert 0 <= found.min() and found.max() <= 1 and found.shape == x.shape
    moved = (found - x).flatten(1)
    if norm == "l2":
        assert (moved.norm(dim=1) <= eps * (1 + 1e-5)).all()
    if norm == "linf":
        assert (moved.abs() <= eps + 1e-6).all()


NETWORK = trained_a_little()


def test_leaves_modes_statistics_and_gradients_as_they_were():
    network = trained_a_little().train()
    network.body.stem.eval()
    network.head.weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    attack(network, **L2, generator=stream())
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == wanted
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_frozen_restores_after_an_exception():
    network = trained_a_little().train()
    with pytest.raises(RuntimeError, match="boom"), frozen(network):
        assert not network.body.stem[1].training
        raise RuntimeError("boom")
    assert all(module.training for module in network.modules())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("options", [L2, LINF])
def test_more_restarts_are_never_worse(options, best):
    """Both attacks draw the same first start."""
    short = options | {"steps": 2, "best": best}
    once, often = (loss_of(NETWORK, attack(NETWORK, **short, generator=stream(5), restarts=n)) for n in (1, 6))
    assert (often >= once - 1e-6).all() and (often > once + 1e-6).any()


def test_best_iterate_is_monotone_in_the_steps():
    bold = L2 | {"step_size": 5.0, "eps": 5.0}  # so bold that single steps overshoot
    losses = [loss_of(NETWORK, attack(NETWORK, **bold | {"steps": n})) for n in range(6)]
    last = [loss_of(NETWORK, attack(NETWORK, **bold | {"steps": n}, best=False)) for n in range(6)]
    assert all((after >= before - 1e-6).all() for before, after in zip(losses, losses[1:], strict=False))
    assert any((after < before - 1e-3).any() for before, after in zip(last, last[1:], strict=False))
    torch.testing.assert_close(losses[-1], torch.stack(last).amax(0), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("options", [L2, LINF])
def test_random_start_is_reproducible_and_leaves_the_global_stream(options):
    state = torch.random.get_rng_state()
    first, again, other = (attack(NETWORK, **options, generator=stream(seed)) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.equal(first, other)
    torch.manual_seed(123)
    assert torch.equal(first, attack(NETWORK, **options, generator=stream(4)))


def test_two_random_starts_from_one_stream_differ():
    generator = stream()
    assert not torch.equal(*(attack(NETWORK, **LINF, generator=generator) for _ in range(2)))


def test_fourier_descends_in_an_unclipped_spectrum():
    start = torch.randn(4, *SHAPE, 2, generator=stream()) * 0.3
    target = torch.rand(4, *SHAPE, generator=stream(1))
    spectra = []

    def loss(x):
        assert 0 < x.min() and x.max() < 1
        return (x - target).square().flatten(1).sum(1)

    class Recorded(STEPS["fourier"]):
        def project(self, x):
            spectra.append(super().project(x))
            return spectra[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(STEPS, "fourier", Recorded)
        found = projected_gradient(loss, start, norm="fourier", eps=0.0, step_size=1.0, steps=60, targeted=True)
    decoded = STEPS["fourier"](orig_input=start, eps=0.0, step_size=1.0).to_image(start)
    assert found.shape == target.shape
    assert (loss(found) < 0.5 * loss(decoded)).all()
    assert spectra[-1].min() < -1 and spectra[-1].max() > 1


def test_step_has_length_eta_before_clipping_and_decays_to_zero():
    middle = torch.full((2, *SHAPE), 0.5)
    direction = torch.randn(2, *SHAPE, generator=stream())
    points = []

    def loss(x):
        points.append(x.detach().clone())
        return (x * direction).flatten(1).sum(1)

    options = {"norm": "unconstrained", "eps": 0.0, "step_size": 0.01, "steps": 4}
    projected_gradient(loss, middle, **options, best=False)
    lengths = torch.stack([(b - a).flatten(1).norm(dim=1) for a, b in zip(points, points[1:], strict=False)])
    torch.testing.assert_close(lengths, torch.full((3, 2), 0.01), atol=1e-6, rtol=0)

    points.clear()
    found = projected_gradient(loss, middle, **options, best=False, decay=True)
    points.append(found)
    lengths = torch.stack([(b - a).flatten(1).norm(dim=1) for a, b in zip(points, points[1:], strict=False)])
    torch.testing.assert_close(lengths[:, 0], torch.tensor([0.01, 0.0075, 0.005, 0.0025]), atol=1e-6, rtol=0)


def test_score_decides_what_is_best_where_the_loss_is_random():
    draws = iter([1.0, -1.0, 1.0, -1.0])

    def loss(x):
        return next(draws) * x.flatten(1).sum(1)

    def score(x):
        return x.flatten(1).sum(1)

    found = projected_gradient(
        loss, torch.full((1, 1, 2, 2), 0.5), norm="linf", eps=0.5, step_size=0.1, steps=2, score=score
    )
    torch.testing.assert_close(found, torch.full((1, 1, 2, 2), 0.6))


def test_loss_that_is_not_finite_stops_the_attack():
    def loss(x):
        return x.flatten(1).sum(1) * torch.tensor([1.0, float("nan")])

    with pytest.raises(FloatingPointError, match="not finite"):
        projected_gradient(loss, X[:2], **LINF)


def test_bfloat16_reaches_nearly_the_loss_of_float32():
    half = cross_entropy(NETWORK, Y, "bfloat16")
    with frozen(NETWORK):
        found = projected_gradient(half, X, **L2)
        assert half(X).dtype == torch.float32
    gain = loss_of(NETWORK, attack(NETWORK, **L2)) - loss_of(NETWORK, X)
    assert ((loss_of(NETWORK, found) - loss_of(NETWORK, X)) > 0.9 * gain).all()


@pytest.mark.parametrize("options", [L2, LINF])
def test_splitting_the_batch_changes_nothing(options):
    whole = attack(NETWORK, **options)
    halves = torch.cat([attack(NETWORK, X[part], Y[part], **options) for part in (slice(0, 3), slice(3, 8))])
    torch.testing.assert_close(whole, halves, atol=1e-6, rtol=0)
