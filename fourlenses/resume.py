"""What an interrupted stage needs to go on, outside DVC's outputs."""

import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourlenses.artifacts import load_tensors, save_tensors
from fourlenses.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    State = dict[str, Tensor]


class Resume:
    """Checkpoints in `folder`/`key`; the key is the digest of everything that decides the outputs.

    Checkpoints under another key belong to other settings, and are deleted. Two generations of each checkpoint are
    kept, so that one torn by a power cut falls back to the one before. `piece` is the work, in seconds, that a loop
    does between two checkpoints; `first`, whether this is the first of the processes that share the folder, which alone
    deletes, and keeps what loops reach.
    """

    def __init__(self, folder: Path, key: str, *, piece: float = 0.0, first: bool = True) -> None:
        self.folder, self.piece, self.first = folder / key, piece, first
        self.stale = [other for other in folder.glob("*") if other.is_dir() and other != self.folder]
        for other in self.stale if first else []:
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

    def reached(self, name: str) -> tuple["State", list[dict]]:
        """The newest state and history of a loop that `finish` saved under this name; both empty if there are none."""
        tensors, state = self.load(name) or ({}, {"history": []})
        return tensors, state["history"]

    def finish(self, name: str, steps: Iterable[tuple["State", list[dict]]]) -> tuple["State", list[dict]]:
        """Run a loop that yields its state and history to its end, saving them on the way; return the last ones.

        The loop goes on from `reached(name)`; if nothing was left of it, that is what comes back.
        """
        last, unsaved, saved = None, False, time.monotonic()
        for last in steps:
            unsaved = True
            if self.first and time.monotonic() - saved >= self.piece:
                self.save(name, last[0], {"history": last[1]})
                unsaved, saved = False, time.monotonic()
        if self.first and unsaved:
            self.save(name, last[0], {"history": last[1]})
        return last or self.reached(name)

    def clear(self) -> None:
        """Delete every checkpoint: the outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
