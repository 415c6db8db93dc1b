"""What a prior learns from."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fourlenses.errors import UserError
from fourlenses.images import Images
from fourlenses.images.shifted import fitted
from fourlenses.simplicity import generic
from fourlenses.simplicity.generic import split_generic, varied

SHARES = ("BLURRED", "DRAWN", "FADED", "BOXED", "GREY", "NOISY")
CLASSES = ["a", "b", "c"]


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, shape, generator=stream(seed), dtype=torch.uint8)


def numbered(n: int, side: int = 8) -> Images:
    """Constant images, each of its own level, of three classes in turn."""
    return Images(torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 3, side, side), torch.arange(n) % 3)


@pytest.fixture
def only(monkeypatch):
    """Set the shares of all changes: the named one to 1, the others to 0."""

    def choose(name: str | None) -> None:
        for share in SHARES:
            monkeypatch.setattr(generic, share, float(share == name))

    return choose


@pytest.mark.parametrize("held_out", [["b"], ["c", "a"]])
def test_no_held_out_class_is_trained_on(held_out):
    canvas = torch.zeros(2, 1, 6, 6, dtype=torch.uint8)
    train, photos, labels = split_generic({"all": numbered(60)}, CLASSES, held_out, canvas, 100, 3)
    held = [CLASSES.index(name) for name in held_out]
    assert train.shape[1:] == photos.shape[1:] == (1, 6, 6)
    assert set((train[:, 0, 0, 0] % 3).tolist()) == {0, 1, 2} - set(held)
    assert torch.equal(photos[:, 0, 0, 0].long() % 3, labels) and set(labels.tolist()) == set(held)
    levels = torch.cat([train, photos])[:, 0, 0, 0].tolist()
    assert sorted(levels) == list(range(60)) and levels[: len(train)] != sorted(levels[: len(train)])


def test_photographs_are_the_test_part_where_there_is_one():
    parts = {"train": numbered(40), "test": numbered(50)}
    canvas = pixels(1, 3, 4, 4)
    train, photos, labels = split_generic(parts, CLASSES, [], canvas, 45, 0)
    assert len(train) == 40 and len(photos) == 45 and max(photos[:, 0, 0, 0].tolist()) >= 40
    again, *_ = split_generic(parts, CLASSES, [], canvas, 45, 0)
    other, *_ = split_generic(parts, CLASSES, [], canvas, 45, 1)
    assert torch.equal(train, again) and not torch.equal(train, other)


def test_images_come_to_the_canvas_as_all_others_do(monkeypatch):
    monkeypatch.setattr(generic, "CHUNK", 7)
    x, canvas = pixels(30, 3, 32, 32), pixels(1, 1, 28, 28)
    train, photos, _ = split_generic({"all": Images(x, torch.arange(30) % 3)}, CLASSES, ["a"], canvas, 30, 0)
    expected = {each.tobytes() for each in fitted(x, canvas).numpy()}
    assert {each.tobytes() for each in torch.cat([train, photos]).numpy()} == expected


@pytest.mark.parametrize(("parts", "held_out", "words"), [
    ({"all": numbered(9)}, ["d"], "'d'"),
    ({"all": numbered(9)}, [], "no image is held out"),
    ({"all": numbered(9)}, CLASSES, "no image to train on"),
    ({"train": numbered(9), "test": numbered(9)}, ["a"], "part test"),
])  # fmt: skip
def test_what_cannot_be_held_out_is_one_line(parts, held_out, words):
    with pytest.raises(UserError, match=words):
        split_generic(parts, CLASSES, held_out, pixels(1, 1, 4, 4), 9, 0)


@settings(deadline=None, max_examples=25)
@given(n=st.integers(0, 9), c=st.sampled_from([1, 3]), h=st.integers(4, 12), w=st.integers(4, 12),
       seed=st.integers(0, 99))  # fmt: skip
def test_images_stay_images_and_a_seed_gives_the_same(n, c, h, w, seed):
    x = pixels(n, c, h, w)
    found = varied(x, stream(seed))
    assert found.shape == x.shape and found.dtype == torch.uint8
    assert torch.equal(found, varied(x, stream(seed))) and torch.equal(x, pixels(n, c, h, w))


def test_images_are_mirrored_and_shifted_with_a_reflected_border(only):
    only(None)
    x = pixels(1, 3, 9, 8).expand(2000, -1, -1, -1)
    found, image, counts = varied(x, stream()), x[0].numpy(), np.zeros((2, 7, 7), int)
    padded = {m: np.pad(image[..., :: (-1 if m else 1)], [(0, 0), (3, 3), (3, 3)], mode="reflect") for m in (0, 1)}
    known = {
        padded[m][:, i : i + 9, j : j + 8].tobytes(): (m, i, j) for m in (0, 1) for i in range(7) for j in range(7)
    }
    for each in found.numpy():
        counts[known[each.tobytes()]] += 1
    assert (counts > 0).all() and abs(counts[0].sum() - 1000) < 120, "each about 20 times"


def test_faded_images_are_a_line_between_the_image_and_a_colour(only):
    only("FADED")
    x = torch.full((3000, 1, 8, 8), 100, dtype=torch.uint8)
    x[..., 4:, :] = 200
    found = varied(x, stream())
    spread = (found.flatten(1).max(1).values.int() - found.flatten(1).min(1).values.int()).double()
    assert (spread <= 101).all()
    np.testing.assert_allclose(np.quantile(spread / 100, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.04)
    faint = found[spread < 10]
    for extreme in (0, 255):
        near = (faint.flatten(1).float().mean(1) - extreme).abs() < 15
        assert 0.25 < float(near.double().mean()) < 0.5, "black and white come up"


def test_a_box_keeps_the_image_and_all_around_is_flat(only):
    only("BOXED")
    x = pixels(1, 1, 12, 12, seed=4).expand(400, -1, -1, -1)
    shares = []
    for each in varied(x, stream())[:, 0]:
        values, counts = each.unique(return_counts=True)
        inside = (each != values[counts.argmax()]).nonzero()
        shares.append(len(inside) / 144)
        if len(inside):
            (top, left), (bottom, right) = inside.amin(0), inside.amax(0)
            assert len(inside) >= 0.8 * (bottom - top + 1) * (right - left + 1), "a box"
    assert 0.1 < np.mean(shares) < 0.25, "of 1/3 x 1/3 of the sides' mean squares and more"


def test_drawings_have_two_colours_with_soft_edges(only):
    only("DRAWN")
    coarse = pixels(300, 3, 4, 4).float()
    x = torch.nn.functional.interpolate(coarse, [28, 28], mode="bicubic").clamp(0, 255).byte()
    for each in varied(x, stream())[:, 0].double():
        low, high = each.min(), each.max()
        if high - low > 60:
            between = ((each > low + 0.25 * (high - low)) & (each < high - 0.25 * (high - low))).double().mean()
            assert between < 0.35
            assert ((each - low) / (high - low)).sub(0.5).abs().mean() > 0.3


def test_grey_images_have_three_equal_channels_and_one_channel_is_grey_already(only):
    only("GREY")
    found = varied(pixels(20, 3, 8, 8), stream())
    assert (found == found[:, :1]).all()
    only(None)
    assert not (varied(pixels(20, 3, 8, 8), stream()) == found).all()


def test_noise_is_mixed_in_up_to_noise_alone(only):
    only("NOISY")
    x = torch.full((2000, 3, 8, 8), 128, dtype=torch.uint8)
    deviations = varied(x, stream()).double().flatten(1).std(1) / 255 * 12**0.5  # 1: uniform noise
    assert abs(float((deviations > 0.9).double().mean()) - 0.325) < 0.05, "a quarter alone, and a tenth of the rest"
    assert float((deviations < 0.5).double().mean()) == pytest.approx(0.375, abs=0.05)


def test_changes_come_as_often_as_they_are_said_to():
    """Flat images stay where none are drawn, faded, mixed with noise (or hardly) or have a background."""
    x = torch.full((6000, 1, 8, 8), 77, dtype=torch.uint8)
    stay = float((varied(x, stream()) == 77).flatten(1).all(1).double().mean())
    expected = (1 - generic.DRAWN) * (1 - generic.FADED) * (1 - generic.NOISY) * (1 - generic.BOXED)
    assert expected == pytest.approx(0.4 * 0.85 * 0.97 * 0.8) and abs(stay - expected) < 0.03
