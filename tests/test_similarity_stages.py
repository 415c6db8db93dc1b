"""The stages of the similarity lens, on a study of 8x8 images: what they write fits together."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_study
import torch
from commands import is_one_line, run

from fourlenses.artifacts import load_arrays, load_tensors, read_csv, read_json
from fourlenses.nets.zoo import load_network
from fourlenses.similarity.cka import minibatch_cka

ZOO = ("robust", "plain", "other")
SWEEP = ("wide-standard", "wide-robust", "wide-robust-again", "wide-snow")
TABLES = ("networks", "points", "pairs", "scores", "components", "metrics", "bias")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tiny_study.make(tmp_path_factory.mktemp("similarity"))
    for command in (
        *map(tiny_study.train, ZOO), tiny_study.train_sweep(), tiny_study.represent(), tiny_study.compare()
    ):  # fmt: skip
        code, stderr = run(folder, *command)
        assert code == 0, stderr
    return folder


def similarity(folder: Path, name: str):
    return read_csv(folder / f"results/similarity/{name}.csv")


def test_the_sweep_keeps_every_seed_and_checkpoint(done) -> None:
    tensors, about = load_tensors(done / "sweep/wide-robust.safetensors")
    kept = {key.rpartition("seed")[0] + key.split("seed")[1][0] for key in tensors}
    assert kept == {"0", "1", "epoch1/0", "epoch1/1"}
    assert about["epochs"] == 3
    metrics = read_json(done / "results/sweep.json")
    assert list(metrics) == sorted(SWEEP)
    assert metrics["wide-snow"]["attack"]["norm"] == "snow"
    assert metrics["wide-robust"]["attack"] == {"norm": "linf", "eps": 0.05, "steps": 20}
    history = read_csv(done / "results/sweep.csv")
    assert history.groupby("network")["epoch"].max().to_dict() == dict(zip(SWEEP, (2, 3, 3, 2), strict=True))


def test_similarities_are_those_of_the_networks_run_anew(done) -> None:
    pairs, hsic = similarity(done, "pairs").set_index("pair"), load_arrays(done / "results/similarity/hsic.safetensors")
    test, _ = load_tensors(done / "data/test.safetensors")
    x = test["x"][:16].float() / 255
    names = ("wide-robust", "wide-standard")
    chosen = (pairs["kind"] == "cross") & (pairs["network_a"] == names[0]) & (pairs["network_b"] == names[1])
    number = pairs[chosen & (pairs["seed_a"] == 1)].index[0]
    logits = [load_network(done / f"sweep/{name}.safetensors", 1, torch.device("cpu"))(x).detach() for name in names]
    ab, aa, bb = (hsic[f"{number}/{side}"].sum(0) for side in ("ab", "aa", "bb"))
    expected = minibatch_cka(list(zip(*(each.split(8) for each in logits), strict=True)))
    assert ab[-1, -1] / np.sqrt(aa[-1] * bb[-1]) == pytest.approx(expected, abs=1e-5)


def test_tables_fit_together(done) -> None:
    tables = {name: similarity(done, name) for name in TABLES}
    assert tables["networks"]["network"].tolist() == [*sorted(ZOO), *sorted(SWEEP)]
    assert tables["networks"].set_index("network")["role"].dropna().to_dict() == {
        "wide-standard": "standard", "wide-robust": "robust"
    }  # fmt: skip
    twins = tables["networks"].set_index("network")["twin_of"].dropna().to_dict()
    assert twins == {"wide-robust-again": "wide-robust"}, "checkpoints make no other network"
    size = tables["points"].groupby("network")["index"].count()
    hsic = load_arrays(done / "results/similarity/hsic.safetensors")
    for row in tables["pairs"].itertuples():
        assert hsic[f"{row.pair}/ab"].shape == (row.batches, size[row.network_a], size[row.network_b])
        assert row.n * row.batches == 16
    assert set(tables["pairs"]["kind"]) == {
        "self", "epochs", "adversarial", "shuffled", "no-first-component", "no-largest-norms", "twin", "cross",
        "cross-adversarial", "reused-adversarial",
    }  # fmt: skip
    assert tables["scores"]["value"].notna().any() and tables["components"]["first_component"].between(0, 1).all()


def test_a_network_is_as_similar_to_itself_as_can_be(done) -> None:
    pairs, hsic = similarity(done, "pairs"), load_arrays(done / "results/similarity/hsic.safetensors")
    for number in pairs.loc[pairs["kind"] == "self", "pair"]:
        ab, aa = (hsic[f"{number}/{side}"].sum(0) for side in ("ab", "aa"))
        np.testing.assert_allclose(np.diagonal(ab), aa, rtol=1e-4)


def test_a_second_run_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    shutil.rmtree(again / "results/similarity")
    assert run(again, *tiny_study.compare())[0] == 0
    for path in sorted((done / "results/similarity").iterdir()):
        assert (again / "results/similarity" / path.name).read_bytes() == path.read_bytes(), path.name


def test_grams_that_are_missing_are_one_line(done, tmp_path) -> None:
    broken = Path(shutil.copytree(done, tmp_path / "broken"))
    (broken / "grams/plain.safetensors").unlink()
    code, stderr = run(broken, *tiny_study.compare())
    assert code == 2 and is_one_line(stderr) and "plain.safetensors" in stderr


def test_a_recipe_that_the_zoo_has_no_radius_for_is_one_line(tmp_path) -> None:
    folder = tiny_study.make(tmp_path / "study")
    text = (folder / "params.yaml").read_text().replace("recipe: adversarial-linf", "recipe: adversarial-snow", 1)
    (folder / "params.yaml").write_text(text)
    code, stderr = run(folder, *tiny_study.train("robust"))
    assert code == 2 and is_one_line(stderr)


def test_a_sweep_trained_again_has_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    wanted = {name: (again / f"sweep/{name}.safetensors").read_bytes() for name in SWEEP}
    shutil.rmtree(again / "sweep")
    assert run(again, *tiny_study.train_sweep())[0] == 0
    assert {name: (again / f"sweep/{name}.safetensors").read_bytes() for name in SWEEP} == wanted
