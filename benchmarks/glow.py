"""Training a Glow: ours against normflows, of the same size, from the same weights, on the same noisy images."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import normflows as nf
import torch
from torch import Tensor, nn

from benchmarks.scaling import Sides, write_scaling
from benchmarks.side_by_side import RESULTS, interleaved, mnist5k, record
from fourlenses import runtime
from fourlenses.attacks import autocast
from fourlenses.nets.glow import Glow, Scale, build_glow
from fourlenses.simplicity.bits import dequantisation, to_flow

Density = Callable[[Tensor], Tensor]  # of images in glow space, in nats

SIDES = {"ours": "bfloat16", "ours, float32": "float32", "normflows": "float32"}
FEW = 32  # images whose gradient is timed at other sizes
PEAK, WARM_UP = 2e-3, 20  # learning rate, and the steps that it rises for


def main(
    repetitions: int = 5,
    steps: int = 100,
    depth: int = 4,
    width: int = 48,
    batch: int = 64,
    held_out: int = 400,
    out: Path = RESULTS,
    scaling: Path | None = None,
) -> None:
    """Time the training of a Glow of two scales on the default study's digits, and compare the bits that it reaches.

    Args:
        repetitions: how often each side trains, each time another seed; the median time and the mean bits count
        steps: of Adamax, 2e-3 after a rise, in each training
        depth: flow steps a scale
        width: channels inside a coupling
        batch: images a step
        held_out: images that the bits are measured on, in float32
        out: table that gets the row (CSV)
        scaling: also time a step at other sizes, into this table (CSV) and a figure beside it
    """
    warnings.filterwarnings("ignore", "torch.lu is deprecated")  # which normflows calls
    environment = runtime.environment()
    device = runtime.device()
    images = mnist5k(device)
    seen = images["train"].x.float() / 255
    z = noisy(images["test"].x[:held_out].float() / 255, runtime.generator("glow", "held out", device=device))

    def side(name: str, steps: int) -> Callable[[int], Density]:
        return lambda seed: trained(name, seen, seed, steps, batch, depth, width)

    interleaved(1, **{name: side(name, 5) for name in SIDES})
    before, _ = interleaved(repetitions, **{name: side(name, 0) for name in SIDES})
    after, densities = interleaved(repetitions, **{name: side(name, steps) for name in SIDES})
    rate = {name: steps * batch / (after[name] - before[name]) for name in SIDES}
    with torch.no_grad():
        found = {name: [float(bits(density, z)) for density in densities[name]] for name in SIDES}
    mean = {name: sum(values) / repetitions for name, values in found.items()}
    apart = max(abs(a - b) for a, b in zip(found["ours, float32"], found["normflows"], strict=True))
    note = (
        f"two scales, depth {depth}, width {width}, 28x28 digits, batches of {batch}; after {steps} steps from the "
        f"same weights {mean['ours']:.3f} held-out bits per dimension, peer {mean['normflows']:.3f}; ours in float32 "
        f"{rate['ours, float32']:.0f} images/s ({rate['ours, float32'] / rate['normflows']:.2f} times the peer), "
        f"{mean['ours, float32']:.3f} bits, at most {apart:.3f} from the peer with the same seed"
    )
    record("glow", environment, rate["ours"], rate["normflows"], "normflows", "images/s", note, out)
    if scaling:
        sizes = {"depth": [1, 2, 4, 8, 16], "width": [16, 32, 64, 128, 256], "pixels": [8, 16, 32, 64]}
        base, names = {"depth": 4, "width": 48, "pixels": 16}, {"pixels": "side of an image"}
        write_scaling(scaling, repetitions, base, sizes, gradients, f"seconds for {FEW} images", names)


def trained(name: str, images: Tensor, seed: int, steps: int, batch: int, depth: int, width: int) -> Density:
    """A side's model after its training; all sides see the same images and noise of the same seed."""
    stream = runtime.generator(seed, "glow", device=images.device)
    density, parameters = started(name, images[:256], stream, depth, width)
    optimiser = torch.optim.Adamax(parameters, lr=PEAK)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = PEAK * min(1.0, (step + 1) / WARM_UP)
        chosen = torch.randint(len(images), (batch,), generator=stream, device=images.device)
        learn(name, density, noisy(images[chosen], stream))
        nn.utils.clip_grad_norm_(parameters, 50.0)
        optimiser.step()
        optimiser.zero_grad()
    return density


