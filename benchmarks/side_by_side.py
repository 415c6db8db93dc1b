"""What every benchmark shares: images and a network, the interleaved stopwatch, and the row in results.csv."""

import gc
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from fourlenses import runtime
from fourlenses.artifacts import read_csv, write_csv
from fourlenses.images import Images, load_dataset, split
from fourlenses.nets import Network, build

RESULTS = runtime.ROOT / "benchmarks" / "results.csv"
COLUMNS = ["name", "device", "ours", "peer", "peer_name", "unit", "ratio", "note"]
SIZES = {"train": 2200, "judges": 1400, "calibration": 400, "test": 1000}  # the default study's


def mnist5k(device: torch.device) -> dict[str, Images]:
    """The splits of the default study, which come from a package and need no cache."""
    parts = load_dataset("mnist5k", cache=Path("unused"), mirror=None, progress=False)
    samples = split(parts, SIZES, runtime.generator(0, "fetch", "split"))
    return {name: Images(images.x.to(device), images.y.to(device)) for name, images in samples.items()}


def resnet(images: Images, seed: int) -> Network:
    """The default study's residual network with fresh weights, on the device of the images."""
    pixels = images.x.float() / 255
    return build(
        "resnet",
        widths=[16, 32, 64, 128],
        n_classes=10,
        image_shape=images.x.shape[1:],
        generator=runtime.generator(seed, "benchmark"),
        mean=pixels.mean((0, 2, 3)).tolist(),
        std=pixels.std((0, 2, 3)).tolist(),
    ).to(images.x.device)


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """Wall time of an action, the device's queue included, and what it returned."""
    gc.collect()
    start = time.perf_counter()
    result = action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def interleaved(repetitions: int, **actions: Callable[[int], Any]) -> tuple[dict[str, float], dict[str, list]]:
    """Median seconds and all results of each action(repetition), run in turn: what slows the machine slows them all.

    The order turns round at every repetition.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    results: dict[str, list] = {name: [] for name in actions}
    for repetition in range(repetitions):
        for name in list(actions)[:: -1 if repetition % 2 else 1]:
            spent, result = seconds(lambda name=name, k=repetition: actions[name](k))
            times[name].append(spent)
            results[name].append(result)
    return {name: median(spent) for name, spent in times.items()}, results


def operations(action: Callable[[], Any]) -> int:
    """Multiplications and additions in the convolutions and matrix products of an action, as PyTorch counts them."""
    with FlopCounterMode(display=False) as counter:
        action()
    return counter.get_total_flops()


def share_of_peak(done: int, spent: float, device: torch.device) -> float:
    """So many operations in so many seconds, as a share of those that a large bfloat16 matrix product does here."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.ones(n, n, dtype=torch.bfloat16, device=device)
    fastest = min(seconds(lambda: a @ a)[0] for _ in range(10))
    return done / spent / (2 * n**3 / fastest)


def record(
    name: str, environment: dict[str, Any], ours: float, peer: float, peer_name: str, unit: str, note: str, out: Path
) -> None:
    """Print the ratio (above 1: ours is faster) and put the row in place of this benchmark's last on this device.

    `unit` is "s" (ratio = peer / ours) or a rate per second (ratio = ours / peer).
    """
    ours, peer = (float(f"{value:.4g}") for value in (ours, peer))
    ratio = round(peer / ours if unit == "s" else ours / peer, 2)
    device, threads = environment["device"], environment["threads"]
    note = f"{threads} thread{'s' if threads > 1 else ''}; {note}"
    row = dict(zip(COLUMNS, (name, device, ours, peer, peer_name, unit, ratio, note), strict=True))
    rows = [row]
    if out.exists():
        old = read_csv(out)
        rows += old[(old["name"] != name) | (old["device"] != device)].to_dict("records")
    write_csv(out, pd.DataFrame(rows, columns=COLUMNS).sort_values(["name", "device"]))
    print(f"{name}: {ratio:.2f} times {peer_name} on {device} ({ours:g} against {peer:g} {unit}; {note})")
