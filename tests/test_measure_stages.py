"""The stages that measure and perturb the networks of the entanglement lens, on a study of 8x8 images."""

import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tiny_study
import torch
from commands import is_one_line, run
from torch.nn import functional as F

from fourlenses.artifacts import load_tensors, read_csv, save_tensors, write_json
from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.perturb import sign_gradients
from fourlenses.nets import arguments_for, build
from fourlenses.nets.zoo import load_network

PARAMS = tiny_study.PARAMS
ENTANGLED = sorted(PARAMS["entangled"]["networks"])  # as the study writes them
ZOO = sorted(PARAMS["networks"])
CPU = torch.device("cpu")
MEASURE = (
    "-m stages.measure --data data --models models --entangled results/entangled --metrics results/entangled.json "
    "--out results/entanglement"
).split()
PERTURB = "-m stages.perturb --data data --models results/entangled --out results/entanglement".split()
TABLES = {
    "networks": "network role alpha rule layers scale shuffled seed accuracy_calibration accuracy_test n_test",
    "toy": "rule seed step temperature loss entanglement accuracy_1nn intra inter",
    "toy_points": "rule seed step index label x y",
    "temperatures": "network seed layer index rule start value temperature minimum",
    "curves": "network seed layer index temperature value chance",
    "layers": "source network role recipe seed layer index depth n entanglement se temperature chance at_100 "
    "released_at_100 distance norm intra_cosine inter_cosine dropped",
    "transfer": "attack eps source source_seed target target_seed n error error_all",
    "gradients": "network seed gradient grouping n entanglement se temperature chance purity chance_purity",
    "embedding": "network seed gradient index label target x y",
}


def fitted(arguments: dict, seed: int, x: torch.Tensor, y: torch.Tensor):
    """A network with a random body, whose head is the least-squares fit to the labels."""
    network = build(**arguments, generator=torch.Generator().manual_seed(seed)).eval()
    with torch.no_grad():
        g = F.pad(network.features(x.float() / 255), (0, 1), value=1.0)
        found = torch.linalg.lstsq(g, 3 * F.one_hot(y).float() - 1).solution
        network.head.weight.copy_(found[:-1].T)
        network.head.bias.copy_(found[-1])
    return network


def write_network(folder: Path, path: str, name: str, architecture: str, seeds: list[int]) -> None:
    train, _ = load_tensors(folder / "data/train.safetensors")
    arguments = arguments_for(train["x"], 3, architecture, [4, 8])
    offset = 100 * (ENTANGLED + ZOO).index(name)
    weights = {
        f"seed{seed}/{key}": value
        for seed in seeds
        for key, value in fitted(arguments, seed + offset, train["x"], train["y"]).state_dict().items()
    }
    accuracy = {seed: {"clean": 1.0, "robust": 0.0, "floor_clean": 0.0, "floor_robust": 0.0} for seed in seeds}
    about = {"name": name, "network": arguments, "accuracy": accuracy, "epochs": 2}
    save_tensors(folder / path / f"{name}.safetensors", weights, about)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = tiny_study.make(tmp_path_factory.mktemp("measure"))
    for name, spec in PARAMS["networks"].items():
        write_network(folder, "models", name, spec["architecture"], PARAMS["train"]["seeds"])
    for name in ENTANGLED:
        write_network(folder, "results/entangled", name, "resnet", PARAMS["entangled"]["seeds"])
    measured = {"value": 0.5, "low": 0.3, "high": 0.7, "n": 24}
    write_json(folder / "results/entangled.json", {
        name: {"seeds": [
            {"seed": seed, "clean": measured | {"value": 0.5 + seed / 10}, "robust": measured, "calibration": measured}
            for seed in PARAMS["entangled"]["seeds"]
        ]}
        for name in ENTANGLED
    })  # fmt: skip
    for command in (MEASURE, PERTURB):
        code, stderr = run(folder, *command)
        assert code == 0, stderr
    return folder


def table(folder: Path, name: str):
    found = read_csv(folder / f"results/entanglement/{name}.csv")
    return found.fillna({"role": "", "recipe": ""}) if {"role", "recipe"} & set(found) else found


def shown(folder: Path):
    test, _ = load_tensors(folder / "data/test.safetensors")
    return test["x"], test["y"]


