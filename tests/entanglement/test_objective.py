"""The entangling objective: its value and gradient against plain formulas, its controls, and its temperatures."""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fourlenses.entanglement.layers import LAYER_SETS, layer_set
from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.objective import Plan, entangled_recipe, entangling
from fourlenses.entanglement.snnl import released_loss, soft_nearest_neighbor_loss
from fourlenses.entanglement.temperatures import RULES
from fourlenses.nets import build
from fourlenses.nets.taps import activations
from fourlenses.training.loop import Settings, final_weights, train
from fourlenses.training.objectives import standard

SHAPE = (1, 8, 8)
PLAN = Plan(alpha=-0.3, rule="fixed", layers="penultimate", scale=0.0, shuffled=False, temperature=20.0)
SETTINGS = Settings(
    epochs=3, batch=15, lr=1e-2, weight_decay=0.0, crop_padding=0, flip=False, ema_decay=0.0, augment="none",
    schedule="constant", optimizer="adam", stratified=True,
)  # fmt: skip


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(n: int = 15) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % 3
    x = torch.randint(0, 120, (n, *SHAPE), generator=stream(1), dtype=torch.uint8)
    return x + (y * 60).byte().view(-1, 1, 1, 1), y


def network(plan: Plan = PLAN, architecture: str = "resnet", dtype=torch.float32) -> nn.Module:
    made = build(architecture, widths=[4, 8], n_classes=3, image_shape=SHAPE, generator=stream(), mean=0.5, std=0.3)
    scaffold = entangled_recipe(plan).scaffold
    if scaffold:
        scaffold(made, stream())
    return made.to(memory_format=torch.channels_last).to(dtype)


def gradients(net: nn.Module, loss: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, list(net.parameters())))


def by_hand(net: nn.Module, x: torch.Tensor, y: torch.Tensor, plan: Plan, labels: torch.Tensor) -> torch.Tensor:
    """The loss as the equation has it, at the temperatures that the network holds now."""
    names = layer_set(net, plan.layers)
    outputs = activations(net, x, [*names, "head"])
    loss = F.cross_entropy(outputs["head"], y)
    formula = released_loss if plan.rule == "released" else soft_nearest_neighbor_loss
    for i, name in enumerate(names):
        h = outputs[name].flatten(1)
        if plan.alpha:
            loss = loss + plan.alpha * formula(h, labels, float(net.scaffold.values[i]))
        loss = loss + plan.scale * sum(row.square().sum() for row in h) / len(h)
    return loss


@pytest.mark.parametrize("architecture", ["resnet", "vgg"])
@pytest.mark.parametrize(
    "changes",
    [{"rule": rule, "scale": scale} for rule, scale in itertools.product(RULES, (0.0, 0.02))]
    + [{"layers": layers} for layers in LAYER_SETS]
    + [{"alpha": 0.0, "scale": 0.02}, {"alpha": 2.0}],
)
def test_value_and_gradient_are_those_of_the_equation(changes, architecture):
    plan = replace(PLAN, **changes)
    (x, y), net = images(), network(plan, architecture)
    x = x.float() / 255
    loss, logits = entangling("float32", plan)(net, x, y, stream())
    expected = by_hand(net, x, y, plan, y)
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(logits, net(x), atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients(net, loss), gradients(net, expected), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-4 * float(theirs.abs().max()) + 1e-7, rtol=1e-3)


def test_gradient_is_the_slope_of_the_loss():
    (x, y), plan = images(), PLAN
    net, objective = network(plan, dtype=torch.float64).eval(), entangling("float32", plan)
    x = x.double() / 255
    weight = net.body.block1.conv2.weight
    loss, _ = objective(net, x, y, stream())
    (slope,) = torch.autograd.grad(loss, weight)
    direction = torch.randn(weight.shape, generator=stream(4), dtype=torch.float64)
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight.add_(direction, alpha=sign * 1e-3)
            values.append(float(objective(net, x, y, stream())[0]))
            weight.sub_(direction, alpha=sign * 1e-3)
    # layers are cast to float32, which the difference sees
    assert (values[0] - values[1]) / 2e-3 == pytest.approx(float((slope * direction).sum()), rel=2e-2)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_without_weights_it_is_the_standard_objective_bit_for_bit(precision):
    plan = replace(PLAN, alpha=0.0)
    runs = [
        list(train(network(plan), *images(60), objective, SETTINGS, stream(3), evaluate=lambda n: {}))[-1]
        for objective in (entangling(precision, plan), standard(precision))
    ]
    assert entangled_recipe(plan).scaffold is None and runs[0][1] == runs[1][1]
    assert runs[0][0].keys() == runs[1][0].keys()
    assert all(torch.equal(value, runs[1][0][name]) for name, value in runs[0][0].items())


def test_shuffled_labels_are_those_of_the_loss_alone_and_leave_the_generator_be():
    plan = replace(PLAN, shuffled=True)
    (x, y), net = images(), network(plan)
    x, generator = x.float() / 255, stream(5)
    before = generator.get_state()
    loss, _ = entangling("float32", plan)(net, x, y, generator)
    assert torch.equal(generator.get_state(), before)
    shuffled = y[torch.randperm(15, generator=stream(5))]
    assert not torch.equal(shuffled, y)
    torch.testing.assert_close(loss, by_hand(net, x, y, plan, shuffled), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("changes", [{"shuffled": True}, {"rule": "tracked"}, {"rule": "released"}, {"alpha": 0.0}])
def test_every_plan_sees_the_same_batches(changes):
    def batches(plan: Plan) -> list[torch.Tensor]:
        seen, objective = [], entangling("float32", plan)

        def recording(net, x, y, generator):
            seen.append(x)
            return objective(net, x, y, generator)

        list(train(network(plan), *images(60), recording, SETTINGS, stream(3), evaluate=lambda n: {}))
        return seen

    assert all(map(torch.equal, batches(PLAN), batches(replace(PLAN, **changes))))


@pytest.mark.parametrize("rule", ["released", "tracked"])
@pytest.mark.parametrize("after", [1, 2])
def test_temperatures_are_resumed_and_dropped_at_the_end(rule, after):
    plan = replace(PLAN, rule=rule)

    def run(stop=None, state=None, history=()):
        yielded = train(network(plan), *images(60), entangling("float32", plan), SETTINGS, stream(3),
                        evaluate=lambda n: {}, state=state, history=history)  # fmt: skip
        return list(itertools.islice(yielded, stop))[-1]

    whole, _ = run()
    part, history = run(stop=after)
    resumed, _ = run(state=part, history=history)
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    assert not torch.equal(whole["network/scaffold.values"], part["network/scaffold.values"])
    assert not any("scaffold" in name for name in final_weights(whole))


def test_below_zero_it_mixes_classes_and_above_it_parts_them():
    y, mixed = torch.arange(60) % 3, []
    x = torch.randint(0, 240, (60, *SHAPE), generator=stream(1), dtype=torch.uint8) + (y * 7).byte().view(-1, 1, 1, 1)
    for alpha in (-0.5, 0.0, 0.5):
        plan = replace(PLAN, alpha=alpha, rule="tracked")
        net, settings = network(plan), replace(SETTINGS, epochs=8)
        list(train(net, x, y, entangling("float32", plan), settings, stream(3), evaluate=lambda n: {}))
        h = activations(net.eval(), x.float() / 255, ["body"])["body"].detach()
        mixed.append(minimum_entanglement(h, y).value)
    assert mixed[0] > 1.1 * mixed[1] > 1.2 * mixed[2]
