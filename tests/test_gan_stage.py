"""The stage that trains GANs, on a study of 8x8 images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_study
import torch
from commands import is_one_line, run, start, wait_for

from fourlenses.artifacts import load_tensors, read_csv, save_tensors
from fourlenses.entanglement.minimum import entanglement_at, minimum_entanglement
from fourlenses.nets import arguments_for, build
from stages.train_gans import COLUMNS

CLASSIFIER = "results/entangled/cnn-plain.safetensors"
COMMAND = (
    f"-m stages.train_gans --data data --classifier {CLASSIFIER} --out results/gans.safetensors "
    "--table results/entanglement/gans.csv"
).split()
OUTPUTS = ("results/gans.safetensors", "results/entanglement/gans.csv")
SCHEDULE = [0, 1, 3, 6]


def make(folder: Path) -> Path:
    """The study, and a classifier that has learned nothing."""
    tiny_study.make(folder)
    x, _ = load_tensors(folder / "data/train.safetensors")
    arguments = arguments_for(x["x"], 3, **tiny_study.NETWORK)
    weights = build(**arguments, generator=torch.Generator().manual_seed(0)).state_dict()
    passed = {"0": {"clean": 1.0, "robust": 1.0, "floor_clean": 0.0, "floor_robust": 0.0}}
    about = {"name": "cnn-plain", "network": arguments, "accuracy": passed, "epochs": 1}
    save_tensors(folder / CLASSIFIER, {f"seed0/{name}": value for name, value in weights.items()}, about)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("gans"))
    code, stderr = run(folder, *COMMAND)
    assert code == 0, stderr
    return folder


def test_the_table_follows_every_gan_from_the_first_image_to_the_last(done) -> None:
    table = read_csv(done / OUTPUTS[1])
    assert table.columns.tolist() == COLUMNS
    kinds = tiny_study.PARAMS["gans"]["kinds"]
    assert table["gan"].tolist() == [kind for kind in kinds for _ in SCHEDULE]
    assert table["iteration"].tolist() == SCHEDULE * len(kinds)
    assert table.groupby("gan")["guided"].first().to_dict() == {"conv": 0, "mlp": 0, "conv-guided": 1}
    assert (table["n"] == 12).all() and (table["seed"] == 0).all()
    for measure in ("real_fake_minimum", "real_real_minimum"):
        assert table[measure].between(0, table["chance"] + 1e-9).all()
    assert (table["real_fake_fixed"] >= table["real_fake_minimum"] - 1e-9).all()
    assert table["modes"].between(1, 3).all() and table["entropy"].between(0, np.log(3)).all()
    losses = table[["loss_d", "loss_g"]].isna().all(axis=1)
    assert (losses == (table["iteration"] == 0)).all()


def test_the_ceiling_is_the_entanglement_of_two_sets_of_test_images(done) -> None:
    table = read_csv(done / OUTPUTS[1])
    test, _ = load_tensors(done / "data/test.safetensors")
    x, y = test["x"][:24].double() / 255, torch.arange(24) // 12
    flat = x.flatten(1)
    at = (flat[:, None] - flat).square().sum(2).sum() / (24 * 23)
    for column, value in {
        "temperature_fixed": at,
        "real_real_fixed": entanglement_at(x, y, at[None]),
        "real_real_minimum": minimum_entanglement(x, y).value,
        "chance": np.log(23 / 11),
    }.items():
        np.testing.assert_allclose(table[column], float(value), rtol=1e-5)


def test_images_are_kept_at_the_start_on_the_way_and_at_the_end(done) -> None:
    images, about = load_tensors(done / OUTPUTS[0])
    assert about["iterations"] == SCHEDULE
    assert images.keys() == {
        f"{kind}/seed0/{iteration}" for kind in tiny_study.PARAMS["gans"]["kinds"] for iteration in SCHEDULE
    }
    assert all(each.shape == (64, 1, 8, 8) and each.dtype == torch.uint8 for each in images.values())
    assert not torch.equal(images["conv/seed0/0"], images["conv/seed0/6"])
    assert not torch.equal(images["conv/seed0/0"], images["conv-guided/seed0/0"])


def test_a_killed_run_goes_on_and_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    for path in OUTPUTS:
        (again / path).unlink()
    process = start(again, *COMMAND)
    wait_for(lambda: list(again.glob(".resume/train-gans/*/mlp, seed 0.safetensors")), process)
    process.kill()
    process.communicate()
    assert not (again / OUTPUTS[1]).exists(), "it was too quick to be killed"
    assert run(again, *COMMAND)[0] == 0
    for path in OUTPUTS:
        assert (again / path).read_bytes() == (done / path).read_bytes(), path
    runs = read_csv(again / "results/runs.csv").set_index("stage")
    assert runs.loc["train-gans", "resumed"] == 1 and not list(again.glob(".resume/train-gans/*"))


def test_widths_that_do_not_fit_the_images_are_one_line(done, tmp_path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    text = (folder / "params.yaml").read_text()
    changed = text.replace("widths: [8, 4]\n", "widths: [8, 4, 4, 2]\n")
    (folder / "params.yaml").write_text(changed)
    code, stderr = run(folder, *COMMAND)
    assert code == 2 and is_one_line(stderr) and "multiples of 16" in stderr
    assert (folder / OUTPUTS[1]).read_bytes() == (done / OUTPUTS[1]).read_bytes()


def test_a_missing_classifier_is_one_line(done, tmp_path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    (folder / CLASSIFIER).unlink()
    code, stderr = run(folder, *COMMAND)
    assert code == 2 and is_one_line(stderr) and "cnn-plain" in stderr
