"""Adam and its constant rate, stratified batches, and what a training keeps beside the network."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from torch import nn

from fourlenses.nets import build
from fourlenses.training.loop import SCHEDULES, Settings, final_weights, stratified_order, train
from fourlenses.training.objectives import standard

SHAPE = (1, 8, 8)
SETTINGS = Settings(
    epochs=3, batch=8, lr=0.01, weight_decay=0.1, crop_padding=1, flip=True, ema_decay=0.0, schedule="constant",
    optimizer="adam",
)  # fmt: skip
X = torch.randint(0, 256, (40, *SHAPE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
Y = torch.tensor([0] * 22 + [1] * 11 + [2] * 7)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network() -> nn.Module:
    return build("resnet", widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream())


def changed(**settings: object) -> Settings:
    return Settings(**SETTINGS.__dict__ | settings)


def test_adam_is_that_of_torch():
    ours, theirs = network(), network().train()
    plain, seen = standard("float32"), []

    def recording(net, x, y, generator):
        seen.append((x, y))
        return plain(net, x, y, generator)

    *_, (state, history) = train(ours, X, Y, recording, SETTINGS, stream(), evaluate=lambda n: {})
    optimizer = torch.optim.Adam(theirs.parameters(), lr=0.01, weight_decay=0.1)
    for x, y in seen:
        optimizer.zero_grad()
        plain(theirs, x, y, stream())[0].backward()
        optimizer.step()
    assert len(seen) == 15 and [row["lr"] for row in history] == [0.01] * 3
    for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.detach(), b.detach(), atol=1e-5, rtol=1e-4, msg=name)
        kept = optimizer.state[b]
        torch.testing.assert_close(state[f"mean/{name}"], kept["exp_avg"], atol=1e-5, rtol=1e-3)
        torch.testing.assert_close(state[f"square/{name}"], kept["exp_avg_sq"], atol=1e-5, rtol=1e-3)


def test_the_constant_rate_is_one_at_any_step():
    assert {SCHEDULES["constant"](step, 9, 0.3) for step in range(9)} == {0.3}


@pytest.mark.parametrize("after", [1, 2])
@pytest.mark.parametrize("changes", [{}, {"stratified": True}, {"stratified": True, "optimizer": "sgd"}])
def test_resumed_run_is_bit_identical(changes, after):
    def run(stop=None, state=None, history=(), seed=3):
        yielded = train(
            network(), X, Y, standard("float32"), changed(**changes), stream(seed), evaluate=lambda n: {},
            state=state, history=history,
        )  # fmt: skip
        return list(itertools.islice(yielded, stop))[-1]

    whole, log = run()
    state, history = run(after)
    resumed, resumed_log = run(None, state, copy.deepcopy(history), seed=99)
    assert log == resumed_log and whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@hypothesis_settings(deadline=None, max_examples=100)
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=12), batch=st.integers(1, 30), seed=st.integers(0, 99))
def test_stratified_batches_hold_their_share_of_every_class(sizes, batch, seed):
    y = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    if len(y) < batch:
        return
    y = y[torch.randperm(len(y), generator=stream(seed))]
    order = stratified_order(y, batch, stream(seed))
    assert len(order) == len(y) // batch * batch == len(order.unique())
    for shown in order.split(batch):
        counts = y[shown].bincount(minlength=len(sizes))
        for count, size in zip(counts.tolist(), sizes, strict=True):
            assert batch * size // len(y) <= count <= -(-batch * size // len(y))


def test_stratified_order_is_drawn_from_the_generator_and_mixes_classes():
    first, again, other = (stratified_order(Y, 8, stream(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    positions = [y for order in (first, other) for y in Y[order].view(-1, 8)[:, 0].tolist()]
    assert len(set(positions)) > 1, "no class comes first in every batch"
    left_out = [set(range(43)) - set(stratified_order(torch.arange(43) % 2, 8, stream(s)).tolist()) for s in range(9)]
    assert all(len(each) == 3 for each in left_out) and len(set().union(*left_out)) > 9


@pytest.mark.parametrize("stratified", [True, False])
def test_training_shows_the_order_that_it_draws(stratified):
    x = torch.arange(40, dtype=torch.uint8).view(-1, 1, 1, 1).expand(40, *SHAPE).contiguous()
    seen, plain = [], standard("float32")

    def recording(net, images, y, generator):
        seen.append((images[:, 0, 4, 4] * 255).round().long())
        return plain(net, images, y, generator)

    list(train(network(), x, Y, recording, changed(epochs=1, stratified=stratified, augment="none"), stream(5),
               evaluate=lambda n: {}))  # fmt: skip
    expected = stratified_order(Y, 8, stream(5)) if stratified else torch.randperm(40, generator=stream(5))
    assert torch.equal(torch.cat(seen), expected)


@pytest.mark.parametrize("ema", [0.0, 0.5])
def test_scaffold_is_kept_from_batch_to_batch_resumed_and_dropped(ema):
    plain = standard("float32")

    def counting(net, x, y, generator):
        net.scaffold.calls += 1
        return plain(net, x, y, generator)

    def run(stop=None, state=None, history=()):
        net = network()
        net.scaffold = nn.Module()
        net.scaffold.register_buffer("calls", torch.zeros(()))
        yielded = train(net, X, Y, counting, changed(ema_decay=ema), stream(3), evaluate=lambda n: {}, state=state,
                        history=history)  # fmt: skip
        return list(itertools.islice(yielded, stop))[-1]

    part, history = run(2)
    assert part["network/scaffold.calls"] == 10
    whole, _ = run(None, part, history)
    assert whole["network/scaffold.calls"] == 15
    assert final_weights(whole).keys() == network().state_dict().keys()
