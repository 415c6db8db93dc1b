"""CKA of all pairs of layers: packed blocks and one GEMM against ckatorch's pair loop and pytorch-cka's einsum."""

import resource
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.scaling import Sides, write_scaling
from benchmarks.side_by_side import RESULTS, interleaved, record
from fourlenses import runtime
from fourlenses.similarity.grams import block, centred_gram, hsic

WIDTHS = (64, 128, 256)  # channels of the stages of WRN-28-4, whose maps are averaged
Layers = list[Tensor]  # features of one batch of images (n, p), a layer each


def main(
    repetitions: int = 3,
    layers: int = 80,
    batches: int = 10,
    examples: int = 1024,
    sampled: int = 4,
    out: Path = RESULTS,
    scaling: Path | None = None,
) -> None:
    """Time the minibatch CKA of all pairs of layers from the same activations, ours and the peers'.

    ckatorch does the same work for every pair, so it is timed on a few layers of one batch, and its time multiplied.

    Args:
        repetitions: how often each side is timed; the median counts
        layers: layers whose pairs are compared, with 64, 128 and 256 features
        batches: batches of images
        examples: images in a batch
        sampled: layers all of whose pairs in one batch ckatorch is timed on
        out: table that gets the row (CSV)
        scaling: also time ours and the einsum at other sizes, into this table (CSV) and a figure beside it
    """
    environment = runtime.environment()
    data = list(activations(layers, batches, examples, runtime.device()))
    few = data[0][:: ceil(layers / sampled)]
    times = (layers / len(few)) ** 2 * batches
    square = torch.randn(2048, 2048, device=runtime.device())
    ours(data)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if runtime.MACOS else 2**20)
    sides = {
        "ours": lambda _: ours(data),
        "einsum": lambda _: by_einsum(data),
        "pairs": lambda _: by_pairs(few),
        "square": lambda _: square @ square,
    }
    by_einsum(data[:1]), by_pairs(few[:1]), square @ square
    spent, found = interleaved(repetitions, **sides)
    share = flop(data) / spent["ours"] / (2 * len(square) ** 3 / spent["square"])
    apart = {
        "ckatorch": (ours([few]) - found["pairs"][0]).abs().max(),
        "the einsum": (found["ours"][0] - found["einsum"][0]).abs().max(),
    }
    note = (
        f"all pairs of {layers} layers of 64 to 256 features, {batches} batches of {examples}; "
        f"the peer's time is that of the pairs of {len(few)} layers in one batch, {spent['pairs']:.3g} s, "
        f"times {times:g}; pytorch-cka's einsum {spent['einsum']:.3g} s, {spent['einsum'] / spent['ours']:.2f} times "
        f"ours; {share:.0%} of the rate of a large GEMM; peak memory {memory:.1f} GiB with the activations; "
        f"largest difference of a CKA {', '.join(f'{value:.0e} to {name}' for name, value in apart.items())}"
    )
    record("cka", environment, spent["ours"], spent["pairs"] * times, "ckatorch", "s", note, out)
    if scaling:
        sizes = {"layers": [10, 20, 40, 80, 160], "batches": [1, 2, 4, 8, 16], "examples": [128, 256, 512, 1024, 2048]}
        base, names = {"layers": 40, "batches": 4, "examples": 512}, {"examples": "examples a batch"}
        write_scaling(scaling, repetitions, base, sizes, both, names=names)


def activations(layers: int, batches: int, examples: int, device: torch.device) -> Iterator[Layers]:
    """Batches of features of random layers of ReLUs, of which each follows from the last."""
    widths = [WIDTHS[i * len(WIDTHS) // layers] for i in range(layers)]
    for batch in range(batches):
        stream = runtime.generator("cka", batch, device=device)
        x, made = torch.randn(examples, widths[0], generator=stream, device=device), []
        weights = runtime.generator("weights", device=device)
        for width in widths:
            weight = torch.randn(x.shape[1], width, generator=weights, device=device) / x.shape[1] ** 0.5
            x = torch.relu(x @ weight) + 0.1 * torch.randn(examples, width, generator=stream, device=device)
            x = x / x.std()
            made.append(x)
        yield made


def ours(data: list[Layers]) -> Tensor:
    """Minibatch CKA as the stages do it, but with room for the blocks of one batch only."""
    n = len(data[0][0])
    blocks = data[0][0].new_empty(1, len(data[0]), n * (n - 1) // 2)
    total = 0
    for layers in data:
        for i, x in enumerate(layers):
            blocks[0, i] = block(centred_gram(x))
        total = total + hsic(blocks, blocks)[0]
    return normalised(total)


def normalised(total: Tensor) -> Tensor:
    """CKA from sums of HSIC over batches."""
    return total / total.diagonal().outer(total.diagonal()).sqrt()


def by_einsum(data: list[Layers]) -> Tensor:
    """pytorch-cka: three-term HSIC_1 of all pairs at once from stacked Gram matrices, in float32."""
    from cka.hsic import hsic_cross

    total = 0
    for layers in data:
        grams = torch.stack([torch.mm(x, x.T) for x in layers])
        total = total + hsic_cross(grams, grams)
    return normalised(total)


def by_pairs(layers: Layers) -> Tensor:
    """ckatorch: CKA of one batch pair by pair, from features in float64."""
    from ckatorch import cka_batch

    return torch.stack([torch.stack([cka_batch(x[None], y[None]) for y in layers]) for x in layers])


def flop(data: list[Layers]) -> int:
    """Of Gram matrices and of the products of their triangles, 2 for each multiplication."""
    n = len(data[0][0])
    grams = sum(2 * n * n * x.shape[1] for layers in data for x in layers)
    return grams + sum(len(layers) ** 2 * n * (n - 1) for layers in data)


def both(layers: int, batches: int, examples: int) -> Sides:
    """Ours and the einsum of as many activations."""
    data = list(activations(layers=layers, batches=batches, examples=examples, device=runtime.device()))
    return {"ours": lambda _: ours(data), "einsum": lambda _: by_einsum(data)}


if __name__ == "__main__":
    runtime.run(main)