@pytest.mark.parametrize("name", TABLES)
def test_tables_have_the_columns_that_others_read(done, name) -> None:
    found = table(done, name)
    assert list(found) == TABLES[name].split()
    assert not found.drop(columns=["error"], errors="ignore").isna().any(axis=None)


def test_every_network_seed_and_layer_has_a_row(done) -> None:
    networks, layers = table(done, "networks"), table(done, "layers")
    assert networks[["network", "seed"]].values.tolist() == [[name, seed] for name in ENTANGLED for seed in (0, 1)]
    roles = {"cnn-plain": "plain", "cnn-entangled": "entangled", "cnn-scale": "control"}
    assert networks.set_index("network")["role"].to_dict() == {name: roles.get(name, "") for name in ENTANGLED}
    assert networks.query("network == 'cnn-entangled'")["rule"].unique() == ["released"]
    assert networks.query("seed == 1")["accuracy_test"].tolist() == [0.6] * len(ENTANGLED)
    seen = layers.groupby(["source", "network", "seed"])["layer"].apply(list).to_dict()
    expected = [("entangled", name) for name in ENTANGLED] + [("zoo", name) for name in ZOO]
    assert list(seen) == [(*each, seed) for each in sorted(expected) for seed in (0, 1)]
    assert seen["zoo", "robust", 0] == ["input", "stem", "block1", "penultimate", "logits"]
    assert layers.query("network == 'robust'")["recipe"].unique() == ["adversarial-linf"]
    assert (layers["depth"] == layers["index"] / layers.groupby(["network", "seed"])["index"].transform("max")).all()
    assert (layers["entanglement"] <= layers["at_100"] + 1e-6).all()
    pixels = layers.query("layer == 'input'")[["entanglement", "norm", "distance"]]
    assert len(pixels.drop_duplicates()) == 1, "all networks see the same images"


def test_a_layer_is_that_of_the_network_run_anew(done) -> None:
    x, y = shown(done)
    network = load_network(done / "results/entangled/cnn-scale.safetensors", 1, CPU)
    with torch.no_grad():
        found = minimum_entanglement(network(x.float() / 255), y)
    row = table(done, "layers").query("network == 'cnn-scale' and seed == 1 and layer == 'logits'").iloc[0]
    assert (row["entanglement"], row["se"]) == pytest.approx((found.value, found.se), rel=1e-4)
    assert row["chance"] == pytest.approx(found.chance) and row["n"] == 24


def test_rules_and_curves_are_of_the_plain_network_and_its_peers(done) -> None:
    followed, curves, layers = table(done, "temperatures"), table(done, "curves"), table(done, "layers")
    assert followed["network"].unique() == ["cnn-plain"] and "input" not in set(followed["layer"])
    assert set(followed["rule"]) == {"fixed", "released", "tracked", "search"}
    assert followed.groupby(["seed", "layer", "rule"])["start"].count().unique() == [6]
    least = layers.query("network == 'cnn-plain'").set_index(["seed", "layer"])["entanglement"]
    for row in followed.itertuples():
        assert row.value >= row.minimum - 1e-3, "the released rule adds epsilons"
        assert row.minimum == pytest.approx(least[row.seed, row.layer], abs=1e-9)
    assert set(curves["network"]) == {"cnn-plain", "cnn-entangled", "cnn-scale"} and set(curves["seed"]) == {0}
    of_plain = curves.query("network == 'cnn-plain'").groupby("layer")["value"].agg(["min", "count"])
    assert (of_plain["count"] == 60).all() and len(of_plain) == 5
    for layer, lowest in of_plain["min"].items():
        assert least[0, layer] - 1e-6 <= lowest <= least[0, layer] + 0.1


def test_toy_points_end_where_their_history_says(done) -> None:
    history, points = table(done, "toy"), table(done, "toy_points")
    starts = [group[["label", "x", "y"]].values for _, group in points.query("step == 0").groupby("rule")]
    assert len(starts) == 4 and all(np.array_equal(starts[0], other) for other in starts), "rules share their start"
    ends = history.set_index(["rule", "step"])["entanglement"]
    for state, group in points.groupby(["rule", "step"]):
        found = minimum_entanglement(torch.tensor(group[["x", "y"]].values), torch.tensor(group["label"].values))
        assert ends[state] == pytest.approx(found.value, abs=1e-6) and len(group) == 24


