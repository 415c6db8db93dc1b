"""The small networks: a residual network, the same without skips, and a VGG with batch normalisation."""

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fourlenses.errors import UserError
from fourlenses.nets.network import Network, Normalize

POOLS = {"average": nn.AdaptiveAvgPool2d, "max": nn.AdaptiveMaxPool2d}
# Layers draw first weights, which `initialise` replaces: the global RNG stays as it was (and the meta device, which
# draws none, takes half a second to import).
kept_rng = partial(torch.random.fork_rng, devices=[])


class Block(nn.Module):
    """Basic residual block of stride 2: ReLU(BN(conv(ReLU(BN(conv(x))))) + BN(conv1x1(x))), or without the sum."""

    def __init__(self, inputs: int, outputs: int, skip: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU(inplace=True)
        self.shortcut = None
        if skip:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.shortcut is not None:
            out = out + self.shortcut(x)
        return self.relu2(out)


def conv_bn_relu(inputs: int, outputs: int) -> list[nn.Module]:
    """A 3x3 convolution of stride 1, batch normalisation, ReLU."""
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every parameter anew from `generator` alone: convolutions Kaiming normal (fan out), linear layers uniform
    in +-1/sqrt(fan in), batch normalisation one and zero.

    Source: He et al. 2015 (arXiv:1502.01852), equation 14; torch's default for nn.Linear.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.in_features)
            nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
            nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
        elif isinstance(layer, nn.BatchNorm2d):
            layer.reset_parameters()


def check_widths(widths: Sequence[int] | None, least: int) -> None:
    if widths is None or len(widths) < least or any(int(w) != w or w < 1 for w in widths):
        raise UserError(f"widths {widths}", f"at least {least} whole numbers above 0",
                        "give the channels of each stage, such as [16, 32, 64]")


def assemble(architecture: str, layers: OrderedDict, width: int, stages: tuple[str, ...], n_classes: int,
             image_shape: tuple[int, int, int], generator: torch.Generator, normalize: Normalize) -> Network:
    """A Network on the generator's device from layers in order, with a linear head, initialised from the generator."""
    with kept_rng():
        body, head = nn.Sequential(layers), nn.Linear(width, n_classes)
    initialise(nn.ModuleList([body, head]).to(generator.device), generator)
    return Network(architecture, normalize.to(generator.device), body, head, stages=stages, image_shape=image_shape)


def resnet(architecture: str, *, widths: Sequence[int] | None, n_classes: int, image_shape: tuple[int, int, int],
           generator: torch.Generator, normalize: Normalize, skip: bool = True, pool: str = "average") -> Network:
    """Stem of widths[0] channels at stride 1, one basic block of stride 2 for each further width, global pool.

    Arguments: `skip`, whether blocks have their shortcut; `pool`, a name in POOLS; the others as in
    `fourlenses.nets.build`.
    """
    check_widths(widths, 2)
    with kept_rng():
        layers = OrderedDict(stem=nn.Sequential(*conv_bn_relu(image_shape[0], widths[0])))
        for i in range(1, len(widths)):
            layers[f"block{i}"] = Block(widths[i - 1], widths[i], skip)
        stages = tuple(f"body.{name}" for name in layers)
        layers["pool"], layers["flatten"] = POOLS[pool](1), nn.Flatten()
    return assemble(architecture, layers, widths[-1], stages, n_classes, image_shape, generator, normalize)


def vgg(architecture: str, *, widths: Sequence[int] | None, n_classes: int, image_shape: tuple[int, int, int],
        generator: torch.Generator, normalize: Normalize) -> Network:
    """One convolution in the first stage and two in each later one, max-pool 2 after every stage, flatten.

    Arguments: as in `fourlenses.nets.build`. Source: Simonyan and Zisserman 2014 (arXiv:1409.1556), in small.
    """
    check_widths(widths, 1)
    channels, height, width = image_shape
    height, width = height >> len(widths), width >> len(widths)
    if min(height, width) < 1:
        raise UserError(f"{len(widths)} widths for images of {image_shape[1]}x{image_shape[2]} pixels",
                        "a side of at least 2 to the number of widths", "give fewer widths")
    with kept_rng():
        layers, stages = OrderedDict(), []
        for i, out in enumerate(widths):
            convs = conv_bn_relu(channels, out) + (conv_bn_relu(out, out) if i else [])
            layers[f"stage{i}"], layers[f"pool{i}"] = nn.Sequential(*convs), nn.MaxPool2d(2)
            stages.append(f"body.stage{i}")
            channels = out
        layers["flatten"] = nn.Flatten()
    return assemble(architecture, layers, channels * height * width, tuple(stages), n_classes, image_shape, generator,
                    normalize)
