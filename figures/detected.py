"""Whether attacked images are told from clean ones, by the strength of the attack."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import or_nothing
from figures.entangling import among, line, untargeted
from figures.names import DETECTORS, attack_label
from figures.results import Results
from fourlenses.statistics import Undecided

SCORES = ("credibility", "softmax")


@or_nothing
def draw(results: Results) -> Figure:
    """One column an attack (white-box), one row a score; seeds and mean of each network."""
    table = results.entanglement["detection"]
    table = table[table["kind"] == "adversarial"]
    attacks, networks = untargeted(table["attack"]), among(results, table["network"])
    if not attacks:
        raise Undecided("this study judges no attacked images with the entanglement lens")
    figure, axes = plt.subplots(2, len(attacks), figsize=(6.3, 3.9), sharex="col", sharey=True, squeeze=False,
                                layout="constrained")  # fmt: skip
    for row, score in zip(axes, SCORES, strict=True):
        for axis, attack in zip(row, attacks, strict=True):
            rows = table[(table["attack"] == attack) & (table["measure"] == score)]
            for name, network in networks.iterrows():
                line(axis, rows[rows["network"] == name], "eps", "auroc", network)
            axis.axhline(0.5, color="0.35", linestyle="--", linewidth=0.7)
            axis.set_xticks(sorted(rows["eps"].unique()))
        row[0].set_ylabel(f"AUROC, {DETECTORS[score]}")
    for axis, attack in zip(axes[0], attacks, strict=True):
        axis.set_title(attack_label(attack))
    for axis in axes[-1]:
        axis.set_xlabel("largest change of a pixel, of [0, 1]")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
