"""Train simplifier and classifier together on every bed, and a new classifier on what comes out."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.errors import UserError
from fourlenses.images import Images, load_dataset
from fourlenses.nets import arguments_for, build
from fourlenses.nets.glow import Glow
from fourlenses.params import read_params
from fourlenses.resume import Resume
from fourlenses.simplicity.beds import BedImages, load_bed
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.distractors import probe_index, removal_index, retention
from fourlenses.simplicity.joint import Settings, pieces, simplified, train_joint, warm_up
from fourlenses.simplicity.ladder import stretched
from fourlenses.simplicity.prior import load_glow
from fourlenses.simplicity.retrain import retrain, right_answers
from fourlenses.simplicity.simplifier import build_simplifier

COLUMNS = [
    "bed", "source", "distractor", "label", "form", "weight", "seed", "n_train", "n_test", "bpd_original",
    "bpd_simplified", "bpd_target", "png_original", "png_simplified", "contrast_bpd_original",
    "contrast_bpd_simplified", "gate", "gate_last", "accuracy_plain", "accuracy_joint", "accuracy_joint_original",
    "accuracy_retrained", "accuracy_retrained_own", "accuracy_retrained_original", "removal", "retention",
    "probe_removal",
]  # fmt: skip
PAST = ["bed", "weight", "seed", "step", "loss", "before", "after", "original", "bpd", "gate"]
N_SHOWN = 32  # test images to look at

State = dict[str, Tensor]


def main(data: Path, glow: Path, photos: Path, out: Path) -> None:
    """Train simplifier and classifier together on every bed, for every training seed and weight of the bits, and a new
    classifier on what comes out; goes on where an interrupted run stopped.

    FOURLENSES_MIRROR names a folder with copies of the data sets, FOURLENSES_CACHE the folder where downloads are kept.

    Args:
        data: folder of the data set's splits
        glow: the priors, of which the first measures the bits (safetensors)
        photos: photographs that no prior was trained on (safetensors)
        out: folder of bits, accuracy and what became of distractors (simplify.csv), of the training
            (simplify_history.csv), and of images and what holds for each (simplify.safetensors)
    """
    params = read_params()
    beds, prior = params.simplify.beds, next(iter(params.glow.priors))
    network = {"architecture": params.simplify.architecture, "widths": params.simplify.widths}
    augmented = {"crop_padding": params.train.crop_padding, "flip": params.train.flip}
    augmented |= {"precision": params.train.precision}
    settings = Settings(
        steps=params.simplify.steps, batch=params.simplify.batch, lr=params.simplify.lr, tau=params.simplify.tau,
        **augmented,
    )  # fmt: skip
    again = network | augmented | {"epochs": params.simplify.retrain_epochs}
    plan = Plan(settings, params.simplify.base, params.simplify.warm_steps, network, again, params.fetch.seed)
    sizes = {"train": params.simplify.n_train, "test": params.simplify.n_test}
    decides = {"beds": {name: bed.model_dump() for name, bed in beds.items()}, "plan": asdict(plan)}
    decides |= {"sizes": sizes, "prior": prior}
    splits = {name: data / f"{name}.safetensors" for name in ("train", "test")}
    outputs = [out / f"simplify{end}" for end in (".csv", "_history.csv", ".safetensors")]
    load = partial(load_dataset, cache=runtime.downloads(), mirror=runtime.mirror(), progress=False)

    inputs = [*splits.values(), glow, photos]
    with runtime.stage("simplify", decides=decides, inputs=inputs, outputs=outputs) as this:
        density = load_glow(glow, prior, runtime.device())
        own, held_out = {name: _images(path) for name, path in splits.items()}, _images(photos)
        rows, past, kept = [], [], {}
        for name, bed in beds.items():
            images = load_bed(bed, own, held_out, load, sizes, plan.seed)
            shown = {"original": images["test"].x, "target": images["test"].target, "labels": images["test"].y}
            if bed.distractor is not None:
                shown["distractor"] = images["test"].distractor
            kept |= {f"{name}/{key}": each[:N_SHOWN].clone() for key, each in shown.items()}
            for seed in bed.seeds:
                bench = Bench(plan, name, bed.form, seed, images["train"], images["test"], density, this.resume)
                try:
                    tensors, reference = bench.originals()
                    kept |= {f"{name}/seed{seed}/{key}": each for key, each in tensors.items()}
                    for weight in bed.weights:
                        tensors, row, history = bench.run(weight, reference)
                        kept |= {f"{name}/seed{seed}/{weight:g}/{key}": each for key, each in tensors.items()}
                        rows.append({"bed": name, **bed.model_dump(), "weight": weight, "seed": seed} | row)
                        past += [{"bed": name, "weight": weight, "seed": seed} | each for each in history]
                except FloatingPointError as error:
                    given = f"{name}, seed {seed}: {error}"
                    raise UserError(given, "finite numbers", "lower simplify.lr, or the weight") from None
        write_csv(outputs[0], pd.DataFrame(rows)[COLUMNS])
        write_csv(outputs[1], pd.DataFrame(past)[PAST])
        save_tensors(outputs[2], kept, {name: bed.model_dump() for name, bed in beds.items()})


def _images(path: Path) -> Images:
    tensors, _ = load_tensors(path)
    return Images(tensors["x"], tensors["y"])


@dataclass(frozen=True)
class Plan:
    """`settings` of the joint training, `base` of the simplifier, `warm_steps` of the classifier alone; `network`, its
    architecture and widths; `again`, what a classifier is retrained with; `seed`, of images and bits."""

    settings: Settings
    base: int
    warm_steps: int
    network: dict
    again: dict
    seed: int


@dataclass(frozen=True)
class Bench:
    """A bed with a training seed, and what all work on it needs; what is done is kept in `resume`."""

    plan: Plan
    name: str
    form: str
    seed: int
    train: BedImages
    test: BedImages
    density: Glow
    resume: Resume

    def originals(self) -> tuple[State, dict]:
        """What holds for the original test images, each and in the mean."""
        tensors, about = self._bits("original", self.test.x)
        found = self._answers("original", self.train.x, {"plain": self.test.x})
        about |= {"accuracy_plain": _mean(found["plain"]), "bpd_target": None}
        if self.test.distractor is not None:
            about["bpd_target"] = self._bits("target", self.test.target)[1]["bpd_target"]
        return {"original/bpd": tensors["bpd"], "plain": found["plain"]}, about

    def run(self, weight: float, reference: dict) -> tuple[State, dict, list[dict]]:
        """Train with a weight of the bits; what holds for each simplified test image, for all, and for the training."""
        label = f"{weight:g}"
        made, answers, history = self._joint(weight)
        tensors, about = self._bits("simplified", made["test"])
        test = made["test"]
        found = self._answers(label, made["train"], {"retrained": test, "retrained_original": self.test.x})
        found |= self._answers(f"{label} own", made["train"], {"retrained_own": test}, standardise=self.train.x)
        about |= {f"accuracy_{key}": _mean(each) for key, each in (answers | found).items()}
        steps, gates = ([row[key] for row in history] for key in ("step", "gate"))
        about |= {"gate": float(np.average(gates, weights=np.diff(steps, prepend=0))), "gate_last": gates[-1]}
        about |= {"n_train": len(self.train), "n_test": len(self.test)} | reference
        tensors |= {"images": test[:N_SHOWN], "joint": answers["joint"], "retrained": found["retrained"]}
        parts, removed = self._parts(label, made)
        return tensors | parts, about | removed, history

    def _joint(self, weight: float) -> tuple[State, State, list[dict]]:
        """The images of both splits as a new simplifier leaves them, right and wrong answers, the history."""
        plan, device = self.plan, runtime.device()
        x, y = self.train.x.to(device), self.train.y.to(device)
        arguments = arguments_for(x, self.test.n_classes, **plan.network)
        classifier = build(**arguments, generator=self._stream("joint classifier")).to(device)
        warm = self._kept(
            "warm", lambda: warm_up(classifier, x, y, plan.settings, plan.warm_steps, self._stream("warm"))
        )
        simplifier = build_simplifier(tuple(x.shape[1:]), plan.base, self.form, self._stream("simplifier"))
        key = f"{self._key} weight {weight:g}"
        state, history = self.resume.reached(key)
        left = len(pieces(plan.settings.steps)) - len(history)
        steps = train_joint(
            simplifier, classifier, self.density, x, y, plan.settings, weight, self._stream("joint"), warm=warm,
            state=state, history=history,
        )  # fmt: skip
        _, history = self.resume.finish(key, runtime.progress(steps, key, left))
        made = {
            name: simplified(simplifier, each.x.to(device)).cpu()
            for name, each in {"train": self.train, "test": self.test}.items()
        }
        seen = {"joint": made["test"], "joint_original": self.test.x}
        y = self.test.y.to(device)
        return made, {name: right_answers(classifier, x.to(device), y).cpu() for name, x in seen.items()}, history

    def _parts(self, label: str, made: State) -> tuple[State, dict]:
        """What became of the distractor and of the target: for each test image, the median, and for a probe."""
        removed: dict = dict.fromkeys(("removal", "retention", "probe_removal"))
        test, train = self.test, self.train
        if test.distractor is None:
            return {}, removed
        where = made["test"], test.x, test.target, test.distractor, test.halves
        parts = {"removal": removal_index(*where), "retention": retention(*where)}
        medians = {name: each[~each.isnan()].quantile(0.5) for name, each in parts.items() if not each.isnan().all()}
        removed |= {name: float(each) for name, each in medians.items()}
        # a file holds no NaN: an image that shows nothing of a part stands at the median, which stays what it is
        parts = {name: parts[name].nan_to_num(float(each)).float() for name, each in medians.items()}
        if test.n_distractors > 1:
            chance = float(test.y_distractor.bincount().max()) / len(test)
            seen = {"original": (train.x, test.x), label: (made["train"], made["test"])}
            before, after = (_mean(self._probe(name, *images)) for name, images in seen.items())
            removed["probe_removal"] = probe_index(before, after, chance) if before > chance else None
        return parts, removed

    def _bits(self, name: str, x: Tensor) -> tuple[State, dict]:
        """Bits of each test image, and means: of these, of its PNG file, and at full contrast, by column."""

        def bits(images: Tensor) -> Tensor:  # the same noise for whatever the images become
            stream = runtime.generator(self.plan.seed, "bits", self.name)
            return measured(self.density, images, stream)

        found = bits(x)
        about = {f"bpd_{name}": found, f"png_{name}": png_bits(x), f"contrast_bpd_{name}": bits(stretched(x))}
        about = {key: float(each.mean()) for key, each in about.items()}
        if not np.isfinite(list(about.values())).all():
            raise FloatingPointError(f"the {name} images have {about[f'bpd_{name}']} bits per dimension")
        return {"bpd": found.float()}, about

    def _answers(
        self, label: str, x: Tensor, tests: State, *, standardise: Tensor | None = None, probe: bool = False
    ) -> State:
        """Right and wrong answers on test images, by their name, of a classifier trained anew on images of training.

        A `probe` is asked for the other part's label.
        """
        device = runtime.device()
        y, known = ((each.y_distractor if probe else each.y).to(device) for each in (self.train, self.test))
        n_classes = self.test.n_distractors if probe else self.test.n_classes

        def trained() -> State:
            streams = partial(runtime.generator, self.seed, "retrain", self.name)
            network = retrain(x.to(device), y, n_classes, streams=streams, standardise=standardise, **self.plan.again)
            return {name: right_answers(network, seen.to(device), known).cpu() for name, seen in tests.items()}

        return self._kept(f"{label} {'probe' if probe else 'retrained'}", trained)

    def _probe(self, label: str, x: Tensor, test: Tensor) -> Tensor:
        return self._answers(label, x, {"probe": test}, probe=True)["probe"]

    def _kept(self, label: str, make: Callable[[], State]) -> State:
        """What an interrupted run made already, or what is made now."""
        key = f"{self._key} {label}"
        saved = self.resume.load(key)
        if saved:
            return saved[0]
        made = make()
        self.resume.save(key, made, {})
        return made

    def _stream(self, purpose: str) -> torch.Generator:
        """The same for all weights, whose differences are then paired."""
        return runtime.generator(self.seed, purpose, self.name, device=runtime.device())

    @property
    def _key(self) -> str:
        return f"{self.name}, seed {self.seed},"


def _mean(right: Tensor) -> float:
    return float(right.double().mean())


if __name__ == "__main__":
    runtime.run(main)
