"""Retraining: a classifier that has seen nothing but the images it is given."""

import pytest
import torch

from fourlenses.simplicity.retrain import LEAST_DEVIATION, retrain, right_answers
from fourlenses.training.evaluate import accuracy

SHAPE = (1, 8, 8)


def streams(*purpose: object, device: str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(len(str(purpose)))


def striped(n: int = 150, faint: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    y = torch.arange(n) % 3
    stripes = (torch.arange(8).view(1, 8) // (y.view(n, 1) + 1) % 2).view(n, 1, 1, 8)
    noise = torch.randint(0, 60, (n, *SHAPE), generator=torch.Generator().manual_seed(1))
    return (20 + faint * (100 * stripes + noise)).round().byte(), y


def trained(x: torch.Tensor, y: torch.Tensor, epochs: int = 50, **changed: object) -> torch.nn.Module:
    usual = {"architecture": "groupnorm", "widths": [8, 8, 8, 8], "epochs": epochs, "crop_padding": 0, "flip": False}
    return retrain(x, y, 3, precision="float32", streams=streams, **usual | changed)


def test_learns_what_the_images_show_and_nothing_from_shuffled_labels() -> None:
    x, y = striped()
    network = trained(x, y)
    assert not network.training and accuracy(network, x.float() / 255, y).value > 0.9
    chance = trained(x, y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))])
    assert accuracy(chance, x.float() / 255, y).value < 0.7


def test_inputs_are_standardised_by_the_images_or_by_those_given() -> None:
    x, y = striped(faint=0.1)
    other, _ = striped()
    own, given = trained(x, y, 1), trained(x, y, 1, standardise=other)
    pixels = x.float() / 255
    assert own.normalize.std.flatten().tolist() == pytest.approx([float(pixels.std())])
    assert own.normalize.mean.flatten().tolist() == pytest.approx([float(pixels.mean())])
    assert given.normalize.std.flatten().tolist() == pytest.approx([float((other.float() / 255).std())])
    assert not torch.equal(own.head.weight, given.head.weight)


def test_images_that_were_simplified_to_nothing_leave_guessing() -> None:
    _, y = striped()
    blank = torch.zeros(len(y), *SHAPE, dtype=torch.uint8)
    network = trained(blank, y, 2)
    assert network.normalize.std.flatten().tolist() == pytest.approx([LEAST_DEVIATION])
    assert right_answers(network, blank, y).float().mean() == pytest.approx(1 / 3)


def test_the_streams_alone_decide_and_the_global_one_stays() -> None:
    x, y = striped()
    rng = torch.random.get_rng_state()
    first, again = trained(x, y, 2), trained(x, y, 2)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    other = retrain(
        x, y, 3, architecture="groupnorm", widths=[8, 8, 8, 8], epochs=2, crop_padding=0, flip=False,
        precision="float32", streams=lambda *_, device="cpu": torch.Generator(device).manual_seed(99),
    )  # fmt: skip
    assert not torch.equal(first.head.weight, other.head.weight)
    assert torch.equal(torch.random.get_rng_state(), rng)


def test_fewer_images_than_a_batch_are_one_batch() -> None:
    x, y = striped(9)
    assert trained(x, y, 2).head.out_features == 3


def test_right_answers_are_those_of_accuracy_in_any_batch_and_leave_the_mode() -> None:
    x, y = striped()
    network = trained(x, y, 1).train()
    right = right_answers(network, x, y, batch=7)
    assert right.dtype == torch.uint8 and network.training
    assert torch.equal(right, right_answers(network, x, y))
    assert float(right.double().mean()) == pytest.approx(accuracy(network, x.float() / 255, y).value)
