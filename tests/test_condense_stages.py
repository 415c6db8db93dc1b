"""The stages that condense images and rehearse them, on a study of 8x8 images."""

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tiny_study
import torch
from commands import ROOT, is_one_line, run, start, wait_for
from ruamel.yaml import YAML

from fourlenses.artifacts import load_tensors, read_csv, save_tensors
from fourlenses.nets.glow import build_glow
from fourlenses.simplicity.codecs import png_bits
from stages import condense, rehearse

GLOW = "--data data --glow results/glow.safetensors"
COMMANDS = {
    "condense": f"-m stages.condense {GLOW} --out results/simplicity".split(),
    "rehearse": f"-m stages.rehearse {GLOW} --out results/simplicity/rehearse.csv".split(),
}
FOLDER = "results/simplicity"
OUTPUTS = {
    "condense": [f"{FOLDER}/condense{kind}" for kind in (".csv", "_history.csv", ".safetensors")],
    "rehearse": [f"{FOLDER}/rehearse.csv"],
}
SETTINGS = tiny_study.PARAMS["condense"]


def make(folder: Path) -> Path:
    """The study, and a prior that has learned nothing, but expects grey images: noise is dear."""
    tiny_study.make(folder)
    glow = build_glow((1, 8, 8), n_scales=2, depth=1, width=4, coupling="affine", generator=torch.Generator())
    with torch.no_grad():
        for scale in glow.log_scales:
            scale.fill_(3)
    about = {"priors": {"glow": glow.arguments}, "accepted": {"glow": {}}, "refused": {}}
    tensors = {f"glow/{name}": value for name, value in glow.state_dict().items()}
    save_tensors(folder / "results/glow.safetensors", tensors, about)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("condense"))
    for command in COMMANDS.values():
        code, stderr = run(folder, *command)
        assert code == 0, stderr
    return folder


def sets() -> list[tuple[int, int, float]]:
    return list(product(SETTINGS["ipc"], SETTINGS["seeds"], SETTINGS["weights"]))


def test_every_set_is_tested_on_every_network(done) -> None:
    table = read_csv(done / OUTPUTS["condense"][0])
    assert table.columns.tolist() == condense.COLUMNS
    found = table[["ipc", "seed", "weight", "evaluated_on", "network"]].itertuples(index=False, name=None)
    networks = list(product(SETTINGS["evaluate"], range(SETTINGS["n_networks"])))
    assert list(found) == [(*each, *network) for each, network in product(sets(), networks)]
    assert (table["n_test"] == 24).all() and np.isfinite(table[["bpd", "png"]]).all(axis=None)
    assert (table.groupby(["ipc", "seed", "weight"])[["bpd", "png"]].nunique() == 1).all(axis=None)
    tensors, about = load_tensors(done / OUTPUTS["condense"][2])
    assert about["classes"] == ["a", "b", "c"]
    for row in table.itertuples():
        key = f"{row.ipc}/{row.weight:g}/seed{row.seed}"
        right, few = tensors[f"{key}/{row.evaluated_on}/{row.network}"], tensors[f"{key}/images"]
        assert right.dtype == torch.uint8 and right.shape == (24,) and int(right.max()) <= 1
        np.testing.assert_allclose(row.accuracy, right.double().mean(), rtol=1e-9)
        assert few.dtype == torch.uint8 and few.shape == (3 * row.ipc, 1, 8, 8)
        np.testing.assert_allclose(row.png, png_bits(few).mean(), rtol=1e-9)
        assert tensors[f"{key}/labels"].tolist() == [c for c in range(3) for _ in range(row.ipc)]
    assert len(tensors) == 2 * len(sets()) + len(table)
    free, dear = (table[table["weight"] == weight]["bpd"].to_numpy() for weight in SETTINGS["weights"])
    assert (dear < free).all()


def test_the_way_there_is_told_for_every_set(done) -> None:
    history = read_csv(done / OUTPUTS["condense"][1])
    assert history.columns.tolist() == ["ipc", "weight", "seed", "round", "match", "bpd"]
    assert len(history) == SETTINGS["rounds"] * len(sets())
    assert np.isfinite(history).all(axis=None) and (history["match"] > 0).all()
    rounds = history.groupby(["ipc", "weight", "seed"])["round"].apply(list)
    assert all(each == list(range(1, 1 + SETTINGS["rounds"])) for each in rounds)


