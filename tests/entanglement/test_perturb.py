"""Attacks that make small changes, and how the directions of these changes cluster."""

import numpy as np
import pytest
import torch
from attacked import SHAPE, X, Y, attack, loss_of, stream, trained_a_little
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional as F

from fourlenses.entanglement import perturb
from fourlenses.entanglement.perturb import ATTACKS, other_classes

TARGETS = other_classes(Y, 5, stream(4))
EPS, STEPS = 0.05, 10


def attacked(network, name, eps=EPS, steps=STEPS, seed=0):
    return perturb.attack(network, X, Y, name, eps, steps, TARGETS, stream(seed))


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("kind", ["fgsm", "bim"])
def test_attacks_are_those_of_another_library(kind, targeted):
    import foolbox

    network = trained_a_little().eval()
    length, steps = {"fgsm": (1.0, 1), "bim": (0.2, STEPS)}[kind]
    theirs = foolbox.attacks.LinfBasicIterativeAttack(rel_stepsize=length, steps=steps, random_start=False)
    goal = foolbox.criteria.TargetedMisclassification(TARGETS) if targeted else foolbox.criteria.Misclassification(Y)
    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    expected, _, _ = theirs(model, X, goal, epsilons=EPS)
    ours = attacked(network, kind + "-targeted" * targeted)
    assert (ours - expected).abs().max() < 1e-6


