"""Train one network to its end, with checkpoints and progress."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor, nn

from fourlenses import processes
from fourlenses.errors import UserError
from fourlenses.resume import Resume
from fourlenses.training.evaluate import accuracy, robust_accuracy
from fourlenses.training.loop import Settings, State, final_weights, train
from fourlenses.training.objectives import Objective, Threat

N_HELD_OUT = 250  # images that the history's accuracies are measured on


@dataclass(frozen=True)
class HeldOut:
    """Calibration images as bytes (n, c, h, w), labels (n,), and the threat to measure robust accuracy under."""

    x: Tensor
    y: Tensor
    threat: Threat
    precision: str

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Accuracies on the first N_HELD_OUT images; the attack's random start is the same at every call."""
        x, y = self.x[:N_HELD_OUT].float() / 255, self.y[:N_HELD_OUT]
        fixed = torch.Generator(x.device).manual_seed(0)
        robust = robust_accuracy(network, x, y, self.threat, generator=fixed, precision=self.precision)
        return {"accuracy_clean": accuracy(network, x, y).value, "accuracy_robust": robust.value}


def fit(
    network: nn.Module,
    x: UInt8[Tensor, "n c h w"],
    y: Int[Tensor, " n"],
    objective: Objective,
    settings: Settings,
    generator: torch.Generator,
    held_out: HeldOut,
    resume: Resume,
    name: str,
    progress: Callable[..., Iterable] = lambda epochs, *_: epochs,
    checkpoints: Collection[int] = (),
) -> tuple[dict[int, State], list[dict]]:
    """Train `network` in place, saving after every epoch in `resume` under `name`; return weights and history.

    The weights are those after each epoch of `checkpoints`, and the final ones, by epoch. The other arguments are those
    of `train`; `progress` wraps the epochs (iterable, name, total). A scaffold is dropped at the end. Raises
    UserError, naming `name`, when the loss or a weight is not finite.
    """
    state, done = resume.reached(name)

    def epochs() -> Iterator[tuple[State, list[dict]]]:
        for state_then, history_then in train(
            network, x, y, objective, settings, generator, evaluate=held_out.measure, state=state, history=done
        ):
            if len(history_then) in checkpoints and resume.first:
                resume.save(f"{name}, epoch {len(history_then)}", final_weights(state_then), {})
            yield state_then, history_then

    try:
        last, history = resume.finish(name, progress(epochs(), name, settings.epochs - len(done)))
    except FloatingPointError as error:
        raise UserError(f"{name}: {error}", "finite numbers", "lower train.lr or the attack's radius") from None
    processes.wait()
    weights = {epoch: resume.load(f"{name}, epoch {epoch}")[0] for epoch in sorted(checkpoints)}
    weights[settings.epochs] = final_weights(last)
    network.scaffold = None
    network.load_state_dict(weights[settings.epochs])
    return weights, history
