"""The quantities of images simplified after training, for one network's decision; see quantities.py for their form.

The network is the first of the table, the conventionally trained one; the images are those that it gets wrong.
Resamples are over images and over the seeds of the simplification. Source: spec section 1 (C6), after Schirrmeister et
al. 2022.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from fourlenses.simplicity.tables import Draws, Tables, draw, table
from fourlenses.statistics import Estimate, Undecided, drawn_images

GROUP = "wrong"


def _explained(
    tables: Tables, columns: list[str], n_resamples: int, generator: np.random.Generator
) -> tuple[dict[str, Float[ndarray, "seeds images"]], Draws]:
    """Columns of explain.csv by seed and image, for the images that every seed has."""
    rows = table(tables, "explain")
    rows = rows[(rows["network"] == rows["network"].iloc[0]) & (rows["group"] == GROUP)]
    if rows.empty:
        raise Undecided("the network gets no test image wrong")
    found = {name: rows.pivot(index="seed", columns="image", values=name).dropna(axis=1) for name in columns}
    n = len(found[columns[0]].columns)
    draws = draw(found[columns[0]].index, drawn_images(n, n_resamples, generator), n_resamples, generator)
    return {name: values.sort_index().to_numpy(float) for name, values in found.items()}, draws


def _estimate(draws: Draws, values: Float[ndarray, " r"], note: str = "") -> Estimate:
    return draws.estimate(values, draws.image_counts.shape[1], note)


def label_kept(tables: Tables, n_resamples: int, generator: np.random.Generator, fewer_bits: bool) -> Estimate:
    """Share of the images, in percent, that keep the network's wrong label; `fewer_bits`, and take fewer bits too."""
    found, draws = _explained(tables, ["kept", "bpd_before", "bpd_after"], n_resamples, generator)
    kept = found["kept"] * (found["bpd_after"] < found["bpd_before"]) if fewer_bits else found["kept"]
    return _estimate(draws, 100 * draws.over_seeds(map(draws.mean, kept)))


def divergence(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Median over images of KL(p(x) || p(x~)) in nats, of the network's answers to an image and to its simplification.

    Mean over seeds.
    """
    found, draws = _explained(tables, ["kl"], n_resamples, generator)
    return _estimate(draws, draws.over_seeds(map(draws.median, found["kl"])))


def bits_saved(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """How many bits fewer the simplified images take, in percent of the originals'."""
    found, draws = _explained(tables, ["bpd_before", "bpd_after"], n_resamples, generator)
    before, after = (draws.over_seeds(map(draws.mean, values)) for values in found.values())
    return _estimate(draws, 100 * (1 - after / before), f"from {before[0]:.3g} to {after[0]:.3g} bits per dimension")


def lead_over_blur(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """Share of the images that keep the label minus the share that keeps it at equal bits by blur, in points."""
    found, draws = _explained(tables, ["kept", "kept_blur"], n_resamples, generator)
    kept, blurred = (100 * draws.over_seeds(map(draws.mean, values)) for values in found.values())
    return _estimate(draws, kept - blurred, f"{kept[0]:.3g} % against {blurred[0]:.3g} % by blur")


def randomised_apart(tables: Tables, n_resamples: int, generator: np.random.Generator) -> Estimate:
    """SSIM of two seeds' simplifications minus that of the network's and those for random weights, mean over images."""
    rows = table(tables, "explain_distances")
    rows = rows[(rows["group"] == GROUP) & rows["pair"].isin(["seeds", "randomised"])]
    found = rows.pivot_table(index="image", columns="pair", values="ssim").reindex(columns=["seeds", "randomised"])
    found = found.dropna()
    if found.empty:
        raise Undecided("this study simplifies with one seed, so nothing says how far two seeds are apart")
    counts = drawn_images(len(found), n_resamples, generator)
    seeds, randomised = (counts @ found.to_numpy() / len(found)).T
    note = f"{seeds[0]:.3g} between seeds, {randomised[0]:.3g} between the two networks"
    return Estimate(seeds - randomised, len(found), note)
