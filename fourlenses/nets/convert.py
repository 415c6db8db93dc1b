"""The quarantined converter of legacy `.pt` checkpoints of `robustness`: the only place that opens a pickle.

Only tensors, plain containers and numbers are read (`weights_only=True`); nothing in the file is executed. What comes
out is a state dict for `Network.load_state_dict`, to be saved as safetensors.
"""

import codecs
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fourlenses.artifacts import sha256_file
from fourlenses.errors import UserError
from fourlenses.nets.checkpoints import CHECKPOINTS
from fourlenses.nets.network import Network

SHOWN = 3
SCALAR = np.float64(0).__reduce__()[0]
NUMPY_SCALARS = [
    SCALAR, (SCALAR, "numpy.core.multiarray.scalar"), np.dtype, codecs.encode,
    *(type(np.dtype(kind)) for kind in ("float64", "float32", "int64", "int32", "bool")),
]


def read_pickle(path: Path | str) -> dict[str, object]:
    """The content of a legacy checkpoint, read without executing anything.

    Raises: UserError when the file holds anything but tensors, plain containers, numbers and NumPy numbers.
    """
    try:
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no file {path}", "a legacy .pt checkpoint", "check the path") from error
    except Exception as error:  # a hostile or torn file can raise anything while it is parsed
        needs = re.search(r"GLOBAL (\S+)", str(error))
        reason = f"it wants to call {needs[1]}" if needs else f"{type(error).__name__} while reading"
        raise UserError(f"checkpoint {Path(path).name} that cannot be read safely ({reason})",
                        "a torch file of tensors, plain containers and numbers",
                        "do not unpickle it; if you trust its author, save its state dict alone in an isolated "
                        "environment and convert that file") from error
    if not isinstance(content, dict):
        raise UserError(f"checkpoint {Path(path).name} with a {type(content).__name__}", "a dictionary",
                        "give a checkpoint of the robustness library or a plain state dict")
    return content


def convert_state(content: dict[str, object], network: Network, source: str) -> dict[str, Tensor]:
    """The state of `network` from a legacy checkpoint, checked name by name and shape by shape.

    Arguments: `content`, a robustness checkpoint ("model" or "state_dict" with keys "module.model.<name>", the
    attacker's duplicates and the normaliser) or the plain state dict of the original architecture, which leaves the
    normalisation of `network` as it is; `source`, the name for messages.
    Raises: UserError naming the first missing, unexpected and mis-shaped keys.
    """
    state = next((content[key] for key in ("model", "state_dict") if isinstance(content.get(key), dict)), content)
    state = {key.removeprefix("module."): value for key, value in state.items() if isinstance(value, Tensor)}
    wanted, converted, unexpected = network.state_dict(), {}, []
    normalizer = {"normalizer.new_mean": "normalize.mean", "normalizer.new_std": "normalize.std"}
    wrapped = any(key.startswith("model.") for key in state)
    for key, value in state.items():
        name = re.sub(r"^(model\.)+", "", key)
        if key in normalizer:
            converted[normalizer[key]] = value.reshape(1, -1, 1, 1)
        elif network.head_name and name.startswith(f"{network.head_name}."):
            converted[f"head{name.removeprefix(network.head_name)}"] = value
        elif f"body.{name}" in wanted:
            converted[f"body.{name}"] = value
        elif not key.startswith("attacker."):
            unexpected.append(key)
    if not wrapped:
        converted |= {key: wanted[key] for key in ("normalize.mean", "normalize.std")}
    missing = [key for key in wanted if key not in converted and not key.endswith("num_batches_tracked")]
    shapes = [f"{key} {tuple(value.shape)} instead of {tuple(wanted[key].shape)}"
              for key, value in converted.items() if value.shape != wanted[key].shape]
    faults = [f"{label} {', '.join(keys[:SHOWN])}" + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")
              for label, keys in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", shapes)) if keys]
    if faults:
        raise UserError(f"checkpoint {source} of another architecture ({'; '.join(faults)})",
                        f"a state of {network.architecture}", "build the architecture that it was made for")
    return {key: converted[key].to(value.dtype).clone() if key in converted else value.clone()
            for key, value in wanted.items()}


def convert(path: Path | str, network: Network, *, sha256: str | None = None, name: str | None = None) -> Network:
    """Load a legacy checkpoint into `network` and return it.

    Arguments: `path`, the `.pt` file; `network`, built with the architecture and class count of the checkpoint;
    `sha256`, the digest that the file must have; `name`, its key in CHECKPOINTS, which knows more.
    Raises: UserError when no digest is known or given, when it differs, when the file is not safe or does not fit.
    """
    if name is not None and name not in CHECKPOINTS:
        raise UserError(f"checkpoint name {name!r}", f"one of {', '.join(CHECKPOINTS)}", "correct the name")
    entry = CHECKPOINTS[name] if name is not None else None
    if entry is not None and entry.architecture != network.architecture:
        raise UserError(f"architecture {network.architecture} for checkpoint {name}", entry.architecture,
                        "build the network with that architecture")
    expected = entry.sha256 if entry is not None and entry.sha256 else sha256
    if expected is None:
        raise UserError(f"no sha256 for {name or Path(path).name}",
                        "a digest, because " + ("its authors published none" if entry else "the file is a pickle"),
                        "compute it on a copy that you trust and pass it as sha256")
    if not Path(path).is_file():
        raise UserError(f"no file {path}", "a legacy .pt checkpoint",
                        f"download it from {entry.url}" if entry else "check the path")
    if sha256_file(path) != expected.lower():
        raise UserError(f"sha256 {sha256_file(path)} of {Path(path).name}", expected, "download the file again")
    network.load_state_dict(convert_state(read_pickle(path), network, Path(path).name))
    return network
