"""Joint training: what it does to bits, that a stopped one goes on, and what is refused."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.glow import Glow, build_glow
from fourlenses.simplicity import joint as training
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.joint import Settings, pieces, simplified, train_joint, train_mse, warm_up
from fourlenses.simplicity.simplifier import Simplifier, build_simplifier
from fourlenses.simplicity.unrolled import Player, flattened, random_view
from fourlenses.training.augment import crop_and_flip

SHAPE = (1, 8, 8)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plan(**changed) -> Settings:
    usual = {"steps": 120, "batch": 8, "lr": 3e-3, "tau": 5.0, "crop_padding": 1, "flip": True, "precision": "float32"}
    return Settings(**usual | changed)


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Three classes of stripes under noise."""
    y = torch.arange(60) % 3
    stripes = (torch.arange(8).view(1, 8) // (y.view(60, 1) + 1) % 2).view(60, 1, 1, 8)
    return (150 * stripes + torch.randint(0, 100, (60, *SHAPE), generator=stream())).byte(), y


@pytest.fixture(scope="module")
def glow() -> Glow:
    """A density that has not learned, and finds images the simpler the nearer they are to one that is no grey."""
    made = build_glow(SHAPE, n_scales=1, depth=1, width=4, coupling="affine", generator=stream(1))
    with torch.no_grad():
        made.shifts[0].fill_(0.2)
        made.log_scales[0].fill_(1.5)
    return made.requires_grad_(False)


def classifier(seed: int = 2) -> torch.nn.Module:
    return build("groupnorm", widths=[4, 8, 8, 8], n_classes=3, image_shape=SHAPE, generator=stream(seed), std=0.3)


def simplifier() -> Simplifier:
    return build_simplifier(SHAPE, 4, "mix", stream(3))


def joint(images, glow, weight: float, settings: Settings, steps: int = 60, **resumed):
    network, made = classifier(), simplifier()
    warm = warm_up(network, *images, settings, steps, stream(4))
    yields = list(train_joint(made, network, glow, *images, settings, weight, stream(5), warm=warm, **resumed))
    return made, network, yields


def test_bits_fall_with_the_weight_and_the_task_stays(images, glow) -> None:
    x, y = images
    before = measured(glow, x, stream(6)).mean()
    bits = {}
    for weight in (0.0, 10.0):
        made, network, yields = joint(images, glow, weight, plan(steps=90), 100)
        bits[weight] = measured(glow, simplified(made, x), stream(6)).mean()
        right = network(simplified(made, x).float() / 255).argmax(1) == y
        assert right.float().mean() > 0.7
        history = yields[-1][1]
        assert [row["step"] for row in history] == [50, 90] == pieces(90)
        assert history[0].keys() == {"step", "loss", "before", "after", "original", "gate", "bpd"}
        assert all(0 <= row["gate"] <= 1 for row in history)
    assert bits[10.0] < before - 0.1 and bits[10.0] < bits[0.0] - 0.1


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_that_goes_on_is_the_one_that_was_not_stopped(images, glow, precision, monkeypatch) -> None:
    monkeypatch.setattr(training, "EVERY", 5)
    settings = plan(precision=precision, steps=12)
    *_, yields = joint(images, glow, 3.0, settings)
    assert len(yields) == 3 and len(yields[0][1]) == 3  # one list that grows
    *_, (state, _), (end, history) = yields
    *_, again = joint(images, glow, 3.0, settings, state=copy.deepcopy(state), history=history[:2])
    assert len(again) == 1 and again[0][1] == history
    assert end.keys() == again[0][0].keys()
    assert all(torch.equal(value, again[0][0][name]) for name, value in end.items())
    *_, nothing = joint(images, glow, 3.0, settings, state=end, history=history)
    assert not nothing


def test_weights_of_the_end_are_in_the_networks_and_in_the_state(images, glow) -> None:
    made, network, yields = joint(images, glow, 3.0, plan(steps=20))
    state = yields[-1][0]
    assert all(torch.equal(state[f"simplifier/{name}"], value) for name, value in made.state_dict().items())
    assert torch.equal(state["player/theta"], flattened(network.parameters()))
    assert int(state["player/steps"]) == 60 + 20
    other = simplifier()
    list(train_joint(other, classifier(), glow, *images, plan(), 3.0, stream(9), warm=classifier_state(), state=state,
                     history=[{"step": plan().steps}]))  # fmt: skip
    assert torch.equal(simplified(other, images[0]), simplified(made, images[0]))


def classifier_state() -> dict[str, torch.Tensor]:
    return Player(classifier(), 1e-3, "float32").state()


def test_warm_up_learns_from_originals_and_leaves_the_global_stream(images) -> None:
    network, rng = classifier(), torch.random.get_rng_state()
    warm = warm_up(network, *images, plan(), 100, stream(4))
    x, y = images
    assert (network(x.float() / 255).argmax(1) == y).float().mean() > 0.9
    assert int(warm["steps"]) == 100 and torch.equal(torch.random.get_rng_state(), rng)
    untouched = classifier()
    assert int(warm_up(untouched, *images, plan(), 0, stream(4))["steps"]) == 0
    assert all(torch.equal(a, b) for a, b in zip(untouched.parameters(), classifier().parameters(), strict=True))


def test_the_closer_simplifier_trades_error_for_bits(images, glow) -> None:
    x, _ = images
    found = {}
    for weight in (0.0, 30.0):
        made = simplifier()
        yields = list(train_mse(made, glow, x, plan(steps=100), weight, stream(5)))
        assert yields[-1][1][0].keys() == {"step", "loss", "mse", "bpd"}
        out = simplified(made, x)
        found[weight] = float(measured(glow, out, stream(6)).mean()), float((out.float() - x.float()).square().mean())
    (bits, error), (fewer, more) = found[0.0], found[30.0]
    assert fewer < bits - 0.1 and more > error + 10
    row = yields[-1][1][-1]
    assert row["loss"] == pytest.approx((10 * row["mse"] + 30 * row["bpd"]) / 40, rel=0.1)


def test_a_closer_simplifier_goes_on_as_well(images, glow, monkeypatch) -> None:
    monkeypatch.setattr(training, "EVERY", 5)

    def run(**resumed) -> list:
        return list(train_mse(simplifier(), glow, images[0], plan(steps=12), 3.0, stream(5), **resumed))

    (first, _), _, (end, history) = run()
    *_, (again, log) = run(state=first, history=history[:1])
    assert log == history and all(torch.equal(end[name], value) for name, value in again.items())


def test_simplified_images_are_whole_bytes_whatever_the_batch(images) -> None:
    made = simplifier()
    with torch.no_grad():
        made.unet.last.bias.copy_(torch.tensor([0.3, 0.5]))
    x = images[0]
    assert torch.equal(simplified(made, x, batch=7), simplified(made, x)) and simplified(made, x).dtype == torch.uint8
    assert torch.equal(simplified(made, x), (255 * made(x.float() / 255)).round().byte())


def test_what_is_not_finite_stops_by_its_step(images, glow) -> None:
    broken = copy.deepcopy(glow)
    with torch.no_grad():
        broken.shifts[0].fill_(float("inf"))
    with pytest.raises(FloatingPointError, match="simplifier.*at step 0"):
        joint(images, broken, 3.0, plan())
    network = classifier()
    with torch.no_grad():
        network.head.bias.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="classifier.*step 0"):
        warm_up(network, *images, plan(), 5, stream())


def test_a_classifier_with_batch_statistics_is_refused(images, glow) -> None:
    network = build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream())
    with pytest.raises(UserError, match="BatchNorm2d.*groupnorm or convnet"):
        warm_up(network, *images, plan(), 5, stream())
    with pytest.raises(UserError, match="BatchNorm2d"):
        next(train_joint(simplifier(), network, glow, *images, plan(), 1.0, stream(), warm={}))


@settings(deadline=None, max_examples=25)
@given(
    shape=st.tuples(st.integers(1, 4), st.sampled_from([1, 3]), st.integers(3, 9), st.integers(3, 9)),
    padding=st.integers(0, 3), flip=st.booleans(), seed=st.integers(0, 1000),
)  # fmt: skip
def test_a_view_is_the_augmentation_of_every_other_training(shape, padding, flip, seed):
    x = torch.rand(shape, generator=stream(seed))
    drawn = stream(seed + 1)
    view = random_view(shape, padding, flip, drawn)
    other = stream(seed + 1)
    expected = crop_and_flip(x, padding, flip, other)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(view(x), expected) and torch.equal(view(x), expected)
    assert torch.equal(view(x.double()), expected.double())
    assert torch.equal(drawn.get_state(), other.get_state())
