"""Disjoint, class-balanced samples of a data set."""

from collections.abc import Mapping

import torch
from jaxtyping import Int64
from torch import Generator, Tensor

from fourlenses.errors import UserError
from fourlenses.images.dataset import Images


def split(parts: Mapping[str, Images], sizes: Mapping[str, int], generator: Generator) -> dict[str, Images]:
    """Draw disjoint samples of the wanted sizes, each with the classes as equal as the data set allows.

    The sample "test" comes from the part "test" where there is one, every other sample from the remaining parts. The
    classes of all the samples of one part together are equal up to one image, unless a class has too few, whose place
    the others then take; each sample has that mixture up to rounding, by the largest remainder.

    Arguments: `parts`, the data set; `sizes`, images of each sample, from 0; `generator`, a random stream on the CPU.
    Returns the samples under the names in `sizes`, each in random order.
    Raises UserError if there are fewer images than wanted.
    """
    has_test = "test" in parts and len(parts) > 1
    pools = {
        "test": (parts["test"] if has_test else None, [s for s in sizes if s == "test" and has_test]),
        "rest": (_join([p for name, p in parts.items() if not (has_test and name == "test")]), []),
    }
    pools["rest"][1].extend(s for s in sizes if s not in pools["test"][1])
    samples = {}
    for pool, names in pools.values():
        if pool is not None:
            samples |= _draw(pool, {name: sizes[name] for name in names}, generator)
    return {name: samples[name] for name in sizes}


def _draw(pool: Images, sizes: Mapping[str, int], generator: Generator) -> dict[str, Images]:
    wanted = sum(sizes.values())
    if wanted > len(pool):
        given = " + ".join(f"{name} {n}" for name, n in sizes.items())
        raise UserError(f"{given} = {wanted} images are wanted", f"at most {len(pool)}", "make fetch.n_* smaller")
    counts = torch.bincount(pool.y)
    left = _equal_shares(wanted, counts)
    queues = [(pool.y == k).nonzero()[:, 0] for k in range(len(counts))]
    queues = [queue[torch.randperm(len(queue), generator=generator)] for queue in queues]
    samples = {}
    for name, size in sizes.items():
        quotas = apportion(size, left)
        left = left - quotas
        chosen = torch.cat([queue[:q] for queue, q in zip(queues, quotas.tolist(), strict=True)])
        queues = [queue[q:] for queue, q in zip(queues, quotas.tolist(), strict=True)]
        chosen = chosen[torch.randperm(len(chosen), generator=generator)]
        samples[name] = Images(pool.x[chosen], pool.y[chosen])
    return samples


def apportion(total: int, weights: Int64[Tensor, " k"]) -> Int64[Tensor, " k"]:
    """Divide `total` into whole parts in proportion to `weights`, by the largest remainder.

    q_k = floor(total w_k / sum w), and one more for the largest remainders, ties to the lower index.
    Arguments: `total`, from 0 to the sum of the weights; `weights`, from 0. Returns parts that sum to `total`, none of
    them larger than its weight.
    """
    whole = int(weights.sum())
    if total == 0 or whole == 0:
        return torch.zeros_like(weights)
    quotas = total * weights // whole
    remainders = total * weights % whole
    first = torch.argsort(remainders, descending=True, stable=True)[: total - int(quotas.sum())]
    quotas[first] += 1
    return quotas


def _equal_shares(total: int, counts: Int64[Tensor, " k"]) -> Int64[Tensor, " k"]:
    """Equal whole parts that sum to `total`, none larger than its count; what a small class lacks the others give."""
    shares = torch.zeros_like(counts)
    while int(shares.sum()) < total:
        open_ = (counts > shares).nonzero()[:, 0]
        missing = total - int(shares.sum())
        step = missing // len(open_)
        if step == 0:
            shares[open_[:missing]] += 1
        else:
            shares[open_] = torch.minimum(counts[open_], shares[open_] + step)
    return shares


def _join(parts: list[Images]) -> Images:
    if len(parts) == 1:
        return parts[0]
    return Images(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))
