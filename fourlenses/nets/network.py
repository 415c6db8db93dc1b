"""The one interface of every network here: normalisation, body, linear head."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fourlenses.errors import UserError


class Normalize(nn.Module):
    """n(x) = (x - mean) / std per channel, for pixels in [0, 1].

    Arguments: `mean` and `std`, one number per channel in pixel units, std > 0; numbers rather than sequences apply to
    every channel of `channels`.
    """

    def __init__(self, mean: float | Sequence[float], std: float | Sequence[float], channels: int) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            per_channel = torch.as_tensor(value, dtype=torch.float32, device="cpu").flatten()
            if per_channel.numel() not in (1, channels):
                raise UserError(f"{per_channel.numel()} values of {name}", f"one or {channels} (one per channel)",
                                "give the channel statistics of the images that the network sees")
            self.register_buffer(name, per_channel.expand(channels).reshape(1, channels, 1, 1).clone())
        if not bool((self.std > 0).all()):
            raise UserError(f"std {self.std.flatten().tolist()}", "numbers above 0", "check for a constant channel")

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return (x - self.mean) / self.std


class Network(nn.Module):
    """A classifier f(x) = head(g(x)) with g(x) = body(n(x)) the penultimate representation.

    Arguments: `architecture`, its name in NETWORKS; `normalize`, its first module; `body`, a module from images to
    (n, m) representations; `head`, the linear layer from m to classes; `stages`, the layers in order of depth whose
    outputs are spatial maps (used by perceptual distances); `image_shape`, (channels, height, width);
    `straight_through`, whether `body` takes `fake_relu`; `head_name`, the name of the head in the original model that
    the body was cut from, for converters ("" when there is none).
    """

    def __init__(self, architecture: str, normalize: nn.Module, body: nn.Module, head: nn.Module, *,
                 stages: tuple[str, ...], image_shape: tuple[int, int, int], straight_through: bool = False,
                 head_name: str = "") -> None:
        super().__init__()
        self.architecture = architecture
        self.normalize, self.body, self.head = normalize, body, head
        self.stages, self.image_shape = stages, tuple(image_shape)
        self.straight_through, self.head_name = straight_through, head_name
        self.scaffold: nn.Module | None = None  # what only its training needs, such as a projector

    def features(self, x: Float[Tensor, "n c h w"], fake_relu: bool = False) -> Float[Tensor, "n m"]:
        """The penultimate representation g(x).

        Arguments: `x`, images in [0, 1]; `fake_relu`, let the gradient of the last ReLU through as the identity
        (straight-through), where the architecture has this option.
        Raises: UserError when the architecture has no straight-through ReLU.
        """
        if not fake_relu:
            return self.body(self.normalize(x))
        if not self.straight_through:
            raise UserError(f"fake_relu=True for architecture {self.architecture}",
                            "an architecture with the straight-through ReLU",
                            "use fake_relu=False, or robustness-resnet18 or robustness-densenet121")
        return self.body(self.normalize(x), fake_relu=True)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """The logits of images `x` in [0, 1]."""
        return self.head(self.features(x))
