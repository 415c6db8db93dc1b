"""Batch normalisation over the images of all processes; torch's own does this on GPUs only."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from fourlenses import processes
from fourlenses.errors import UserError


def synchronise(network: nn.Module) -> None:
    """Let every batch normalisation of a network, in place, take its statistics over all processes while it trains.

    Each process must have as many images. Raises UserError for a network with dropout, whose masks the processes would
    not share.
    """
    for module in network.modules():
        if isinstance(module, _DropoutNd) and module.p > 0:
            given = f"a network with dropout for {processes.count()} processes"
            raise UserError(given, "one without", "train this network by one process")
        if isinstance(module, _BatchNorm):
            module.__class__ = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d}[type(module)]


class _Synced(_BatchNorm):
    def forward(self, x: Float[Tensor, "n c *shape"]) -> Float[Tensor, "n c *shape"]:
        if not self.training:
            return super().forward(x)
        over, shape, exact = [0, *range(2, x.ndim)], (1, -1, *[1] * (x.ndim - 2)), x.float()
        var, mean = torch.var_mean(exact, over, correction=0)
        # one message: the variance of the whole is the mean of the variances and the variance of the means
        means, variances = processes.gathered(torch.stack([mean, var])[None]).unbind(1)
        mean = means.mean(0)
        var = variances.mean(0) + (means - mean).square().mean(0)
        n = processes.count() * x.numel() // x.shape[1]
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * n / (n - 1), self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight * (var + self.eps).rsqrt()
        return ((exact - mean.view(shape)) * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


class BatchNorm1d(_Synced, nn.BatchNorm1d):
    """`torch.nn.BatchNorm1d` with the statistics of all processes."""


class BatchNorm2d(_Synced, nn.BatchNorm2d):
    """`torch.nn.BatchNorm2d` with the statistics of all processes."""
