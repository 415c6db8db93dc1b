"""Whether entangled networks are as accurate: by the weight of the loss, and against the plain network."""

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray
from scipy.stats import sem, t

from figures.comparing import or_nothing
from figures.drawing import TALLEST
from figures.entangling import PLAIN, entangled_networks
from figures.names import TEMPERATURES, signed
from figures.results import Results
from fourlenses.entanglement.quantities_accuracy import LEVEL, POWER, SOUGHT, seeds_needed
from fourlenses.statistics import Undecided

RULES = {"tracked": ("#0072B2", "o"), "released": ("#D55E00", "s"), "fixed": ("#E69F00", "v")}


@or_nothing
def draw(results: Results) -> Figure:
    """Left, accuracy over alpha; right, its difference from the plain network of the same seed; 95 % over seeds."""
    networks = entangled_networks(results)
    if networks["role"].iloc[0] != PLAIN or len(networks) < 2:
        raise Undecided("this study trains no network of the entanglement lens beside the plain one")
    table = results.entanglement["networks"]
    accuracy = 100 * table.pivot(index="network", columns="seed", values="accuracy_test").loc[networks.index]
    height = min(max(2.9, 1.5 + 0.18 * len(networks)), TALLEST)
    figure = plt.figure(figsize=(6.3, height), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(0.85, 1))
    _by_weight(left, accuracy, networks)
    _against_plain(right, accuracy.iloc[1:] - accuracy.iloc[0], networks.iloc[1:])
    if best := best_entangled(table, networks):
        gain = accuracy.loc[best] - accuracy.iloc[0]
        figure.supxlabel(power(networks.loc[best, "label"], gain.to_numpy()), fontsize=7)
    return figure


def student(values: Float[ndarray, " seeds"]) -> tuple[float, float]:
    """Student's 95 % interval of the mean of a value by seed; from one seed the value itself."""
    half = t.ppf(1 - LEVEL / 2, len(values) - 1) * sem(values) if len(values) > 1 else 0.0
    return float(values.mean() - half), float(values.mean() + half)


def best_entangled(table: pd.DataFrame, networks: pd.DataFrame) -> str | None:
    """The network of negative alpha that is most accurate on the calibration images; None without one."""
    candidates = networks.index[(networks["alpha"] < 0) & ~networks["shuffled"] & (networks["scale"] == 0)]
    means = table[table["network"].isin(candidates)].groupby("network")["accuracy_calibration"].mean()
    return means.idxmax() if len(means) else None


def power(label: str, gains: Float[ndarray, " seeds"]) -> str:
    """What the seeds at hand can say of the gain of the best entangled network, in points by seed."""
    said = f"best by calibration ({label}): {signed(round(gains.mean(), 2))} points"
    if len(gains) < 2:
        return f"{said}; one seed says nothing of chance"
    low, high = (signed(round(end, 2)) for end in student(gains))
    sd = float(np.std(gains, ddof=1))
    said += f" [{low}, {high}], standard deviation over seeds {sd:.2f}"
    seeds = f"{seeds_needed(sd)} seeds, of which there are {len(gains)}"
    return f"{said};\nto see {SOUGHT:g} points with {100 * POWER:g} % power takes {seeds}"


def _by_weight(axis: Axes, accuracy: pd.DataFrame, networks: pd.DataFrame) -> None:
    weighted = networks[(networks["scale"] == 0) & ~networks["shuffled"]].sort_values("alpha")
    weights = sorted(set(weighted["alpha"]))
    for name, network in weighted.iterrows():
        colour, marker = RULES[network["rule"]] if network["alpha"] else ("black", "D")
        values = accuracy.loc[name].to_numpy()
        label = f"T {TEMPERATURES[network['rule']]}" if network["alpha"] else "plain"
        filled = "white" if network["layers"] != "penultimate" else colour
        axis.plot([network["alpha"]] * 2, student(values), color=colour, linewidth=1)
        axis.plot(network["alpha"], values.mean(), marker, color=colour, markerfacecolor=filled, label=label)
    smallest = min(abs(weight) for weight in weights if weight)
    axis.set_xscale("symlog", linthresh=smallest, linscale=0.6)
    axis.set_xticks(weights, [signed(weight) for weight in weights], rotation=90)
    axis.minorticks_off()
    axis.set(xlabel="α, weight of the loss (below 0 entangles)", ylabel="test accuracy, %", ylim=(0, 102))
    handles, labels = axis.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    hollow = bool((weighted["layers"] != "penultimate").any())
    axis.legend(named.values(), named, loc="lower right", title="hollow: other layers" if hollow else None)


def _against_plain(axis: Axes, gains: pd.DataFrame, networks: pd.DataFrame) -> None:
    for y, (name, network) in enumerate(networks.iterrows()):
        values = gains.loc[name].to_numpy()
        axis.plot(values, np.full(len(values), y), network["marker"], color=network["colour"], markersize=2, alpha=0.6)
        axis.plot(student(values), [y, y], color=network["colour"], linewidth=1.2)
        axis.plot(values.mean(), y, network["marker"], color=network["colour"])
    axis.axvline(0, color="0.35", linewidth=0.8)
    axis.set_yticks(range(len(networks)), networks["label"], fontsize=6)
    axis.set_xscale("symlog", linthresh=1, linscale=1)
    ticks = [-100, -10, -1, 0, 1, 10]
    low, high = min(gains.min().min(), -1), max(gains.max().max(), 1)
    axis.set(ylim=(len(networks) - 0.5, -0.5), xlabel="difference from plain, points", xlim=(1.3 * low, 1.3 * high))
    axis.set_xticks([tick for tick in ticks if 1.3 * low <= tick <= 1.3 * high])
    axis.xaxis.set_major_formatter(lambda value, _: signed(value))
    axis.minorticks_off()
    axis.grid(axis="y", visible=False)
