"""The trainings of the entanglement lens, on a study of 8x8 images: what they write, and that they can be stopped."""

import shutil
from pathlib import Path

import pytest
import tiny_study
import torch
from commands import is_one_line, run, start, wait_for
from ruamel.yaml import YAML

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_csv, read_json
from fourlenses.entanglement.minimum import minimum_entanglement
from fourlenses.entanglement.watch import balanced, entanglement_by_layer, watched_layers
from fourlenses.nets import arguments_for, build
from fourlenses.nets.zoo import load_network
from fourlenses.training import accuracy

CPU = torch.device("cpu")
NETWORKS = list(tiny_study.PARAMS["entangled"]["networks"])
ENTANGLED = (
    "-m stages.train_entangled --data data --out results/entangled --history results/entangled.csv "
    "--metrics results/entangled.json"
).split()
WATCHED = "-m stages.train_watched --data data --out results/watched.safetensors --table results/dynamics.csv".split()


def study(folder: Path, **sections: dict) -> Path:
    """A tiny study with some keys of its sections changed."""
    tiny_study.make(folder)
    params = YAML(typ="safe").load(folder / "params.yaml")
    for name, changes in sections.items():
        params[name] |= changes
    with open(folder / "params.yaml", "w") as file:
        YAML(typ="safe").dump(params, file)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = study(tmp_path_factory.mktemp("entangled"))
    for command in (ENTANGLED, WATCHED):
        code, stderr = run(folder, *command)
        assert code == 0, stderr
    return folder


def test_every_network_and_seed_is_trained_and_measured(done) -> None:
    metrics, history = read_json(done / "results/entangled.json"), read_csv(done / "results/entangled.csv")
    assert set(metrics) == set(NETWORKS) == set(history["network"])
    assert history.groupby(["network", "seed"])["epoch"].apply(list).map(lambda epochs: epochs == [1, 2]).all()
    assert (history["lr"] == 1e-3).all()
    calibration, test = (load_tensors(done / f"data/{name}.safetensors")[0] for name in ("calibration", "test"))
    for name, measured in metrics.items():
        assert measured["n_train"] == 64 and measured["epochs"] == 2 and measured["spec"]["layers"]
        assert [each["seed"] for each in measured["seeds"]] == [0, 1]
        for each in measured["seeds"]:
            network = load_network(done / f"results/entangled/{name}.safetensors", each["seed"], CPU, name)
            for split, kind in ((calibration, "calibration"), (test, "clean")):
                expected = accuracy(network, split["x"].float() / 255, split["y"])
                assert each[kind]["value"] == expected.value and each[kind]["n"] == 24
            assert sum(p.numel() for p in network.parameters()) == measured["n_parameters"]
    assert metrics["cnn-shuffled"]["spec"]["shuffled"] and metrics["cnn-entangled"]["spec"]["alpha"] == -1.0


def test_what_collapsed_is_kept(done) -> None:
    _, about = load_tensors(done / "results/entangled/cnn-entangled.safetensors")
    floors = [{key: of[key] for key in ("floor_clean", "floor_robust")} for of in about["accuracy"].values()]
    assert floors == [{"floor_clean": 0.0, "floor_robust": 0.0}] * 2


def test_networks_of_a_seed_differ_by_their_loss_alone(done, tmp_path) -> None:
    plain, entangled = {}, {"alpha": -1.0, "rule": "released"}
    names = {"cnn-plain": plain, "cnn-entangled": entangled, "cnn-scale": {"scale": 0.01}, "twin": plain}
    roles = {"networks": ["cnn-plain"]}
    other = study(tmp_path / "other", entangled={"networks": names, "seeds": [1, 0]}, perturb=roles, detect=roles)
    assert run(other, *ENTANGLED)[0] == 0

    def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
        return load_tensors(folder / f"results/entangled/{name}.safetensors")[0]

    def same(a: dict, b: dict) -> bool:
        return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)

    assert same(weights(other, "twin"), weights(done, "cnn-plain")), "neither name nor company matters"
    assert same(weights(other, "cnn-entangled"), weights(done, "cnn-entangled"))
    for name in ("cnn-entangled", "cnn-scale", "cnn-first-half", "cnn-shuffled"):
        assert not same(weights(done, name), weights(done, "cnn-plain"))
        assert not any("scaffold" in key for key in weights(done, name))


