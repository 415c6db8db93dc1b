"""What a table says of one layer: its entanglement, what the released formula reads, its scale and its spread."""

import torch
from jaxtyping import Float, Float64, Int, UInt8
from torch import Tensor

from fourlenses.attacks import frozen
from fourlenses.entanglement.layers import label, layers
from fourlenses.entanglement.minimum import entanglement_at, minimum_entanglement
from fourlenses.entanglement.snnl import released_loss, squared_distances
from fourlenses.entanglement.spread import inter_class_cosine, intra_class_cosine, mean_norm
from fourlenses.entanglement.temperatures import RULES, follow
from fourlenses.nets.network import Network
from fourlenses.nets.taps import activations

RELEASED_TEMPERATURE = 100.0  # at which the released example trains
STARTS = (0.01, 0.1, 1.0, 10.0, 100.0, 1000.0)  # temperatures from which the rules set out
STEPS = 100  # that each rule takes
CURVE, DECADES = 60, 6  # temperatures of a curve, and how far they reach around the mean distance


@torch.no_grad()
def representations(network: Network, x: UInt8[Tensor, "n c h w"]) -> dict[str, Float[Tensor, "n d"]]:
    """What each layer makes of images, in order of depth, flattened: `input`, the pixels in [0, 1], comes first.

    One pass in float32 and evaluation mode; layers are those of `layers`, by their `label`.
    """
    pixels = x.float() / 255
    names = layers(network)
    with frozen(network):
        outputs = activations(network, pixels.to(memory_format=torch.channels_last), names)
    return {"input": pixels.flatten(1)} | {label(name): outputs[name].flatten(1) for name in names}


def measured(x: Float[Tensor, "n d"], y: Int[Tensor, " n"]) -> dict[str, int | float]:
    """One layer's row: n, entanglement (min over T of l_sn) with its standard error se, temperature and chance level;
    at_100 and released_at_100, the loss at T = 100 exactly and as released; distance (mean squared distance of two
    points), norm, intra_cosine and inter_cosine (mean cosine distances); dropped, points alone in their class.

    Source: Frosst et al. 2019, equations 1 and 2, and its released code.
    """
    exact = x.double()
    found = minimum_entanglement(exact, y)
    at_100 = entanglement_at(x, y, torch.tensor([RELEASED_TEMPERATURE], device=x.device, dtype=torch.float64))
    return {
        "n": found.n,
        "entanglement": found.value,
        "se": found.se,
        "temperature": found.temperature,
        "chance": found.chance,
        "at_100": at_100.item(),
        "released_at_100": released_loss(x, y, RELEASED_TEMPERATURE).item(),
        "distance": mean_squared_distance(exact),
        "norm": mean_norm(exact),
        "intra_cosine": intra_class_cosine(exact, y),
        "inter_cosine": inter_class_cosine(exact, y),
        "dropped": found.dropped,
    }


def mean_squared_distance(x: Float[Tensor, "n d"]) -> float:
    """Mean of ||x_i - x_j||^2 over pairs of different points = 2 / (n - 1) sum_i ||x_i - mean||^2, in float64."""
    x = x.double()
    return 2 * (x - x.mean(0)).square().sum().item() / (len(x) - 1)


def curve(x: Float[Tensor, "n d"], y: Int[Tensor, " n"]) -> tuple[Float64[Tensor, " t"], Float64[Tensor, " t"]]:
    """CURVE temperatures, evenly spaced in log T over DECADES with the mean squared distance in the middle, and the
    loss at each."""
    reach = torch.linspace(-DECADES / 2, DECADES / 2, CURVE, dtype=torch.float64, device=x.device)
    temperatures = mean_squared_distance(x) * 10**reach
    return temperatures, entanglement_at(x, y, temperatures)


def followed(x: Float[Tensor, "n d"], y: Int[Tensor, " n"]) -> list[dict[str, object]]:
    """What each rule for the temperature reads of one fixed layer after STEPS steps from each of STARTS.

    The rule `search` is the global search, which has no start. Returns, by rule and start, the value and the
    temperature reached, and the least value at any temperature (minimum). Source: Frosst et al. 2019, equation 2.
    """
    least = minimum_entanglement(x, y)
    distances = squared_distances(x.double())
    rows = []
    for start in STARTS:
        reached = {rule: follow(rule, distances, y, start, STEPS) for rule in RULES}
        reached["search"] = least.value, least.temperature
        rows += [
            {"rule": rule, "start": start, "value": value, "temperature": temperature, "minimum": least.value}
            for rule, (value, temperature) in reached.items()
        ]
    return rows
