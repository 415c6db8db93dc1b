"""The soft nearest neighbor loss of many points: distances in tiles, each pair once, against the released formula."""

import resource
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.scaling import Sides, write_scaling
from benchmarks.side_by_side import RESULTS, interleaved, record, seconds
from fourlenses import runtime
from fourlenses.entanglement.minimum import entanglement_at, minimum_entanglement

CLASSES = 10
WATCHED = 500  # points whose best temperature is looked for while a network is trained


def main(
    repetitions: int = 5,
    points: int = 4096,
    features: int = 4096,
    many: int = 60_000,
    few_features: int = 1024,
    out: Path = RESULTS,
    scaling: Path | None = None,
) -> None:
    """Time the loss at one temperature, forward, ours and the released formula in plain torch, both in float32.

    Args:
        repetitions: how often each side is timed; the median counts
        points: points that both sides see
        features: of each of these
        many: points that ours alone sees, once; the peer's matrices would take 14 GB each
        few_features: of each of these
        out: table that gets the row (CSV)
        scaling: also time both at other sizes, into this table (CSV) and a figure beside it
    """
    environment = runtime.environment()
    data = mixture(many, few_features)
    spent_large, large = seconds(lambda: ours(*data))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if runtime.MACOS else 2**20)
    x, y, temperature = mixture(points, features)
    watched = mixture(WATCHED, 64)
    sides = {
        "ours": lambda _: ours(x, y, temperature),
        "released": lambda _: released(x, y, temperature),
        "minimum": lambda _: minimum_entanglement(*watched[:2]).value,
    }
    interleaved(1, **sides)
    spent, found = interleaved(repetitions, **sides)
    exact = ours(x.double(), y, temperature)
    note = (
        f"loss of {points} points with {features} features in float32 at one temperature, forward; difference to "
        f"float64 {abs(found['ours'][0] - exact):.0e}, peer {abs(found['released'][0] - exact):.0e}; "
        f"of {many} points with {few_features} features {large:.3f} in {spent_large:.3g} s, peak memory {memory:.1f} "
        f"GiB with the points; least loss over all temperatures of {WATCHED} points {1000 * spent['minimum']:.0f} ms"
    )
    record("snnl", environment, spent["ours"], spent["released"], "the released formula", "s", note, out)
    if scaling:
        sizes = {"points": [512, 1024, 2048, 4096, 8192], "features": [64, 256, 1024, 4096]}
        write_scaling(scaling, repetitions, {"points": 2048, "features": 1024}, sizes, both)


def mixture(points: int, features: int) -> tuple[Tensor, Tensor, float]:
    """Points around the middles of ten classes that overlap, their classes, and their mean distance as a temperature.

    At temperatures far below it the released formula takes logarithms of negative numbers.
    """
    stream = runtime.generator("snnl", points, features, device=runtime.device())
    y = torch.randint(CLASSES, (points,), generator=stream, device=stream.device)
    x = torch.randn(points, features, generator=stream, device=stream.device)
    x += 0.1 * torch.randn(CLASSES, features, generator=stream, device=stream.device)[y]
    return x, y, 2.02 * features


def ours(x: Tensor, y: Tensor, temperature: float) -> float:
    """The loss as it is measured."""
    return float(entanglement_at(x, y, torch.tensor([temperature], dtype=torch.float64)))


def released(x: Tensor, y: Tensor, temperature: float) -> float:
    """cleverhans 3.1.0, SNNLCrossEntropy.SNNL, line by line in torch."""
    squares = x.square().sum(1)
    distances = squares[None] + squares[:, None] - 2 * x @ x.T
    weights = torch.exp(-(distances / temperature)) - torch.eye(len(x), device=x.device)
    probabilities = weights / (1e-5 + weights.sum(1)[:, None])
    same = (y[:, None] == y[None]).float()
    return float(torch.mean(-torch.log(1e-5 + (probabilities * same).sum(1))))


def both(points: int, features: int) -> Sides:
    """Ours and the released loss of as many points."""
    data = mixture(points, features)
    return {"ours": lambda _: ours(*data), "released": lambda _: released(*data)}


if __name__ == "__main__":
    runtime.run(main)
