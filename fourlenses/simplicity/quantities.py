"""The quantities that decide the claims about simplicity, each recomputed whole in every resample.

A quantity takes the tables, the number of resamples and a generator, and returns an Estimate; it raises Undecided
where the study lacks what it needs. A new quantity is one function and one line in QUANTITIES. What is compared with
what is in the files by subject: the ladder of bits, simplified beds, the parts of composites, condensed sets,
heuristics, and images explained after training. Bits are per dimension, means over training seeds. Source: spec
section 1, after Schirrmeister et al. 2022.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from fourlenses.simplicity import quantities_explained as explained
from fourlenses.simplicity.quantities_beds import (
    accuracy_with_weight,
    area_gap,
    bits_saved,
    bits_with_weight,
    fewest_bits_gap,
    saved_otherwise,
)
from fourlenses.simplicity.quantities_condensed import condensed, rehearsal_gain, rehearsal_lost, rehearsal_saved
from fourlenses.simplicity.quantities_heuristics import matched_lead
from fourlenses.simplicity.quantities_ladder import (
    BLACK,
    CLOTHES,
    DIGITS,
    NATURAL,
    NOISE,
    NUMBERS,
    correlation_with_png,
    simplified_by_blur,
    smallest_gap,
)
from fourlenses.simplicity.quantities_parts import lead_both_ways, of_composites
from fourlenses.simplicity.tables import Tables
from fourlenses.statistics import Estimate

LADDER = (BLACK, DIGITS, NATURAL, NOISE)

QUANTITIES: dict[str, Callable[[Tables, int, np.random.Generator], Estimate]] = {
    "smallest step of the ladder": partial(smallest_gap, chain=LADDER),
    "smallest step of the ladder, in standard errors": partial(smallest_gap, chain=LADDER, in_errors=True),
    "clothes between digits and natural images": partial(smallest_gap, chain=(DIGITS, CLOTHES, NATURAL)),
    "natural images above house numbers": partial(smallest_gap, chain=(NUMBERS, NATURAL)),
    "bits and PNG, every set": partial(correlation_with_png, pooled=False),
    "bits and PNG, all sets as one": partial(correlation_with_png, pooled=True),
    "images simplified by blur": simplified_by_blur,
    "bits with the weight": bits_with_weight,
    "accuracy with the weight, joint": partial(accuracy_with_weight, classifier="joint"),
    "accuracy with the weight, retrained": partial(accuracy_with_weight, classifier="retrained"),
    "bits saved at the largest weight": bits_saved,
    "PNG bits saved at the largest weight": partial(saved_otherwise, measure="png"),
    "bits saved at the largest weight, at full contrast": partial(saved_otherwise, measure="contrast_bpd"),
    "removal beyond fading, some composite": partial(of_composites, measure="lead", every=False),
    "removal beyond fading, every composite": partial(of_composites, measure="lead", every=True),
    "bits of the other part saved": partial(of_composites, measure="bits", every=True),
    "other part removed": partial(of_composites, measure="removal", every=True),
    "part with the label retained": partial(of_composites, measure="retention", every=True),
    "accuracy, simplified minus composite": partial(of_composites, measure="accuracy", every=True),
    "removal beyond fading, either label": lead_both_ways,
    "accuracy lost by the harder set, as far as both go": partial(area_gap, whole=False),
    "accuracy lost by the harder set, down to a fifth": partial(area_gap, whole=True),
    "fewest bits, harder set minus easier": fewest_bits_gap,
    "condensed bits saved, some size": partial(condensed, measure="saved", ipc=None),
    "label kept with fewer bits": partial(explained.label_kept, fewer_bits=True),
    "label kept": partial(explained.label_kept, fewer_bits=False),
    "divergence of the answers": explained.divergence,
    "bits saved, explained": explained.bits_saved,
    "label kept, beyond blur": explained.lead_over_blur,
    "simplified otherwise for random weights": explained.randomised_apart,
    "SimpleBits over heuristics": partial(matched_lead, method=None),
    "SimpleBits over blur": partial(matched_lead, method="blur"),
    "SimpleBits over JPEG": partial(matched_lead, method="jpeg"),
    "SimpleBits over a small change": partial(matched_lead, method="mse"),
    "rehearsal gained over none": rehearsal_gain,
    "rehearsal lost, some way": partial(rehearsal_lost, every=False),
    "rehearsal lost, every way": partial(rehearsal_lost, every=True),
    "bits of rehearsed images saved": rehearsal_saved,
}
for _ipc, _size in ((1, "one image a class"), (10, "ten images a class")):
    QUANTITIES |= {
        f"condensed bits saved, {_size}": partial(condensed, measure="saved", ipc=_ipc),
        f"condensed accuracy lost, {_size}": partial(condensed, measure="lost", ipc=_ipc),
    }
