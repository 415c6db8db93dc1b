"""Whether the judges rank networks and losses alike."""

from textwrap import fill

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.results import Results

CONTROL = "J9-0"


def draw(results: Results) -> Figure:
    """Kendall's tau-b between each two judges, over every network and loss."""
    taus, n = rank_agreement(results.cells, results.panel)
    figure, axis = plt.subplots(figsize=(6.3, 0.75 + 0.36 * len(taus)))
    sns.heatmap(taus, vmin=-1, vmax=1, cmap="PuOr", annot=True, fmt=".2f", annot_kws={"fontsize": 7}, linewidths=0.5,
                cbar=False, ax=axis)  # fmt: skip
    described = results.judges.set_index("judge")["description"]
    axis.set_yticklabels([fill(f"{name}: {described[name]}", 38) for name in taus.index], fontsize=6.5, rotation=0)
    axis.set(xlabel="", ylabel="", title=f"agreement of ranks over {n} pairs of network and loss")
    axis.tick_params(length=0)
    figure.set_layout_engine("constrained")  # only now: seaborn draws the whole figure
    figure.colorbar(axis.collections[0], ax=axis, label="Kendall's tau-b", fraction=0.05, pad=0.02)
    return figure


def rank_agreement(cells: pd.DataFrame, panel: list[str]) -> tuple[pd.DataFrame, int]:
    """Kendall's tau-b between judges over cells, of the panel, of calibrated LPIPS where it is, and of one control.

    tau_b = (C - D) / sqrt((n0 - n1)(n0 - n2)), over the n0 pairs of cells, C of which two judges order alike, D
    the other way round, and n1, n2 of which the one or the other ties.

    Arguments: `cells`, one row per network, loss and judge, with its alignment. Returns the taus, NaN for a judge
    that ties everything, and the number of cells. Source: Kendall 1945; spec 1, C11.
    """
    wide = cells.pivot(index=["network", "loss"], columns="judge", values="alignment")
    shown = [*panel, *[name for name in wide if name.startswith("lpips")], CONTROL]
    wide = wide[[name for name in shown if name in wide]]
    return wide.corr(method="kendall").rename_axis(index=None, columns=None), len(wide)
