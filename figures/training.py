"""Training curves: held-out accuracy by epoch, clean and under attack."""

from pathlib import Path

import pandas as pd
import seaborn as sns
from matplotlib import pyplot as plt

from figures.drawing import files, network_label, networks_of, save, use_style
from fourlenses import runtime
from fourlenses.artifacts import read_csv
from fourlenses.params import read_params


def main(train: Path, out: Path) -> None:
    """Draw the training curves of all networks.

    Args:
        train: folder of the measures by epoch (CSV) of each network
        out: the figure; .svg and .png are both written
    """
    networks = read_params().networks
    labels = {name: network_label(spec.architecture, spec.recipe, ", ") for name, spec in networks.items()}
    inputs = [train / f"{name}.csv" for name in networks]
    with runtime.stage(
        "draw", "training", decides={"networks": labels}, inputs=inputs, outputs=files(out), uses_torch=False
    ):
        save(draw(pd.concat([read_csv(path) for path in inputs], ignore_index=True), labels), out)


def draw(table: pd.DataFrame, labels: dict[str, str]) -> plt.Figure:
    """Clean accuracy on the left, robust on the right; seeds thin, their mean thick."""
    use_style()
    figure, axes = plt.subplots(1, 2, figsize=(6.3, 2.35), sharex=True, sharey=True, layout="constrained")
    networks = networks_of(table)
    panels = {"accuracy_clean": "clean held-out images", "accuracy_robust": "held-out images under attack"}
    for axis, (column, title) in zip(axes, panels.items(), strict=True):
        common = {"data": table, "x": "epoch", "y": column, "hue": "network", "hue_order": networks, "legend": False}
        if table["seed"].nunique() > 1:
            sns.lineplot(**common, units="seed", estimator=None, linewidth=0.5, alpha=0.6, ax=axis)
        sns.lineplot(**common, errorbar=None, ax=axis)
        axis.set(title=title, ylabel="accuracy", ylim=(0, 1.02))
        axis.xaxis.get_major_locator().set_params(integer=True)
    handles = [plt.Line2D([], [], color=f"C{i}", label=labels.get(each, each)) for i, each in enumerate(networks)]
    figure.legend(handles=handles, loc="outside right center")
    return figure


if __name__ == "__main__":
    runtime.run(main)
