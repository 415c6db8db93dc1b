"""Points in the plane with random labels that move to lower their soft nearest neighbour loss."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim.adam import adam  # the function: the first torch.optim.Adam of a process imports the compiler, 1.5 s

from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.snnl import squared_distances
from fourlenses.entanglement.temperatures import exact, partners

CLASSES = 4
# Whose loss the points lower: at a fixed temperature, or (None) at the one that minimises it, anew before every step.
RULES: dict[str, float | None] = {"T=0.01": 0.01, "T=1": 1.0, "T=100": 100.0, "minimum": None}
NEAREST, FARTHEST = 1e-6, 1e2  # the limits of the minimising temperature, in mean squared distances


def scattered(n: int, generator: torch.Generator) -> tuple[Float[Tensor, "n 2"], Int[Tensor, " n"]]:
    """`n` points of a standard normal distribution in the plane and their labels, random but in equal numbers."""
    points = torch.randn(n, 2, generator=generator, device=generator.device, dtype=torch.float64)
    order = torch.randperm(n, generator=generator, device=generator.device)
    return points, order % CLASSES


def mean_distances(x: Float[Tensor, "n ..."], y: Int[Tensor, " n"]) -> tuple[float, float]:
    """Mean squared Euclidean distance of two points of one class, and of two points of different classes (NaN for
    none)."""
    distances = squared_distances(x)
    return distances[partners(y)].mean().item(), distances[y[:, None] != y].mean().item()


def nearest_neighbour_accuracy(x: Float[Tensor, "n ..."], y: Int[Tensor, " n"]) -> float:
    """Share of the points whose nearest neighbour, themselves left out, has their label."""
    nearest = squared_distances(x).fill_diagonal_(torch.inf).argmin(1)
    return (y[nearest] == y).double().mean().item()


def descend(
    points: Float[Tensor, "n d"], labels: Int[Tensor, " n"], rule: str, steps: int, lr: float, every: int = 10
) -> tuple[Float[Tensor, "n d"], list[dict[str, int | float]]]:
    """Move points by Adam down their own soft nearest neighbour loss: x <- Adam(x, dl/dx), l = l_sn(x, y, T).

    dl/dx_i = 2/T sum_j (C_ij + C_ji) (x_i - x_j) with the pull C of `temperatures.exact`. By the rule "minimum"
    T = argmin_T l_sn(x, y, T) is found before every step and is a constant in the gradient (the envelope theorem);
    where it is 0 or infinite, at which the loss has no gradient, T is NEAREST or FARTHEST mean squared distances.

    Arguments: `points`, the start; `labels`, their classes; `rule`, a key of RULES; `steps`, their number; `lr`,
    Adam's, in the units of the points; `every`, steps between two measurements.
    Returns the points at the end, and by measurement (the start and the end among them) step, temperature, loss (at
    that temperature), entanglement (the least loss at any), accuracy_1nn (leave one out), and intra and inter (mean
    squared distances within and between classes).
    Source: Frosst et al. 2019, the figure of 200 points with four random labels; its optimiser is not known.
    """
    points, same = points.clone(), partners(labels)
    mean, square, count = torch.zeros_like(points), torch.zeros_like(points), torch.zeros(())
    history = []
    for step in range(steps + 1):
        distances = squared_distances(points)
        temperature = RULES[rule] or _minimising(points, labels, distances)
        loss, pull = exact(distances, same, 1 / temperature)
        if step % every == 0 or step == steps:
            history.append({"step": step, "temperature": temperature, "loss": loss.item()} | _measured(points, labels))
        if step < steps:
            pull = 2 / temperature * (pull + pull.T)
            gradient = pull.sum(1, keepdim=True) * points - pull @ points
            adam(
                [points], [gradient], [mean], [square], [], [count], amsgrad=False, beta1=0.9, beta2=0.999, lr=lr,
                weight_decay=0.0, eps=1e-8, maximize=False,
            )  # fmt: skip
    return points, history


def _minimising(points: Tensor, labels: Tensor, distances: Tensor) -> float:
    mean = distances.sum().item() / (len(points) * (len(points) - 1))
    return min(max(minimum_entanglement(points, labels).temperature, NEAREST * mean), FARTHEST * mean)


def _measured(points: Tensor, labels: Tensor) -> dict[str, float]:
    intra, inter = mean_distances(points, labels)
    return {
        "entanglement": minimum_entanglement(points, labels).value,
        "accuracy_1nn": nearest_neighbour_accuracy(points, labels),
        "intra": intra,
        "inter": inter,
    }
