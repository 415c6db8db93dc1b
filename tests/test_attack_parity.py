"""Projected gradient against the peers: the iterates of robustness, the loss that foolbox reaches."""

from collections import namedtuple

import pytest
import torch
from attacked import L2, LINF, X, Y, attack, loss_of, trained_a_little
from torch import nn

from fourlenses.nets.bridge import import_torchvision

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
