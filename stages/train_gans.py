"""Train generative adversarial networks and follow how mixed their images are with real ones."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import torch

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, save_tensors, write_csv
from fourlenses.entanglement.gan import KINDS, Comparison, Guided, State, evaluations, generated, shown, train
from fourlenses.errors import UserError
from fourlenses.nets.gan import N_NOISE, Gan, build_gan
from fourlenses.nets.zoo import load_network
from fourlenses.params import read_params

COLUMNS = [
    "gan", "guided", "seed", "iteration", "real_fake_minimum", "real_real_minimum", "real_fake_fixed",
    "real_real_fixed", "temperature_minimum", "temperature_fixed", "chance", "loss_d", "loss_g", "modes", "entropy",
    "n",
]  # fmt: skip
N_SHOWN = 64  # images to look at


def main(data: Path, classifier: Path, out: Path, table: Path) -> None:
    """Train GANs of every kind and seed and measure them on the way; goes on where an interrupted run stopped.

    Args:
        data: folder of the data set's splits
        classifier: the network that says which class an image shows (safetensors)
        out: images on the way (safetensors)
        table: entanglement with real images, and modes, by iteration (CSV)
    """
    params = read_params()
    kinds, seeds, n, batch = params.gans.kinds, params.gans.seeds, params.gans.n_images, params.gans.batch
    widths, judged_by, judge_seed = params.gans.widths, params.measure.plain, params.entangled.seeds[0]
    schedule = evaluations(params.gans.iterations, params.gans.every)
    looked_at = shown(schedule)
    decides = {"kinds": kinds, "seeds": seeds, "schedule": schedule, "batch": batch, "n_images": n, "widths": widths}
    decides |= {"classifier": judged_by, "classifier_seed": judge_seed}
    inputs = [data / "train.safetensors", data / "test.safetensors", classifier]

    with runtime.stage("train-gans", decides=decides, inputs=inputs, outputs=[out, table]) as this:
        device = runtime.device()
        x, test = (load_tensors(path)[0]["x"].to(device) for path in inputs[:2])
        network = load_network(classifier, judge_seed, device, judged_by)
        rows, images = [], {}
        for kind in kinds:
            architecture, rule = KINDS[kind]
            for seed in seeds:
                name, game = f"{kind}, seed {seed}", rule().to(device)
                weights = runtime.generator(seed, "weights of a GAN", kind, device=device)
                gan = build_gan(architecture, x.shape[1:], widths, game.outputs, weights)
                stream = runtime.generator(seed, "noise of a GAN", device=device)
                noise = torch.randn(n + N_SHOWN, N_NOISE, generator=stream, device=device)
                comparison = Comparison(test[: 2 * n].float() / 255, noise[:n], network)
                state, done = this.resume.reached(name)
                stream, left = runtime.generator(seed, "train a GAN", device=device), len(schedule) - len(done)
                steps = train(
                    gan, game, x, batch, schedule, stream, evaluate=comparison.measure, state=state, history=done
                )
                steps = _watched(steps, gan, noise[n:], looked_at, _samples(state))
                try:
                    state, history = this.resume.finish(name, runtime.progress(steps, name, left))
                except FloatingPointError as error:
                    raise UserError(f"{name}: {error}", "finite numbers", "change gans.widths or gans.batch") from None
                rows += [{"gan": kind, "guided": int(rule is Guided), "seed": seed} | row for row in history]
                images |= {f"{kind}/seed{seed}/{i.removeprefix('images/')}": x for i, x in _samples(state).items()}
        save_tensors(out, images, {"iterations": looked_at})
        write_csv(table, pd.DataFrame(rows)[COLUMNS])


def _watched(
    steps: Iterable[tuple[State, list[dict]]], gan: Gan, noise: torch.Tensor, at: list[int], samples: State
) -> Iterator[tuple[State, list[dict]]]:
    """The same steps, their states with the images that the GAN makes of the noise after each iteration of `at`."""
    for state, history in steps:
        iteration = history[-1]["iteration"]
        if iteration in at:
            samples[f"images/{iteration}"] = (generated(gan, noise) * 255).round().byte()
        yield state | samples, history


def _samples(state: State) -> State:
    return {key: value for key, value in state.items() if key.startswith("images/")}


if __name__ == "__main__":
    runtime.run(main)
