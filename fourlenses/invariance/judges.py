"""Judges: distances between images that stand in for a person in a two-alternative forced choice (2AFC).

A judge is a Distance: d(x, y) -> (n,) on images (n, c, h, w) in [0, 1], without gradient. No judge shares weights
with an evaluated network or with a regularizer.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from fourlenses.artifacts import sha256_file
from fourlenses.errors import UserError
from fourlenses.invariance.perceptual import TrunkDistance, distance_of_units
from fourlenses.nets.bridge import import_torchvision
from fourlenses.nets.network import Network

See = Callable[[Tensor], Any]  # images (n, c, h, w) in [0, 1] -> what a judge compares: a tensor, or several
CHUNK = 256  # pairs of images that a judge without vectors compares at once
LPIPS_TRUNKS = {
    "alex": ("alexnet-owt-7be5be79.pth", "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02"),
    "vgg": ("vgg16-397923af.pth", "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0"),
}


def pixels(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """The images themselves, for judges that compare pixels."""
    return x


class Distance:
    """d(x, y) = compare(see(x), see(y)) per image, without gradient, in float32 whatever the caller's autocast.

    Judges that share `see` share what it gives: see `look`. A judge that is Euclidean in what it sees says so by
    `vectors`, from what it sees to float64 (n, d), with d(x, y) = ||vectors(see(x)) - vectors(see(y))||^power.
    """

    def __init__(self, compare: Callable[[Any, Any], Tensor], see: See = pixels,
                 vectors: Callable[[Any], Tensor] | None = None, power: int = 1) -> None:
        self.compare, self.see, self.vectors, self.power = compare, see, vectors, power

    @torch.no_grad()
    def between(self, seen_x: Any, seen_y: Any) -> Float[Tensor, " n"]:
        """The distance of two sets of images that `look` has seen."""
        return self.compare(seen_x, seen_y)

    @torch.no_grad()
    def matrix(self, seen_x: Any, seen_y: Any, asked: Bool[Tensor, "n m"]) -> Float[Tensor, "n m"]:
        """The distances of the pairs that are `asked` for, of an image of one set and one of another, both as `look`
        has seen them; NaN, or the distance, for the others.

        One GEMM for a Euclidean judge (float64, as it subtracts large squares); else pair by pair, `CHUNK` at a time.
        """
        if self.vectors is not None:
            return torch.cdist(self.vectors(seen_x), self.vectors(seen_y)).pow(self.power).float()
        found = torch.full(asked.shape, torch.nan, device=asked.device)
        for chunk in asked.nonzero().split(CHUNK):
            i, j = chunk.T
            found[i, j] = self.compare(_taken(seen_x, i), _taken(seen_y, j))
        return found

    def __call__(self, x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
        return self.between(look([self], x)[self.see], look([self], y)[self.see])


@torch.no_grad()
def look(judges: Iterable[Distance], x: Float[Tensor, "n c h w"]) -> dict[See, Any]:
    """What the judges see of the images, once for each way of seeing and not once for each judge."""
    with torch.autocast(x.device.type, enabled=False):
        return {see: see(x.float()) for see in {judge.see for judge in judges}}


def _taken(seen: Any, index: Int[Tensor, " k"]) -> Any:
    """What was seen of the images of this index, in its order."""
    return seen[index] if isinstance(seen, Tensor) else [each[index] for each in seen]


class Judge(NamedTuple):
    """What a judge is in one line, and its builder from the trunks "standard", "robust" and "random"."""

    description: str
    build: Callable[[dict[str, Network]], Distance]


def pixel_distance(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """||x - y||_2 over all pixels."""
    return (x - y).flatten(1).norm(dim=1)


def pooled_distance(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """||pool(x) - pool(y)||_2."""
    return pool(x - y).flatten(1).norm(dim=1)


def pool(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h2 w2"]:
    """The mean over tiles of 4 x 4 pixels (smaller at the far edge)."""
    return F.avg_pool2d(x, 4, ceil_mode=True, count_include_pad=False)


def structural_distance(x: Float[Tensor, "n c h w"], y: Float[Tensor, "n c h w"]) -> Float[Tensor, " n"]:
    """1 - SSIM(x, y), with the 11 x 11 Gaussian window of sigma 1.5, or the largest odd window that fits.

    Source: Wang et al. 2004, equation 13.
    """
    import_torchvision()
    from piq import ssim

    side = min(11, *x.shape[-2:])
    similarity = ssim(x, y, kernel_size=side - (side + 1) % 2, kernel_sigma=1.5, data_range=1.0, reduction="none",
                      downsample=False)
    return (1 - similarity).clamp_min(0)


def through(trunk: TrunkDistance, weights: Sequence[Tensor] | None = None) -> Distance:
    """The LPIPS form on a trunk, with one weight per channel (all ones when None)."""
    vectors = unit_vectors if weights is None else None
    return Distance(lambda x, y: distance_of_units(x, y, weights), trunk.units, vectors, power=2)


def unit_vectors(units: Sequence[Tensor]) -> Float[Tensor, "n d"]:
    """The unit maps of all layers in one vector per image, so that the squared distance of two is their LPIPS form:
    v(x) = (u_l(x) / sqrt(h_l w_l))_l, ||v(x) - v(y)||^2 = sum_l mean_hw sum_c (u_lc(x) - u_lc(y))^2."""
    return torch.cat([u.double().flatten(1) / (u.shape[2] * u.shape[3]) ** 0.5 for u in units], dim=1)


JUDGES: dict[str, Judge] = {
    "J1": Judge(
        "LPIPS form on a standard network trained on other images",
        lambda trunks: through(TrunkDistance(trunks["standard"])),
    ),
    "J2": Judge(
        "LPIPS form on an adversarially trained network of another architecture",
        lambda trunks: through(TrunkDistance(trunks["robust"])),
    ),
    "J3": Judge("LPIPS form on a random network", lambda trunks: through(TrunkDistance(trunks["random"]))),
    "J4": Judge(
        "L2 distance of pixels",
        lambda _trunks: Distance(pixel_distance, vectors=lambda x: x.double().flatten(1)),
    ),
    "J5": Judge("1 - SSIM", lambda _trunks: Distance(structural_distance)),
    "J6": Judge(
        "L2 distance after 4x4 average pooling",
        lambda _trunks: Distance(pooled_distance, vectors=lambda x: pool(x.double()).flatten(1)),
    ),
}
PANEL = ("J1", "J2", "J3", "J4", "J5", "J6")


def control(trunk: Network, generator: torch.Generator, draws: int = 10) -> dict[str, Distance]:
    """The negative control J9: the LPIPS form on `trunk` with channel weights drawn from N(0, 1), signs included.

    It is what an LPIPS without its calibrated weights amounts to; each of the `draws` is a judge "J9-k".
    """
    seen_by = TrunkDistance(trunk)
    with torch.no_grad():
        blank = next(trunk.parameters()).new_zeros(1, *trunk.image_shape)
        channels = [u.shape[1] for u in seen_by.units(blank)]
    judges = {}
    for k in range(draws):
        weights = [torch.randn(c, generator=generator, device=generator.device).to(blank) for c in channels]
        judges[f"J9-{k}"] = through(seen_by, weights)
    return judges


def lpips_model(net: str, trunk: dict[str, Tensor]) -> torch.nn.Module:
    """LPIPS v0.1 with the calibrated linear weights of its wheel on a trunk state ("features.<i>.weight", ...)."""
    import_torchvision()
    import lpips

    with torch.random.fork_rng(devices=[]):
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False).requires_grad_(False)
    state = model.net.state_dict()
    for name in state:
        state[name] = trunk[re.sub(r"^slice\d", "features", name)]
    model.net.load_state_dict(state)
    return model


def lpips_judge(model: torch.nn.Module) -> Distance:
    """A judge from an LPIPS model, with the device of the images, grey repeated to three channels, and images below
    32 pixels resized to 64 (the patch size of its calibration; below 32 AlexNet's pooling has nothing left)."""

    def fit(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 3 h2 w2"]:
        x = x.expand(-1, 3, -1, -1)
        return F.interpolate(x, size=(64, 64), mode="bilinear", align_corners=False) if min(x.shape[2:]) < 32 else x

    return Distance(lambda x, y: model.to(x.device)(fit(x), fit(y), normalize=True).flatten())


def find_lpips(net: str, folders: Sequence[Path | str]) -> tuple[Distance | None, str]:
    """The calibrated LPIPS as a judge when its trunk weights are on this machine; nothing is downloaded.

    Arguments: `net`, "alex" or "vgg"; `folders`, where to look for the trunk file of LPIPS_TRUNKS, in this order.
    Returns: (judge, "used"), or (None, "missing: why"); never another judge in its place.
    Source: Zhang et al. 2018 (arXiv:1801.03924).
    """
    if net not in LPIPS_TRUNKS:
        raise UserError(f"LPIPS trunk {net!r}", f"one of {', '.join(LPIPS_TRUNKS)}", "correct the name")
    name, digest = LPIPS_TRUNKS[net]
    found = [path for folder in folders if (path := Path(folder) / name).is_file()]
    good = next((path for path in found if sha256_file(path) == digest), None)
    if good is None:
        why = f"has another sha256 than {digest[:12]}..." if found else "is in none of the folders searched"
        return None, f"missing: {name} {why}"
    trunk = torch.load(good, map_location="cpu", weights_only=True)
    return lpips_judge(lpips_model(net, trunk)), "used"


def choose(distance_to_target: Float[Tensor, " n"], distance_to_seed: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The answer of a 2AFC trial: 1 for the target, 0 for the seed image, 0.5 on a tie.

    Raises: UserError when a distance is not finite.
    """
    difference = distance_to_seed - distance_to_target
    if not bool(difference.isfinite().all()):
        raise UserError("a judge's distance that is not finite", "finite distances",
                        "check the images and the judge's trunk for NaN")
    return (difference.sign() + 1) / 2


def sanity(
    judge: Callable[[Tensor, Tensor], Tensor], targets: Float[Tensor, "n c h w"], seed_image: Float[Tensor, "c h w"]
) -> dict[str, float]:
    """What every judge must get exactly right: IRIs that are the target itself, and IRIs that are the seed image.

    Arguments: `targets`, at least two different images in [0, 1]; `seed_image`, another image.
    Returns: target_score (percent, must be 100) and seed_score (must be 0); non_negative and symmetric (1 or 0; over
    targets with themselves, each other and the seed image, symmetric within 1e-6); passes, 1 when all four hold.
    """
    seeds, others = seed_image.expand_as(targets), targets.roll(1, 0)
    to_seed, to_self = judge(targets, seeds), judge(targets, targets)
    target_score = 100 * choose(to_self, to_seed).double().mean().item()
    seed_score = 100 * choose(judge(seeds, targets), judge(seeds, seeds)).double().mean().item()
    forth = torch.cat([to_self, to_seed, judge(targets, others)])
    back = torch.cat([to_self, judge(seeds, targets), judge(others, targets)])
    non_negative = float((forth >= 0).all())
    symmetric = float(((forth - back).abs() <= 1e-6 * forth.abs().clamp_min(1)).all())
    passes = float(target_score == 100 and seed_score == 0 and bool(non_negative) and bool(symmetric))
    return {"target_score": target_score, "seed_score": seed_score, "non_negative": non_negative,
            "symmetric": symmetric, "passes": passes}