def test_perturbed_images_are_bytes_near_the_clean_ones(done) -> None:
    kept, about = load_tensors(done / "results/entanglement/perturbed.safetensors")
    x, y = shown(done)
    names, seeds = about["networks"], about["seeds"]
    states = [f"{name}/seed{seed}" for name in names for seed in seeds]
    expected = {"labels", "targets", *(f"clean/{state}" for state in states)}
    for attack, eps, state in product(PARAMS["perturb"]["attacks"], ("0.1", "0.2"), states):
        at = f"{attack}/{eps}/{state}"
        expected |= {f"{at}/images", *(f"{at}/on/{other}" for other in states)}
        images = kept[f"{at}/images"]
        change = (images.int() - x.int()).abs().max().item()
        assert images.dtype == torch.uint8 and 0 < change <= 255 * float(eps) + 0.5
    assert set(kept) == expected
    assert torch.equal(kept["labels"], y) and (kept["targets"] != y).all()
    network = load_network(done / "results/entangled/cnn-scale.safetensors", 1, CPU)
    for at, images in (("clean", x), ("bim/0.2/cnn-plain/seed0/on", kept["bim/0.2/cnn-plain/seed0/images"])):
        assert kept[f"{at}/cnn-scale/seed1"].tolist() == network(images.float() / 255).argmax(1).tolist()
    towards = (kept["fgsm-targeted/0.2/cnn-plain/seed0/on/cnn-plain/seed0"] == kept["targets"]).sum()
    assert towards > (kept["clean/cnn-plain/seed0"] == kept["targets"]).sum(), "targets are what attacks aim at"


def test_errors_are_counted_where_both_networks_were_right(done) -> None:
    kept, _ = load_tensors(done / "results/entanglement/perturbed.safetensors")
    transfer = table(done, "transfer")
    assert len(transfer) == 3 * 2 * 6 * 6 and (transfer["n"] > 0).all()
    for row in transfer.sample(20, random_state=0).itertuples():
        source, target = f"{row.source}/seed{row.source_seed}", f"{row.target}/seed{row.target_seed}"
        predicted = kept[f"{row.attack}/{row.eps:g}/{source}/on/{target}"]
        pairs = zip(kept["labels"], kept[f"clean/{source}"], kept[f"clean/{target}"], predicted, strict=True)
        wrong = [int(p != y) for y, a, b, p in pairs if a == y and b == y]
        assert row.n == len(wrong) and row.error == pytest.approx(sum(wrong) / len(wrong))
        assert row.error_all == pytest.approx((predicted != kept["labels"]).double().mean().item())


def test_gradients_are_grouped_by_both_classes(done) -> None:
    kept, _ = load_tensors(done / "results/entanglement/perturbed.safetensors")
    x, y = shown(done)
    gradients = table(done, "gradients").set_index(["network", "seed", "gradient", "grouping"])
    assert len(gradients) == 3 * 2 * 2 * 2 and (gradients["n"] == 20).all()
    network = load_network(done / "results/entangled/cnn-plain.safetensors", 1, CPU)
    targets = kept["targets"][:20]
    signs = sign_gradients(network, x[:20].float() / 255, targets)
    expected = minimum_entanglement(signs, y[:20]).value
    assert gradients.loc[("cnn-plain", 1, "targeted", "true"), "entanglement"] == pytest.approx(expected, rel=1e-6)
    embedding = table(done, "embedding")
    assert embedding.groupby(["network", "seed", "gradient"])["index"].count().to_dict() == {
        (name, 0, gradient): 20 for name in PARAMS["perturb"]["networks"] for gradient in ("untargeted", "targeted")
    }
    assert embedding["target"][:20].tolist() == targets.tolist()


def test_a_second_run_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    shutil.rmtree(again / "results/entanglement")
    for command in (MEASURE, PERTURB):
        assert run(again, *command)[0] == 0
    for path in sorted((done / "results/entanglement").iterdir()):
        assert (again / "results/entanglement" / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_network_that_is_missing_is_one_line(done, tmp_path) -> None:
    broken = Path(shutil.copytree(done, tmp_path / "broken"))
    (broken / "results/entangled/cnn-scale.safetensors").unlink()
    for command in (MEASURE, PERTURB):
        code, stderr = run(broken, *command)
        assert code == 2 and is_one_line(stderr) and "cnn-scale.safetensors" in stderr
