"""What goes wrong in a study: it is told in one line, nothing is lost, and the same command then ends as it should."""

import importlib
import os
import pickle
import re
import shutil
import signal
from pathlib import Path

import pytest
import tiny_study
import torch
import tyro
from commands import is_one_line, run, start, wait_for

from fourlenses.artifacts import load_tensors, read_csv, read_json, save_tensors, sha256_file
from fourlenses.errors import UserError
from fourlenses.invariance.unit import Unit


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    """A study whose robust network, judges and IRIs were made without an interruption."""
    folder = tiny_study.make(tmp_path_factory.mktemp("done"))
    for command in (tiny_study.train("robust"), tiny_study.train_judges(), tiny_study.invert("robust")):
        finishes(folder, *command)
    return folder


@pytest.fixture
def study(done, tmp_path) -> Path:
    """A copy of that study, to break."""
    return Path(shutil.copytree(done, tmp_path / "study"))


def outputs(folder: Path, stage: str) -> dict[str, str]:
    """SHA-256 of everything that a finished stage wrote."""
    manifest = f"results/manifests/{stage}.json"
    return {name: sha256_file(folder / name) for name in [*read_json(folder / manifest)["outputs"], manifest]}


def forget(folder: Path, stage: str) -> None:
    for name in outputs(folder, stage):
        (folder / name).unlink()


def unfinished(folder: Path) -> list[str]:
    """Temporary files outside the scratch folder."""
    found = [path.relative_to(folder) for path in folder.rglob(".tmp-*")]
    return [str(path) for path in found if path.parts[0] != ".resume"]