def test_dynamics_and_terms_say_the_same(done) -> None:
    terms, about = load_tensors(done / "results/watched.safetensors")
    table = read_csv(done / "results/dynamics.csv")
    assert set(terms) == {f"{r}/{k}" for r in ("standard", "adversarial-linf") for k in ("steps", "seed0", "seed1")}
    for recipe, seed in ((recipe, seed) for recipe in about["layers"] for seed in (0, 1)):
        rows = table[(table["recipe"] == recipe) & (table["seed"] == seed)]
        found, steps = terms[f"{recipe}/seed{seed}"], terms[f"{recipe}/steps"].tolist()
        assert steps == [0, 4, 8] and rows["step"].drop_duplicates().tolist() == steps
        assert found.shape == (3, len(about["layers"][recipe]), 24) and found.dtype == torch.float32
        expected = rows["entanglement"].to_numpy().reshape(3, -1)
        torch.testing.assert_close(found.double().mean(2), torch.tensor(expected), atol=1e-6, rtol=1e-5)
        errors = torch.tensor(rows["se"].to_numpy().reshape(3, -1))
        torch.testing.assert_close(found.double().std(2) / 24**0.5, errors, atol=1e-6, rtol=1e-5)
        assert rows["layer"].tolist() == 3 * about["layers"][recipe]
    assert (table["network"] == table["recipe"]).all() and (table["n"] == 24).all()
    assert table["kind"].value_counts().to_dict() == {"block": 48, "input": 12, "pool": 12, "logits": 12}
    assert (table["epoch"] == table["step"] / 4).all() and table["depth"].between(0, 1).all()
    assert table.groupby("layer")["index"].nunique().eq(1).all()
    assert (table["entanglement"] <= table["chance"] + 1e-9).all()


def test_the_first_moment_is_the_network_as_drawn_and_the_input_never_changes(done) -> None:
    train, _ = load_tensors(done / "data/train.safetensors")
    arguments = arguments_for(train["x"], 3, "wrn-10", [4, 4, 8, 8])
    network = build(**arguments, generator=runtime.generator(1, "initial weights", "watched"))
    index = balanced(train["y"], 24)
    x, y = train["x"][index].float() / 255, train["y"][index]
    expected = [minimum_entanglement(x, y), *entanglement_by_layer(network, watched_layers(network), x, y)]
    table = read_csv(done / "results/dynamics.csv")
    for recipe in ("standard", "adversarial-linf"):
        rows = table[(table["recipe"] == recipe) & (table["seed"] == 1) & (table["step"] == 0)]
        assert rows["entanglement"].tolist() == pytest.approx([each.value for each in expected], rel=1e-6)
    assert table.loc[table["kind"] == "input", "entanglement"].nunique() == 1
    last = table[(table["kind"] == "logits") & (table["step"] == 8)].groupby("seed")["entanglement"]
    assert last.nunique().eq(2).all(), "recipes part from the same start"


@pytest.mark.parametrize(
    ("command", "outputs"),
    [
        (ENTANGLED, ["entangled.csv", "entangled.json", *(f"entangled/{name}.safetensors" for name in NETWORKS)]),
        (WATCHED, ["dynamics.csv", "watched.safetensors"]),
    ],
)
def test_a_training_that_is_killed_goes_on_to_the_same_bytes(done, tmp_path, command, outputs) -> None:
    again, stage = Path(shutil.copytree(done, tmp_path / "again")), command[1].removeprefix("stages.").replace("_", "-")
    for name in outputs:
        (again / "results" / name).unlink()
    process = start(again, *command)
    wait_for(lambda: list(again.glob(f".resume/{stage}/*/*, seed 0.safetensors")), process)
    process.kill()
    process.communicate()
    assert not (again / "results" / outputs[0]).exists(), "it was too quick to be killed"
    code, stderr = run(again, *command)
    assert code == 0, stderr
    for name in outputs:
        assert (again / "results" / name).read_bytes() == (done / "results" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("section", "changes", "command", "said"),
    [
        ("watched", {"recipes": ["untrained"]}, WATCHED, "untrained"),
        ("watched", {"recipes": ["trades-l2"]}, WATCHED, "beta"),
        ("watched", {"recipes": ["standart"]}, WATCHED, "did you mean standard"),
        ("watched", {"architecture": "vgg", "widths": [4, 8]}, WATCHED, "residual blocks"),
        ("entangled", {"architecture": "cnn", "widths": [4, 4, 4]}, ENTANGLED, "27 or more"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, section, changes, command, said) -> None:
    code, stderr = run(study(tmp_path / "study", **{section: changes}), *command)
    assert code == 2 and is_one_line(stderr) and said in stderr, stderr
