"""Whether adversarial examples made on one network fool another one, and the network itself."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from figures.comparing import or_nothing
from figures.entangling import SIDE_BY_SIDE, among, line, middle, network_handles, numbered, untargeted
from figures.names import attack_label
from figures.results import Results
from fourlenses.statistics import Undecided

ITSELF, MOST = "itself", 3  # attacks at most
STYLES = {"-": "made on {}, shown to it", "--": "made on it, shown to {}", ":": "made on it, shown to itself"}


@or_nothing
def draw(results: Results) -> Figure:
    """One column an attack: above, errors of columns on examples made on rows, at the middle strength; below, by it."""
    table = results.entanglement["transfer"]
    networks, attacks = among(results, table["source"]), untargeted(table["attack"])[:MOST]
    if len(networks) < 2 or not attacks:
        raise Undecided("this study shows no network of the entanglement lens what was made to fool another")
    names, eps = list(networks["label"]), middle(table["eps"])
    tall = 0.35 + 0.3 * len(names)
    figure, axes = plt.subplots(2, len(attacks), figsize=(6.3, 4.2 + tall), squeeze=False, sharey="row",
                                height_ratios=(tall, 1.7), layout="constrained")  # fmt: skip
    for (above, below), attack in zip(axes.T, attacks, strict=True):
        rows = table[table["attack"] == attack]
        values = errors(rows[rows["eps"] == eps], list(networks.index))
        numbered(above, values, ".2f", 0.5, fontsize=6.5, vmin=0, vmax=1)
        above.set_xticks(np.arange(len(names) + 1), [*names, ITSELF], rotation=90, fontsize=6.5)
        above.axvline(len(names) - 0.5, color="white", linewidth=3)
        above.set_title(f"{attack_label(attack)} {eps:g}", fontsize=7.5)
        above.set_xlabel("shown to (" + ("of the same seed)" if one_seed(rows) else "of another seed)"))
        _by_strength(below, rows.assign(seed=rows["source_seed"]), networks[:SIDE_BY_SIDE])
    axes[0, 0].set_yticks(np.arange(len(names)), names)
    axes[0, 0].set_ylabel("made on")
    axes[1, 0].set_ylabel("share of images that\nare no longer right")
    handles = network_handles(networks[:SIDE_BY_SIDE])
    handles += [plt.Line2D([], [], color="0.2", linestyle=style, label=text.format(names[0]))
                for style, text in STYLES.items()]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


def shown_to_others(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows of transfer.csv, those of another network with another seed, or of another network if there is but one.

    Networks of one seed start from the same weights, so that what fools one would fool the other more than is fair.
    """
    other = rows["source"] != rows["target"] if one_seed(rows) else rows["source_seed"] != rows["target_seed"]
    return rows[other]


def one_seed(rows: pd.DataFrame) -> bool:
    """Whether rows of transfer.csv are of networks of one training seed only."""
    return bool((rows["source_seed"] == rows["target_seed"]).all())


def shown_to_itself(rows: pd.DataFrame) -> pd.DataFrame:
    """Of rows of transfer.csv, those where a network is shown what was made on it."""
    return rows[(rows["source"] == rows["target"]) & (rows["source_seed"] == rows["target_seed"])]


def errors(rows: pd.DataFrame, names: list[str]) -> Float[np.ndarray, "n m"]:
    """Mean error by source and target, and in the last column of the source itself; NaN where nothing was measured."""
    means = shown_to_others(rows).groupby(["source", "target"])["error"].mean().unstack()
    means = means.reindex(index=names, columns=names)
    itself = shown_to_itself(rows).groupby("source")["error"].mean().reindex(names)
    return np.column_stack([means.to_numpy(), itself.to_numpy()])


def _by_strength(axis: Axes, rows: pd.DataFrame, networks: pd.DataFrame) -> None:
    plain, others, own = networks.index[0], shown_to_others(rows), shown_to_itself(rows)
    for name, network in networks.iterrows():
        line(axis, others[(others["source"] == plain) & (others["target"] == name)], "eps", "error", network)
        if name != plain:
            line(axis, others[(others["source"] == name) & (others["target"] == plain)], "eps", "error", network, "--")
        line(axis, own[own["source"] == name], "eps", "error", network, ":")
    axis.set(xlabel="largest change of a pixel", ylim=(0, 1.02))
    axis.set_xticks(sorted(rows["eps"].unique()))
