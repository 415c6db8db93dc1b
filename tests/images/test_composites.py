"""Composites: every kind by a loop in plain numbers, its parts, its draws, and the errors."""

import hashlib
import math

import pytest
import torch

from fourlenses.errors import UserError
from fourlenses.images.composites import KINDS, Composite, compose

KIND = pytest.mark.parametrize("kind", list(KINDS))
DIGESTS = {  # of the composites of `made(kind)`, which must be the same on every machine
    "noise": "b2d482f541c22b75",
    "stripes": "45eb793b4626529e",
    "photo": "cba38c4d801abe97",
    "beside": "2eb0ed7b3c56229a",
    "stacked": "9b119c1e7a82624f",
}


def pixels(n: int, c: int, h: int, w: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 256, (n, c, h, w), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def made(kind: str, n: int = 24, shape=(1, 8, 12), m: int = 7, seed: int | str = 3, **changed) -> Composite:
    given = {"x": ramp(n, *shape, 5), "y": torch.arange(n) % 3, "partners": None, "partner_labels": None}
    if KINDS[kind][1]:
        given |= {"partners": ramp(m, *shape, 11), "partner_labels": 10 + torch.arange(m)}
    return compose(kind, **(given | changed), seed=seed)


def ramp(n: int, c: int, h: int, w: int, step: int) -> torch.Tensor:
    """Images that no library's random numbers make."""
    return (step * torch.arange(n * c * h * w) ** 2 % 251).byte().view(n, c, h, w)


@KIND
def test_a_seed_gives_the_same_bytes_on_every_machine(kind):
    found = made(kind)
    digest = hashlib.sha256()
    for part in (found.x, found.target, found.distractor, found.y_target, found.y_distractor):
        digest.update(part.numpy().astype("<i8").tobytes())
    assert digest.hexdigest()[:16] == DIGESTS[kind]


@KIND
def test_the_seed_decides_and_a_longer_set_starts_with_a_shorter_one(kind):
    one, again, other = made(kind), made(kind), made(kind, seed=4)
    assert torch.equal(one.x, again.x) and not torch.equal(one.x, other.x)
    fewer = made(kind, n=9)
    assert torch.equal(fewer.x, one.x[:9]) and torch.equal(fewer.y_distractor, one.y_distractor[:9])


@KIND
@pytest.mark.parametrize("shape", [(3, 8, 12), (1, 28, 28)])
def test_parts_stand_on_the_canvas_with_their_labels(kind, shape):
    found = made(kind, shape=shape)
    for part in (found.x, found.target, found.distractor):
        assert part.shape == (24, *shape) and part.dtype == torch.uint8
    assert torch.equal(found.y_target, torch.arange(24) % 3)
    assert len(set(found.y_distractor.tolist())) == {"noise": 1, "stripes": 2}.get(kind, 7)
    assert (found.halves is not None) == (kind in ("beside", "stacked"))


def test_noise_multiplies_what_is_there():
    x = pixels(40, 3, 16, 16, 0)
    x[:, :, :4] = 0
    found = made("noise", x=x, y=torch.zeros(40).long())
    assert torch.equal(found.target, x) and not found.y_distractor.any()
    assert not found.x[:, :, :4].any() and not found.distractor[:, :, :4].any()
    error = found.x.double() - (x.double() / 2 + found.distractor.double() / 2)
    assert error.abs().max() <= 0.75  # both are rounded, one of them before it is halved
    stream = hashlib.shake_256(b"fourlenses composites, noise, 3").digest(x.numel())
    values, alone = x.flatten().tolist(), found.distractor.flatten().tolist()
    for i in range(0, len(values), 97):
        assert abs(alone[i] - values[i] * stream[i] / 256) <= 0.5
    share = found.distractor[x == 255].double() / 255
    assert share.min() < 0.05 and share.max() > 0.95 and abs(share.mean() - 0.5) < 0.05
    assert not torch.equal(found.distractor[:, 0], found.distractor[:, 1])


def test_stripes_are_a_faint_sine_across_or_along():
    x = pixels(60, 1, 8, 12, 1)
    found = made("stripes", x=x, y=torch.zeros(60).long())
    for image, plain, alone, way in zip(found.x, x, found.distractor, found.y_distractor.tolist(), strict=True):
        for i in range(8):
            for j in range(12):
                place = j / 11 if way else i / 7
                wave = 255 * (0.5 + 0.5 * math.sin(11 * math.pi * place))
                expected = 0.85 * int(plain[0, i, j]) + 0.15 * wave
                assert abs(int(image[0, i, j]) - expected) <= 0.5 + 0.15 * 0.5 + 1e-6
                assert abs(int(alone[0, i, j]) - wave) <= 0.5 + 1e-6
    assert 15 < found.y_distractor.sum() < 45


def test_the_ends_of_the_sine_do_not_hang_on_its_last_bit():
    found = made("stripes", shape=(1, 28, 28))
    flat = torch.where(found.y_distractor[:, None] == 0, found.distractor[:, 0, :, 0], found.distractor[:, 0, 0])
    assert set(flat[:, 0].tolist()) == set(flat[:, -1].tolist()) == {128}


def test_photos_are_the_mean_of_two_images_and_all_are_used():
    found = made("photo", n=21, m=7)
    partners = ramp(7, 1, 8, 12, 11)
    assert torch.equal(found.distractor, partners[found.y_distractor - 10])
    exact = (found.target.double() + found.distractor.double()) / 2
    assert torch.equal(found.x.double(), (exact + 0.5).floor())
    assert found.y_distractor.bincount().tolist()[10:] == [3] * 7, "each as often as the others"
    first, second = found.y_distractor[:7], found.y_distractor[7:14]
    assert torch.equal(first, second) and first.tolist() != sorted(first.tolist())


@pytest.mark.parametrize(("kind", "axis"), [("beside", 2), ("stacked", 1)])
def test_halves_are_the_two_images_squeezed(kind, axis):
    x, partners = ramp(24, 3, 8, 12, 5), ramp(7, 3, 8, 12, 11)
    found = made(kind, shape=(3, 8, 12))
    first = 0
    for i in range(24):
        mask, other = found.halves[i], partners[int(found.y_distractor[i]) - 10]
        starts = mask[0, 0].item()
        first += starts
        parts = [x[i], other] if starts else [other, x[i]]
        whole = torch.cat(parts, axis).double()
        pairs = whole.unflatten(axis, (-1, 2)).mean(axis + 1)
        assert torch.equal(found.x[i].double(), (pairs + 0.5).floor())
        edge = mask.shape[axis - 1] // 2
        assert mask.narrow(axis - 1, 0 if starts else edge, edge).all() and mask.sum() == mask.numel() // 2
        assert torch.equal(found.target[i], found.x[i] * mask) and torch.equal(found.distractor[i], found.x[i] * ~mask)
    assert 5 < first < 19


@pytest.mark.parametrize(
    ("kind", "changed", "words"),
    [
        ("nois", {}, "did you mean noise"),
        ("photo", {"partners": None}, "with 0 partners"),
        ("photo", {"partner_labels": None}, "expected one or more"),
        ("photo", {"partners": ramp(0, 1, 8, 12, 1), "partner_labels": torch.arange(0)}, "with 0 partners"),
        ("noise", {"partners": ramp(2, 1, 8, 12, 1), "partner_labels": torch.arange(2)}, "expected none"),
        ("beside", {"partners": ramp(7, 1, 8, 10, 1)}, "same shape"),
        ("stacked", {"x": ramp(24, 1, 7, 12, 1), "partners": ramp(7, 1, 7, 12, 1)}, "even sides"),
    ],
)
def test_a_mistake_is_one_line(kind, changed, words):
    with pytest.raises(UserError, match=words) as caught:
        if kind in KINDS:
            made(kind, **changed)
        else:
            compose(kind, ramp(2, 1, 8, 8, 1), torch.arange(2), None, None, 0)
    assert "\n" not in str(caught.value)
