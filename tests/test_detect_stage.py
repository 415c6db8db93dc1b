"""The stage that asks detectors about networks, on a study of 8x8 images with networks as they were drawn."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_study
import torch
from commands import is_one_line, run
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from fourlenses.artifacts import load_arrays, load_tensors, read_csv, save_tensors
from fourlenses.entanglement.layers import label, layers
from fourlenses.nets import arguments_for, build
from fourlenses.nets.taps import activations
from fourlenses.nets.zoo import load_network

NETWORKS, SEEDS = tiny_study.PARAMS["detect"]["networks"], tiny_study.PARAMS["train"]["seeds"]
ATTACKS = [f"{attack}-{eps:g}" for attack in ("fgsm", "bim", "fgsm-targeted") for eps in (0.1, 0.2)]
OUTSIDE, MEASURES = ["noise", "blurred", "rotated"], ["credibility", "confidence", "softmax", "energy", "mahalanobis"]
MEASURES += ["knn"]
COMMAND = (
    "-m stages.detect --data data --models results/entangled "
    "--perturbed results/entanglement/perturbed.safetensors --out results/entanglement"
).split()
NOWHERE = {"FOURLENSES_MIRROR": "", "FOURLENSES_CACHE": "cache"}
TABLES = ("detection", "support", "reliability", "calibration")


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tiny_study.make(tmp_path_factory.mktemp("detect"))
    train, _ = load_tensors(folder / "data/train.safetensors")
    test, _ = load_tensors(folder / "data/test.safetensors")
    arguments = arguments_for(train["x"], 3, "resnet", [4, 8])
    attacked = {"labels": test["y"]}
    for name in NETWORKS:
        weights, accuracy = {}, {}
        for seed in SEEDS:
            network = build(**arguments, generator=torch.Generator().manual_seed(len(name) + seed))
            weights |= {f"seed{seed}/{key}": value for key, value in network.state_dict().items()}
            accuracy[seed] = {"clean": 0.3, "robust": 0.1, "floor_clean": 0.0, "floor_robust": 0.0}
            for number, attack in enumerate(ATTACKS):
                at = f"{attack.rpartition('-')[0]}/{attack.rpartition('-')[2]}/{name}/seed{seed}"
                moved = torch.randint(-50, 51, test["x"].shape, generator=torch.Generator().manual_seed(number + seed))
                attacked[f"{at}/images"] = (test["x"] + moved).clamp(0, 255).byte()
                attacked[f"{at}/on/{name}/seed{seed}"] = test["y"].byte()
        about = {"name": name, "network": arguments, "accuracy": accuracy, "epochs": 2}
        save_tensors(folder / f"results/entangled/{name}.safetensors", weights, about)
    save_tensors(folder / "results/entanglement/perturbed.safetensors", attacked, {})
    code, stderr = run(folder, *COMMAND, **NOWHERE)
    assert code == 0, stderr
    assert not (folder / "cache").exists()
    return folder


def table(folder: Path, name: str):
    return read_csv(folder / f"results/entanglement/{name}.csv")


def scores(folder: Path) -> dict[str, np.ndarray]:
    return load_arrays(folder / "results/entanglement/detection.safetensors")


def test_every_image_of_every_set_has_every_score(done) -> None:
    arrays, keys = scores(done), set()
    for network in NETWORKS:
        for seed in SEEDS:
            for of in ["test", *OUTSIDE, *ATTACKS]:
                at, measures = f"{network}/seed{seed}/{of}", [*MEASURES, "support"]
                right = [] if of in OUTSIDE else ["right_dknn", "right_softmax"]
                keys |= {f"{at}/{part}" for part in measures + right}
                assert all(arrays[f"{at}/{part}"].shape == (24,) for part in MEASURES + right)
                assert all(arrays[f"{at}/{part}"].dtype == np.float32 for part in measures)
                assert arrays[f"{at}/support"].shape == (4, 24)
                assert all(arrays[f"{at}/{part}"].dtype == np.uint8 for part in right)
    assert set(arrays) == keys


def test_scores_are_those_of_the_networks_run_anew(done) -> None:
    """Deep k-nearest neighbours, from the files to the credibility, by scikit-learn and loops."""
    network = load_network(done / "results/entangled/cnn-scale.safetensors", 1, torch.device("cpu"))
    split = {name: load_tensors(done / f"data/{name}.safetensors")[0] for name in ("train", "calibration", "test")}
    attacked, _ = load_tensors(done / "results/entanglement/perturbed.safetensors", "bim/0.2/cnn-scale/seed1/")
    seen = {name: each["x"] for name, each in split.items()} | {"attacked": attacked["images"]}
    k, y, alpha = 5, split["train"]["y"].numpy(), {name: 0 for name in seen}
    for layer in layers(network):
        rows = {}
        for name, x in seen.items():
            out = activations(network, x.float() / 255, [layer])[layer].detach().flatten(1).double().numpy()
            rows[name] = out / np.linalg.norm(out, axis=1, keepdims=True)
        index = NearestNeighbors(n_neighbors=k).fit(rows["train"])
        for name in seen:
            classes = y[index.kneighbors(rows[name], return_distance=False)]
            alpha[name] = alpha[name] + np.stack([(classes != j).sum(1) for j in range(3)], 1)
    held_out = np.take_along_axis(alpha["calibration"], split["calibration"]["y"].numpy()[:, None], 1)
    for name, of in (("test", "test"), ("attacked", "bim-0.2")):
        p = (held_out[:, 0][None, None] >= alpha[name][:, :, None]).mean(2)
        found = {
            part: scores(done)[f"cnn-scale/seed1/{of}/{part}"] for part in ("credibility", "confidence", "softmax")
        }
        np.testing.assert_allclose(found["credibility"], p.max(1), atol=1e-6)
        np.testing.assert_allclose(found["confidence"], 1 - np.sort(p, 1)[:, -2], atol=1e-6)
        logits = network(seen[name].float() / 255).detach()
        np.testing.assert_allclose(found["softmax"], logits.softmax(1).amax(1), atol=1e-5)
        right = (logits.argmax(1) == split["test"]["y"]).numpy()
        np.testing.assert_array_equal(scores(done)[f"cnn-scale/seed1/{of}/right_softmax"] > 0, right)
        right = alpha[name].argmin(1) == split["test"]["y"].numpy()
        np.testing.assert_array_equal(scores(done)[f"cnn-scale/seed1/{of}/right_dknn"] > 0, right)


def test_the_table_of_detection_is_that_of_the_scores(done) -> None:
    rows, arrays = table(done, "detection"), scores(done)
    assert len(rows) == len(NETWORKS) * len(SEEDS) * 10 * len(MEASURES)
    order = rows.sort_values("order")["set"].unique().tolist()
    assert order == ["test", *OUTSIDE, *ATTACKS], "the first of kind ood is the one that claims name"
    roles = rows.groupby("network")["role"].first().to_dict()
    assert roles == {"cnn-plain": "plain", "cnn-entangled": "entangled", "cnn-scale": "control"}
    assert rows.groupby("kind")["set"].nunique().to_dict() == {"test": 1, "ood": 3, "adversarial": 6}
    bim = rows[rows["set"] == "fgsm-targeted-0.2"]
    assert set(bim["attack"]) == {"fgsm-targeted"} and set(bim["eps"]) == {0.2}
    assert rows.loc[rows["kind"] != "adversarial", ["attack", "eps"]].isna().all(axis=None)
    for row in rows.itertuples():
        inside, own = (arrays[f"{row.network}/seed{row.seed}/{of}/{row.measure}"] for of in ("test", row.set))
        assert row.n == 24 and row.mean == pytest.approx(own.mean(dtype=float))
        if row.set == "test":
            assert np.isnan(row.auroc)
        else:
            y = np.repeat([1, 0], 24)
            assert row.auroc == pytest.approx(roc_auc_score(y, np.r_[inside, own]))


def test_the_other_tables_fit_the_scores(done) -> None:
    arrays = scores(done)
    support = table(done, "support")
    network = load_network(done / "results/entangled/cnn-plain.safetensors", 0, torch.device("cpu"))
    names = [label(layer) for layer in layers(network)]
    assert names[-2:] == ["penultimate", "logits"]
    for (network, seed, of), rows in support.groupby(["network", "seed", "set"]):
        assert rows["layer"].tolist() == names and rows["index"].tolist() == [1, 2, 3, 4]
        np.testing.assert_allclose(rows["support"], arrays[f"{network}/seed{seed}/{of}/support"].mean(1), rtol=1e-6)
    bins, whole = table(done, "reliability"), table(done, "calibration")
    assert set(bins["set"]) == set(whole["set"]) == {"test", *ATTACKS}
    assert set(whole["score"]) == {"credibility", "softmax"}
    for row in whole.itertuples():
        own = bins[
            (bins[["network", "seed", "set", "score"]] == [row.network, row.seed, row.set, row.score]).all(axis=1)
        ]
        assert own["bin"].tolist() == list(range(10)) and own["n"].sum() == row.n == 24
        assert np.nansum(own["n"] * own["accuracy"]) / row.n == pytest.approx(row.accuracy)
        assert np.nansum(own["n"] * own["mean_score"]) / row.n == pytest.approx(row.mean_score)
        gap = np.nansum(own["n"] * (own["accuracy"] - own["mean_score"]).abs()) / row.n
        assert gap == pytest.approx(row.ece)


def test_a_second_run_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    written = [f"results/entanglement/{name}" for name in ("detection.safetensors", *map("{}.csv".format, TABLES))]
    for name in written:
        (again / name).unlink()
    assert run(again, *COMMAND, **NOWHERE)[0] == 0
    for name in written:
        assert (again / name).read_bytes() == (done / name).read_bytes(), name


def test_a_data_set_that_cannot_be_had_is_one_line(done, tmp_path) -> None:
    broken = Path(shutil.copytree(done, tmp_path / "broken"))
    text = (broken / "params.yaml").read_text()
    assert "sets: [noise, blurred, rotated]" in text
    (broken / "params.yaml").write_text(text.replace("sets: [noise, blurred", "sets: [letters, no-such-set"))
    before = (broken / "results/entanglement/detection.csv").read_bytes()
    code, stderr = run(broken, *COMMAND, **NOWHERE)
    assert code == 2 and is_one_line(stderr) and "data set 'no-such-set' is unknown" in stderr
    assert (broken / "results/entanglement/detection.csv").read_bytes() == before
