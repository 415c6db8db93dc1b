"""Identically represented inputs of a standard and a robust network, by every kind of loss."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from figures.drawing import FREE, HUMAN, SEED_IMAGE, files, main_losses, network_label, of_seed_image, save, use_style
from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_csv

ROWS = 5
OUTSIDE = "#D55E00"  # frame of an image that is no IRI: its error is above that of the nearest 5 % of image pairs


def main(standard: Path, robust: Path, answers: Path, judges: Path, out: Path) -> None:
    """Draw targets, the seed, and the IRIs of a standard and a robust network by every kind of loss.

    Args:
        standard: IRIs of the standard network (safetensors)
        robust: IRIs of the robust network (safetensors)
        answers: answers of the judges, image by image (CSV)
        judges: who belongs to the panel (CSV)
        out: the figure; .svg and .png are both written
    """
    inputs = [standard, robust, answers, judges]
    with runtime.stage("draw", "iris", decides={}, inputs=inputs, outputs=files(out), uses_torch=False):
        votes = of_seed_image(read_csv(answers))
        known = read_csv(judges)
        save(draw([_iris(standard), _iris(robust)], votes, known.loc[known["panel"] == 1, "judge"].tolist()), out)


def _iris(path: Path) -> tuple[str, dict[str, np.ndarray]]:
    tensors, _ = load_tensors(path)
    return path.stem, {name: value.numpy() for name, value in tensors.items()}


def draw(networks: list[tuple[str, dict[str, np.ndarray]]], votes: pd.DataFrame, panel: list[str]) -> plt.Figure:
    """One row a target; target, seed, then one column a loss for each network; the first training seed."""
    use_style()
    losses = main_losses(votes)
    first = networks[0][1]
    chosen = _spread_over_classes(first["labels"])
    grid = _Grid(len(chosen), [2, *[len(losses)] * len(networks)])
    for row, target in enumerate(chosen):
        _picture(grid.axis(row, 0, 0), first["targets"][target], title="target" if row == 0 else "")
        _picture(grid.axis(row, 0, 1), first[f"seed_images/{SEED_IMAGE}"], title="seed" if row == 0 else "")
    for block, (network, tensors) in enumerate(networks, 1):
        rows = votes[votes["network"] == network]
        seed = rows["seed"].min()
        for column, loss in enumerate(losses):
            answered = rows[(rows["seed"] == seed) & (rows["loss"] == loss)].set_index("image")
            for row, target in enumerate(chosen):
                answer = answered.loc[int(tensors["indices"][target])]
                axis = grid.axis(row, block, column)
                image = tensors[f"seed{seed}/{loss}/{SEED_IMAGE}/x"][target]
                _picture(axis, image, bool(answer["accepted"]), _short(loss) if row == 0 else "")
                text = f"{answer['error']:.2f} · {answer[panel].sum():g}/{len(panel)}"
                axis.set_xlabel(text, fontsize=6, labelpad=1.5)
        grid.heading(block, network_label(rows["architecture"].iloc[0], rows["recipe"].iloc[0], ", "))
    grid.note(f"under each image: representation error · judges, of {len(panel)}, that see the target", "left", "black")
    grid.note("framed: not accepted as an IRI", "right", OUTSIDE)
    return grid.figure


class _Grid:
    """A figure of square pictures in blocks of columns, at the text width of the paper; lengths in inches."""

    width, margin, gap, between, under, head, foot = 6.3, 0.02, 0.035, 0.13, 0.125, 0.43, 0.2

    def __init__(self, rows: int, blocks: list[int]) -> None:
        spare = self.gap * (sum(blocks) - len(blocks)) + self.between * (len(blocks) - 1) + 2 * self.margin
        self.cell = min((self.width - spare) / sum(blocks), 0.8)
        self.blocks = blocks
        self.height = self.head + rows * (self.cell + self.under) + self.foot
        self.figure = plt.figure(figsize=(self.width, self.height))

    def _left(self, block: int, column: int) -> float:
        before = sum(n * self.cell + (n - 1) * self.gap + self.between for n in self.blocks[:block])
        return self.margin + before + column * (self.cell + self.gap)

    def axis(self, row: int, block: int, column: int) -> Axes:
        bottom = self.height - self.head - row * (self.cell + self.under) - self.cell
        size = self.cell / self.width, self.cell / self.height
        return self.figure.add_axes((self._left(block, column) / self.width, bottom / self.height, *size))

    def heading(self, block: int, text: str) -> None:
        middle = (self._left(block, 0) + self._left(block, self.blocks[block] - 1) + self.cell) / 2
        self.figure.text(middle / self.width, 1 - 0.02 / self.height, text, ha="center", va="top", fontsize=8)

    def note(self, text: str, side: str, colour: str) -> None:
        x = 0.003 if side == "left" else 0.997
        self.figure.text(x, 0.03 / self.height, text, ha=side, va="bottom", fontsize=6.5, color=colour)


def _short(loss: str) -> str:
    form, _, weight = loss.partition("-")
    short = {"away": "away from\ntarget", "toward": "towards\nseed"}
    if form in short:
        return f"{short[form]}, {weight}"
    return {FREE: "regularizer-\nfree", HUMAN: "human-\nleaning"}.get(loss, loss)


def _spread_over_classes(labels: np.ndarray) -> list[int]:
    """The first target of each of a few classes, evenly spread."""
    classes = np.unique(labels)
    some = classes[np.linspace(0, len(classes) - 1, min(ROWS, len(classes))).round().astype(int)]
    return [int(np.flatnonzero(labels == each)[0]) for each in some]


def _picture(axis: Axes, image: np.ndarray, accepted: bool = True, title: str = "") -> None:
    axis.imshow(image.clip(0, 1).transpose(1, 2, 0).squeeze(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize=6.5, pad=2)
    for spine in axis.spines.values():
        spine.set(visible=not accepted, color=OUTSIDE, linewidth=1.6)


if __name__ == "__main__":
    runtime.run(main)
