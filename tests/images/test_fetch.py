"""The stage that fetches: its files, its card, and what a user's mistake looks like."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML
from small_files import picture, pixels, write

from fourlenses.artifacts import load_tensors
from fourlenses.errors import UserError
from fourlenses.images import DATASETS, Images, digest_images, fetch_dataset
from stages.fetch import main

ROOT = Path(__file__).resolve().parents[2]


def study(folder, dataset, *sizes):
    """A study with the repository's parameters and this data set."""
    content = YAML(typ="safe").load(ROOT / "params.yaml")
    content["root"] = os.path.relpath(ROOT, folder)
    content["fetch"] |= {"dataset": dataset} | dict(
        zip(("n_train", "n_judges", "n_calibration", "n_test"), sizes, strict=True)
    )
    content["train"]["batch"], content["invert"]["n_targets"] = min(sizes[:2]), 1
    content["sweep"]["n_train"] = sizes[0]
    for network in content["sweep"]["networks"].values():
        network.pop("n_train", None)
    content["represent"] |= {"n_images": 4, "batch": 4}
    for section, key in (("entangled", "n_train"), ("watched", "n_train"), ("detect", "n_references")):
        content[section][key] = sizes[0]
    for section in ("simplify", "rehearse"):
        content[section]["n_train"] = 1
    content["simplify"] |= {"n_test": 1, "batch": 1}
    for section in ("watched", "measure", "perturb", "detect", "gans", "ladder"):
        content[section]["n_images"] = 1
    content["perturb"]["n_gradients"] = 1
    with open(folder / "params.yaml", "w") as file:
        YAML(typ="safe").dump(content, file)
    return folder


def test_writes_splits_and_card(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(study(tmp_path, "digits", 200, 100, 50, 30))
    main(Path("data"))
    assert capsys.readouterr().out == ""
    card = json.loads((tmp_path / "data" / "card.json").read_text())
    assert card["digest"] == DATASETS["digits"].digest
    assert card["classes"] == list("0123456789")
    assert card["source"] == "scikit-learn (embedded)"
    assert set(card) == {"dataset", "licence", "homepage", "source", "digest", "splits", "classes"}
    everything = fetch_dataset("digits", cache=tmp_path, mirror=None, progress=False).parts["all"]
    known = {(image.numpy().tobytes(), int(label)) for image, label in zip(everything.x, everything.y, strict=True)}
    drawn = []
    for name, n in {"train": 200, "judges": 100, "calibration": 50, "test": 30}.items():
        tensors, _ = load_tensors(tmp_path / "data" / f"{name}.safetensors")
        assert set(tensors) == {"x", "y"}
        assert (tensors["x"].dtype, tensors["y"].dtype) == (torch.uint8, torch.int64)
        assert tensors["x"].shape == (n, 1, 8, 8)
        said = card["splits"][name]
        assert said["n"] == n
        assert said["shape"] == [1, 8, 8]
        assert said["classes"] == [n // 10] * 10
        assert said["digest"] == digest_images({name: Images(**tensors)})
        drawn += [(x.numpy().tobytes(), int(y)) for x, y in zip(tensors["x"], tensors["y"], strict=True)]
    assert set(drawn) <= known
    assert len(set(drawn)) == len(drawn)  # digits holds no image twice
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    main(Path("data"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == before


@pytest.mark.parametrize(
    ("dataset", "sizes", "message"),
    [
        ("digits", (1690, 90, 5, 13), "train 1690 .* judges 90 .* calibration 5 .* test 13 = 1798 images are wanted"),
        ("digit", (1, 1, 1, 4), "data set 'digit' is unknown"),
        ("folder:pictures", (1, 1, 1, 4), "pictures/b/2.png has 5 x 4 pixels"),
    ],
)
def test_a_mistake_overwrites_nothing(dataset, sizes, message, tmp_path, monkeypatch):
    write(tmp_path, {"pictures/a/1.png": picture(pixels(4, 4)), "pictures/b/2.png": picture(pixels(4, 5))})
    monkeypatch.chdir(study(tmp_path, dataset, *sizes))
    write(tmp_path, {"data/train.safetensors": b"as it was"})
    with pytest.raises(UserError, match=message):
        main(Path("data"))
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["train.safetensors"]
    assert (tmp_path / "data" / "train.safetensors").read_bytes() == b"as it was"


def test_without_mirror_and_network_the_command_ends_with_one_line(tmp_path):
    dead = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    folders = {"PYTHONPATH": str(ROOT), "FOURLENSES_CACHE": str(tmp_path / "cache"), "FOURLENSES_MIRROR": str(tmp_path)}
    command = [sys.executable, "-m", "stages.fetch", "--out", "data"]
    study(tmp_path, "notmnist", 1, 1, 1, 4)
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | dead | folders, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    tried = "tried mirror directory (t10k-images-idx3-ubyte.gz is not there), then download from https://"
    assert done.stderr.startswith(f"error: no source gives notmnist: {tried}")
