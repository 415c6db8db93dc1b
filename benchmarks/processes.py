"""Adversarial training by several processes that share every batch (torchrun) against one process on as many cores."""

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pandas as pd
import torch

from benchmarks.adversarial_training import THREAT
from benchmarks.scaling import draw
from benchmarks.side_by_side import RESULTS, mnist5k, record, resnet
from fourlenses import processes, runtime
from fourlenses.artifacts import write_csv
from fourlenses.training import RECIPES, Settings, train

BATCH = 256
PEAK = 0.2
SEEN = 8 * BATCH  # images of an epoch


def main(
    repetitions: int = 3, n_processes: int = 2, epochs: int = 3, out: Path = RESULTS, scaling: Path | None = None
) -> None:
    """Time adversarial training (L2, eps 1.5, 3 steps) of a ResNet on 2,048 images of MNIST-5k, together and alone.

    On GPUs each process has one of its own, and the one alone has one; on a CPU both sides have every core.

    Args:
        repetitions: how often each side is timed, in turn; the median counts
        n_processes: how many processes share a batch
        epochs: epochs of one training, after one that is not timed
        out: table that gets the row (CSV)
        scaling: also time other numbers of processes, up to one a core or GPU, into this table (CSV) and a figure
    """
    environment = runtime.environment()
    rates: dict[int, list[float]] = {n_processes: [], 1: []}
    for _ in range(repetitions):
        for n, found in rates.items():
            found.append(rate(n, epochs, environment["threads"]))
    ours, peer = (median(found) for found in rates.values())
    note = f"{n_processes} processes against one; ResNet 16-32-64-128, {epochs} epochs of batches of {BATCH}, bfloat16"
    record("processes", environment, ours, peer, "one process", "images/s", note, out)
    if scaling:
        most = torch.cuda.device_count() or runtime.cores()
        counts = [2**k for k in range(most.bit_length())]
        spent = [epochs * SEEN / rate(n, epochs, environment["threads"]) for n in counts]
        table = pd.DataFrame({"varied": "processes", "processes": counts, "side": "training", "seconds": spent})
        write_csv(scaling, table)
        draw(table, f"seconds for {epochs} epochs", {}).savefig(scaling.with_suffix(".svg"))


def rate(n: int, epochs: int, threads: int) -> float:
    """Images a second of a training by n processes, which share the threads."""
    torchrun = "-m torch.distributed.run --standalone --local-ranks-filter 0".split()
    command = [sys.executable, *torchrun, "--nproc-per-node", str(n), "-m", "benchmarks.processes"]
    environment = os.environ | {"BENCHMARK_EPOCHS": str(epochs), "FOURLENSES_THREADS": str(max(1, threads // n))}
    done = subprocess.run(command, cwd=runtime.ROOT, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def work(epochs: int) -> None:
    """What each process does: train, and print the images that all of them saw a second."""
    runtime.environment()
    device = runtime.device()
    processes.join(device)
    images = mnist5k(device)["train"]
    x, y = images.x[:SEEN], images.y[:SEEN]
    settings = Settings(1 + epochs, BATCH, lr=PEAK, weight_decay=5e-4, crop_padding=2, flip=False, ema_decay=0.0)
    objective = RECIPES["adversarial-l2"].objective("bfloat16", THREAT, 0.0)
    ends = []
    for _ in train(resnet(images, 0), x, y, objective, settings, runtime.generator(0, "batches", device=device),
                   evaluate=lambda _: {}):  # fmt: skip
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        ends.append(time.perf_counter())
    if processes.rank() == 0:
        print(epochs * len(x) / (ends[-1] - ends[0]))


if __name__ == "__main__":
    if "RANK" in os.environ:
        work(int(os.environ["BENCHMARK_EPOCHS"]))
    else:
        runtime.run(main)
