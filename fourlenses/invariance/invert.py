"""Identically represented inputs (IRIs): images that a network represents as it represents a target."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from fourlenses.attacks import autocast, frozen, projected_gradient
from fourlenses.invariance.fourier import decode, encode, step_length
from fourlenses.invariance.losses import (
    REGULARIZERS,
    Context,
    Regularizer,
    random_transform,
    refuse_zero,
    representation_error,
)
from fourlenses.invariance.perceptual import TrunkDistance
from fourlenses.nets import Network
from fourlenses.nets.backward import BACKWARD
from fourlenses.nets.folding import folded


@dataclass(frozen=True)
class Settings:
    """`steps` normalised gradient steps, from `step_l2` (pixels of [0, 1]) falling to 0, gradients in `precision`."""

    steps: int
    step_l2: float
    precision: str


def invert(
    network: Network,
    targets: Float[Tensor, "n c h w"],
    seed_image: Float[Tensor, "c h w"],
    distance: TrunkDistance,
    settings: Settings,
    *,
    transforms: bool,
    regularizer: str | None,
    weight: float,
    fourier: bool = False,
    backward: str = "exact",
    generator: torch.Generator,
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, " n"]]:
    """IRIs of the targets, started at one seed image, and the representation error L_free that each reached.

    L(x) = L_free(T(x)) + lambda R(x), minimised by x <- clip(x - eta_k grad L / ||grad L||, 0, 1); the best iterate of
    each image is kept, by L with T the identity. Every term sees the image that the network normalises itself.
    lambda = weight * mean L_free(x_0) / mean max(|R(x_0)|, |R(x_t)|) for a balanced regularizer: at weight 1 both terms
    are equally large over all targets together. lambda = weight for one with coefficients of its own.

    Arguments: `targets` and `seed_image` in [0, 1]; `distance`, the perceptual distance that a regularizer may use;
    `transforms`, whether T is random; `regularizer`, a name in REGULARIZERS or None; `weight`, >= 0; `fourier`, descend
    on the image's Fourier coefficients instead, without a clip, from the seed image clipped to [0.02, 0.98];
    `backward`, a name in BACKWARD: the rule of grad L, whose values stay the network's; `generator`, for T.
    Returns float32 images in [0, 1] and errors, both recomputed in float32. Raises FloatingPointError if a loss is
    not finite; UserError if the architecture cannot take the backward rule.
    Source: Nanda et al. 2023 (released code, LPNormLossSingleModel), sections 2.1 to 2.7 of our spec.
    """
    seeds = seed_image.expand_as(targets).contiguous()
    fast = BACKWARD[backward](folded(network))

    def represent(x: Tensor) -> Tensor:
        with autocast(x.device, settings.precision):
            g = fast.features(x.to(memory_format=torch.channels_last))
        return g.float()

    def image(point: Tensor) -> Tensor:
        return decode(point.unflatten(3, (-1, 2)), targets.shape[3]) if fourier else point

    with frozen(network):
        with torch.no_grad():
            wanted = network.features(targets)
            refuse_zero(wanted)
            to_target, to_seed = distance.reference(targets), distance.reference(seeds)
        context = Context(targets, seeds, lambda x: distance.to(x, to_target), lambda x: distance.to(x, to_seed))
        penalty = REGULARIZERS[regularizer] if regularizer else None
        balance = weight * _balance(network, penalty, context, wanted) if penalty else 0.0

        def total(x: Tensor, seen: Tensor) -> Tensor:
            value = representation_error(represent(seen), wanted)
            if penalty is None:
                return value
            with autocast(x.device, settings.precision):
                return value + balance * penalty.function(x, context).float()

        def loss(point: Tensor) -> Tensor:
            x = image(point)
            return total(x, random_transform(x, generator) if transforms else x)

        def score(point: Tensor) -> Tensor:
            x = image(point)
            return total(x, x)

        best = projected_gradient(
            loss,
            encode(seeds).flatten(3) if fourier else seeds,
            norm="spectrum" if fourier else "unconstrained",
            eps=0.0,
            step_size=step_length(targets.shape[1:], settings.step_l2) if fourier else settings.step_l2,
            steps=settings.steps,
            targeted=True,
            decay=True,
            score=score if transforms else None,
        )
        with torch.no_grad():
            found = image(best)
            return found, representation_error(network.features(found), wanted)


@torch.no_grad()
def _balance(network: Network, penalty: Regularizer, context: Context, wanted: Tensor) -> float:
    """mean L_free(x_0) / mean max(|R(x_0)|, |R(x_t)|), or 1 for a regularizer with coefficients of its own."""
    if not penalty.balanced:
        return 1.0
    start = representation_error(network.features(context.seeds), wanted).mean()
    ends = (penalty.function(x, context).abs() for x in (context.seeds, context.targets))
    scale = torch.maximum(*ends).mean()
    return float(start / scale)


@torch.no_grad()
def null_errors(network: Network, images: Float[Tensor, "n c h w"], batch: int = 500) -> Float[Tensor, " pairs"]:
    """||g(x_i) - g(x_j)|| / ||g(x_j)|| over all ordered pairs of different images: what "not identical" looks like.

    The null of the matched-error rule, in the spirit of Feather et al. 2023; float64. Raises ValueError if a
    representation is zero.
    """
    with frozen(network):
        g = torch.cat([network.features(part) for part in images.split(batch)]).double()
    norm = g.norm(dim=1)
    if (norm == 0).any():
        raise ValueError("an image's representation is zero: the relative error to it is undefined")
    errors = torch.cdist(g, g) / norm
    return errors[~torch.eye(len(g), dtype=torch.bool, device=g.device)]


def pick_targets(
    labels: Int[Tensor, " n"], n_targets: int, n_classes: int, generator: torch.Generator
) -> Int[Tensor, " n_targets"]:
    """Indices of class-balanced targets, the same for every network of a study.

    Class k gives n_targets / n_classes images, the first classes one more if that is no whole number. Raises
    ValueError when a class has too few.
    """
    order = torch.randperm(len(labels), generator=generator)
    chosen = []
    for k in range(n_classes):
        quota = n_targets // n_classes + (k < n_targets % n_classes)
        of_class = order[labels[order] == k][:quota]
        if len(of_class) < quota:
            raise ValueError(f"class {k} has {len(of_class)} test images, but {quota} targets are wanted")
        chosen.append(of_class)
    return torch.cat(chosen)
