"""A study of made-up results, and its figures, each drawn once."""

from collections.abc import Callable, Iterator
from functools import cache

import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.results import Results
from stages.draw import FIGURES
from tests import synthetic_figures


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    return synthetic_figures.study(tmp_path_factory.mktemp("study"), 10, seeds=2, images=6)


@pytest.fixture(scope="module")
def drawn(results) -> Iterator[Callable[[str], Figure]]:
    yield cache(lambda name: FIGURES[name](results))
    plt.close("all")


@pytest.fixture(scope="module")
def tables(results) -> dict[str, pd.DataFrame]:
    return {path.stem: pd.read_csv(path) for path in (results.folder / "simplicity").glob("*.csv")}