def started(
    name: str, first: Tensor, stream: torch.Generator, depth: int, width: int
) -> tuple[Density, list[nn.Parameter]]:
    """A side's density and its parameters: ours, standardised by one batch, or a copy of it."""
    shape = tuple(first.shape[1:])
    glow = build_glow(shape, n_scales=2, depth=depth, width=width, coupling="affine", generator=stream)
    glow.initialise(noisy(first, stream))
    if name == "normflows":
        other = peer(glow)
        return lambda z: other.log_prob(z, None), list(other.parameters())
    return glow.log_density, list(glow.parameters())


def learn(name: str, density: Density, z: Tensor) -> None:
    """The gradient of one batch."""
    with autocast(z.device, SIDES[name]):
        loss = bits(density, z)
    loss.backward()


def bits(density: Density, z: Tensor) -> Tensor:
    """Mean bits per dimension of images in glow space."""
    return math.log2(256) - density(z).mean() / (z[0].numel() * math.log(2))


def noisy(x: Tensor, stream: torch.Generator) -> Tensor:
    """Images in glow space, somewhere in the cells of their levels."""
    return to_flow(x) + dequantisation(tuple(x.shape), stream) / 256


@torch.no_grad()
def peer(glow: Glow) -> nf.MultiscaleFlow:
    """The same density in normflows, from the same weights; its levels and steps count from the latents' end."""
    levels, channels = [], glow.image_shape[0]
    for scale, shift, log_scale, _ in glow.parts():
        blocks, width = [], scale.first.shape[1]
        for k in range(len(scale.shift)):
            block = nf.flows.GlowBlock(
                4 * channels, width, scale=scale.affine, split_mode="channel_inv", net_actnorm=True
            )
            copy(scale, k, block.to(shift))
            blocks.insert(0, block)
        base = nf.distributions.DiagGaussian(tuple(shift.permute(2, 0, 1).shape)).to(shift)
        base.loc.copy_(-shift.permute(2, 0, 1))
        base.log_scale.copy_(-log_scale.permute(2, 0, 1))
        levels.insert(0, (base, [*blocks, nf.flows.Squeeze()]))
        channels *= 2
    bases, flows = zip(*levels, strict=True)
    merges = [nf.flows.Merge("channel_inv") for _ in flows[1:]]
    other = nf.MultiscaleFlow(bases, flows, merges, class_cond=False)
    for name, buffer in other.named_buffers():
        if name.endswith("data_dep_init_done"):
            buffer.fill_(1.0)
    return other


def copy(scale: Scale, k: int, block: nf.flows.GlowBlock) -> None:
    """Give a step of normflows the weights of ours, the learned scale of the last layer in them."""
    coupling, mixing, norm = block.flows
    norm.s.copy_(-scale.log_scale[k].view_as(norm.s))
    norm.t.copy_(-scale.shift[k].view_as(norm.t))
    mixing.P.copy_(torch.eye(len(scale.rows[k]))[scale.rows[k]])
    mixing.L.copy_(scale.lower[k])
    mixing.U.copy_(scale.upper[k])
    mixing.sign_S.copy_(scale.sign[k])
    mixing.log_S.copy_(scale.log_diagonal[k])
    first, norm1, _, middle, norm2, _, last = coupling.flows[1].param_map.net
    for layer, weight in ((first, scale.first), (middle, scale.middle)):
        layer.weight.copy_(weight[k])
    norms = ((norm1, scale.first_shift, scale.first_log_scale), (norm2, scale.middle_shift, scale.middle_log_scale))
    for layer, shift, log_scale in norms:
        layer.actNorm.s.copy_(log_scale[k].view_as(layer.actNorm.s))
        layer.actNorm.t.copy_((shift * log_scale.exp())[k].view_as(layer.actNorm.t))
    factor = (3 * scale.last_log_scale[k]).exp()
    factor[: scale.half] *= -1  # normflows subtracts t
    order = torch.arange(len(factor)).view(1 + scale.affine, -1).T.flatten()  # and has t and s in turn
    last.weight.copy_((scale.last[k] * factor[:, None, None, None])[order])
    last.bias.copy_((scale.last_bias[k] * factor)[order])


def gradients(depth: int, width: int, pixels: int) -> Sides:
    """A gradient of a few images, by every side."""
    stream = runtime.generator("glow", device=runtime.device())
    x = torch.rand(FEW, 1, pixels, pixels, generator=stream, device=stream.device)
    z, densities = to_flow(x), {name: started(name, x, stream, depth, width)[0] for name in SIDES}
    return {name: lambda _, name=name: learn(name, densities[name], z) for name in SIDES}


if __name__ == "__main__":
    runtime.run(main)
