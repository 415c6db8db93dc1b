"""Watching a training: it sees what is there, when it should, and changes nothing."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.watch import balanced, entanglement_by_layer, moments, watched, watched_layers
from fourlenses.errors import UserError
from fourlenses.nets import Network, build
from fourlenses.nets.taps import activations
from fourlenses.training import RECIPES, Threat
from fourlenses.training.loop import Settings, train

SHAPE = (1, 8, 8)
SETTINGS = Settings(epochs=3, batch=8, lr=0.1, weight_decay=0.0, crop_padding=1, flip=True, ema_decay=0.5)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(architecture: str = "wrn-10", widths=(4, 4, 8, 8)) -> Network:
    return build(architecture, widths=list(widths), n_classes=3, image_shape=SHAPE, generator=stream(), std=0.3)


def images(n: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randint(0, 256, (n, *SHAPE), generator=stream(1), dtype=torch.uint8), torch.arange(n) % 3


def test_layers_are_the_blocks_the_pool_and_the_logits():
    found = [(layer.name, layer.kind) for layer in watched_layers(network())]
    blocks = [(f"stage{i}.0.relu1", "block") for i in (1, 2, 3)]
    assert found == [*blocks, ("relu", "block"), ("pool", "pool"), ("logits", "logits")]
    found = [(layer.name, layer.kind) for layer in watched_layers(network("resnet", (4, 8)))]
    assert found == [("stem.2", "block"), ("block1.relu2", "block"), ("pool", "pool"), ("logits", "logits")]


def test_a_network_without_blocks_is_refused():
    with pytest.raises(UserError, match="residual blocks"):
        watched_layers(network("vgg", (4, 8)))


@pytest.mark.parametrize(("architecture", "widths"), [("wrn-10", (4, 4, 8, 8)), ("resnet", (4, 8))])
def test_entanglement_is_that_of_the_activations(architecture, widths):
    net, (x, y) = network(architecture, widths), images()
    x, layers = x.float() / 255, watched_layers(net)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = entanglement_by_layer(net, layers, x, y)
    assert net.training and all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    names = ["head" if layer.kind == "logits" else f"body.{layer.name}" for layer in layers]
    for name, each in zip(names, found, strict=True):
        h = activations(net.eval(), x, [name])[name].detach()
        expected = minimum_entanglement(h, y)
        assert each.value == pytest.approx(expected.value, rel=1e-6) and each.n == 24
        torch.testing.assert_close(each.anchors, expected.anchors, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=100)
@given(total=st.integers(1, 500), every=st.integers(1, 60))
def test_moments_are_dense_early_and_end_with_the_last(total, every):
    at = moments(total, every)
    assert at == sorted(set(at)) and at[0] == 0 and at[-1] == total
    assert set(range(0, total, every)) <= set(at)
    assert all(step % every == 0 or step == total or step <= total // 10 for step in at)
    early = [step for step in at if step <= total // 10]
    assert all(b - a <= max(every // 4, 1) for a, b in itertools.pairwise(early))


def test_moments_by_hand():
    assert moments(100, 20) == [0, 5, 10, 20, 40, 60, 80, 100]
    assert moments(3, 2) == [0, 2, 3]


def run(recipe: str, watch: bool, seen: list, stop=None, state=None, history=()):
    """Train with or without a watch, whose visitor looks at all layers and draws from the global stream."""
    net, (x, y), spec = network(), images(), RECIPES[recipe]
    if spec.scaffold:
        spec.scaffold(net, stream(2))
    objective = spec.objective("float32", Threat(spec.norm or "l2", 0.1, 2), 1.0)

    def visit(step: int, network: Network) -> None:
        assert not any(module.training for module in network.modules()) and not torch.is_grad_enabled()
        seen.append((step, {name: value.clone() for name, value in network.state_dict().items()}))
        entanglement_by_layer(network, watched_layers(network), x.float() / 255, y)

    if watch:
        objective = watched(objective, {0, 2, 4, 7}, visit, 3 * len(history))
    arguments = Settings(**SETTINGS.__dict__ | {"views": 2 if spec.contrastive else 1})
    yielded = train(net, x, y, objective, arguments, stream(3), evaluate=lambda n: {}, state=state, history=history)
    return list(itertools.islice(yielded, stop))[-1]


@pytest.mark.parametrize("recipe", ["standard", "adversarial-linf", "simclr"])
def test_training_is_the_same_with_and_without(recipe):
    seen = []
    (watched_state, watched_log), (state, log) = run(recipe, True, seen), run(recipe, False, [])
    assert watched_log == log and watched_state.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in watched_state.items())
    assert [step for step, _ in seen] == [0, 2, 4, 7]


def test_a_visit_sees_the_weights_after_as_many_updates_as_its_step_says():
    seen = []
    run("standard", True, seen)
    assert [int(state["body.bn.num_batches_tracked"]) for _, state in seen] == [0, 2, 4, 7]
    start = network().state_dict()
    assert all(torch.equal(value, start[name]) for name, value in seen[0][1].items())
    assert not torch.equal(seen[1][1]["head.weight"], start["head.weight"])


@pytest.mark.parametrize("after", [1, 2])
def test_steps_are_counted_on_after_an_interruption(after):
    whole, parts = [], []
    run("standard", True, whole)
    state, history = run("standard", True, parts, stop=after)
    run("standard", True, parts, state=state, history=history)
    assert [step for step, _ in parts] == [step for step, _ in whole]
    for (_, a), (_, b) in zip(parts, whole, strict=True):
        assert all(torch.equal(value, b[name]) for name, value in a.items())


@settings(deadline=None, max_examples=50)
@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=40), n=st.integers(1, 40))
def test_balanced_takes_as_many_of_each_class_as_there_are(labels, n):
    y = torch.tensor(labels)
    index = balanced(y, n)
    assert len(index) == min(n, len(y)) and index.tolist() == sorted(set(index.tolist()))
    taken = y[index].bincount(minlength=5)
    for c in range(5):
        assert index[y[index] == c].tolist() == (y == c).nonzero().flatten()[: taken[c]].tolist(), "the first of each"
        assert taken[c] == (y == c).sum() or taken[c] >= taken.max() - 1


def test_balanced_of_equal_classes_is_equal():
    assert balanced(torch.tensor([0, 0, 0, 1, 2, 1, 2, 1, 2]), 6).tolist() == [0, 1, 3, 4, 5, 6]
