"""Ways to make images simpler that know nothing of a task."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import UInt8
from scipy.ndimage import gaussian_filter
from torch import Tensor

from fourlenses.simplicity.codecs import jpeg


def blurred(x: UInt8[Tensor, "n c h w"], sigma: float) -> UInt8[Tensor, "n c h w"]:
    """The images after a Gaussian of `sigma` pixels, cut off at four of these and mirrored at the edges.

    Arguments: images as bytes, on any device; `sigma` from 0, which changes nothing.
    """
    smooth = gaussian_filter(x.cpu().numpy().astype(np.float32), (0, 0, sigma, sigma), mode="mirror")
    return torch.from_numpy(np.rint(smooth).astype(np.uint8)).to(x.device)


HEURISTICS: dict[str, Callable[[Tensor, float], Tensor]] = {  # name: how bytes become simpler by a knob
    "blur": blurred,
    "jpeg": jpeg,
}
