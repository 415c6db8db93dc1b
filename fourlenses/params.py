"""params.yaml, read strictly: an unknown key, a wrong type or a value out of range stops before any work."""

import difflib
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fourlenses.errors import UserError

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


class Draw(Section):
    standard: str  # the two networks of the IRI figure
    robust: str


class Params(Section):
    root: str  # path from the study to the repository's root
    fetch: Fetch
    networks: dict[str, NetworkSpec]
    train: Train
    judges: Judges
    invert: Invert
    judge: Judge
    sweep: Sweep
    represent: Represent
    compare: Compare
    entangled: Entangled
    watched: Watched
    measure: Measure
    perturb: Perturb
    detect: Detect
    gans: Gans
    draw: Draw

    @model_validator(mode="after")
    def _sections_agree(self) -> "Params":
        for name in (self.draw.standard, self.draw.robust):
            if name not in self.networks:
                raise ValueError(f"draw names the network {name!r}, which is not in networks")
        if self.invert.losses.get("free") != Loss():
            raise ValueError("invert.losses must have the regularizer-free loss on every network, 'free: {}'")
        for loss in self.invert.losses.values():
            for name in loss.networks or []:
                if name not in self.networks:
                    raise ValueError(f"invert.losses names the network {name!r}, which is not in networks")
        missing = [name for name in get_args(TRUNKS) if name not in self.judges.trunks]
        if missing:
            raise ValueError(f"judges.trunks must have {', '.join(missing)}")
        fewest = min(self.fetch.n_train, self.fetch.n_judges)
        if self.train.batch > fewest:
            raise ValueError(f"train.batch must be at most {fewest}, so that fetch.n_train and fetch.n_judges fill one")
        if self.invert.n_targets > self.fetch.n_test:
            raise ValueError(f"invert.n_targets must be at most fetch.n_test, which is {self.fetch.n_test}")
        return self

    @model_validator(mode="after")
    def _sweep_agrees(self) -> "Params":
        swept, pair = self.sweep.networks, (self.compare.standard, self.compare.robust)
        for section, names in {"represent": self.represent.attacked, "compare": pair}.items():
            for name in names:
                if name not in swept:
                    raise ValueError(f"{section} names the network {name!r}, which is not in sweep.networks")
        own = {"recipe", "epochs", "checkpoints"}
        if swept[pair[0]].model_dump(exclude=own) != swept[pair[1]].model_dump(exclude=own):
            raise ValueError(f"compare.standard and compare.robust may differ in {', '.join(sorted(own))} only")
        twice = sorted(set(swept) & set(self.networks))
        if twice:
            raise ValueError(f"{', '.join(twice)} stands in networks and in sweep.networks; give other names")
        if self.represent.n_images > self.fetch.n_test:
            raise ValueError(f"represent.n_images must be at most fetch.n_test, which is {self.fetch.n_test}")
        if self.sweep.n_train > self.fetch.n_train:
            raise ValueError(f"sweep.n_train must be at most fetch.n_train, which is {self.fetch.n_train}")
        for name, spec in {**self.networks, **swept}.items():
            most = self.sweep.n_train if name in swept else self.fetch.n_train
            if spec.n_train is not None and not self.train.batch <= spec.n_train <= most:
                raise ValueError(f"{name}: n_train must be from {self.train.batch} (a batch) to {most} (all images)")
        return self

    @model_validator(mode="after")
    def _entanglement_agrees(self) -> "Params":
        own, roles = self.entangled.networks, (self.measure.plain, self.measure.entangled, self.measure.control)
        wanted = {"measure": roles, "perturb": self.perturb.networks, "detect": self.detect.networks}
        for section, names in wanted.items():
            for name in names:
                if name not in own:
                    raise ValueError(f"{section} names the network {name!r}, which is not in entangled.networks")
        for name in self.detect.networks:
            if name not in self.perturb.networks:
                raise ValueError(f"detect names the network {name!r}, which is not in perturb.networks")
        twice = sorted(set(own) & (set(self.networks) | set(self.sweep.networks)))
        if twice:
            raise ValueError(f"{', '.join(twice)} stands in entangled.networks and elsewhere; give other names")
        limits = {"entangled.n_train": self.entangled.n_train, "watched.n_train": self.watched.n_train}
        limits |= {"detect.n_references": self.detect.n_references}
        for key, n in limits.items():
            if not self.train.batch <= n <= self.fetch.n_train:
                raise ValueError(
                    f"{key} must be from {self.train.batch} (a batch) to {self.fetch.n_train} (all images)"
                )
        if self.watched.n_images > self.watched.n_train:
            raise ValueError(f"watched.n_images must be at most watched.n_train, which is {self.watched.n_train}")
        most = {"measure": self.measure.n_images, "perturb": self.perturb.n_images, "detect": self.detect.n_images}
        for section, n in (most | {"gans": 2 * self.gans.n_images}).items():
            if n > self.fetch.n_test:
                raise ValueError(f"{section} asks for {n} test images, of which there are {self.fetch.n_test}")
        if self.perturb.n_gradients > self.perturb.n_images:
            raise ValueError(f"perturb.n_gradients must be at most perturb.n_images, which is {self.perturb.n_images}")
        if not set(self.perturb.seeds) <= set(self.entangled.seeds):
            raise ValueError("perturb.seeds must be among entangled.seeds")
        return self


