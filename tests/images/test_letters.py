"""The letters of matplotlib's fonts."""

import numpy as np
import pytest
import torch

from fourlenses.images import DATASETS, digest_images, fetch_dataset
from fourlenses.images.letters import COUNT, FONTS, SHIFT, SOURCE, VARIANTS, decode_letters
from fourlenses.images.sources import Where

SHAPE = (len(FONTS), 10, VARIANTS, 28, 28)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    loaded = fetch_dataset("letters", cache=folder / "cache", mirror=None, progress=False)
    assert list(folder.iterdir()) == [], "nothing is downloaded"
    return loaded


def test_the_data_set_keeps_its_promise(letters):
    images = letters.parts["all"]
    assert letters.source == "matplotlib (embedded)"
    assert len(images) == COUNT >= 2000
    assert letters.digest == digest_images(letters.parts) == DATASETS["letters"].digest
    assert torch.bincount(images.y).tolist() == [COUNT // 10] * 10
    assert letters.classes == tuple("ABCDEFGHIJ")


def test_every_image_is_white_on_black_and_another(letters):
    x = letters.parts["all"].x
    assert len({each.tobytes() for each in x.numpy()}) == len(x)
    ink = x.float().mean((1, 2, 3)) / 255
    assert (ink > 0.03).all() and (ink < 0.5).all()
    assert (x.amax((1, 2, 3)) >= 200).all()
    border = torch.cat([x[:, 0, 0], x[:, 0, -1], x[:, 0, :, 0], x[:, 0, :, -1]], 1)
    assert border.float().mean() < 10


def test_ink_lies_within_the_shift_of_the_centre(letters):
    x = letters.parts["all"].x[:, 0].double()
    place = torch.arange(28) - 13.5
    for axis in (1, 2):
        seen = (x > 64).any(axis)
        first, last = seen.double().argmax(1), 27 - seen.flip(1).double().argmax(1)
        middle = (place[first] + place[last]) / 2
        assert middle.abs().max() <= SHIFT + 2 and middle.std() > 0.5, "a turned J moves a little further"


def test_the_variants_of_a_letter_look_like_it(letters):
    """The nearest image in the other fonts mostly is of the same letter: far above 1 in 10."""
    x = letters.parts["all"].x.view(SHAPE).double().flatten(3) / 255
    own, others = x[3].flatten(0, 1), torch.cat([x[:3], x[4:]]).flatten(0, 2)
    classes = torch.arange(10).repeat_interleave(VARIANTS)
    found = torch.cdist(own, others).argmin(1) % (10 * VARIANTS) // VARIANTS
    assert (found == classes).double().mean() > 0.8


def test_the_same_fonts_give_the_same_images_and_a_changed_one_others(tmp_path):
    contents, _ = SOURCE.read(Where(tmp_path))
    two = dict(list(contents.items())[:2])
    once, again = (decode_letters(two, lambda items, _: items)["all"] for _ in range(2))
    assert torch.equal(once.x, again.x) and len(once) == 2 * 10 * VARIANTS
    swapped = dict(zip(two, reversed(two.values()), strict=True))
    assert not np.array_equal(decode_letters(swapped, lambda items, _: items)["all"].x, once.x)