def test_seeds_differ(done) -> None:
    tensors, _ = load_tensors(done / OUTPUTS["condense"][2])
    for weight in SETTINGS["weights"]:
        assert not torch.equal(*(tensors[f"1/{weight:g}/seed{seed}/images"] for seed in SETTINGS["seeds"]))


def test_after_every_task_all_so_far_are_tested(done) -> None:
    table = read_csv(done / OUTPUTS["rehearse"][0])
    assert table.columns.tolist() == rehearse.COLUMNS
    given = tiny_study.PARAMS["rehearse"]
    ways = [(None, 0, 0), *((weight, 1, distilled) for weight, distilled in product(given["weights"], (0, 1)))]
    seen = [(stage, task) for stage in (1, 2) for task in given["tasks"][:stage]]
    found = table[["weight", "rehearsed", "distilled", "stage", "task"]].astype(object)
    found = found.where(found.notna(), None).itertuples(index=False, name=None)
    assert list(found) == [(*way, *each) for way, each in product(ways, seen)]
    assert table["accuracy"].between(0, 1).all() and (table["n_test"] == 24).all() and (table["seed"] == 0).all()
    assert (table["bpd"].isna() == ((table["stage"] == 1) | (table["rehearsed"] == 0))).all()
    assert table[table["stage"] == 1]["accuracy"].nunique() == 1
    bits = table.dropna().groupby("weight")["bpd"].agg(["min", "max"])
    assert (bits["min"] == bits["max"]).all() and bits["min"].is_monotonic_decreasing and bits["min"].nunique() == 2


@pytest.mark.parametrize("name, waited", [
    ("condense", "2 images a class, seed 0, weight 0, convnet 1.safetensors"),
    ("rehearse", "seed 0, weight 0.0, distilled False, own.safetensors"),
])  # fmt: skip
def test_a_killed_run_goes_on_and_gives_the_same_bytes(done, tmp_path, name, waited) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    for path in OUTPUTS[name]:
        (again / path).unlink()
    process = start(again, *COMMANDS[name])
    wait_for(lambda: list(again.glob(f".resume/{name}/*/{waited}")), process)
    process.kill()
    process.communicate()
    assert not (again / OUTPUTS[name][0]).exists(), "it was too quick to be killed"
    assert run(again, *COMMANDS[name])[0] == 0
    for path in OUTPUTS[name]:
        assert (again / path).read_bytes() == (done / path).read_bytes(), path
    runs = read_csv(again / "results/runs.csv").set_index("stage")
    assert runs.loc[name, "resumed"] == 1 and not list(again.glob(f".resume/{name}/*"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_network_with_batch_statistics_is_one_line(done, tmp_path, name) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    changed = tiny_study.PARAMS | {"root": str(ROOT), "condense": SETTINGS | tiny_study.NETWORK}
    with open(folder / "params.yaml", "w") as file:
        YAML(typ="safe").dump(changed, file)
    code, stderr = run(folder, *COMMANDS[name])
    assert code == 2 and is_one_line(stderr) and "BatchNorm" in stderr, stderr
    assert (folder / OUTPUTS[name][0]).read_bytes() == (done / OUTPUTS[name][0]).read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_bits_that_are_not_finite_are_one_line(done, tmp_path, name) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    tensors, about = load_tensors(folder / "results/glow.safetensors")
    del about["sha256"]
    steep = {key: torch.full_like(value, 60) for key, value in tensors.items() if key.startswith("glow/log_scales")}
    save_tensors(folder / "results/glow.safetensors", tensors | steep, about)
    code, stderr = run(folder, *COMMANDS[name])
    assert code == 2 and is_one_line(stderr) and "not finite in round 0" in stderr, stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_a_prior_that_was_refused_is_not_used(done, tmp_path, name) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    tensors, about = load_tensors(folder / "results/glow.safetensors")
    del about["sha256"]
    save_tensors(folder / "results/glow.safetensors", tensors, about | {"refused": {"glow": ["black is not plain"]}})
    code, stderr = run(folder, *COMMANDS[name])
    assert code == 2 and is_one_line(stderr) and "black is not plain" in stderr
