"""Gradients of few and of many images: their distance, and the price of bits."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from fourlenses.nets import build
from fourlenses.nets.glow import build_glow
from fourlenses.simplicity.bits import bits_per_dimension
from fourlenses.simplicity.matching import Student, class_by_class, class_gradients, match_distance, objective

SHAPE = (1, 8, 8)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(architecture: str = "convnet", widths: tuple = (4, 4, 4)) -> torch.nn.Module:
    return build(architecture, widths=widths, n_classes=3, image_shape=SHAPE, generator=stream()).double()


def rows_apart(a: torch.Tensor, b: torch.Tensor) -> float:
    """1 - cosine of every output row, added up by a loop."""
    total = 0.0
    for u, v in zip(a.reshape(len(a), -1).tolist(), b.reshape(len(b), -1).tolist(), strict=True):
        product = sum(i * j for i, j in zip(u, v, strict=True))
        total += 1 - product / (math.hypot(*u) * math.hypot(*v) + 1e-6)
    return total


@pytest.mark.parametrize("architecture, widths", [("convnet", (4, 4, 4)), ("groupnorm", (4, 4, 4, 4))])
def test_gradients_are_those_of_every_class_alone(architecture, widths) -> None:
    network = net(architecture, widths)
    parameters, x = dict(network.named_parameters()), torch.rand(3, 5, *SHAPE, dtype=torch.float64)
    together, one_by_one = class_gradients(network, parameters, x), class_by_class(network, parameters, list(x))
    for c in range(3):
        loss = F.cross_entropy(network(x[c]), torch.full((5,), c))
        alone = torch.autograd.grad(loss, list(parameters.values()))
        for name, expected in zip(parameters, alone, strict=True):
            torch.testing.assert_close(together[name][c], expected)
            torch.testing.assert_close(one_by_one[name][c], expected)


def test_distance_is_a_sum_of_cosines_over_the_rows_of_weights() -> None:
    shapes = {"conv": (4, 2, 3, 3), "norm": (4,), "head": (3, 5), "bias": (3,)}
    real, few = ({name: torch.randn(2, *shape, generator=stream(i)).double() for i, (name, shape) in
                  enumerate(shapes.items(), start)} for start in (0, 9))  # fmt: skip
    found = match_distance(real, few)
    for c in range(2):
        expected = sum(rows_apart(real[name][c], few[name][c]) for name in ("conv", "head"))
        torch.testing.assert_close(float(found[c]), expected)


def test_distance_of_hand_made_rows() -> None:
    real = {"w": torch.tensor([[[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]])}
    few = {"w": torch.tensor([[[3.0, 0.0], [0.0, -1.0], [1.0, -1.0]]])}
    torch.testing.assert_close(match_distance(real, few), torch.tensor([0.0 + 2.0 + 1.0]), atol=1e-5, rtol=0)


@given(scale=st.floats(0.1, 100), seed=st.integers(0, 99))
def test_distance_does_not_see_the_length_of_a_gradient(scale, seed) -> None:
    a, b = torch.randn(2, 2, 3, 4, generator=stream(seed)).double()
    apart = match_distance({"w": a}, {"w": b})
    torch.testing.assert_close(match_distance({"w": a}, {"w": scale * b}), apart, atol=1e-3, rtol=0)
    assert (apart >= 0).all() and (apart <= 6).all()


def test_rows_without_gradient_are_far_and_give_none() -> None:
    few = torch.zeros(1, 2, 3, requires_grad=True)
    apart = match_distance({"w": torch.ones(1, 2, 3)}, {"w": few})
    apart.sum().backward()
    assert apart.item() == 2 and torch.isfinite(few.grad).all()


def test_objective_weighs_bits_against_the_match() -> None:
    distances, bpd = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([4.0, 8.0])
    assert objective(distances, bpd, 0.0) == 180 == objective(distances, bpd * math.nan, 0.0)
    torch.testing.assert_close(objective(distances, bpd, 9.0), torch.tensor((180 + 108) / 10.0))


def test_gradient_with_respect_to_the_images_is_that_of_finite_differences() -> None:
    network = net("groupnorm", (4, 4, 4, 4))
    glow = build_glow(SHAPE, n_scales=2, depth=1, width=4, coupling="affine", generator=stream(5)).double()
    x, noise = torch.rand(3, 1, *SHAPE).double(), torch.rand(3, *SHAPE).double()
    parameters = Student(network).parameters
    real = class_by_class(network, parameters, list(torch.rand(3, 4, *SHAPE).double()))

    def loss(x: torch.Tensor) -> torch.Tensor:
        distances = match_distance(real, class_gradients(network, parameters, x))
        return objective(distances, bits_per_dimension(glow, x.flatten(0, 1), noise), 10.0)

    (slope,) = torch.autograd.grad(loss(x.requires_grad_()), x)
    x = x.detach()
    for _ in range(3):
        direction = torch.randn_like(x)
        numeric = (loss(x + 1e-6 * direction) - loss(x - 1e-6 * direction)) / 2e-6
        torch.testing.assert_close((slope * direction).sum(), numeric, rtol=1e-3, atol=1e-5)


def test_a_student_learns_as_torch_has_it() -> None:
    network, x = net(), torch.rand(3, 2, *SHAPE, generator=stream()).double()
    student = Student(network)
    student.learn(x, 2)
    student.learn(x, 1)
    sgd = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.5)
    for _ in range(3):
        sgd.zero_grad()
        F.cross_entropy(network(x.flatten(0, 1)), torch.tensor([0, 0, 1, 1, 2, 2])).backward()
        sgd.step()
    for name, expected in network.named_parameters():
        torch.testing.assert_close(student.parameters[name], expected.detach())
