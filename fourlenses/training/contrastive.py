"""SimCLR: representations that keep two views of an image together, with or without adversarial views."""

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fourlenses import processes
from fourlenses.attacks import Stream, autocast
from fourlenses.nets.folding import Shadow
from fourlenses.nets.network import Network
from fourlenses.training.objectives import Objective, Threat
from fourlenses.training.trades import ascend

DEVIATION = 1e-5  # of the noise at an attack's start: the distance has no gradient at the view itself


class Projector(nn.Module):
    """h = p(g) / ||p(g)||_2 with p = Linear(m, m), batch normalisation, ReLU, Linear(m, 128) without bias.

    Source: Chen et al., ICML 2020, section 4.2; the sizes are those of Nanda et al. 2023, code.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True)
        self.layers = nn.Sequential(*hidden, nn.Linear(width, 128, bias=False))

    def forward(self, g: Float[Tensor, "n m"]) -> Float[Tensor, "n 128"]:
        return F.normalize(self.layers(g).float(), dim=1)


def add_projector(network: Network, generator: Generator) -> None:
    """Give `network` a projector on its representation, with torch's usual weights drawn from `generator` alone."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network.scaffold = Projector(network.head.in_features).to(network.head.weight.device)


def nt_xent(a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], temperature: float = 0.5) -> Float[Tensor, ""]:
    """Normalised temperature-scaled cross-entropy of n pairs, each projection against the 2n - 1 others.

    mean_i -log( exp(z_i . z_j(i) / T) / sum_{k != i} exp(z_i . z_k / T) ) over the 2n rows of z = [a; b], j(i) the
    partner of i; the term k = i is left out, where the original subtracts e^{1/T} from the sum.

    Arguments: `a` and `b`, rows of length 1, row i of one the partner of row i of the other; `temperature`, above 0.
    Returns the loss in nats.
    Source: Chen et al., ICML 2020, equation 1.
    """
    z = torch.cat([a, b])
    n = len(a)
    similarity = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(similarity, torch.arange(2 * n, device=z.device).roll(n))


def contrastive(precision: str) -> Objective:
    """NT-Xent of the projections of two views, and a linear probe trained beside it.

    The images of a batch are n views, then their n partners, for n labels. The probe is the network's head: it learns
    by cross-entropy on representations through which no gradient reaches the body. The logits returned are the probe's,
    (2n, classes). Source: Chen et al., ICML 2020; Nanda et al., AAAI 2023, code.
    """

    def objective(
        network: nn.Module, x: Float[Tensor, "views c h w"], y: Int[Tensor, " n"], generator: Stream
    ) -> tuple[Tensor, Tensor]:
        with autocast(x.device, precision):
            g = network.features(x.to(memory_format=torch.channels_last))
            h = network.scaffold(g)
            logits = network.head(g.detach()).float()
        return nt_xent(*map(processes.gathered, h.chunk(2))) + F.cross_entropy(logits, y.repeat(2)), logits

    return objective


def contrastive_adversarial(precision: str, threat: Threat) -> Objective:
    """`contrastive` on adversarial views only: each view x becomes the x + delta that moves its projection the most.

    delta maximises ||h(x + delta) - h(x)||_2 / ||h(x)||_2 in the ball, where ||h(x)||_2 = 1. The attack starts at
    x + N(0, 1e-5), and its steps are 2.5 eps / steps long; it looks at the network in evaluation mode (the original's
    updates the statistics of batch normalisation).
    Source: Nanda et al., AAAI 2023, code.
    """
    shadow = Shadow(precision)
    learn = contrastive(precision)

    def objective(
        network: nn.Module, x: Float[Tensor, "views c h w"], y: Int[Tensor, " n"], generator: Stream
    ) -> tuple[Tensor, Tensor]:
        copy = shadow.of(network)
        with torch.no_grad():
            h = copy.scaffold(copy.features(x))

        def moved(z: Tensor) -> Tensor:
            return (copy.scaffold(copy.features(z)) - h).norm(dim=1)

        step_size = 2.5 * threat.eps / threat.steps
        return learn(network, ascend(moved, x, threat, step_size, DEVIATION, generator), y, generator)

    return objective
