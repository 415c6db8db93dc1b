"""Learn one data set after the other and rehearse the earlier ones from condensed images."""

from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, write_csv
from fourlenses.images import Images, load_dataset
from fourlenses.nets import build
from fourlenses.params import read_params
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.condense import GLOW_SPACE, Plan, condensed_sets
from fourlenses.simplicity.prior import load_glow
from fourlenses.simplicity.rehearse import Labelled, labelled, lessons, load_task, tasks_of

COLUMNS = ["weight", "rehearsed", "distilled", "seed", "stage", "task", "n_test", "accuracy", "bpd"]


def main(data: Path, glow: Path, out: Path) -> None:
    """Learn one data set after the other and rehearse the earlier ones from condensed images.

    Goes on where an interrupted run stopped. FOURLENSES_MIRROR names a folder with copies of the data sets,
    FOURLENSES_CACHE the folder where downloads are kept.

    Args:
        data: folder of the data set's splits
        glow: the priors, of which the first measures bits (safetensors)
        out: accuracy on every task after every task, by what was rehearsed (CSV)
    """
    params = read_params()
    chosen, order, seeds = params.fetch.seed, params.rehearse.tasks, params.rehearse.seeds
    prior = next(iter(params.glow.priors))
    plan = Plan(
        params.rehearse.ipc, params.rehearse.weights, params.condense.rounds, params.condense.inner,
        params.condense.net_steps, params.condense.batch, params.condense.lr,
    )  # fmt: skip
    network = {"architecture": params.condense.architecture, "widths": params.condense.widths}
    decides = {"tasks": order, "seeds": seeds, "n_train": params.rehearse.n_train, "epochs": params.rehearse.epochs}
    decides |= {"lr": params.rehearse.lr, "network": network, "plan": vars(plan), "prior": prior, "seed": chosen}
    inputs = [data / "train.safetensors", data / "test.safetensors", glow]
    load = partial(load_dataset, cache=runtime.downloads(), mirror=runtime.mirror(), progress=False)

    with runtime.stage("rehearse", decides=decides, inputs=inputs, outputs=[out]) as this:
        device = runtime.device()
        density = load_glow(glow, prior, device)
        own = {path.stem: Images(**load_tensors(path)[0]) for path in inputs[:2]}
        found = {
            name: load_task(name, own, load, params.rehearse.n_train, runtime.generator(chosen, "task", name))
            for name in order
        }
        tasks = tasks_of(list(found.values()), device)
        arguments = network | GLOW_SPACE | {"n_classes": sum(task.classes for task in tasks)}
        arguments |= {"image_shape": list(own["train"].x.shape[1:])}
        rows = []
        for seed in seeds:
            streams = partial(runtime.generator, seed, "rehearse", device=device)
            memory: dict[float | None, list[Labelled]] = {None: []} | {weight: [] for weight in params.rehearse.weights}
            bits: dict[float | None, list[Tensor]] = {None: []} | {weight: [] for weight in params.rehearse.weights}
            for number, name in enumerate(order[:-1]):
                train, classes = found[name]["train"], tasks[number].classes
                sets, _ = condensed_sets(
                    train.x.to(device), train.y.to(device), classes, plan, density, network, partial(streams, name),
                    this.resume, f"{name}, seed {seed}", runtime.progress,
                )  # fmt: skip
                y = torch.arange(classes, device=device).repeat_interleave(params.rehearse.ipc)
                first = sum(task.classes for task in tasks[:number])
                for weight, images in zip(params.rehearse.weights, sets, strict=True):
                    memory[weight].append(labelled(Images(images, y), number, first, device))
                    bits[weight].append(measured(density, images, streams(name, "bits")))
            for weight, distilled in runtime.progress([(None, False), *product(params.rehearse.weights, (False, True))],
                                                      f"tasks, seed {seed}"):  # fmt: skip
                way = f"seed {seed}, weight {weight}, distilled {distilled}"
                names = [f"seed {seed}"] + [f"{way}, {name}" for name in order[1:]]  # all learn the first alike
                learner = build(**arguments, generator=streams("weights"))
                taught = lessons(
                    learner, tasks, memory[weight], distilled, params.rehearse.epochs, params.rehearse.lr, streams,
                    this.resume, names,
                )  # fmt: skip
                for number, accuracies in enumerate(taught, 1):
                    about = {"weight": weight, "rehearsed": int(weight is not None), "distilled": int(distilled)}
                    kept = bits[weight][: number - 1]
                    about |= {"seed": seed, "stage": number, "bpd": float(torch.cat(kept).mean()) if kept else None}
                    rows += [
                        about | {"task": name, "n_test": len(task.test.y), "accuracy": accuracy}
                        for name, task, accuracy in zip(params.rehearse.tasks, tasks, accuracies, strict=False)
                    ]
        write_csv(out, pd.DataFrame(rows)[COLUMNS])


if __name__ == "__main__":
    runtime.run(main)
