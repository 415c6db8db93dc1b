"""Files that appear whole or not at all, in formats that never run code."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourlenses.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    from numpy import ndarray
    from torch import Tensor

METADATA_KEY = "fourlenses"  # one key only: with two or more, safetensors writes them in random order


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well, delete it when it fails.

    The temporary name is fixed, so what a killed process left behind is overwritten by the next run.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sha256_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_tensor(tensor: "Tensor") -> str:
    """SHA-256 of a tensor's type, shape and values in row-major order, in hexadecimal."""
    import torch

    values = tensor.detach().cpu().contiguous()
    digest = hashlib.sha256(f"{values.dtype}{tuple(values.shape)}".encode())
    digest.update(values.reshape(-1).view(torch.uint8).numpy() if values.numel() else b"")
    return digest.hexdigest()


def save_tensors(path: Path | str, tensors: Mapping[str, "Tensor"], manifest: Mapping[str, Any]) -> None:
    """Write named tensors as safetensors; the header holds the manifest, a SHA-256 per tensor and one of the manifest.

    Raises ValueError if a floating-point tensor or the manifest holds a value that is not finite.
    """
    import torch
    from safetensors.torch import save

    contiguous = {name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)}
    for name, tensor in contiguous.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise ValueError(f"tensor {name!r} for {Path(path).name} holds values that are not finite")
    header = dict(manifest) | {"sha256": {name: sha256_tensor(tensor) for name, tensor in contiguous.items()}}
    header = json.loads(json.dumps(header, allow_nan=False))  # as it will be read: every key is text
    header["digest"] = _digest(header)
    data = save(contiguous, metadata={METADATA_KEY: json.dumps(header, sort_keys=True)})
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def load_tensors(path: Path | str, prefix: str = "") -> tuple[dict[str, "Tensor"], dict[str, Any]]:
    """Read the tensors whose names start with `prefix` (which is cut off) and the manifest, and check every SHA-256.

    Raises UserError if the file is absent, torn, no safetensors file of ours, or if a tensor is not what was written.
    """
    tensors, manifest = _read(path, "pt", prefix)
    for name, tensor in tensors.items():
        _check(path, name, sha256_tensor(tensor), manifest)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}, manifest


def load_arrays(path: Path | str) -> dict[str, "ndarray"]:
    """Every tensor as a NumPy array, for those who need no torch; the checks and errors are those of `load_tensors`."""
    arrays, manifest = _read(path, "numpy")
    for name, array in arrays.items():
        digest = hashlib.sha256(f"torch.{array.dtype}{array.shape}".encode())  # as `sha256_tensor` has it
        digest.update(array.tobytes())
        _check(path, name, digest.hexdigest(), manifest)
    return arrays


def _read(path: Path | str, framework: str, prefix: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework=framework) as file:
            manifest = json.loads(file.metadata()[METADATA_KEY])
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (no mapping)
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise UserError(f"no file {path}", "the output of an earlier stage", "run `dvc repro`") from None
    except (SafetensorError, TypeError, KeyError, json.JSONDecodeError) as error:
        given = f"{path} cannot be read ({error})"
        raise UserError(given, "a whole safetensors file of this project", _remedy(path)) from None
    if manifest.pop("digest", None) not in (None, _digest(manifest)):
        raise UserError(f"the manifest of {path} is corrupt", "the SHA-256 that it was written with", _remedy(path))
    return tensors, manifest


def _check(path: Path | str, name: str, digest: str, manifest: Mapping[str, Any]) -> None:
    if digest != manifest["sha256"].get(name):
        raise UserError(f"tensor {name!r} of {path} is corrupt", "the SHA-256 in its manifest", _remedy(path))


def _remedy(path: Path | str) -> str:
    return f"delete {path} and run the stage that writes it again"


def _digest(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def write_json(path: Path | str, content: Any) -> None:
    """Write JSON with sorted keys; raises ValueError on NaN and infinity."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file; raises UserError if it is absent or torn."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no file {path}", "the output of an earlier stage", "run `dvc repro`") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})", "JSON", "run the stage that writes it again") from None


def write_csv(path: Path | str, frame: "pd.DataFrame") -> None:
    """Write a table without its index: UTF-8, LF, ten significant digits."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.10g", lineterminator="\n", encoding="utf-8")


def read_csv(path: Path | str) -> "pd.DataFrame":
    """Read a table; raises UserError if it is absent or empty."""
    import pandas as pd

    try:
        return pd.read_csv(path)
    except FileNotFoundError:
        raise UserError(f"no file {path}", "the output of an earlier stage", "run `dvc repro`") from None
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error})", "CSV", "run the stage that writes it again") from None