def read_params(path: Path | str = "params.yaml") -> Params:
    """Read and check a study's parameters.

    Raises UserError, one line that names the file, the key, what was found and what was expected; also when the
    study belongs to another checkout than the code that runs.
    """
    from ruamel.yaml import YAML, YAMLError

    path = Path(path)
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no {path} in {Path.cwd()}", "a study folder", "run the stage from one") from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML ({error})", "key: value lines", "correct that line") from None
    try:
        params = Params.model_validate(content)
    except ValidationError as error:
        raise _explain(path, error) from None
    code = Path(__file__).resolve().parents[1]
    if (path.parent / params.root).resolve() != code:
        given = f"{path}: root is {params.root!r}, but the code that runs is in {code}"
        raise UserError(given, "a study of this checkout", "install this checkout, or correct root")
    return params


def choose(kind: str, name: str, registry: dict) -> object:
    """The registry's entry of this name; raises UserError that lists the close names."""
    if name not in registry:
        close = difflib.get_close_matches(name, registry, 3, 0.4) or list(registry)
        raise UserError(f"{kind} {name!r} is unknown", f"one of {', '.join(registry)}", f"did you mean {close[0]}?")
    return registry[name]


def _explain(path: Path, error: ValidationError) -> UserError:
    """The first problem, in one line; a misspelled key before the right one that is then missing."""
    first = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    key = ".".join(str(part) for part in first["loc"] if part != "[key]") or "the file"
    if first["type"] == "extra_forbidden":
        allowed = _fields(first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), allowed, 1)
        hint = f"did you mean {close[0]}?" if close else "remove it or correct its spelling"
        return UserError(f"{path}: unknown key {key}", f"one of {', '.join(allowed)}", hint)
    if first["type"] == "missing":
        return UserError(f"{path}: key {key} is missing", "every key to be set", "add it")
    if first["type"] == "value_error":
        return UserError(f"{path}: {key} is inconsistent", str(first["ctx"]["error"]), "correct it")
    if first["type"] in ("model_type", "dict_type"):
        return UserError(f"{path}: {key} is {first['input']!r}", "keys with values", "fill it in")
    if first["type"] == "too_short":
        return UserError(f"{path}: {key} is {first['input']!r}", "at least one entry", "add one")
    if first["loc"][-1] == "[key]":
        return UserError(f"{path}: unknown key {key}", first["msg"].removeprefix("Input should be "), "correct it")
    expected = first["msg"].removeprefix("Input should be ")
    return UserError(f"{path}: {key} is {first['input']!r}", expected, "correct it")


def _fields(location: tuple) -> list[str]:
    """Names of the keys allowed at a place in the file."""
    model: type[BaseModel] = Params
    names = list(location)
    while names:
        field = model.model_fields[str(names.pop(0))].annotation
        if getattr(field, "__origin__", None) is dict:
            field = field.__args__[1]
            names = names[1:]
        model = field
    return list(model.model_fields)
