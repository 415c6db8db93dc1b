"""Projected gradient on the steps of MadryLab's `robustness` and our own; the loop is ours (theirs needs a GPU)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from robustness.attack_steps import AttackerStep, L2Step, LinfStep
from robustness.attack_steps import UnconstrainedStep as RobustnessUnconstrainedStep
from torch import Tensor, nn
from torch.nn import functional as F

from fourlenses import processes
from fourlenses.processes import Part
from fourlenses.threats import Drawn, GaborStep, JpegStep, SnowStep

Loss = Callable[[Tensor], Tensor]  # images (n, c, h, w) in [0, 1] -> one value per image (n,)
Stream = torch.Generator | Part  # of a batch, or of this process's rows of one


class UnconstrainedStep(RobustnessUnconstrainedStep):
    """Moves of fixed L2 length inside [0, 1]: x + step_size g / ||g||_2, then clipped (Nanda et al. 2023, code)."""

    def step(self, x: Tensor, g: Tensor) -> Tensor:
        return x + self.step_size * g / (g.flatten(1).norm(dim=1).view(-1, *[1] * (g.ndim - 1)) + 1e-10)

    def random_perturb(self, x: Tensor) -> Tensor:
        return (x + (torch.rand_like(x) - 0.5).renorm(2, 0, self.step_size)).clamp(0, 1)


class FourierStep(AttackerStep):
    """Steps on the two-dimensional spectrum of an image, (n, c, h, w, 2) real and imaginary parts.

    The image is sigmoid(Re ifft2(z)), orthonormal; it lies in (0, 1) whatever the spectrum, which is never clipped.
    """

    def project(self, x: Tensor) -> Tensor:
        return x

    def step(self, x: Tensor, g: Tensor) -> Tensor:
        return x + g * self.step_size

    def random_perturb(self, x: Tensor) -> Tensor:
        return x

    def to_image(self, x: Tensor) -> Tensor:
        return torch.sigmoid(torch.fft.ifft2(torch.view_as_complex(x.contiguous()), norm="ortho").real)


STEPS: dict[str, type[AttackerStep]] = {
    "l2": L2Step,
    "linf": LinfStep,
    "unconstrained": UnconstrainedStep,
    "fourier": FourierStep,
    "jpeg": JpegStep,
    "gabor": GaborStep,
    "snow": SnowStep,
}


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients inside the block; every module's own mode comes back after it.

    Batch normalisation then uses, and does not update, its running statistics while an attack runs.
    """
    modes = {module: module.training for module in network.modules()}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.eval()
    network.requires_grad_(False)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        for parameter in trained:
            parameter.requires_grad_(True)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """bfloat16 arithmetic where it is safe, if `precision` is "bfloat16"; else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def cross_entropy(network: nn.Module, labels: Int[Tensor, " n"], precision: str = "float32") -> Loss:
    """The loss x -> cross-entropy of the network's logits with the labels, per image."""

    def loss(x: Tensor) -> Tensor:
        with autocast(x.device, precision):
            logits = network(x.to(memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), labels, reduction="none")

    return loss


