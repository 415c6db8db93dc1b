"""What an entangled network minimises: cross-entropy, and less (or more) of the soft nearest neighbor loss within."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from fourlenses.attacks import autocast
from fourlenses.entanglement.layers import layer_set
from fourlenses.entanglement.temperatures import Temperatures, partners
from fourlenses.nets.network import Network
from fourlenses.nets.taps import tapped
from fourlenses.training.objectives import Objective, standard
from fourlenses.training.recipes import Recipe


@dataclass(frozen=True)
class Plan:
    """How a network is entangled: `alpha`, the weight of the loss (below 0 it entangles); `rule`, a name in RULES;
    `layers`, a name in LAYER_SETS; `scale`, the weight of the squared norms; `shuffled`, whether the loss sees shuffled
    labels; `temperature`, that the rules "fixed" and "released" start from."""

    alpha: float
    rule: str
    layers: str
    scale: float
    shuffled: bool
    temperature: float


def entangled_recipe(plan: Plan) -> Recipe:
    """The recipe of a plan; where there is a loss of layers, their temperatures are the network's scaffold."""

    def add_temperatures(network: Network, generator: Generator) -> None:
        layers = len(layer_set(network, plan.layers))
        network.scaffold = Temperatures(plan.rule, plan.temperature, layers).to(network.head.weight.device)

    return Recipe(
        lambda precision, threat, beta: entangling(precision, plan), scaffold=add_temperatures if plan.alpha else None
    )


def entangling(precision: str, plan: Plan) -> Objective:
    """CE(f(x), y) + alpha sum_l l_sn(h_l, y, T_l) + scale sum_l mean_i ||h_l,i||^2 over the layers of a plan.

    T_l follows the plan's rule and is a constant to the gradient (at the minimum over T, that is the gradient of the
    minimum: Danskin 1967). Distances are float32 whatever the precision. With `shuffled`, the labels of the loss are
    permuted anew each epoch by a copy of the generator, so that the batches to come are those of the other networks.

    Source: Frosst et al. 2019 (arXiv:1902.01889), equation 3.
    """
    if not plan.alpha and not plan.scale:
        return standard(precision)

    def objective(
        network: nn.Module, x: Float[Tensor, "n c h w"], y: Int[Tensor, " n"], generator: Generator
    ) -> tuple[Tensor, Tensor]:
        names = layer_set(network, plan.layers)
        with autocast(x.device, precision), tapped(network, names, clone=False) as outputs:
            logits = network(x.to(memory_format=torch.channels_last)).float()
        loss = F.cross_entropy(logits, y)
        same = partners(y[_permutation(len(y), generator)] if plan.shuffled else y)
        for i, name in enumerate(names):
            h = outputs[name]
            h = (h.permute(0, 2, 3, 1) if h.ndim == 4 else h).flatten(1).float()  # maps lie so in memory: no copy
            if plan.alpha:
                loss = loss + plan.alpha * mixing(h, same, network.scaffold, i)
            if plan.scale:
                loss = loss + plan.scale * h.square().sum(1).mean()
        return loss, logits

    return objective


def mixing(
    h: Float[Tensor, "n d"], same: Bool[Tensor, "n n"], temperatures: Temperatures, layer: int
) -> Float[Tensor, ""]:
    """The soft nearest neighbor loss of a layer at its next temperature, with the temperature a constant.

    dl/dh_i = 2 sum_j (G_ij + G_ji) (h_i - h_j), with G_ij = dl/dd_ij, is L h with L one matrix of n x n: taking it here
    spares what automatic differentiation does with arrays of n x d and once more with n x n.
    """
    with torch.no_grad():
        gram = h @ h.T
        squares = gram.diagonal()
        distances = (squares[:, None] + squares - 2 * gram).clamp_(min=0)
        value, by_distance = temperatures.loss(layer, distances, same)
        laplacian = -2 * (by_distance + by_distance.T)
        laplacian.diagonal().sub_(laplacian.sum(1))
        gradient = laplacian @ h
    return Known.apply(h, value, gradient)


class Known(torch.autograd.Function):
    """A value that depends on h, with its gradient, which is known already."""

    @staticmethod
    def forward(ctx: object, h: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.save_for_backward(gradient)
        return value

    @staticmethod
    def backward(ctx: object, upstream: Tensor) -> tuple[Tensor, None, None]:
        return upstream * ctx.saved_tensors[0], None, None


def _permutation(n: int, generator: Generator) -> Int[Tensor, " n"]:
    copy = Generator(generator.device)
    copy.set_state(generator.get_state())
    return torch.randperm(n, generator=copy, device=generator.device)
