"""The stages that train the priors and measure the ladder, on a study of 8x8 images."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_study
import torch
from commands import is_one_line, run, start, wait_for
from ruamel.yaml import YAML

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_csv
from fourlenses.errors import UserError
from fourlenses.images.shifted import SETS
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.prior import load_glow
from stages import ladder, train_glow

TRAIN = tiny_study.train_glow()
LADDER = (
    "-m stages.ladder --data data --glow results/glow.safetensors --photos data/photos.safetensors "
    "--out results/simplicity"
).split()
TRAINED = ("results/glow.safetensors", "data/photos.safetensors", "results/simplicity/glow.csv")
MEASURED = ("results/simplicity/ladder.csv", "results/simplicity/ladder.safetensors")
SETS_OF_THE_LADDER = {
    "black": "constant", "grey": "constant", "own-blurred": "blurred", "digits": "own", "constant:1x8x8": "other",
    "photos-blurred": "blurred", "photos": "photo", "noise": "noise",
}  # fmt: skip
PRIORS = tiny_study.PARAMS["glow"]["priors"]


def change(folder: Path, section: str, **values: object) -> None:
    """Set parameters of a section in the study's file."""
    yaml = YAML(typ="safe")
    params = yaml.load((folder / "params.yaml").read_text())
    params[section] |= values
    with open(folder / "params.yaml", "w") as file:
        yaml.dump(params, file)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tiny_study.make(tmp_path_factory.mktemp("prior"))
    change(folder, "ladder", sets=["digits", "constant:1x8x8"])
    for command in (TRAIN, LADDER):
        code, stderr = run(folder, *command)
        assert code == 0, stderr
    return folder


def test_the_training_of_every_prior_is_in_the_table(done) -> None:
    table = read_csv(done / TRAINED[2])
    assert table.columns.tolist() == train_glow.COLUMNS
    assert table[["prior", "step"]].values.tolist() == [["glow", 20], ["shallow", 10]]
    assert (table["skipped"] == 0).all() and table[["bpd_train", "bpd_photos"]].gt(0).all().all()


def test_photographs_are_held_out_by_their_class(done) -> None:
    photos, about = load_tensors(done / TRAINED[1])
    assert [about["classes"][label] for label in photos["y"].unique()] == ["group 8", "group 9"]
    assert photos["x"].shape == (200, 1, 8, 8) and photos["x"].dtype == torch.uint8


def test_a_stored_prior_is_the_one_that_was_judged(done) -> None:
    _, about = load_tensors(done / TRAINED[0])
    assert about["priors"].keys() == PRIORS.keys() == about["accepted"].keys()
    assert about["refused"] == {"glow": [], "shallow": []}
    own, _ = load_tensors(done / "data/calibration.safetensors")
    photos, _ = load_tensors(done / TRAINED[1])
    for name, spec in PRIORS.items():
        glow = load_glow(done / TRAINED[0], name, torch.device("cpu"))
        assert glow.arguments["depth"] == spec["depth"]
        for of, x in {"own": own["x"], "photos": photos["x"], "black": torch.zeros_like(own["x"])}.items():
            bits = float(measured(glow, x, torch.Generator().manual_seed(1)).mean())
            assert about["accepted"][name][of] == pytest.approx(bits, rel=0.02)
    table = read_csv(done / TRAINED[2]).set_index("prior")
    assert about["accepted"]["glow"]["photos"] == pytest.approx(table.loc["glow", "bpd_photos"])


def test_the_ladder_has_every_set_under_every_prior(done) -> None:
    table = read_csv(done / MEASURED[0])
    assert table.columns.tolist() == ladder.COLUMNS
    found = table.set_index(["prior", "set"])["kind"].to_dict()
    assert found == {(prior, name): kind for prior in PRIORS for name, kind in SETS_OF_THE_LADDER.items()}
    assert (table["n"] == 16).all()
    assert np.isfinite(table[["bpd", "sd", "se", "png", "jpeg", "contrast_bpd"]]).all().all()
    constant = table["kind"] == "constant"
    assert table.loc[constant, ["rho_png", "rho_jpeg", "rho_prior"]].isna().all().all()
    np.testing.assert_allclose(table.loc[~constant & (table["prior"] == "glow"), "rho_prior"], 1)
    assert (table.loc[~constant, "rho_prior"] > 0).any()


def test_every_images_bits_are_kept_and_add_up_to_the_table(done) -> None:
    tensors, about = load_tensors(done / MEASURED[1])
    table = read_csv(done / MEASURED[0]).set_index(["prior", "set"])
    assert about["kinds"] == SETS_OF_THE_LADDER
    assert tensors.keys() == {f"{name}/{part}" for name in SETS_OF_THE_LADDER
                              for part in ("glow/bpd", "shallow/bpd", "png", "jpeg", "images")}  # fmt: skip
    for (prior, name), row in table.iterrows():
        bpd = tensors[f"{name}/{prior}/bpd"]
        assert bpd.dtype == torch.float32 and bpd.shape == (16,)
        assert row["bpd"] == pytest.approx(float(bpd.mean()), rel=1e-5)
        assert row["se"] == pytest.approx(float(bpd.std() / 4), rel=1e-4)
        assert row["png"] == pytest.approx(float(tensors[f"{name}/png"].mean()), rel=1e-5)


