"""The training loop: its schedule, its average, and that a stop and a start leave no trace in the weights."""

import copy
import itertools
import json

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from fourlenses.nets import build
from fourlenses.training import RECIPES, Threat
from fourlenses.training.loop import SCHEDULES, Settings, final_weights, one_cycle, step_down, train

SHAPE = (1, 10, 10)
N = 40
SETTINGS = Settings(epochs=4, batch=8, lr=0.05, weight_decay=5e-4, crop_padding=1, flip=True, ema_decay=0.0)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Random images of two classes; those of class 1 have a bright left half, which flips and crops leave to see."""
    y = torch.arange(N) % 2
    x = torch.randint(0, 100, (N, *SHAPE), generator=stream(1), dtype=torch.uint8)
    x += (y * 120).to(torch.uint8).view(-1, 1, 1, 1)
    return x, y


def network(seed: int = 0) -> nn.Module:
    return build("resnet", widths=[4, 8], n_classes=2, image_shape=SHAPE, generator=stream(seed), mean=0.5, std=0.3)


def objective(recipe: str = "standard", precision: str = "float32"):
    return RECIPES[recipe].objective(precision, Threat(RECIPES[recipe].norm or "l2", 0.05, 2), 1.0)


def run(recipe="standard", settings=SETTINGS, precision="float32", *, seed=3, state=None, history=(), stop=None):
    """Train and return the last state and history; stop after so many epochs of this call."""
    yielded = train(
        network(), *images(), objective(recipe, precision), settings, stream(seed),
        evaluate=lambda n: {"norm": float(n.head.weight.norm())}, state=state, history=history,
    )  # fmt: skip
    reached, log = list(itertools.islice(yielded, stop))[-1]
    return reached, json.loads(json.dumps(log))


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def with_average(decay: float) -> Settings:
    return Settings(**SETTINGS.__dict__ | {"ema_decay": decay})


@hypothesis_settings(deadline=None, max_examples=30)
@given(total=st.integers(2, 400), peak=st.floats(1e-4, 10))
def test_schedule_is_that_of_torch(total, peak):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=peak, total_steps=total, cycle_momentum=False)
    for step in range(total):
        assert one_cycle(step, total, peak) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-6, abs=1e-9)
        optimizer.step()
        if step < total - 1:
            theirs.step()


@hypothesis_settings(deadline=None, max_examples=50)
@given(quarter=st.integers(1, 200), peak=st.floats(1e-4, 10))
def test_steps_down_as_that_of_torch(quarter, peak):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2 * quarter, 3 * quarter], gamma=0.1)
    for step in range(4 * quarter):
        assert step_down(step, 4 * quarter, peak) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        theirs.step()


def test_steps_down_by_hand():
    assert [step_down(step, 5, 1.0) for step in range(5)] == [1.0, 1.0, 1.0, 0.1, 0.01]
    assert step_down(0, 1, 1.0) == 1.0


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_training_follows_its_schedule(schedule):
    settings = Settings(**SETTINGS.__dict__ | {"schedule": schedule})
    _, history = run(settings=settings)
    steps = N // settings.batch
    last_of_each_epoch = [SCHEDULES[schedule](steps * k - 1, 4 * steps, settings.lr) for k in (1, 2, 3, 4)]
    assert [row["lr"] for row in history] == last_of_each_epoch
    assert SETTINGS.schedule == "one-cycle"


def test_overfits_a_small_set():
    settings = Settings(epochs=12, batch=8, lr=0.05, weight_decay=0.0, crop_padding=0, flip=False, ema_decay=0.0)
    _, history = run(settings=settings)
    assert [row["epoch"] for row in history] == list(range(1, 13))
    assert history[-1]["accuracy_train"] == 1.0
    assert history[-1]["loss"] < 0.1 * history[0]["loss"]
    assert history[-1]["lr"] == pytest.approx(0.05 / 2.5e5)


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize(
    ("recipe", "ema", "precision"),
    [
        ("standard", 0.0, "bfloat16"),
        ("standard", 0.9, "float32"),
        ("adversarial-l2", 0.0, "float32"),
        ("adversarial-linf", 0.9, "bfloat16"),
        ("adversarial-gabor", 0.0, "float32"),
        ("half-half-linf", 0.0, "float32"),
    ],
)
def test_resumed_run_is_bit_identical(recipe, ema, precision, after):
    settings = with_average(ema)
    whole, log = run(recipe, settings, precision)
    state, history = run(recipe, settings, precision, stop=after)
    assert len(history) == after and not same(state, whole)
    resumed, resumed_log = run(recipe, settings, precision, seed=99, state=state, history=history)
    assert same(whole, resumed) and log == resumed_log


def test_dropout_is_repeated_resumed_and_different_at_every_step():
    seen = []

    def trained(generator, state=None, history=(), stop=None):
        def objective_seen(net, x, y, stream):
            seen.append(float(nn.functional.dropout(torch.ones(1000)).sum()))
            return objective("standard", "float32")(net, x, y, stream)

        yielded = train(
            nn.Sequential(network(), nn.Dropout(0.5)), *images(), objective_seen, SETTINGS, generator,
            evaluate=lambda _: {}, state=state, history=history,
        )  # fmt: skip
        return list(itertools.islice(yielded, stop))[-1]

    before = torch.random.get_rng_state()
    whole, _ = trained(stream(3))
    assert len(set(seen)) > len(seen) / 2
    torch.manual_seed(1)
    state, history = trained(stream(3), stop=1)
    resumed, _ = trained(stream(99), state, history)
    assert same(whole, resumed) and not same(whole, trained(stream(4))[0])
    torch.random.set_rng_state(before)


def test_other_stream_gives_other_weights():
    assert not same(run()[0], run(seed=4)[0])
    assert same(run()[0], run()[0])


def test_global_stream_is_neither_read_nor_moved():
    before = torch.random.get_rng_state()
    first = run("adversarial-linf")[0]
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(5)
    assert same(first, run("adversarial-linf")[0])


def test_average_follows_a_hand_loop():
    decay = 0.8
    settings = Settings(epochs=2, batch=8, lr=0.05, weight_decay=0.0, crop_padding=0, flip=False, ema_decay=decay)
    seen = []
    plain = objective()

    def recording(net, x, y, generator):
        seen.append(copy.deepcopy(net.state_dict()))
        return plain(net, x, y, generator)

    *_, (state, _) = train(network(), *images(), recording, settings, stream(3), evaluate=lambda n: {})
    weights = [name for name, _ in network().named_parameters()]
    trained = {name.removeprefix("network/"): v for name, v in state.items() if name.startswith("network/")}
    steps = [*seen[1:], trained]
    assert len(steps) == 2 * (N // 8)
    hand = {name: seen[0][name].clone() for name in weights}
    for after in steps:
        hand = {name: decay * hand[name] + (1 - decay) * after[name] for name in weights}
    kept = final_weights(state)
    for name in weights:
        torch.testing.assert_close(kept[name], hand[name], atol=1e-6, rtol=1e-5)
        assert not torch.equal(kept[name], trained[name])
    for name in kept.keys() - set(weights):
        assert torch.equal(kept[name], trained[name]), f"{name} is a statistic: taken over, not averaged"


def test_without_average_the_network_itself_is_used():
    state, _ = run()
    kept = final_weights(state)
    assert kept.keys() == network().state_dict().keys()
    assert all(torch.equal(kept[name], state[f"network/{name}"]) for name in kept)


def test_first_step_is_nesterov_sgd_with_weight_decay():
    settings = Settings(epochs=1, batch=N, lr=0.05, weight_decay=0.1, crop_padding=0, flip=False, ema_decay=0.0)
    ours, hand = network(), network()
    x, y = images()
    for _ in train(ours, x, y, objective(), settings, stream(), evaluate=lambda n: {}):
        pass
    loss = nn.functional.cross_entropy(hand.train()(x.float() / 255), y)
    loss.backward()
    for (name, new), old in zip(ours.named_parameters(), hand.parameters(), strict=True):
        gradient = old.grad + 0.1 * old.detach()
        expected = old.detach() - one_cycle(0, 1, 0.05) * (gradient + 0.9 * gradient)
        torch.testing.assert_close(new.detach(), expected, atol=1e-6, rtol=1e-4, msg=name)


def test_loss_that_is_not_finite_names_its_step():
    calls = []

    def bad(net, x, y, generator):
        calls.append(None)
        loss, logits = objective()(net, x, y, generator)
        return loss * (float("nan") if len(calls) == 8 else 1.0), logits

    with pytest.raises(FloatingPointError, match="not finite at step 7$"):
        list(train(network(), *images(), bad, SETTINGS, stream(), evaluate=lambda n: {}))


def test_weights_that_run_away_under_a_finite_loss_name_their_step():
    def bad(net, x, y, generator):
        net.body.stem[1].running_var[0] = float("inf")
        return objective()(net, x, y, generator)

    with pytest.raises(FloatingPointError, match=r"network/body.stem.1.running_var is not finite after step 4$"):
        list(train(network(), *images(), bad, SETTINGS, stream(), evaluate=lambda n: {}))


def test_fewer_images_than_a_batch_are_refused():
    x, y = images()
    with pytest.raises(ValueError, match="3 training images, but a batch of 8"):
        next(train(network(), x[:3], y[:3], objective(), SETTINGS, stream(), evaluate=lambda n: {}))


def test_every_image_is_seen_once_an_epoch():
    seen = []
    plain = objective()
    x = torch.arange(N, dtype=torch.uint8).view(-1, 1, 1, 1).expand(N, *SHAPE).contiguous()

    def recording(net, batch, y, generator):
        seen.append((batch[:, 0, 5, 5] * 255).round().int())
        return plain(net, batch, y, generator)

    for _ in train(network(), x, images()[1], recording, SETTINGS, stream(), evaluate=lambda n: {}):
        epoch, seen = torch.cat(seen), []
        assert sorted(epoch.tolist()) == list(range(N)) and epoch.tolist() != list(range(N))
