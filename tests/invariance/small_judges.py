"""Images and trunks for the tests of judges."""

import torch
import torch.nn.functional as F

from fourlenses.nets import build

SHAPE = (1, 28, 28)


def images(n, shape=SHAPE, seed=0):
    """Smooth random images with black and white regions, as real ones have."""
    coarse = torch.rand(n, shape[0], 5, 5, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(coarse, size=shape[1:], mode="bicubic") * 1.6 - 0.3).clamp(0, 1)


def trunks(shape=SHAPE):
    return {
        name: build(
            architecture,
            widths=[8, 12, 16],
            n_classes=10,
            image_shape=shape,
            mean=0.3,
            std=0.3,
            generator=torch.Generator().manual_seed(i),
        ).eval()
        for i, (name, architecture) in enumerate((("standard", "resnet"), ("robust", "vgg"), ("random", "resnet")))
    }


TRUNKS = trunks()
SEED_IMAGE = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9)).clamp(0, 1)