def test_pgd_starts_at_random_and_keeps_the_worst_image():
    network = trained_a_little()
    first, again, other = (attacked(network, "pgd", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    far = {"norm": "linf", "eps": 0.8, "step_size": 1.0, "steps": 2, "targeted": True}
    last = attack(network, y=TARGETS, **far, generator=stream(), best=False)
    best = attacked(network, "pgd-targeted", 0.8, 2)
    gain = loss_of(network, last, TARGETS) - loss_of(network, best, TARGETS)
    assert gain.min() > -1e-5 and gain.max() > 1e-3, "the last step of one of them goes too far"
    before = stream().get_state()
    generator = stream()
    perturb.attack(network, X, Y, "bim", EPS, STEPS, TARGETS, generator)
    assert torch.equal(generator.get_state(), before), "the others draw nothing"


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("eps", [0.01, 0.3])
def test_images_stay_near_and_move_the_loss(name, eps):
    network = trained_a_little()
    network.body.stem.train()
    found = attacked(network, name, eps)
    assert found.min() >= 0 and found.max() <= 1 and (found - X).abs().max() <= eps + 1e-6
    assert (found - X).abs().max() > 0.9 * eps, "the ball is used"
    wanted = TARGETS if "targeted" in name else Y
    rise = (loss_of(network, found, wanted) - loss_of(network, X, wanted)).mean()
    assert rise < 0 if "targeted" in name else rise > 0
    assert network.body.stem[1].training and all(p.requires_grad and p.grad is None for p in network.parameters())


@pytest.mark.parametrize("name", ["fgsm", "bim-targeted"])
def test_images_are_attacked_alone_whatever_the_batch(name, monkeypatch):
    network = trained_a_little()
    whole, signs = attacked(network, name), perturb.sign_gradients(network, X, Y)
    classes = perturb.predictions(network, perturb.to_bytes(X))
    monkeypatch.setattr(perturb, "BATCH", 3)
    assert (attacked(network, name) - whole).abs().max() < 1e-6
    assert (perturb.sign_gradients(network, X, Y) == signs).float().mean() > 0.999
    assert torch.equal(perturb.predictions(network, perturb.to_bytes(X)), classes)


@given(st.integers(2, 12), st.integers(0, 1000))
def test_targets_are_other_classes(n_classes, seed):
    labels = torch.arange(40) % n_classes
    targets = other_classes(labels, n_classes, stream(seed))
    assert (targets != labels).all() and targets.min() >= 0 and targets.max() < n_classes


def test_every_other_class_is_as_likely():
    labels = torch.full((9000,), 2)
    counts = other_classes(labels, 4, stream()).bincount(minlength=4)
    assert counts[2] == 0 and (counts[[0, 1, 3]] - 3000).abs().max() < 200


def test_bytes_are_the_nearest():
    every = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(perturb.to_bytes(every.float() / 255), every)
    assert perturb.to_bytes(torch.tensor([0.0, 0.0019, 0.0021, 1.0]).view(1, 1, 2, 2)).flatten().tolist() == [
        0,
        0,
        1,
        255,
    ]


def test_predictions_are_made_in_evaluation_mode():
    network, x = trained_a_little().train(), perturb.to_bytes(X)
    statistics = {key: value.clone() for key, value in network.state_dict().items()}
    given_classes = perturb.predictions(network, x)
    assert network.training and all(torch.equal(statistics[key], value) for key, value in network.state_dict().items())
    assert given_classes.tolist() == network.eval()(x.float() / 255).argmax(1).tolist()


def test_signs_are_those_of_finite_differences():
    network, image = trained_a_little().eval(), X[:1]
    signs = perturb.sign_gradients(network, image, Y[:1])[0]
    network, h, size = network.double(), 1e-6, image[0].numel()
    steps = h * torch.eye(size, dtype=torch.float64).view(size, *SHAPE)
    with torch.no_grad():
        up, down = (
            F.cross_entropy(network(image.double() + sign * steps), Y[:1].expand(size), reduction="none")
            for sign in (1, -1)
        )
    slope = (up - down) / (2 * h)
    clear = slope.abs() > 1e-5
    assert clear.float().mean() > 0.5 and torch.equal(signs[clear].double(), slope[clear].sign())
    assert set(signs.unique().tolist()) <= {-1.0, 0.0, 1.0}


def test_a_step_of_fgsm_is_along_the_signs():
    network = trained_a_little()
    signs = perturb.sign_gradients(network, X, Y).view_as(X)
    assert torch.allclose(attacked(network, "fgsm"), (X + EPS * signs).clamp(0, 1), atol=1e-7)


@pytest.mark.parametrize("k", [1, 5])
def test_neighbours_are_those_of_another_library(k):
    x, y = torch.randn(60, 7, generator=stream()), torch.randint(3, (60,), generator=stream(1))
    _, order = NearestNeighbors(n_neighbors=k + 1).fit(x.double().numpy()).kneighbors(x.double().numpy())
    expected = np.mean(y.numpy()[order[:, 1:]] == y.numpy()[:, None])
    assert perturb.purity(x, y, k) == pytest.approx(expected)


def test_purity_of_clusters_and_of_nothing():
    y = torch.arange(300) % 3
    x = torch.randn(300, 4, generator=stream())
    assert perturb.purity(x + 100 * F.one_hot(y, 4), y) == 1.0
    assert perturb.purity(x, y) == pytest.approx(perturb.chance_purity(y), abs=0.04)
    with pytest.raises(ValueError, match="5 vectors"):
        perturb.purity(x[:5], y[:5])


@given(st.lists(st.integers(0, 4), min_size=2, max_size=30))
@settings(deadline=None)
def test_purity_among_all_others_is_that_of_chance(labels):
    y = torch.tensor(labels)
    x = torch.randn(len(y), 3, generator=stream())
    assert perturb.purity(x, y, len(y) - 1) == pytest.approx(perturb.chance_purity(y))


def test_a_map_is_the_same_twice_and_keeps_clusters_apart():
    y = torch.arange(60) % 2
    x = torch.randn(60, 10, generator=stream()) + 20 * y[:, None]
    places = perturb.embedding(x)
    assert places.shape == (60, 2) and torch.equal(places, perturb.embedding(x))
    assert perturb.purity(places, y) == 1.0
    assert torch.isfinite(perturb.embedding(torch.zeros(20, 6))).all(), "a network without gradients"
