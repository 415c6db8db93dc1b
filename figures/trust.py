"""Whether alignment says which of two networks to trust where they disagree."""

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy import ndarray

from figures.drawing import nothing
from figures.names import FREE
from figures.results import Results
from fourlenses.statistics import Estimate, resampled_means, resampling_counts

RESAMPLES = 500
POINT = "#0072B2"


def draw(results: Results) -> Figure:
    """One mark a pair of trained networks, with its interval over images and seeds."""
    free = results.cells[(results.cells["loss"] == FREE) & (results.cells["judge"] == "median")]
    free = free[free["recipe"] != "untrained"]
    alignment = free.set_index("network")["alignment"]
    pairs = trusted(results.predictions, alignment)
    if pairs.empty:
        return nothing("No two trained networks of this study differ in alignment and in what they predict.")
    figure, axis = plt.subplots(figsize=(6.3, 3.2), layout="constrained")
    axis.axhline(0, color="0.35", linewidth=0.9)
    faint = max(0.2, 0.8 - len(pairs) / 200)
    axis.vlines(pairs["difference"], pairs["low"], pairs["high"], color=POINT, linewidth=0.7, alpha=faint)
    axis.plot(pairs["difference"], pairs["gain"], "o", color=POINT, markersize=3, alpha=min(1, 1.6 * faint))
    right = (pairs["gain"] > 0).sum()
    axis.set_title(f"the more aligned network is right more often in {right} of {len(pairs)} pairs", loc="left")
    axis.set(xlabel="difference in alignment between the two, points (regularizer-free, panel median)", xlim=(0, None),
             ylabel="accuracy where they disagree,\nmore minus less aligned, points")  # fmt: skip
    return figure


def trusted(predictions: pd.DataFrame, alignment: pd.Series) -> pd.DataFrame:
    """For pairs of networks, how much more often the more aligned is right on the images where they disagree.

    gain = 100/|D| sum_{i in D} ([f_high(x_i) = y_i] - [f_low(x_i) = y_i]), D = {i: f_high(x_i) != f_low(x_i)}

    Arguments: `predictions`, seed, image, label and one column a network; `alignment`, percent, by network.
    Returns the pairs that disagree somewhere and are not equally aligned: high, low network's names, the difference
    in alignment, the gain and its 95 % bootstrap interval over images and seeds, in points. Source: spec 1, C13.
    """
    names = [name for name in alignment.index if name in predictions]
    pairs = [sorted(pair, key=alignment.get) for pair in combinations(names, 2)]
    pairs = [(low, high) for low, high in pairs if alignment[low] != alignment[high]]
    columns = ["less", "more", "difference", "gain", "low", "high"]
    rows = predictions.sort_values(["seed", "image"])
    shape = rows["seed"].nunique(), -1
    classes = {name: rows[name].to_numpy().reshape(shape) for name in names}
    label = rows["label"].to_numpy().reshape(shape)
    gains = [_gains(classes[low], classes[high], label) for low, high in pairs]
    kept = [(pair, gain) for pair, gain in zip(pairs, gains, strict=True) if not np.isnan(gain).all()]
    if not kept:
        return pd.DataFrame(columns=columns)
    counts = resampling_counts(*label.shape, RESAMPLES, np.random.default_rng(0))
    found = []
    for (low, high), gain in kept:
        estimate = Estimate(resampled_means(gain[None], *counts)[:, 0], int((~np.isnan(gain)).sum()))
        found.append((low, high, alignment[high] - alignment[low], estimate.effect, *estimate.interval))
    return pd.DataFrame(found, columns=columns)


def _gains(
    low: Int[ndarray, "seeds images"], high: Int[ndarray, "seeds images"], label: Int[ndarray, "seeds images"]
) -> Float[ndarray, "seeds images"]:
    right = 100.0 * (high == label) - 100.0 * (low == label)
    return np.where(low == high, np.nan, right)
