"""The layers of a network at which classes are mixed or told apart, and the sets of them that an objective looks at."""

import math

from fourlenses.nets.network import Network

LAYER_SETS = ("first-half", "hidden", "penultimate", "logits")


def layers(network: Network) -> list[str]:
    """The layers of a network in order of depth: its stages, its body (the penultimate representation), its head (the
    logits)."""
    return [*network.stages, "body", "head"]


def layer_set(network: Network, name: str) -> list[str]:
    """The layers from the first on, up to and including those that a name in LAYER_SETS says.

    "first-half" is the first half of the stages, rounded up; "hidden", all stages; "penultimate", these and the body;
    "logits", all layers.
    """
    n = len(network.stages)
    count = dict(zip(LAYER_SETS, (math.ceil(n / 2), n, n + 1, n + 2), strict=True))[name]
    return layers(network)[:count]


def label(layer: str) -> str:
    """What a layer is called in tables: "penultimate" for the body, "logits" for the head, a stage without "body."."""
    return {"body": "penultimate", "head": "logits"}.get(layer, layer.removeprefix("body."))
