"""Whether networks robust to different attacks represent alike, in early layers and in late ones."""

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from figures.comparing import base_pair, matrix, or_nothing, similarities
from figures.names import NORMS
from figures.results import Results
from fourlenses.statistics import Undecided

THIRDS = {"first third of the layers": (0, 1 / 3), "last third of the layers": (2 / 3, 1)}


@or_nothing
def draw(results: Results) -> Figure:
    """One matrix for early layers and one for late; rows and columns are the attacks of training."""
    study = results.similarity
    standard, robust = base_pair(study).values()
    about = study.networks.loc[study.alike(robust, "recipe", "norm")]
    norms = about.loc[about["recipe"] == "adversarial-" + about["norm"], "norm"]
    if len(norms) < 2:
        raise Undecided("this study trains networks against one kind of attack only")
    names = [standard, *sorted(norms.index, key=lambda name: list(NORMS).index(norms[name]))]
    labels = ["none", *[NORMS[norms[name]] for name in names[1:]]]
    figure, axes = plt.subplots(1, 2, figsize=(6.3, 3.5), sharey=True, layout="constrained")
    for axis, (title, depths) in zip(axes, THIRDS.items(), strict=True):
        image = matrix(axis, similarities(study, names, depths), labels)
        axis.set(title=title, xlabel="attack in training")
    axes[0].set_ylabel("attack in training")
    label = "mean CKA at matched layers; diagonal: two seeds of one network"
    figure.colorbar(image, ax=axes, label=label, location="bottom", shrink=0.6, aspect=35)
    return figure
