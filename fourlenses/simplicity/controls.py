"""What simplified images are compared with: which images they are of, blur of as few bits, and each other."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from fourlenses.attacks import frozen
from fourlenses.simplicity.heuristics import blurred

BATCH = 500  # images that a network is shown together
HALVINGS = 16  # of the interval in which a blur is sought
WINDOW = 7  # pixels, of the side over which images are compared


@torch.no_grad()
def answers(network: nn.Module, x: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
    """log p(f(x)) of images as bytes, in float32 and evaluation mode, on the CPU."""
    where = next(network.parameters()).device
    with frozen(network):
        logits = [network(part.to(where).float() / 255) for part in x.split(BATCH)]
    return torch.cat(logits).log_softmax(1).cpu()


def chosen(log_p: Float[Tensor, "n classes"], y: Int[Tensor, " n"], n_images: int) -> dict[str, Int[Tensor, " m"]]:
    """Indices of the images whose class a network gets wrong, most confident first, and of as many that it gets right.

    For each wrong one the right one of the nearest confidence that is left is taken; if there is no wrong one, the most
    confident right ones are.
    Arguments: `log_p`, log p(f(x)); `y`, true classes; `n_images`, at most this many in each group "wrong" and "right".
    """
    confidence, predicted = log_p.cpu().exp().max(1)
    order = confidence.argsort(descending=True, stable=True)
    hit = (predicted == y.cpu())[order]
    wrong, right = order[~hit][:n_images], order[hit]
    if not len(wrong):
        return {"wrong": wrong, "right": right[:n_images]}
    taken: list[int] = []
    free = torch.ones(len(right), dtype=torch.bool)
    for each in confidence[wrong][: len(right)]:
        nearest = (confidence[right] - each).abs().where(free, torch.inf).argmin()
        free[nearest] = False
        taken.append(int(nearest))
    return {"wrong": wrong, "right": right[taken]}


def matched_blur(
    x: UInt8[Tensor, "n c h w"],
    wanted: Float[Tensor, " n"],
    bits: Callable[[UInt8[Tensor, "n c h w"]], Float[Tensor, " n"]],
) -> tuple[UInt8[Tensor, "n c h w"], Float[Tensor, " n"]]:
    """Images blurred until they take as few bits as wanted, and the deviations in pixels, found by bisection.

    No blur where the image itself takes no more; the height of the image where even that leaves more.
    Arguments: `wanted`, bits per dimension; `bits`, of images as bytes.
    """
    low, high = torch.zeros(len(x)), torch.full((len(x),), float(x.shape[2]))

    def blur(sigmas: Tensor) -> Tensor:
        return torch.cat([blurred(image[None], float(sigma)) for image, sigma in zip(x, sigmas, strict=True)])

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        few = bits(blur(middle)) <= wanted
        low, high = low.where(few, middle), middle.where(few, high)
    sigmas = high.where(bits(x) > wanted, 0)
    return blur(sigmas), sigmas


def similarity(x: UInt8[Tensor, "n c h w"], y: UInt8[Tensor, "n c h w"]) -> list[float]:
    """SSIM of the first image of `x` with the first of `y`, and so on: 1 for the same, about 0 for unrelated ones.

    Source: Wang et al. 2004 (scikit-image's, at its defaults).
    """
    from skimage.metrics import structural_similarity  # takes a while to import

    pairs = zip(x.cpu().numpy(), y.cpu().numpy(), strict=True)
    return [float(structural_similarity(a, b, win_size=WINDOW, channel_axis=0)) for a, b in pairs]
