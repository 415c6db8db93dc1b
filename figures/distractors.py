"""Whether simplifying takes away the part of an image that the label does not ask for."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from figures.comparing import or_nothing
from figures.drawing import TALLEST, WIDTH, canvas
from figures.results import Results
from figures.simplifying import BITS, beds, column, few, first_seed, images_in, placed
from fourlenses.statistics import Undecided

SIDES, FEWEST, EXAMPLES, WEIGHTS = 2, 2, 3, 3  # blocks beside each other, images in each, weights that are shown
GAP, HEAD, BETWEEN, LEFT, ROW, FOOT, LARGEST = 0.04, 0.34, 0.12, 2.3, 0.155, 0.86, 0.5  # inches
PARTS = {"original": "both", "target": "asked for", "distractor": "other"}
GREY, ASIDE = "0.35", 0.2  # marks of a row do not hide each other
PANELS = {  # what stands below, by the label of its axis: a column, its name, marker, colour and face
    "share of the part": {
        "removal": ("other part removed", "o", "#0072B2", "#0072B2"),
        "probe_removal": ("removed, by a probe", "D", "#56B4E9", "#56B4E9"),
        "retention": ("asked part kept", "s", "#D55E00", "#D55E00"),
    },
    BITS: {
        "bpd_original": ("both parts", "o", GREY, "white"), "bpd_simplified": ("simplified", "o", GREY, GREY),
        "bpd_target": ("asked part alone", "|", GREY, GREY),
    },
    "accuracy, %": {
        "accuracy_plain": ("on originals", "o", GREY, "white"), "accuracy_joint": ("together", "^", GREY, GREY),
        "accuracy_retrained": ("anew on simplified", "o", GREY, GREY),
    },
}  # fmt: skip


@or_nothing
def draw(results: Results) -> Figure:
    """Above, a block a bed: both parts, each alone, and simplified by weight; below, a row a bed and weight."""
    about = beds(results)
    about = about[~about["natural"]]
    if about.empty:
        raise Undecided("this study simplifies no images with a distractor")
    table = results.simplicity["simplify"]
    table = table[table["bed"].isin(about.index)]
    weights = {bed: few(sorted(first_seed(table[table["bed"] == bed])["weight"]), WEIGHTS) for bed in about.index}
    blocks = -(-len(about) // SIDES)
    rows = [(bed, weight) for bed in about.index for weight in weights[bed]]
    below = ROW * len(rows) + FOOT
    wide = (WIDTH - BETWEEN * (SIDES - 1)) / SIDES
    room = (TALLEST - below) / blocks - HEAD
    size = min(wide / (len(PARTS) + WEIGHTS) - GAP, LARGEST, room / FEWEST - GAP)
    examples = min(EXAMPLES, int(room / (size + GAP) + 1e-9))
    tall = HEAD + examples * (size + GAP)
    axis = canvas(blocks * tall + below)
    for place, (bed, row) in enumerate(about.iterrows()):
        left, top = (place % SIDES) * (wide + BETWEEN), (place // SIDES) * tall
        axis.text(left + 0.02, top + 0.03, row["name"], va="top", fontsize=7)
        _block(axis, results, bed, table.loc[table["bed"] == bed, "seed"].min(), weights[bed], examples,
               (left + 0.02, top + HEAD - 0.02, size))  # fmt: skip
    _summary(axis, table, rows, about, blocks * tall + 0.12)
    return axis.figure


def _block(axis: Axes, results: Results, bed: str, seed: int, weights: list[float], examples: int,
           place: tuple[float, float, float]) -> None:  # fmt: skip
    arrays, (left, top, size) = results.simplified["simplify"], place
    stacks = {label: arrays.get_tensor(f"{bed}/{part}") for part, label in PARTS.items()}
    stacks |= {f"λ = {weight:g}": arrays.get_tensor(f"{bed}/seed{seed}/{weight:g}/images") for weight in weights}
    for label, images in stacks.items():
        axis.text(left + size / 2, top - 0.02, label, ha="center", va="bottom", fontsize=5.5)
        column(axis, images[:examples], left, top, size, size + GAP)
        left += size + GAP


def _summary(whole: Axes, table: pd.DataFrame, rows: list[tuple], about: pd.DataFrame, top: float) -> None:
    wide, tall = (WIDTH - LEFT - 0.45) / 3, ROW * len(rows)
    panels = [placed(whole, LEFT + i * (wide + 0.18), top, wide, tall) for i in range(3)]
    for axis, (label, marks) in zip(panels, PANELS.items(), strict=True):
        for y, (bed, weight) in enumerate(rows):
            seeds = table[(table["bed"] == bed) & (table["weight"] == weight)]
            for (name, (_, *shown)), aside in zip(marks.items(), (-ASIDE, 0, ASIDE), strict=True):
                _mark(axis, seeds[name] * (100 if name.startswith("accuracy") else 1), y + aside, *shown)
        axis.set_xlabel(label, fontsize=7)
        axis.set(ylim=(len(rows) - 0.4, -0.6), yticks=range(len(rows)), yticklabels=[])
        handles = [
            Line2D([], [], linestyle="", marker=marker, color=colour, markerfacecolor=face, markersize=3.5, label=text)
            for text, marker, colour, face in marks.values()
        ]
        axis.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.36 / tall), borderaxespad=0,
                    fontsize=5.5, labelspacing=0.1, handletextpad=0.1)  # fmt: skip
    panels[0].set_yticklabels([f"{about.loc[bed, 'name']}, λ = {weight:g}" for bed, weight in rows], fontsize=5.5)
    panels[0].set(xlim=(min(-0.05, panels[0].get_xlim()[0]), max(1.05, panels[0].get_xlim()[1])), xticks=[0, 0.5, 1])
    panels[2].set_xlabel(f"accuracy, %, of {images_in(table['n_test'])}", fontsize=7)


def _mark(axis: Axes, values: pd.Series, y: float, marker: str, colour: str, face: str) -> None:
    mark = {"color": colour, "marker": marker, "linestyle": "", "markerfacecolor": face}
    if len(values) > 1:
        axis.plot(values, [y] * len(values), **mark, markersize=1.5, alpha=0.6)
    axis.plot(values.mean(), y, **mark, markersize=3.5)