def test_bits_are_of_the_images_that_are_shown(done) -> None:
    tensors, _ = load_tensors(done / MEASURED[1])
    test, _ = load_tensors(done / "data/test.safetensors")
    photos, _ = load_tensors(done / TRAINED[1])
    assert torch.equal(tensors["digits/images"], test["x"][:16])
    assert torch.equal(tensors["photos/images"], photos["x"][:16])
    for name in ("own", "photos"):
        plain = tensors[f"{'digits' if name == 'own' else name}/images"]
        assert torch.equal(tensors[f"{name}-blurred/images"], SETS["blurred"](plain, torch.Generator()))
    glow = load_glow(done / TRAINED[0], "glow", torch.device("cpu"))
    for name in SETS_OF_THE_LADDER:
        images = tensors[f"{name}/images"]
        np.testing.assert_allclose(tensors[f"{name}/png"], png_bits(images), rtol=1e-6)
        bits = measured(glow, images, runtime.generator(tiny_study.PARAMS["fetch"]["seed"], "ladder"))
        np.testing.assert_allclose(tensors[f"{name}/glow/bpd"], bits, rtol=1e-4)


def resumed(done: Path, folder: Path, command: list[str], outputs: tuple[str, ...], checkpoint: str) -> None:
    """Kill a run as soon as it has a checkpoint; the next must go on from there and write the same bytes."""
    expected = {path: (done / path).read_bytes() for path in outputs}
    for path in outputs:
        (folder / path).unlink()
    process = start(folder, *command)
    wait_for(lambda: list(folder.glob(f".resume/{checkpoint}")), process)
    process.kill()
    process.communicate()
    assert not any((folder / path).exists() for path in outputs), "it was too quick to be killed"
    assert run(folder, *command)[0] == 0
    assert {path: (folder / path).read_bytes() for path in outputs} == expected
    stage = checkpoint.split("/")[0]
    assert read_csv(folder / "results/runs.csv").set_index("stage").loc[stage, "resumed"] == 1
    assert not list(folder.glob(f".resume/{stage}/*"))


def test_a_killed_training_goes_on_and_gives_the_same_bytes(done, tmp_path) -> None:
    whole = Path(shutil.copytree(done, tmp_path / "whole"))
    change(whole, "glow", priors=PRIORS | {"glow": PRIORS["glow"] | {"steps": 120}})
    assert run(whole, *TRAIN)[0] == 0
    again = Path(shutil.copytree(whole, tmp_path / "again"))
    resumed(whole, again, TRAIN, TRAINED, "train-glow/*/glow.safetensors")


def test_a_killed_ladder_goes_on_and_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    resumed(done, again, LADDER, MEASURED, "ladder/*/glow, black.safetensors")


FLAT = {"source": "constant:1x8x8", "held_out": ["levels 0 to 31"], "ordered": True}


@pytest.mark.parametrize(("values", "words"), [
    (FLAT | {"most_black": 1e-3, "least_noise": 900.0, "most_noise": 1e-3},
     ["'glow'", "black has", "less than 900", "more than 0.001", "photos should have more", "train it longer"]),
    ({"held_out": ["group 8", "group 10"]}, ["'group 10'", "glow.held_out"]),
])  # fmt: skip
def test_a_prior_that_cannot_be_used_is_one_line_and_nothing_is_written(done, tmp_path, values, words) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    change(folder, "glow", **values)
    before = {path: (folder / path).read_bytes() for path in TRAINED}
    code, stderr = run(folder, *TRAIN)
    assert code == 2 and is_one_line(stderr) and all(word in stderr for word in words), stderr
    assert {path: (folder / path).read_bytes() for path in TRAINED} == before


def test_a_second_prior_may_be_refused_and_the_ladder_says_so(done, tmp_path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    accepted = load_tensors(folder / TRAINED[0])[1]["accepted"]
    black = [accepted[name]["black"] for name in ("glow", "shallow")]
    assert black[0] < black[1], "the smaller prior, which is trained for less long, needs more bits"
    change(folder, "glow", most_black=sum(black) / 2)
    assert run(folder, *TRAIN)[0] == 0
    assert "more than" in load_tensors(folder / TRAINED[0])[1]["refused"]["shallow"][0]
    assert run(folder, *LADDER)[0] == 0
    table = read_csv(folder / MEASURED[0])
    assert table.groupby("prior")["refused"].unique().to_dict() == {"glow": [0], "shallow": [1]}
    with pytest.raises(UserError, match="'shallow' was refused"):
        load_glow(folder / TRAINED[0], "shallow", torch.device("cpu"))


def test_the_manifests_say_what_decided(done) -> None:
    for stage in ("train-glow", "ladder"):
        manifest = json.loads((done / f"results/manifests/{stage}.json").read_text())
        assert set(manifest["outputs"]) == set(TRAINED if stage == "train-glow" else MEASURED)
        assert "priors" in manifest["params"] and manifest["inputs"]
