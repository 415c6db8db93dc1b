"""A GPU for machines without one: tensors that say they lie on it, computed by the CPU, and refuse what a GPU refuses.

Import it before this project's modules, in a process of its own, and enter `SimulatedGpu`.

An operation on tensors of both devices raises RuntimeError and `numpy()` of a tensor of the GPU raises too, as with
CUDA; whatever makes the host wait for the GPU is counted in `waits`. Kernels, their precision and their speed are the
CPU's, and autocast does nothing: whether CUDA has a kernel for a type, or how fast it is, this does not tell.
"""

import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
CPU, GPU = torch.device("cpu"), torch.device("cuda:0")
CARRIER = torch.device("meta")  # what C++ takes it for: CUDA's own guards ask for a driver
CROSSING = {aten.copy_.default, aten._to_copy.default}  # may read one device and write the other
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default, aten._index_put_impl_.default}
WAITING = {aten._local_scalar_dense.default, aten.nonzero.default, aten.masked_select.default, aten.equal.default}
waits: Counter[str] = Counter()  # by the line of this project that had to wait


class OnGpu(torch.Tensor):
    """A tensor of the simulated GPU; `held` has its values."""

    held: torch.Tensor
    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_meta = property(lambda self: False)

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "OnGpu":
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype}
        made = torch.Tensor._make_wrapper_subclass(cls, held.shape, **layout, device=CARRIER)
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(func, args, kwargs or {})

    def new_tensor(self, data: object, *, dtype: torch.dtype | None = None) -> torch.Tensor:
        return torch.tensor(data, dtype=dtype or self.dtype).to(GPU)

    def tolist(self) -> Any:
        waits[caller(1)] += 1
        return self.held.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        waits[caller(1)] += 1
        return self.held.numpy(force=True)

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"OnGpu({self.held})"


class SimulatedGpu(TorchDispatchMode):
    """While it is active, `device="cuda:0"` is a device of this machine."""

    def __torch_dispatch__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> Any:
        return computed(func, args, kwargs or {})


class Stream(torch.Generator):
    """A random stream of the device that it was made for, with the CPU's numbers."""

    def __new__(cls, device: torch.device | str = CPU) -> "Stream":
        made = super().__new__(cls)
        made.where = torch.device(device)
        return made

    device = property(lambda self: self.where)

    def manual_seed(self, seed: int) -> "Stream":
        super().manual_seed(seed)
        return self


def computed(func: Callable, args: tuple, kwargs: dict) -> Any:
    """What the operation gives, on the device where CUDA would leave it."""
    given = [each for each in leaves((args, *kwargs.values())) if isinstance(each, torch.Tensor)]
    on_gpu = [each for each in given if isinstance(each, OnGpu)]
    named = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    where = named or (GPU if on_gpu else CPU)
    elsewhere = [each for each in given if not isinstance(each, OnGpu) and each.ndim]
    if on_gpu and elsewhere and func not in CROSSING:
        if func not in INDEXED or not isinstance(args[0], OnGpu):
            raise RuntimeError(f"expected all tensors to be on the same device, but {func} got cuda:0 and cpu")
    masked = func in INDEXED and any(each.dtype == torch.bool for each in leaves(args[1]) if each is not None)
    to_host = (func is aten._to_copy.default and on_gpu and where == CPU) or (
        func is aten.copy_.default and on_gpu and not isinstance(args[0], OnGpu)
    )
    if on_gpu and (func in WAITING or masked or to_host):
        waits[caller()] += 1
    if named and named.type in ("cuda", "meta"):
        kwargs = kwargs | {"device": CPU}
    result = func(*held(args), **{name: held(each) for name, each in kwargs.items()})
    if where == CPU:
        return result
    known = {id(each.held): each for each in on_gpu}
    return put_there(result, known)


def leaves(values: Iterable) -> Iterator:
    """What lies in nested lists and tuples, as PyTorch's operations take and give them."""
    for each in values:
        if isinstance(each, list | tuple):
            yield from leaves(each)
        else:
            yield each


def held(value: Any) -> Any:
    if isinstance(value, OnGpu):
        return value.held
    return type(value)(map(held, value)) if isinstance(value, list | tuple) else value


def put_there(value: Any, known: dict[int, "OnGpu"]) -> Any:
    """The same on the GPU; a tensor that was there before, changed in place, is that one."""
    if isinstance(value, torch.Tensor):
        return known[id(value)] if id(value) in known else OnGpu(value)
    return type(value)(put_there(each, known) for each in value) if isinstance(value, list | tuple) else value


def caller(above: int = 2) -> str:
    """The innermost line of this project that led to an operation."""
    frame = sys._getframe(above)
    while frame and not frame.f_globals.get("__name__", "").startswith(("fourlenses", "stages")):
        frame = frame.f_back
    return f"{frame.f_globals['__name__']}:{frame.f_lineno}" if frame else "elsewhere"


def made_and_moved(make: Callable, data: object, *, device: torch.device | str = CPU, **kwargs: object) -> torch.Tensor:
    """A tensor of Python's numbers: CUDA's constructor would ask for a driver."""
    return make(data, **kwargs).to(device)


# For the rest of this process, wherever Python's side of CUDA would ask for a driver.
torch.__future__.set_swap_module_params_on_conversion(True)  # a parameter's own tensor cannot change its device
torch.cuda._lazy_init = lambda: None
torch.cuda.get_device_name = lambda device=None: "a simulated GPU"
torch.cuda.get_rng_state = lambda device=None: torch.random.get_rng_state()
torch.cuda.set_rng_state = lambda state, device=None: torch.random.set_rng_state(state)
torch.tensor = partial(made_and_moved, torch.tensor)
torch.Generator = Stream
warnings.filterwarnings("ignore", "CUDA is not available", UserWarning)
