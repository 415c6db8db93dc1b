"""Batches of augmented images: a uint8 tensor in memory against torchvision's data set, transforms and DataLoader."""

import struct
import tempfile
from functools import partial
from pathlib import Path

import torch

from benchmarks.side_by_side import RESULTS, interleaved, mnist5k, record
from fourlenses import runtime
from fourlenses.images import Images
from fourlenses.nets.bridge import import_torchvision
from fourlenses.training.augment import crop_and_flip

PADDING = 2


def main(repetitions: int = 5, batch: int = 64, epochs: int = 2, out: Path = RESULTS) -> None:
    """Time epochs of shuffled, cropped and mirrored batches of MNIST-5k, ours and torchvision's.

    Args:
        repetitions: how often each side is timed; the median counts
        batch: images in a batch
        epochs: passes over the 2,200 training images in one repetition
        out: table that gets the row (CSV)
    """
    environment = runtime.environment()
    images = mnist5k(runtime.device())["train"]
    with tempfile.TemporaryDirectory() as folder:
        peers = {f"workers_{n}": peer_loader(images, Path(folder), batch, workers=n) for n in (0, 2)}
        actions = {name: partial(drain, loader, images.x.device) for name, loader in peers.items()}
        actions["ours"] = partial(our_epoch, images, batch, runtime.generator("loading", device=images.x.device))
        passes = {name: lambda _, go=go: [go() for _ in range(epochs)][-1] for name, go in actions.items()}
        interleaved(1, **passes)
        spent, counts = interleaved(repetitions, **passes)
    if {n for each in counts.values() for n in each} != {len(images)}:
        raise AssertionError(f"not every side served {len(images)} images: {counts}")
    best = min(peers, key=spent.__getitem__)
    rate = {name: len(images) * epochs / spent[name] for name in spent}
    note = f"MNIST-5k, batches of {batch}, crop and flip; the peer's better of 0 and 2 workers: {best[-1]}"
    record("loading", environment, rate["ours"], rate[best], "torchvision", "images/s", note, out)


def our_epoch(images: Images, batch: int, generator: torch.Generator) -> int:
    """One pass as the training loop makes it, the incomplete last batch included."""
    order = torch.randperm(len(images), generator=generator, device=images.x.device)
    served = 0
    for index in order.split(batch):
        x = crop_and_flip(images.x[index].float() / 255, PADDING, True, generator)
        served += min(len(x), len(images.y[index]))
    return served


def drain(loader: torch.utils.data.DataLoader, device: torch.device) -> int:
    """One pass of the loader, its batches moved to the device."""
    return sum(min(len(x.to(device)), len(y.to(device))) for x, y in loader)


def peer_loader(images: Images, folder: Path, batch: int, workers: int) -> torch.utils.data.DataLoader:
    """torchvision's MNIST over the same images, which it reads into memory from files in MNIST's own format."""
    import_torchvision()
    from torchvision import datasets, transforms

    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    n, _, h, w = images.x.shape
    pixels, labels = images.x.cpu().numpy().tobytes(), images.y.cpu().to(torch.uint8).numpy().tobytes()
    for part in ("train", "t10k"):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, n, h, w) + pixels)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, n) + labels)
    steps = [transforms.RandomCrop(h, padding=PADDING), transforms.RandomHorizontalFlip(), transforms.ToTensor()]
    dataset = datasets.MNIST(str(folder), train=True, transform=transforms.Compose(steps))
    return torch.utils.data.DataLoader(
        dataset, batch, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )


if __name__ == "__main__":
    runtime.run(main)