def kill_when(folder: Path, pattern: str, *command: str) -> None:
    """Start a stage and kill it as soon as a checkpoint of this name is there."""
    process = start(folder, *command)
    wait_for(lambda: list(folder.glob(f".resume/{pattern}")), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def finishes(folder: Path, *command: str) -> None:
    code, stderr = run(folder, *command)
    assert code == 0, stderr


def fails(folder: Path, *command: str) -> str:
    """Run a stage that must fail in the way of a user's mistake, with one line and exit code 2."""
    code, stderr = run(folder, *command)
    assert code == 2 and is_one_line(stderr), stderr
    return stderr.splitlines()[-1]


@pytest.fixture
def refused(study, monkeypatch):
    """Run a stage of the broken study in this process; it must raise a user's mistake and touch no output."""

    def call(_dash_m: str, module: str, *arguments: str) -> str:
        monkeypatch.chdir(study)
        monkeypatch.setenv("FOURLENSES_THREADS", "1")
        before = {path: sha256_file(path) for path in study.rglob("*.*") if path.is_file()}
        with pytest.raises(UserError) as caught:
            tyro.cli(importlib.import_module(module).main, args=arguments)
        assert before == {path: sha256_file(path) for path in before} and not unfinished(study)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return call


def test_training_killed_and_out_of_disk_ends_with_the_same_bytes(done, tmp_path):
    folder = tiny_study.make(tmp_path / "again")
    command = tiny_study.train("robust")
    kill_when(folder, "train@robust/*/*seed 1.previous.safetensors", *command)
    assert not (folder / "models").exists() and not (folder / "results").exists()

    (folder / "models").mkdir()
    (folder / "models/.tmp-robust.safetensors").symlink_to("/dev/full")
    assert "No space left on device" in fails(folder, *command)

    finishes(folder, *command)
    assert outputs(folder, "train@robust") == outputs(done, "train@robust")
    assert read_csv(folder / "results/runs.csv")["resumed"].tolist() == [1]
    assert not list(folder.glob(".resume/**/*.safetensors")) and not unfinished(folder)


def test_inversion_killed_and_out_of_disk_ends_with_the_same_bytes(done, study):
    forget(study, "invert@robust")
    command = tiny_study.invert("robust")
    kill_when(study, "invert@robust/*/seed0-transforms-*.safetensors", *command)
    assert not (study / "iris/robust.safetensors").exists() and not unfinished(study)

    (study / "results/invert/.tmp-robust.csv").symlink_to("/dev/full")
    assert "No space left on device" in fails(study, *command)
    assert not (study / "results/invert/robust.csv").exists()

    finishes(study, *command)
    assert outputs(study, "invert@robust") == outputs(done, "invert@robust")
    assert not list(study.glob(".resume/**/*.safetensors")) and not unfinished(study)


def test_outputs_are_what_the_formats_say(done):
    tensors, manifest = load_tensors(done / "models/robust.safetensors", "seed1/")
    assert manifest["name"] == "robust" and manifest["network"]["architecture"] == "resnet"
    assert "head.weight" in tensors
    history = read_csv(done / "results/robust.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4] * 2 and history["seed"].tolist() == [0] * 4 + [1] * 4
    metrics = read_json(done / "results/robust.json")
    assert metrics["attack"] == {"norm": "linf", "eps": 0.05, "steps": 20}
    iris, _ = load_tensors(done / "iris/robust.safetensors")
    table = read_csv(done / "results/invert/robust.csv")
    assert len(table) == 2 * (3 * 6 + 2) and (table["epoch"] == 4).all()
    for (seed, loss, targets), rows in table.groupby(["seed", "loss", "targets"]):
        unit = Unit(loss, "super-noise", targets).key(seed)
        x, error = (iris[f"{unit}/{key}"] for key in ("x", "error"))
        wanted = iris["indices"].tolist() if targets == "test" else [0, 1]
        assert x.shape == (len(wanted), 1, 8, 8) and rows["image"].tolist() == wanted
        torch.testing.assert_close(error, torch.tensor(rows["error"].tolist()))
        assert rows["accepted"].tolist() == (rows["error"] <= rows["null_low"]).astype(int).tolist()


def test_loss_that_is_not_finite_names_step_and_recipe(tmp_path):
    folder = tiny_study.make(tmp_path, lr=1e6, ema_decay=0.0)
    message = fails(folder, *tiny_study.train("plain"))
    assert re.search(r"plain, standard, seed 0: \S+ is not finite after step \d+; expected finite numbers", message)
    assert not (folder / "models").exists()


def test_unknown_network_is_named(study, refused):
    message = refused(*tiny_study.train("robst"))
    assert "network 'robst' is unknown" in message


@pytest.mark.parametrize("stage", ["train", "invert"])
def test_input_that_an_earlier_stage_has_not_written_is_named(study, refused, stage):
    (study / "data/test.safetensors").unlink()
    message = refused(*getattr(tiny_study, stage)("robust"))
    assert "no file data/test.safetensors" in message and "dvc repro" in message


class Malicious:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["pickle", "torch"])
@pytest.mark.parametrize("victim", ["models/robust.safetensors", "models/judges.safetensors", "data/test.safetensors"])
def test_malicious_pickle_is_refused_and_nothing_of_it_runs(study, refused, form, victim):
    bomb = Malicious(f"touch {study / 'executed'}")
    if form == "torch":
        torch.save({"model": bomb}, study / victim)
    else:
        (study / victim).write_bytes(pickle.dumps(bomb))
    message = refused(*tiny_study.invert("robust"))
    assert victim in message and "cannot be read" in message
    assert not (study / "executed").exists()
    pickle.loads(pickle.dumps(bomb))
    assert (study / "executed").exists(), "it would have run"


def test_checkpoint_of_another_architecture_names_the_tensor(study, refused):
    path = study / "models/robust.safetensors"
    tensors, manifest = load_tensors(path)
    save_tensors(path, tensors, manifest | {"network": manifest["network"] | {"architecture": "vgg"}})
    message = refused(*tiny_study.invert("robust"))
    assert "holds another architecture (body.block1" in message


def test_checkpoint_of_another_network_is_refused(study, refused):
    path = study / "models/robust.safetensors"
    tensors, manifest = load_tensors(path)
    save_tensors(path, tensors, manifest | {"name": "plain"})
    assert "holds plain; expected robust" in refused(*tiny_study.invert("robust"))


def test_network_below_its_floor_is_refused(study, refused):
    path = study / "models/robust.safetensors"
    tensors, manifest = load_tensors(path)
    manifest["accuracy"]["1"]["floor_clean"] = 1.01
    save_tensors(path, tensors, manifest)
    assert "clean accuracy of seed 1 is" in refused(*tiny_study.invert("robust"))


def test_flipped_bit_in_the_images_is_noticed(study, refused):
    path = study / "data/train.safetensors"
    data = bytearray(path.read_bytes())
    data[-9] ^= 4
    path.write_bytes(data)
    assert "data/train.safetensors is corrupt" in refused(*tiny_study.train("plain"))


def test_more_targets_than_a_class_has_are_refused(study, refused):
    text = (study / "params.yaml").read_text()
    (study / "params.yaml").write_text(text.replace("n_targets: 6", "n_targets: 24"))
    path = study / "data/test.safetensors"
    tensors, about = load_tensors(path)
    save_tensors(path, {name: tensor[:20] for name, tensor in tensors.items()}, about)
    message = refused(*tiny_study.invert("robust"))
    assert "class 0 has 7 test images, but 8 targets are wanted" in message and "invert.n_targets" in message
