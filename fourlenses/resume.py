"""What an interrupted stage needs to go on, outside DVC's outputs."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourlenses.artifacts import load_tensors, save_tensors
from fourlenses.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor


class Resume:
    """Checkpoints in `folder`/`key`; the key is the digest of everything that decides the outputs.

    Checkpoints under another key belong to other settings; `clean` deletes them. Two generations of each checkpoint
    are kept, so that one torn by a power cut falls back to the one before.
    """

    def __init__(self, folder: Path, key: str, clean: bool = True) -> None:
        self.folder = folder / key
        self.stale = [other for other in folder.glob("*") if other.is_dir() and other != self.folder]
        for other in self.stale if clean else []:
            shutil.rmtree(other)

    def save(self, name: str, tensors: Mapping[str, "Tensor"], state: Mapping[str, Any]) -> None:
        """Save tensors and JSON-like state under a name; the last such checkpoint becomes the previous one."""
        current = self.folder / f"{name}.safetensors"
        if current.exists():
            current.replace(self.folder / f"{name}.previous.safetensors")
        save_tensors(current, tensors, {"state": dict(state)})

    def load(self, name: str) -> tuple[dict[str, "Tensor"], dict[str, Any]] | None:
        """The newest whole checkpoint of this name, or None."""
        for path in (self.folder / f"{name}.safetensors", self.folder / f"{name}.previous.safetensors"):
            if path.exists():
                try:
                    tensors, manifest = load_tensors(path)
                except UserError:
                    continue
                return tensors, manifest["state"]
        return None

    def clear(self) -> None:
        """Delete every checkpoint: the outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
