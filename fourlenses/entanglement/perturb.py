"""Small changes of images that mislead a network, and how the directions of these changes cluster."""

import torch
from jaxtyping import Float, Float32, Int, UInt8
from torch import Tensor

from fourlenses.attacks import cross_entropy, frozen, projected_gradient
from fourlenses.entanglement.snnl import squared_distances
from fourlenses.nets.network import Network

ATTACKS = ("fgsm", "bim", "pgd", "fgsm-targeted", "bim-targeted", "pgd-targeted")
BATCH = 500  # images that a network is shown together


def other_classes(labels: Int[Tensor, " n"], n_classes: int, generator: torch.Generator) -> Int[Tensor, " n"]:
    """A class for each image that is not its own, each of the others as likely: the targets of targeted attacks."""
    drawn = torch.randint(1, n_classes, labels.shape, generator=generator, device=generator.device)
    return (labels + drawn.to(labels.device)) % n_classes


def attack(
    network: Network,
    x: Float[Tensor, "n c h w"],
    labels: Int[Tensor, " n"],
    name: str,
    eps: float,
    steps: int,
    targets: Int[Tensor, " n"],
    generator: torch.Generator,
    precision: str = "float32",
) -> Float[Tensor, "n c h w"]:
    """Images within `eps` of `x` in the maximum norm that the network is to take for another class.

    With J the cross-entropy with the label (minus that with the target, if targeted), and clipping to the ball and to
    [0, 1] after every step:
        fgsm  x + eps sign(dJ/dx)
        bim   x <- x + eps/5 sign(dJ/dx), `steps` times from the image
        pgd   x <- x + 2.5 eps/steps sign(dJ/dx), `steps` times from a random start; the step of largest J
    Arguments: `x`, images in [0, 1]; `name`, one of ATTACKS; `eps`, in pixels of [0, 1]; `steps`, of bim and pgd;
    `targets`, the classes of targeted attacks; `generator`, of random starts; `precision`, "float32" or "bfloat16".
    Source: Goodfellow et al. 2015 (arXiv:1412.6572), Kurakin et al. 2017 (arXiv:1607.02533), Madry et al. 2018
    (arXiv:1706.06083); Frosst et al. 2019 attack by the first two.
    """
    kind, _, targeted = name.partition("-")
    random = kind == "pgd"
    step_size = {"fgsm": eps, "bim": eps / 5, "pgd": 2.5 * eps / steps}[kind]
    wanted = targets if targeted else labels
    found = []
    with frozen(network):
        for images, classes in zip(x.split(BATCH), wanted.split(BATCH), strict=True):
            found.append(
                projected_gradient(
                    cross_entropy(network, classes, precision),
                    images,
                    norm="linf",
                    eps=eps,
                    step_size=step_size,
                    steps=1 if kind == "fgsm" else steps,
                    targeted=bool(targeted),
                    generator=generator if random else None,
                    best=random,
                )
            )
    return torch.cat(found)


def to_bytes(x: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Images in [0, 1] as an image file holds them, each value rounded to one of 256."""
    return (255 * x).round().byte()


@torch.no_grad()
def predictions(network: Network, x: UInt8[Tensor, "n c h w"]) -> UInt8[Tensor, " n"]:
    """The class that a network gives each image, in float32 and evaluation mode."""
    with frozen(network):
        logits = [network((part.float() / 255).to(memory_format=torch.channels_last)) for part in x.split(BATCH)]
    return torch.cat(logits).argmax(1).byte()


def sign_gradients(network: Network, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"]) -> Float32[Tensor, "n c*h*w"]:
    """sign(d CE(f(x), y) / dx) of every image, flattened: the direction of a step of fgsm (minus it, for targets `y`).

    Values are -1, 1, and 0 where a pixel has no influence. Arguments: `x`, images in [0, 1]; `y`, labels or targets.
    Source: Frosst et al. 2019, released code (the figure of adversarial gradients).
    """
    found = []
    with frozen(network):
        for images, classes in zip(x.split(BATCH), y.split(BATCH), strict=True):
            images = images.detach().clone().requires_grad_(True)
            (gradient,) = torch.autograd.grad(cross_entropy(network, classes)(images).sum(), images)
            found.append(gradient.sign().flatten(1))
    return torch.cat(found)


def purity(x: Float[Tensor, "n ..."], y: Int[Tensor, " n"], k: int = 5) -> float:
    """Mean share of the `k` nearest neighbours of a vector that have its label; of equally near ones the first count.

    1 where classes form clusters; `chance_purity` where labels mean nothing. Raises ValueError for fewer than k + 1
    vectors.
    """
    if len(y) <= k:
        raise ValueError(f"{len(y)} vectors have no {k} neighbours each")
    order = squared_distances(x.double()).fill_diagonal_(torch.inf).argsort(dim=1, stable=True)
    return (y[order[:, :k]] == y[:, None]).double().mean().item()


def chance_purity(y: Int[Tensor, " n"]) -> float:
    """The mean purity of these labels in random order: mean over i of (n_i - 1) / (n - 1), n_i of the label of i."""
    sizes = y.bincount()[y].double()
    return ((sizes - 1) / (len(y) - 1)).mean().item()


def embedding(x: Float[Tensor, "n d"]) -> Float[Tensor, "n 2"]:
    """A map of vectors in the plane by t-SNE, always from the same random start.

    Perplexity 30, or a third of the other vectors where these are fewer than 90. Source: van der Maaten and Hinton
    2008 (scikit-learn's, at its defaults of 2019: random start); Frosst et al. 2019, released code.
    """
    from sklearn.manifold import TSNE  # takes a second to import

    tsne = TSNE(perplexity=min(30.0, (len(x) - 1) / 3), init="random", random_state=0)
    return torch.from_numpy(tsne.fit_transform(x.cpu().numpy()))
