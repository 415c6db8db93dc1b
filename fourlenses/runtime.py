"""What every stage shares: its command line, lock, manifest, progress, random streams and run log."""

import ctypes
import datetime
import errno
import fcntl
import hashlib
import json
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fourlenses import processes
from fourlenses.artifacts import read_csv, sha256_file, write_csv, write_json
from fourlenses.errors import UserError
from fourlenses.resume import Resume

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]
SCRATCH = Path(".resume")  # of the study; ignored by Git
RUNS = Path("results/runs.csv")
MANIFESTS = Path("results/manifests")
MACOS = sys.platform == "darwin"  # where peak memory is counted in bytes
Item = TypeVar("Item")


@dataclass
class Stage:
    """A running stage: `resume` holds what an interrupted run left; `writes`, whether this process writes the outputs,
    which of several is the first."""

    resume: Resume
    writes: bool


@contextmanager
def stage(
    name: str,
    item: str = "",
    *,
    decides: Mapping[str, Any],
    outputs: Iterable[Path],
    inputs: Iterable[Path] = (),
    uses_torch: bool = True,
    together: bool = False,
) -> Iterator[Stage]:
    """Hold the stage's lock; when it ends well, write its manifest and log its seconds and memory.

    The manifest, results/manifests/<stage>.json, says what decided the outputs (parameters, digests of inputs and
    code, versions, device, threads) and gives their SHA-256.

    Arguments: `name` and `item`, as in dvc.yaml (`train`, `resnet-standard`); `decides`, the parameters that its
    outputs depend on; `outputs`, the files it writes; `inputs`, the files it reads; `uses_torch`, whether device and
    threads belong to the manifest; `together`, whether several processes can run it (fourlenses/processes.py). Raises
    UserError if the same stage runs already in this study, or in several processes and cannot.
    """
    start = time.monotonic()
    label, first = f"{name}@{item}" if item else name, processes.rank() == 0
    if processes.count() > 1 and not together:
        raise UserError(f"stage {label} in {processes.count()} processes", "one", "start it without torchrun")
    with lock(SCRATCH / f"{label}.lock", f"stage {label}") if first else nullcontext():
        manifest = {
            "stage": label,
            "params": dict(decides),
            "inputs": {str(path): _digest(path) for path in inputs},
            "code": _code_digest(),
            "environment": environment() if uses_torch else {},
        }
        key = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
        if processes.count() > 1:
            processes.join(device())
            key = processes.of_first(key)  # their GPUs may have different names
        resume = Resume(SCRATCH / label, key, piece=_piece(), first=first)
        if resume.stale and first:
            print(f"{label}: settings changed since the interrupted run; starting over", file=sys.stderr)
        resumed = resume.folder.exists()
        processes.wait()
        yield Stage(resume, first)
        processes.wait()
        if not first:
            return
        write_json(MANIFESTS / f"{label}.json", manifest | {"outputs": {str(p): sha256_file(p) for p in outputs}})
        resume.clear()
        _log(name, item, time.monotonic() - start, resumed, manifest["environment"])


