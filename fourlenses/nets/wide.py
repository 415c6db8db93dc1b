"""Wide residual networks of depth 6b + 4: b pre-activation blocks in each of three stages."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fourlenses.errors import UserError
from fourlenses.nets.network import Network, Normalize
from fourlenses.nets.small import POOLS, assemble, check_widths, kept_rng


class Sum(nn.Module):
    """a + b, a module so that the sum of a residual block can be watched."""

    def forward(self, a: Float[Tensor, "n c h w"], b: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        return a + b


class Shrink(nn.Module):
    """The mean over squares of `side` x `side` pixels; what is left over at the far edges is dropped."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
        return F.avg_pool2d(x, self.side)


class WideBlock(nn.Module):
    """Pre-activation block: y = conv2(ReLU(BN(conv1(a)))) + s with a = ReLU(BN(x)).

    s is x itself; where the block changes the shape, it is a 1x1 convolution of a.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.same_shape = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if self.same_shape else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        self.sum = Sum()

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n d h2 w2"]:
        active = self.relu1(self.bn1(x))
        out = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return self.sum(out, self.shortcut(x if self.same_shape else active))


def wide_resnet(
    architecture: str,
    *,
    widths: Sequence[int] | None,
    n_classes: int,
    image_shape: tuple[int, int, int],
    generator: torch.Generator,
    normalize: Normalize,
    depth: int,
    shrink: int = 1,
) -> Network:
    """A 3x3 convolution, three stages of (depth - 4) / 6 blocks at strides 1, 2 and 2, BN, ReLU, global average pool.

    Arguments: `widths`, channels of the first convolution and of the three stages, [16, 16k, 32k, 64k] for
    WRN-depth-k; `depth`, one of 10, 16, 22, ...; `shrink`, the side of the squares of pixels whose means are all
    that the network sees (2 quarters the cost); the others as in `fourlenses.nets.build`.
    Raises: UserError for other than four widths.
    Source: Zagoruyko and Komodakis 2016 (arXiv:1605.07146), without dropout.
    """
    check_widths(widths, 4)
    if len(widths) != 4:
        raise UserError(
            f"widths {widths}",
            "four numbers: the first convolution's channels and those of three stages",
            "give such as [16, 32, 64, 128]",
        )
    with kept_rng():
        layers = OrderedDict(stem=nn.Conv2d(image_shape[0], widths[0], 3, padding=1, bias=False))
        for i in (1, 2, 3):
            first = WideBlock(widths[i - 1], widths[i], stride=1 if i == 1 else 2)
            rest = [WideBlock(widths[i], widths[i], stride=1) for _ in range((depth - 4) // 6 - 1)]
            layers[f"stage{i}"] = nn.Sequential(first, *rest)
        layers["bn"], layers["relu"] = nn.BatchNorm2d(widths[3]), nn.ReLU(inplace=True)
        layers["pool"], layers["flatten"] = POOLS["average"](1), nn.Flatten()
    stages = ("body.stage1", "body.stage2", "body.stage3")
    network = assemble(architecture, layers, widths[3], stages, n_classes, image_shape, generator, normalize)
    if shrink > 1:
        network.normalize = nn.Sequential(network.normalize, Shrink(shrink))
    return network
