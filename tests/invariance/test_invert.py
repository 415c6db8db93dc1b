"""Identically represented inputs: what is minimised, what is returned."""

import pytest
import torch

from fourlenses.attacks import frozen
from fourlenses.errors import UserError
from fourlenses.invariance import invert as module
from fourlenses.invariance.fourier import encode
from fourlenses.invariance.invert import Settings, invert, null_errors, pick_targets
from fourlenses.invariance.losses import REGULARIZERS, Context, Regularizer, representation_error
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.invariance.seeds import SEED_IMAGES
from fourlenses.nets import build

SHAPE = (1, 16, 15)  # an odd width, which a half spectrum does not tell


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(architecture: str = "resnet", seed: int = 0):
    """Normalisation far from the identity, so that leaving it out would show."""
    made = build(
        architecture, widths=[6, 12], n_classes=5, image_shape=SHAPE, generator=stream(seed), mean=0.2, std=0.1
    )
    for _ in range(3):
        made(torch.rand(32, *SHAPE, generator=stream(1)))
    return made.eval()


NETWORK, TRUNK = network(), TrunkDistance(network("vgg", 5))
IMAGES = torch.rand(40, 1, 4, 4, generator=stream(2)).repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :15]
TARGETS = IMAGES[:6]
SEED = SEED_IMAGES["super-noise"](IMAGES, stream(3))
SEEDS = SEED.expand_as(TARGETS)


def found(steps=40, precision="float32", *, seed=0, network=NETWORK, **kind):
    kind = {"transforms": False, "regularizer": None, "weight": 0.0} | kind
    return invert(network, TARGETS, SEED, TRUNK, Settings(steps, 1.0, precision), **kind, generator=stream(seed))


def fresh_error(x: torch.Tensor) -> torch.Tensor:
    """L_free from the definition: a forward pass of the plain network on the images as they are."""
    with torch.no_grad():
        g, wanted = NETWORK.features(x), NETWORK.features(TARGETS)
    return (g - wanted).norm(dim=1) / wanted.norm(dim=1)


def prior(name: str, x: torch.Tensor) -> torch.Tensor:
    return REGULARIZERS[name].function(x, Context(TARGETS, SEEDS, torch.clone, torch.clone))


