"""Several processes that run one stage together, as torchrun starts them; alone, all of this does nothing.

Training shares every batch: each process draws the same random numbers as one alone would, takes its rows of them, and
the gradients are averaged. Stages made of independent items share these.
"""

import atexit
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Item = TypeVar("Item")


def rank() -> int:
    """Which of the processes this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def count() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def neighbours() -> int:
    """How many of them run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def join(device: "torch.device") -> None:
    """Meet the other processes: by NCCL on GPUs, by Gloo on CPUs."""
    import torch
    from torch import distributed

    if count() > 1 and not distributed.is_initialized():
        if device.type == "cuda":
            torch.cuda.set_device(device)
        # the one that is done first waits for the others' shares, which may take hours
        backend = "nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=timedelta(days=7))
        atexit.register(distributed.destroy_process_group)  # its threads must end before the interpreter does


def wait() -> None:
    """Return once every process is here."""
    if count() > 1:
        from torch import distributed

        distributed.barrier()


def of_first(value: Item) -> Item:
    """What the first process calls by this name."""
    if count() == 1:
        return value
    from torch import distributed

    said = [value]
    distributed.broadcast_object_list(said)
    return said[0]


def share(items: Sequence[Item]) -> list[Item]:
    """The items that are this process's to do."""
    return list(items)[rank() :: count()]


def average(tensors: "Sequence[Tensor]") -> None:
    """Put into each tensor, in place, its mean over the processes."""
    if count() > 1:
        import torch
        from torch import distributed

        message = torch.cat([each.reshape(-1) for each in tensors])  # one message: a small one costs as much as a large
        distributed.all_reduce(message)
        message /= count()
        for each, mean in zip(tensors, message.split([each.numel() for each in tensors]), strict=True):
            each.copy_(mean.view_as(each))


def gathered(x: "Tensor") -> "Tensor":
    """The rows of all processes, one process after the other; differentiable, the gradients of all losses added up."""
    return x if count() == 1 else _gather().apply(x)


@cache
def _gather() -> type:
    """What `gathered` does, with its gradient; made when it is first needed, because torch takes a second to import."""
    import torch
    from torch import distributed

    class Gather(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: "Tensor") -> "Tensor":
            x = x.contiguous()
            parts = [torch.empty_like(x) for _ in range(count())]
            distributed.all_gather(parts, x)
            return torch.cat(parts)

        @staticmethod
        def backward(ctx, gradient: "Tensor") -> "Tensor":
            gradient = gradient.clone(memory_format=torch.contiguous_format)
            distributed.all_reduce(gradient)
            return gradient.chunk(count())[rank()]

    return Gather


@dataclass(frozen=True)
class Part:
    """A random stream that all processes draw from alike, each to use its own rows of what is drawn.

    A batch holds `views` copies of n images, one after the other; process r has rows r n / count to (r + 1) n / count
    of each copy.
    """

    stream: "torch.Generator"
    views: int = 1

    @property
    def device(self) -> "torch.device":
        """Where the stream draws."""
        return self.stream.device

    def rows(self, whole: "Tensor") -> "Tensor":
        """This process's rows of a whole batch."""
        return whole.unflatten(0, (self.views, count(), -1))[:, rank()].flatten(0, 1)

    def whole(self, rows: "Tensor") -> "Tensor":
        """The whole batch of which this process has these rows; without gradient."""
        return gathered(rows.detach()).unflatten(0, (count(), self.views, -1)).transpose(0, 1).flatten(0, 2)
