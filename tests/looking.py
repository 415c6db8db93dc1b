"""What the tests of the simplicity lens's figures look at, and by which names things stand there."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.results import Results
from tests import synthetic_simplicity_results as made

EXPLAINED = ["resnet-standard", "resnet-adversarial", made.RANDOMISED]
NAMES = {
    "images": "MNIST", "fashion": "Fashion-MNIST", "images-residual": "MNIST, residual", "noise": "MNIST under noise",
    "photo": "MNIST over a photo", "beside": "MNIST beside another",
    "beside-reversed": "MNIST beside another, label: other",
    "stripes": "cifar10-jpeg75 with stripes, label: stripes", "stripes-reversed": "cifar10-jpeg75 with stripes",
    "stacked": "MNIST above another", "photo-residual": "MNIST over a photo, residual",
}  # fmt: skip


def points(axis: Axes, colour: str | None = None, face: str | None = None) -> np.ndarray:
    """Where marks stand, in the order of x; `colour` and `face`, of the marks that are meant."""
    found = [
        line.get_xydata() for line in axis.lines
        if line.get_marker() not in ("None", "") and (colour is None or line.get_color() == colour)
        and (face is None or line.get_markerfacecolor() == face)
    ]  # fmt: skip
    found = np.concatenate(found or [np.empty((0, 2))])
    return found[np.lexsort(found.T[::-1])]


def said(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(plt.Text) if text.get_text()]


def changed(results: Results, **tables: pd.DataFrame) -> Results:
    """The same results but for some tables."""
    others = Results(results.folder, results.reported_in, results.names, results.standard, results.robust)
    others.simplicity.update(tables)
    return others