def projected_gradient(
    loss: Loss,
    x: Float[Tensor, "n ..."],
    *,
    norm: str,
    eps: float,
    step_size: float,
    steps: int,
    targeted: bool = False,
    generator: Stream | None = None,
    restarts: int = 1,
    best: bool = True,
    score: Loss | None = None,
    decay: bool = False,
) -> Float[Tensor, "n c h w"]:
    """Images near `x` of largest loss (smallest if `targeted`), by projected gradient: x <- P(x + step(grad loss)).

    Arguments: `loss`, per-image and differentiable; `x`, images in [0, 1] (for "fourier" a spectrum (n, c, h, w, 2));
    `norm`, a name in STEPS; `eps`, radius of the ball and `step_size`, length of a step, both in pixels of [0, 1] (for
    "jpeg" in steps of its quantisation); `generator`, if given each restart begins at random in the ball ("jpeg",
    "gabor" and "snow" always do); `best`, return each image's best iterate, the first and the last included, and not
    just the last; `score`, what "best" means where the loss itself is random; `decay`, let the length of the steps fall
    linearly to 0. The caller freezes the network.
    Raises FloatingPointError if a compared loss is not finite, ValueError if a start must be random and is not.
    Source: Madry et al. 2018; robustness.attacker (Engstrom et al. 2019).
    """
    sign = -1.0 if targeted else 1.0
    if generator is None and issubclass(STEPS[norm], Drawn):
        raise ValueError(f"an attack by {norm} starts at random, so it needs a generator")
    stepper = STEPS[norm](orig_input=x, eps=eps, step_size=step_size)
    measure = score or loss
    kept = _Best(sign)
    for _ in range(restarts):
        point = x if generator is None else _random_start(stepper, x, generator)
        for k in range(steps):
            if decay:
                stepper.step_size = step_size * (1 - k / steps)
            point = point.detach().requires_grad_(True)
            image = stepper.to_image(point)
            values = loss(image)
            (gradient,) = torch.autograd.grad(sign * values.sum(), point)
            with torch.no_grad():
                if best:
                    kept.keep(image.detach(), values if score is None else score(image))
                point = stepper.project(stepper.step(point, gradient.contiguous()))
        with torch.no_grad():
            image = stepper.to_image(point)
            if best or restarts > 1:
                kept.keep(image, measure(image))
            else:
                kept.image = image
    if not kept.finite:
        raise FloatingPointError("the loss of an attack is not finite")
    return kept.image.detach()


class _Best:
    """Of each image, the version of largest signed value among those shown."""

    def __init__(self, sign: float) -> None:
        self.sign, self.image, self.value, self.finite = sign, None, None, True

    def keep(self, image: Tensor, values: Tensor) -> None:
        values = self.sign * values.detach()
        self.finite = torch.isfinite(values).all() & self.finite  # asked once, at the end: asking waits for the GPU
        if self.image is None:
            self.image, self.value = image, values
        else:
            better = values > self.value
            self.image = torch.where(better.view(-1, 1, 1, 1), image, self.image)
            self.value = torch.where(better, values, self.value)


def normal_like(x: Float[Tensor, "n ..."], generator: Stream) -> Float[Tensor, "n ..."]:
    """Standard normal noise of the shape of a batch; of a Part, its rows of the noise of the whole batch."""
    shape = (len(x) * (processes.count() if isinstance(generator, Part) else 1), *x.shape[1:])
    stream = generator.stream if isinstance(generator, Part) else generator
    noise = torch.randn(shape, generator=stream, device=stream.device).to(x.device)
    return generator.rows(noise) if isinstance(generator, Part) else noise


def _random_start(stepper: AttackerStep, x: Tensor, generator: Stream) -> Tensor:
    """The step's own random start; it draws from the global stream, so that is seeded and put back."""
    if isinstance(generator, Part):
        return _start_of_rows(stepper, x, generator)
    if x.device.type == "cuda":  # a seed drawn there would have to be waited for: the streams change places instead
        with torch.random.fork_rng([x.device]):
            torch.cuda.set_rng_state(generator.get_state(), x.device)
            start = stepper.random_perturb(x)
            generator.set_state(torch.cuda.get_rng_state(x.device))
            return start
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return stepper.random_perturb(x)


def _start_of_rows(stepper: AttackerStep, x: Tensor, part: Part) -> Tensor:
    """These rows of the whole batch's random start, and of what its step drew with it."""
    batch = part.whole(x)
    whole = type(stepper)(orig_input=batch, eps=stepper.eps, step_size=stepper.step_size)
    start = part.rows(_random_start(whole, batch, part.stream))
    for name, drawn in vars(whole).items():
        if name != "orig_input":
            setattr(stepper, name, part.rows(drawn) if name in getattr(whole, "by_image", ()) else drawn)
    return start
