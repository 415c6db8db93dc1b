"""What simplifying costs: accuracy over the bits that are left, and how many images the gate lets through."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.results import Results
from figures.simplifying import accuracy_curve, beds, bits_axis, hollow, images_in, original_mark, weight_axis

TRAINED = {"accuracy_joint": "trained together", "accuracy_retrained": "trained anew on simplified"}


def draw(results: Results) -> Figure:
    """A line a bed, a mark a weight; above, natural images, below, those with a distractor; beside, the gate."""
    table, about = results.simplicity["simplify"], beds(results)
    kinds = [rows for _, rows in about.groupby("natural", sort=False)]
    weights = sorted(table["weight"].unique())
    size = (6.3, 0.75 + 1.95 * len(kinds) + 0.09 * len(about))
    figure, axes = plt.subplots(len(kinds), 3, figsize=size, squeeze=False, layout="constrained")
    for axis, label in zip(axes[0], TRAINED.values(), strict=False):
        axis.set_title(label, fontsize=7.5)
    for row, kind in zip(axes, kinds, strict=True):
        row[1].sharey(row[0])
        for name, bed in kind.iterrows():
            rows, shown = table[table["bed"] == name], {"colour": bed["colour"], "marker": bed["marker"]}
            for axis, accuracy in zip(row, TRAINED, strict=False):
                accuracy_curve(axis, rows, "weight", "bpd_simplified", accuracy, bed["name"], **shown)
                original_mark(axis, rows, accuracy, **shown)
            gate = rows.pivot(index="seed", columns="weight", values="gate")
            at = [weights.index(weight) for weight in gate.columns]
            row[2].plot(at, gate.mean(), color=bed["colour"], marker=bed["marker"], linewidth=1)
            if len(gate) > 1:
                row[2].plot(at, gate.T, color=bed["colour"], linewidth=0.4, alpha=0.5)
        for axis in row[:2]:
            bits_axis(axis)
        row[0].set_ylabel(f"accuracy, %, of {images_in(table['n_test'])} images")
        row[1].tick_params(labelleft=False)
        weight_axis(row[2], weights)
        row[2].set(ylim=(-0.03, 1.03), ylabel="mean gate in training")
    handles = [plt.Line2D([], [], color=bed.colour, marker=bed.marker, label=bed.name) for bed in about.itertuples()]
    figure.legend(handles=[*handles, hollow("originals")], loc="outside lower center", ncols=2)
    return figure
