"""Draw every figure of the study from its results."""

import os
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from figures import (
    agreement,
    alignment,
    alphas,
    architectures,
    attacked,
    augmentation,
    backward,
    bias,
    budgets,
    clustering,
    complexity,
    condensation,
    condensed,
    control,
    detected,
    distractors,
    dominant,
    drawing,
    dynamics,
    ends,
    entangled,
    explained,
    explaining,
    gans,
    gates,
    gradients,
    iris,
    lenses,
    maps,
    matched,
    metrics,
    mixed,
    outside,
    overfitting,
    priors,
    recipes,
    regularizers,
    rehearsal,
    released,
    reliability,
    seeds,
    simclr,
    simplified,
    sweep,
    temperature,
    threats,
    toy,
    tradeoff,
    training,
    transfer,
    transferred,
    trust,
    twins,
    widths,
)
from figures.results import Results
from fourlenses import runtime
from fourlenses.params import read_params

FIGURES: dict[str, Callable[[Results], Figure]] = {
    "iris": iris.draw,
    "recipes": recipes.draw,
    "architectures": architectures.draw,
    "backward": backward.draw,
    "augmentation": augmentation.draw,
    "simclr": simclr.draw,
    "regularizers": regularizers.draw,
    "alignment": alignment.draw,
    "sweep": sweep.draw,
    "control": control.draw,
    "agreement": agreement.draw,
    "seeds": seeds.draw,
    "clustering": clustering.draw,
    "transfer": transfer.draw,
    "trust": trust.draw,
    "training": training.draw,
    "maps": maps.draw,
    "twins": twins.draw,
    "ends": ends.draw,
    "budgets": budgets.draw,
    "threats": threats.draw,
    "widths": widths.draw,
    "overfitting": overfitting.draw,
    "metrics": metrics.draw,
    "bias": bias.draw,
    "attacked": attacked.draw,
    "released": released.draw,
    "dominant": dominant.draw,
    "lenses": lenses.draw,
    "toy": toy.draw,
    "temperature": temperature.draw,
    "dynamics": dynamics.draw,
    "entangled": entangled.draw,
    "alphas": alphas.draw,
    "reliability": reliability.draw,
    "outside": outside.draw,
    "detected": detected.draw,
    "transferred": transferred.draw,
    "gradients": gradients.draw,
    "gans": gans.draw,
    "mixed": mixed.draw,
    "complexity": complexity.draw,
    "priors": priors.draw,
    "tradeoff": tradeoff.draw,
    "simplified": simplified.draw,
    "distractors": distractors.draw,
    "gates": gates.draw,
    "condensed": condensed.draw,
    "condensation": condensation.draw,
    "explained": explained.draw,
    "explaining": explaining.draw,
    "matched": matched.draw,
    "rehearsal": rehearsal.draw,
}


def main(results: Path, out: Path) -> None:
    """Draw every figure as SVG and PNG.

    Args:
        results: folder of the study's results
        out: folder of the figures
    """
    params = read_params()
    names, standard, robust = tuple(params.networks), params.draw.standard, params.draw.robust
    reported = Path(os.path.relpath(runtime.ROOT)) / "paper/reported.csv"
    measured = Results(results, reported, names, standard, robust)
    decides = {"networks": list(names), "standard": standard, "robust": robust}
    outputs = [path for name in FIGURES for path in drawing.files(out / name)]
    with runtime.stage("draw", decides=decides, inputs=measured.files(), outputs=outputs, uses_torch=False):
        for name in runtime.progress(FIGURES, "draw"):
            drawing.save(FIGURES[name](measured), out / name)


if __name__ == "__main__":
    runtime.run(main)