KINDS = [
    {},
    {"transforms": True},
    {"regularizer": "away", "weight": 0.3},
    {"regularizer": "toward", "weight": 1.0},
    {"transforms": True, "regularizer": "away", "weight": 0.1},
    {"regularizer": "frequency", "weight": 1.0},
    {"fourier": True},
    {"fourier": True, "transforms": True, "regularizer": "tv-l6", "weight": 1.0},
    {"backward": "straight-through"},
    {"backward": "cut-skip", "fourier": True},
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_returned_error_is_that_of_a_fresh_pass_and_images_are_images(kind, precision):
    x, error = found(10, precision, **kind)
    assert x.shape == TARGETS.shape and x.dtype == error.dtype == torch.float32
    assert x.min() >= 0 and x.max() <= 1 and not x.requires_grad and not error.requires_grad
    torch.testing.assert_close(error, fresh_error(x), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_free_inversion_finds_identically_represented_inputs(precision):
    _, error = found(100, precision)
    assert (error < 0.2 * fresh_error(SEEDS)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_same_key_gives_bitwise_the_same_iris(kind):
    first, again = found(8, "bfloat16", **kind), found(8, "bfloat16", **kind)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


def test_stream_is_for_the_transforms_alone():
    assert torch.equal(found(5, seed=0)[0], found(5, seed=1)[0])
    assert not torch.equal(found(5, seed=0, transforms=True)[0], found(5, seed=1, transforms=True)[0])


def test_started_at_the_target_it_stays_there_with_error_zero():
    target = TARGETS[:1]
    x, error = invert(
        NETWORK, target, target[0], TRUNK, Settings(5, 1.0, "float32"), transforms=False, regularizer=None,
        weight=0.0, generator=stream(),
    )  # fmt: skip
    assert error.abs().max() < 1e-5
    torch.testing.assert_close(x, target, atol=1e-2, rtol=0)


def test_free_loss_is_no_worse_with_more_steps_and_never_worse_than_the_start():
    errors = [found(n)[1].mean() for n in (5, 20, 80)]
    assert errors[0] > errors[1] > errors[2]
    for kind in KINDS[:2]:
        assert (found(3, **kind)[1] <= fresh_error(SEEDS) + 1e-6).all()


def test_network_comes_back_as_it_was():
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    invert(
        net, TARGETS, SEED, TRUNK, Settings(3, 1.0, "float32"), transforms=False, regularizer="away", weight=1.0,
        generator=stream(),
    )  # fmt: skip
    assert net.training and all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def total_losses(monkeypatch, **kind) -> list[torch.Tensor]:
    """The loss that the optimiser sees at the seed and at the target."""
    seen = []

    def stop(loss, x, **options):
        with frozen(NETWORK):
            seen.extend(loss(images).detach() for images in (x, TARGETS))
        return x

    monkeypatch.setattr(module, "projected_gradient", stop)
    found(1, **kind)
    return seen


def test_loss_at_the_target_is_zero_and_at_the_seed_the_normalised_error(monkeypatch):
    at_seed, at_target = total_losses(monkeypatch)
    assert at_target.abs().max() < 1e-4
    torch.testing.assert_close(at_seed, fresh_error(SEEDS), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("weight", [0.1, 1.0, 3.0])
def test_adversarial_losses_use_the_same_normalised_error_and_weight_one_balances_the_terms(monkeypatch, weight):
    distance = TRUNK(SEEDS, TARGETS).mean()
    start = fresh_error(SEEDS).mean()
    at_seed, at_target = total_losses(monkeypatch, regularizer="away", weight=weight)
    assert float(at_seed.mean()) == pytest.approx(float(start - weight * start), abs=1e-3)
    assert at_target.abs().max() < 1e-4, "no distance to the target, no error"
    at_seed, at_target = total_losses(monkeypatch, regularizer="toward", weight=weight)
    assert float(at_seed.mean()) == pytest.approx(float(start), abs=1e-3)
    expected = weight * start / distance * TRUNK(TARGETS, SEEDS)
    torch.testing.assert_close(at_target, expected, atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("weight", [0.5, 4.0])
def test_absolute_regularizers_are_added_as_they_are(monkeypatch, weight):
    values = total_losses(monkeypatch, regularizer="frequency", weight=weight)
    for ours, images in zip(values, (SEEDS, TARGETS), strict=True):
        expected = fresh_error(images) + weight * prior("frequency", images)
        torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("backward", ["straight-through", "cut-skip"])
def test_backward_rule_changes_the_way_and_not_the_loss(monkeypatch, backward):
    assert not torch.equal(found(5)[0], found(5, backward=backward)[0])
    for ours, plain in zip(total_losses(monkeypatch, backward=backward), total_losses(monkeypatch), strict=True):
        assert torch.equal(ours, plain)


def test_architecture_that_cannot_take_a_backward_rule_is_refused():
    with pytest.raises(UserError, match="cut-skip"):
        found(1, network=network("vgg"), backward="cut-skip")


def test_fourier_inversion_ends_near_the_target_by_smoother_changes(monkeypatch):
    pixels, fourier = found(100), found(100, fourier=True)
    assert (fourier[1] < 0.05 * fresh_error(SEEDS)).all()
    added = [x - SEEDS.clamp(0.02, 0.98) for x, _ in (fourier, pixels)]
    roughness = [(prior("tv", x) / x.square().sum((1, 2, 3))).mean() for x in added]
    assert roughness[0] < 0.8 * roughness[1], "what is added to the seed has lower frequencies"
    x, _ = found(1, fourier=True)
    monkeypatch.setattr(module, "projected_gradient", lambda loss, start, **options: start)
    start, _ = found(1, fourier=True)
    torch.testing.assert_close(start, SEEDS.clamp(0.02, 0.98), atol=1e-5, rtol=0)
    assert not torch.equal(x, start) and encode(x).min() < 0, "a spectrum that was never clipped"


def test_away_goes_away_from_the_target_and_toward_stays_with_the_seed():
    free, away, toward = (found(60, **kind)[0] for kind in ({}, KINDS[2], KINDS[3]))
    assert TRUNK(away, TARGETS).mean() > 1.1 * TRUNK(free, TARGETS).mean()
    assert TRUNK(toward, SEEDS).mean() < 0.5 * TRUNK(free, SEEDS).mean()


def test_user_adds_a_regularizer_with_a_function_and_a_line(monkeypatch):
    def darkness(x, context):
        return x.flatten(1).mean(1)

    monkeypatch.setitem(REGULARIZERS, "darkness", Regularizer(darkness, balanced=True))
    dark, _ = found(40, regularizer="darkness", weight=1.0)
    assert dark.mean() < 0.9 * found(40)[0].mean()


def test_loss_that_is_not_finite_stops(monkeypatch):
    broken = Regularizer(lambda x, context: x.flatten(1).mean(1) * float("nan"), balanced=True)
    monkeypatch.setitem(REGULARIZERS, "broken", broken)
    with pytest.raises(FloatingPointError, match="not finite"):
        found(3, regularizer="broken", weight=1.0)


def test_zero_representation_is_refused():
    net = network()
    net.body.stem[1].weight.data.zero_()
    for block in (net.body.block1,):
        for norm in (block.bn2, block.shortcut[1]):
            norm.weight.data.zero_()
            norm.bias.data.fill_(-1.0)
    settings = Settings(1, 1.0, "float32")
    with pytest.raises(ValueError, match="representation is zero"):
        invert(net, TARGETS, SEED, TRUNK, settings, transforms=False, regularizer=None, weight=0.0, generator=stream())
    with pytest.raises(ValueError, match="representation is zero"):
        null_errors(net, IMAGES)


def test_null_errors_against_a_double_loop():
    with torch.no_grad():
        g = NETWORK.features(IMAGES).double()
    by_hand = [float((a - b).norm() / b.norm()) for i, a in enumerate(g) for j, b in enumerate(g) if i != j]
    errors = null_errors(NETWORK, IMAGES, batch=7)
    assert errors.dtype == torch.float64 and len(errors) == 40 * 39
    torch.testing.assert_close(errors, torch.tensor(by_hand, dtype=torch.float64), atol=1e-6, rtol=1e-6)
    pair = representation_error(g[3:4].float(), g[8:9].float())
    assert float(pair) == pytest.approx(by_hand[3 * 39 + 7], rel=1e-4)


@pytest.mark.parametrize("n_targets", [5, 7, 12])
def test_targets_are_balanced_and_reproducible(n_targets):
    labels = torch.arange(60) % 5
    chosen = pick_targets(labels, n_targets, 5, stream())
    counts = torch.bincount(labels[chosen], minlength=5)
    assert len(set(chosen.tolist())) == n_targets == counts.sum()
    assert counts.max() - counts.min() <= 1 and counts.tolist() == sorted(counts.tolist(), reverse=True)
    assert torch.equal(chosen, pick_targets(labels, n_targets, 5, stream()))
    assert not torch.equal(chosen, pick_targets(labels, n_targets, 5, stream(1)))


def test_too_few_images_of_a_class_are_refused():
    labels = torch.tensor([0] * 10 + [1] * 2)
    with pytest.raises(ValueError, match="class 1 has 2 test images, but 3 targets are wanted"):
        pick_targets(labels, 6, 2, stream())
