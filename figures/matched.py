"""Whether learning to simplify beats blur, JPEG and squared error at equal bits."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.drawing import TALLEST
from figures.names import SIMPLIFIERS
from figures.results import Results
from figures.simplifying import accuracy_curve, beds, bits_axis, hollow, images_in, original_mark

COLUMNS = 3


def draw(results: Results) -> Figure:
    """One panel a bed: accuracy of networks trained anew, over the bits of what they were trained on."""
    others, table, about = results.simplicity["baselines"], results.simplicity["simplify"], beds(results)
    shown = [bed for bed in about.index if bed in set(others["bed"])]
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.3, min(0.6 + 2.3 * rows, TALLEST)), squeeze=False,
                                layout="constrained")  # fmt: skip
    for axis, bed in zip(axes.flat, shown, strict=False):
        own, alike = table[table["bed"] == bed], others[others["bed"] == bed]
        for method, (label, colour, marker) in SIMPLIFIERS.items():
            if method == "simplified":
                accuracy_curve(axis, own, "weight", "bpd_simplified", "accuracy_retrained", label, colour, marker)
            elif (alike["method"] == method).any():
                accuracy_curve(axis, alike[alike["method"] == method], "knob", "bpd", "accuracy", label, colour, marker)
        original_mark(axis, own, "accuracy_retrained", "0.35", "o")
        axis.set_title(about.loc[bed, "name"], fontsize=7.5)
        bits_axis(axis)
    for axis in axes[:, 0]:
        axis.set_ylabel(f"accuracy, %, of {images_in(table['n_test'])} images")
    for axis in list(axes.flat)[len(shown) :]:
        axis.axis("off")
    handles, _ = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles=[*handles, hollow("originals")], loc="outside lower center", ncols=5)
    return figure
