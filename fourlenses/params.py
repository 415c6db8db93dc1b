"""params.yaml, read strictly: an unknown key, a wrong type or a value out of range stops before any work."""

import difflib
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError, model_validator

from fourlenses.errors import UserError
from fourlenses.sections import (
    TRUNKS,
    Baselines,
    Compare,
    Condense,
    Detect,
    Draw,
    Entangled,
    Explain,
    Fetch,
    Gans,
    Glow,
    Invert,
    Judge,
    Judges,
    Ladder,
    Loss,
    Measure,
    NetworkSpec,
    Perturb,
    Rehearse,
    Represent,
    Section,
    Simplify,
    Sweep,
    Train,
    Watched,
)


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
    glow: Glow
    ladder: Ladder
    simplify: Simplify
    baselines: Baselines
    condense: Condense
    explain: Explain
    rehearse: Rehearse
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

    @model_validator(mode="after")
    def _simplicity_agrees(self) -> "Params":
        for name in self.baselines.beds:
            if name not in self.simplify.beds:
                raise ValueError(f"baselines names the bed {name!r}, which is not in simplify.beds")
        for name in (self.explain.standard, self.explain.robust):
            if name not in self.networks:
                raise ValueError(f"explain names the network {name!r}, which is not in networks")
        most = {"simplify.n_train": (self.simplify.n_train, self.fetch.n_train)}
        most |= {"rehearse.n_train": (self.rehearse.n_train, self.fetch.n_train)}
        most |= {"simplify.n_test": (self.simplify.n_test, self.fetch.n_test)}
        most |= {"ladder.n_images": (self.ladder.n_images, self.fetch.n_test)}
        most |= {"simplify.batch": (self.simplify.batch, self.simplify.n_train)}
        for key, (n, limit) in most.items():
            if n > limit:
                raise ValueError(f"{key} must be at most {limit}")
        for section, weights in {"condense": self.condense.weights, "rehearse": self.rehearse.weights}.items():
            if 0.0 not in weights:
                raise ValueError(f"{section}.weights must hold 0, which the others are compared with")
        if "own" not in self.rehearse.tasks:
            raise ValueError("rehearse.tasks must hold 'own', the study's images")
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