def run(main: Callable[..., None], outlives: bool = False) -> None:
    """Parse `main`'s arguments from the command line and call it; a user's mistake is one line and exit code 2.

    Unless it `outlives` them, the process ends with the one that started it.
    """
    import tyro

    if not outlives:
        _die_with_parent()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        tyro.cli(main)
    except UserError as error:
        _fail(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        _fail(f"error: {error}; expected a writable disk with room; make room and run the same command again")


def progress(iterable: Iterable[Item], desc: str, total: int | None = None) -> Iterable[Item]:
    """The same items, with a bar and an ETA on standard error: live on a terminal, a line every 10 s elsewhere."""
    if processes.rank():
        return iterable
    from tqdm import tqdm

    live = sys.stderr.isatty()
    return tqdm(iterable, desc, total, file=sys.stderr, mininterval=0.1 if live else 10, ascii=not live, leave=live)


def generator(*parts: object, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """A random stream of its own for each purpose, seeded by the SHA-256 of its parts, such as (seed, stage, item)."""
    import torch

    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def device() -> "torch.device":
    """The device that FOURLENSES_DEVICE names, else the GPU if there is one (one a process), else the CPU."""
    import torch

    name = os.environ.get("FOURLENSES_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"FOURLENSES_DEVICE={name} ({reason})", "cpu or a GPU of this machine", "set it so") from None


def mirror() -> Path | None:
    """The folder with copies of data sets and weights that FOURLENSES_MIRROR names, if it does."""
    folder = os.environ.get("FOURLENSES_MIRROR")
    return Path(folder) if folder else None


def downloads() -> Path:
    """The folder where downloads are kept: FOURLENSES_CACHE, else the user's cache."""
    import platformdirs

    return Path(os.environ.get("FOURLENSES_CACHE") or platformdirs.user_cache_path("fourlenses"))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, Any]:
    """Set threads (FOURLENSES_THREADS, else a core each) and algorithms (the fastest; with FOURLENSES_DETERMINISTIC=1
    those that repeat their bits on a GPU too), and return what can change a result's last bits."""
    import numpy
    import torch

    text = os.environ.get("FOURLENSES_THREADS") or str(max(1, cores() // processes.neighbours()))
    if not text.isdecimal() or int(text) < 1:
        raise UserError(f"FOURLENSES_THREADS={text}", "a whole number from 1", "set it so, or unset it")
    torch.set_num_threads(int(text))
    deterministic = os.environ.get("FOURLENSES_DETERMINISTIC") == "1"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it starts
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic
    where = device()
    found = {
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "device": torch.cuda.get_device_name(where) if where.type == "cuda" else where.type,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    found |= {"processes": processes.count()} if processes.count() > 1 else {}
    return found | ({"deterministic": True} if deterministic else {})


def _piece() -> float:
    text = os.environ.get("FOURLENSES_PIECE") or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise UserError(f"FOURLENSES_PIECE={text}", "seconds, 0 or more", "set it so, or unset it")
    return seconds


@contextmanager
def lock(path: Path, what: str) -> Iterator[None]:
    """An exclusive lock that the kernel releases when the process dies; raises UserError if `what` runs already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            remedy = "wait until it ends, or stop it"
            raise UserError(f"{what} runs already in {Path.cwd().name}", "one run at a time", remedy) from None
        yield


def _digest(path: Path) -> str:
    if not path.exists():
        raise UserError(f"no file {path}", "the output of an earlier stage", "run `dvc repro`")
    return sha256_file(path)


def _code_digest() -> str:
    """SHA-256 over this project's modules that the stage has imported."""
    files = {Path(m.__file__).resolve() for m in list(sys.modules.values()) if getattr(m, "__file__", None)}
    own = sorted(f for f in files if f.is_relative_to(ROOT / "fourlenses") or f.is_relative_to(ROOT / "stages"))
    return hashlib.sha256("".join(sha256_file(f) for f in own).encode()).hexdigest()


def _log(name: str, item: str, seconds: float, resumed: bool, environment: Mapping[str, Any]) -> None:
    """Put this run's row into the run log, in place of the last one of the same stage."""
    import pandas as pd

    row = {
        "stage": name,
        "item": item,
        "seconds": round(seconds, 1),
        "resumed": int(resumed),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (2**20 if MACOS else 2**10),
        "cores": os.cpu_count(),
        "threads": environment.get("threads", 1),
        "device": environment.get("device", "cpu"),
        "torch": environment.get("torch", ""),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    with open(SCRATCH / "runs.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rows = [row]
        if RUNS.exists():
            old = read_csv(RUNS).astype({"item": object, "torch": object}).fillna({"item": "", "torch": ""})
            rows += old[(old["stage"] != name) | (old["item"] != item)].to_dict("records")
        write_csv(RUNS, pd.DataFrame(rows).sort_values(["stage", "item"]))


def _die_with_parent() -> None:
    """On Linux, be terminated when DVC is: a stage must not outlive it and keep its lock."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _fail(message: str) -> None:
    if os.environ.get("FOURLENSES_DEBUG"):
        raise  # noqa: PLE0704 (inside the caller's except block)
    print(message, file=sys.stderr)
    sys.exit(2)
