"""The sections of params.yaml, one typed model each; what they must agree on stands in params.py."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Item = TypeVar("Item")


def _different(items: list) -> list:
    if len(set(items)) < len(items):
        raise ValueError("every entry once: what is there twice would count twice")
    return items


Several = Annotated[list[Item], Field(min_length=1), AfterValidator(_different)]  # one or more, each once
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Precision = Literal["bfloat16", "float32"]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Fetch(Section):
    dataset: str  # a name in fourlenses.images.DATASETS, or folder:<path>
    n_train: Count
    n_judges: Count  # images that only the judges and the regularizer's trunk are trained on
    n_calibration: Count
    n_test: Count
    seed: int


class Trunk(Section):
    architecture: str  # a name in fourlenses.nets.NETWORKS
    recipe: Literal["standard", "adversarial-l2", "untrained"]  # untrained: as drawn
    widths: list[Count] | None = None  # channels of each stage, for the small networks; the others have their own


class NetworkSpec(Trunk):
    recipe: str  # a name in fourlenses.training.RECIPES, or untrained
    beta: NonNegative = 0.0  # weight of the robust term of TRADES and MART
    augment: str = "crop"  # a name in fourlenses.training.AUGMENTATIONS
    strength: Positive = 1.0  # multiplies the radius of the attack that it is trained against
    n_train: Count | None = None  # the first images of its training set; all if not given
    schedule: Literal["one-cycle", "step"] = "one-cycle"
    epochs: Count | None = None  # train.epochs, or sweep.epochs, if not given
    checkpoints: Annotated[list[Count], AfterValidator(_different)] = []  # earlier epochs whose weights are kept too

    @model_validator(mode="after")
    def _checkpoints_come_before_the_end(self) -> "NetworkSpec":
        if self.checkpoints and (self.epochs is None or max(self.checkpoints) >= self.epochs):
            raise ValueError("checkpoints are epochs before the last, so this network needs its own epochs")
        return self


TRUNKS = Literal["standard", "robust", "random", "regularizer", "robust-regularizer"]


class Train(Section):
    seeds: Several[int]
    epochs: Count
    batch: Count
    lr: Positive  # peak of the one-cycle schedule
    weight_decay: NonNegative
    crop_padding: Annotated[int, Field(ge=0)]  # pixels
    flip: bool
    ema_decay: Annotated[float, Field(ge=0, lt=1)]  # 0: no moving average of the weights
    precision: Precision
    eps_l2: Positive  # of the attack in training and evaluation, in pixels of [0, 1]
    eps_linf: Positive
    attack_steps: Count
    floor_clean: Fraction  # a network below it is refused by later stages
    floor_robust: Fraction  # the same for adversarial recipes, under PGD-20
    floor_probe: Fraction  # the same for the linear probe of a network trained without labels


class Judges(Section):
    seed: int
    epochs: Count
    eps_l2: Positive  # of the adversarially trained trunk
    trunks: dict[TRUNKS, Trunk]  # all five
    # calibrated LPIPS beside the panel, where its weights can be had
    lpips: Annotated[list[Literal["alex", "vgg"]], AfterValidator(_different)]


class Loss(Section):
    transforms: bool = False  # human-leaning: the representation term is taken of a randomly transformed image
    fourier: bool = False  # human-leaning: descent on the spectrum of the image
    regularizer: str | None = None  # a name in fourlenses.invariance.REGULARIZERS
    weight: NonNegative = 0.0  # adversarial: 1 balances both terms at the start; others: 1 is the paper's
    through: Literal["regularizer", "robust-regularizer"] = "regularizer"  # the trunk that the adversarial ones look by
    backward: str = "exact"  # a name in fourlenses.nets.backward.BACKWARD: whose gradient the descent follows
    networks: Several[str] | None = None  # those that it is used on; all if not given

    @model_validator(mode="after")
    def _weight_goes_with_regularizer(self) -> "Loss":
        if (self.regularizer is None) != (self.weight == 0):
            raise ValueError("a loss has a regularizer and a positive weight, or neither")
        return self


class Invert(Section):
    n_targets: Count
    steps: Count
    step_l2: Positive  # length of every step, in pixels of [0, 1]
    precision: Precision
    seed_images: Several[str]  # names in fourlenses.invariance.SEED_IMAGES: the first for every loss, all for `free`
    noise_targets: Annotated[int, Field(ge=0)]  # images of noise that the free loss also takes as targets
    losses: dict[str, Loss]


class Judge(Section):
    n_bootstrap: Count


class Sweep(Section):
    epochs: Count
    n_train: Count  # the first images of the training split
    attack_steps: Count
    eps_l2: Positive  # of each threat model at strength 1; l2 and linf in pixels of [0, 1], the others as in threats.py
    eps_linf: Positive
    eps_jpeg: Positive
    eps_gabor: Positive
    eps_snow: Positive
    floor_clean: Fraction  # a trained network below it is refused by later stages
    networks: dict[str, NetworkSpec]


class Represent(Section):
    n_images: Count  # test images, in their order
    batch: Annotated[int, Field(ge=4)]  # images whose Gram matrix is formed together; it divides n_images
    attack_steps: Count
    attacked: Several[str]  # networks of the sweep that are also shown their own adversarial examples

    @model_validator(mode="after")
    def _batches_are_full(self) -> "Represent":
        if self.n_images % self.batch:
            raise ValueError("n_images must be a multiple of batch: every batch has the same weight")
        return self


class Compare(Section):
    standard: str  # the two networks of the sweep that the claims compare; they differ in their recipe only
    robust: str
    n_bootstrap: Count


class EntangledSpec(Section):
    alpha: float = 0.0  # weight of the soft nearest neighbour loss: below 0 it entangles, above 0 it disentangles
    rule: Literal["fixed", "released", "tracked"] = "tracked"  # how the temperature is found
    layers: Literal["first-half", "hidden", "penultimate", "logits"] = "penultimate"  # up to which the loss looks
    scale: NonNegative = 0.0  # weight of the mean squared norm of the same layers, a control
    shuffled: bool = False  # the loss sees shuffled labels, a control


class Entangled(Section):
    architecture: str  # a name in fourlenses.nets.NETWORKS
    widths: list[Count] | None = None
    seeds: Several[int]
    epochs: Count
    n_train: Count  # the first images of the training split
    lr: Positive  # of Adam, constant
    temperature: Positive  # of the rules "fixed" and "released", at the start
    networks: dict[str, EntangledSpec]


class Watched(Section):
    architecture: str
    widths: list[Count] | None = None
    recipes: Several[str]  # names in fourlenses.training.RECIPES
    epochs: Count
    n_train: Count
    n_images: Count  # training images whose entanglement is measured
    every: Count  # steps between two measurements


class Measure(Section):
    plain: str  # the networks of entangled.networks that the claims compare: without the loss,
    entangled: str  # with it,
    control: str  # and with small activations instead
    n_images: Count  # test images, in their order
    toy_seeds: Several[int]
    toy_points: Annotated[int, Field(ge=8)]
    toy_steps: Count


class Perturb(Section):
    networks: Several[str]  # of entangled.networks
    seeds: Several[int]  # of entangled.seeds
    attacks: Several[Literal["fgsm", "bim", "pgd", "fgsm-targeted", "bim-targeted", "pgd-targeted"]]
    eps: Several[Positive]  # largest change of a pixel of [0, 1]
    steps: Count  # of the attacks that take more than one
    n_images: Count
    n_gradients: Count  # images whose gradients are compared


class Detect(Section):
    networks: Several[str]  # of perturb.networks
    k: Count  # neighbours
    n_references: Count  # training images among which they are sought
    n_images: Count  # of each set
    sets: Several[str]  # names in fourlenses.images.shifted.SETS or of data sets; the first is the one that claims name


class Gans(Section):
    kinds: Several[Literal["conv", "mlp", "conv-guided", "mlp-guided"]]
    seeds: Several[int]
    iterations: Count
    batch: Count
    every: Count  # iterations between two measurements
    n_images: Count  # real and as many generated ones that a measurement compares
    widths: list[Count]  # channels of the convolutional generator, and of the discriminator in reverse


class PriorSpec(Section):
    depth: Count  # steps of flow at each scale
    width: Count  # channels inside a coupling
    coupling: Literal["affine", "additive"] = "affine"
    steps: Count  # of training


class Glow(Section):
    source: str  # a data set of generic images, which no network is trained or tested on
    held_out: Annotated[list[str], AfterValidator(_different)]  # its classes that no prior sees, if it has no test part
    n_images: Count  # generic images to train on, at most
    seed: int
    n_scales: Count  # each halves the sides of an image
    batch: Count
    lr: Positive  # peak
    precision: Precision
    most_black: Positive  # bits per dimension: what a prior must reach to be used
    least_noise: NonNegative
    most_noise: Positive
    ordered: bool  # and whether black, the study's own images, photographs and noise must come in this order
    priors: Annotated[dict[str, PriorSpec], Field(min_length=1)]  # the first measures the bits of every other stage


class Ladder(Section):
    n_images: Count  # of each set
    sets: Annotated[list[str], AfterValidator(_different)]  # data sets beside the study's own


class Bed(Section):
    source: str | None = None  # a data set; the study's own if not given
    distractor: Literal["noise", "stripes", "photo", "beside", "stacked"] | None = None
    partner: str | None = None  # the data set whose images stand beside or above
    label: Literal["target", "distractor"] = "target"  # which part carries it
    form: Literal["mix", "residual"] = "mix"  # of the simplifier; residual is the paper's
    weights: Several[NonNegative]  # of the bits against the task
    seeds: Several[int]

    @model_validator(mode="after")
    def _parts_agree(self) -> "Bed":
        if (self.distractor in ("beside", "stacked")) != (self.partner is not None):
            raise ValueError("the distractors beside and stacked need a partner, and no other has one")
        if self.label == "distractor" and self.distractor in (None, "noise"):
            raise ValueError("only stripes, photo, beside and stacked can carry the label")
        return self


class Simplify(Section):
    architecture: str  # of the classifier, a name in fourlenses.nets.NETWORKS without batch normalisation
    widths: list[Count] | None = None
    base: Count  # channels of the simplifier's first layer
    n_train: Count  # the first images of the training split
    n_test: Count
    warm_steps: Annotated[int, Field(ge=0)]  # of the classifier alone, on originals
    steps: Count  # of simplifier and classifier together
    batch: Count
    lr: Positive  # of both
    tau: Positive  # an image whose original has a larger loss is not simplified
    retrain_epochs: Count
    beds: dict[str, Bed]

    @model_validator(mode="after")
    def _has_natural_images(self) -> "Simplify":
        if "images" not in self.beds or self.beds["images"].model_dump(exclude={"weights", "seeds"}) != Bed(
            weights=[0.0], seeds=[0]
        ).model_dump(exclude={"weights", "seeds"}):
            raise ValueError("beds must have 'images', the study's own without a distractor")
        return self


class Baselines(Section):
    beds: Several[str]  # of simplify.beds
    blur: Several[Positive]  # deviations of the Gaussian, in pixels
    jpeg: Several[Annotated[int, Field(ge=1, le=100)]]  # qualities
    mse: Several[NonNegative]  # weights of the bits against the mean squared error


class Evaluator(Section):
    architecture: str  # a name in fourlenses.nets.NETWORKS
    widths: list[Count] | None = None


class Condense(Section):
    architecture: str  # whose gradients are matched, a name in fourlenses.nets.NETWORKS without batch normalisation
    widths: list[Count] | None = None
    seeds: Several[int]
    ipc: Several[Count]  # images a class
    weights: Several[NonNegative]  # of the bits against the match; 0 among them
    rounds: Count  # networks drawn one after the other
    inner: Count  # steps of the images for each network, if there is more than one image a class
    net_steps: Count  # steps of the network after each of these
    batch: Count  # real images of a class in a gradient
    lr: Positive  # of the images
    n_networks: Count  # drawn and trained on the condensed images, each tested
    epochs: Count  # of that training
    evaluate: Annotated[dict[str, Evaluator], Field(min_length=1)]


class Explain(Section):
    standard: str  # the two networks of the zoo whose decisions are looked at
    robust: str
    seeds: Several[int]
    n_images: Count  # wrongly classified test images, and as many rightly classified
    steps: Count
    lr: Positive
    weight: NonNegative  # of the bits against what the network uses


class Rehearse(Section):
    tasks: Several[str]  # data sets in their order; "own" is the study's
    seeds: Several[int]
    n_train: Count  # images of each task
    epochs: Count  # on each task
    lr: Positive
    ipc: Count  # condensed images a class that stand for an earlier task
    weights: Several[NonNegative]  # of their bits


class Draw(Section):
    standard: str  # the two networks of the IRI figure
    robust: str
