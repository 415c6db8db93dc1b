"""The stage that trains simplifiers, on a study of 8x8 images."""

import shutil
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import tiny_study
import torch
from commands import is_one_line, run, start, wait_for
from ruamel.yaml import YAML
from test_baselines_stage import bed, make

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_csv
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.distractors import removal_index
from fourlenses.simplicity.prior import load_glow
from fourlenses.simplicity.retrain import retrain, right_answers
from stages.simplify import COLUMNS, PAST

FOLDER = "results/simplicity"
COMMAND = (
    f"-m stages.simplify --data data --glow results/glow.safetensors --photos data/photos.safetensors --out {FOLDER}"
).split()
OUTPUTS = [f"{FOLDER}/simplify{end}" for end in (".csv", "_history.csv", ".safetensors")]
PARAMS = tiny_study.PARAMS["simplify"]
BEDS = PARAMS["beds"]
RUNS = [(name, *each) for name, spec in sorted(BEDS.items()) for each in product(spec["seeds"], spec["weights"])]
N = PARAMS["n_test"]


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("simplify"))
    code, stderr = run(folder, *COMMAND)
    assert code == 0, stderr
    return folder


@pytest.fixture(scope="module")
def tensors(done) -> dict[str, torch.Tensor]:
    return load_tensors(done / OUTPUTS[2])[0]


def test_a_row_for_every_bed_seed_and_weight(done) -> None:
    table = read_csv(done / OUTPUTS[0])
    assert table.columns.tolist() == COLUMNS
    assert list(zip(table["bed"], table["seed"], table["weight"], strict=True)) == RUNS
    assert (table["n_train"] == PARAMS["n_train"]).all() and (table["n_test"] == N).all()
    shares = [name for name in COLUMNS if name.startswith(("accuracy", "gate"))] + ["removal"]
    assert ((table[shares] >= 0) & (table[shares] <= 1) | table[shares].isna()).all(axis=None)
    composite = table["distractor"].notna()
    assert composite.equals(table["bed"] != "images")
    for name in ("removal", "retention", "bpd_target"):
        assert table[name].notna().equals(composite), name
    assert not table["probe_removal"].notna()[table["distractor"].isin(["noise", np.nan])].any()
    assert (
        not table.drop(columns=["source", "distractor", "bpd_target", "removal", "retention", "probe_removal"])
        .isna()
        .any(axis=None)
    )
    assert table.set_index("bed").loc["beside-reversed", "label"] == "distractor"
    assert table.set_index("bed").loc["stripes-residual", "form"] == "residual"


def test_history_follows_every_training(done) -> None:
    past, table = read_csv(done / OUTPUTS[1]), read_csv(done / OUTPUTS[0])
    assert past.columns.tolist() == PAST and not past.isna().any(axis=None)
    assert list(zip(past["bed"], past["seed"], past["weight"], strict=True)) == RUNS
    assert (past["step"] == PARAMS["steps"]).all()
    np.testing.assert_allclose(past["gate"], table["gate"])
    np.testing.assert_allclose(past["gate"], table["gate_last"])


def test_tensors_are_what_the_table_says(done, tensors) -> None:
    table = read_csv(done / OUTPUTS[0])
    for name in BEDS:
        images = bed(done, name)["test"]
        assert torch.equal(tensors[f"{name}/original"], images.x[:32])
        assert torch.equal(tensors[f"{name}/target"], images.target[:32])
        assert torch.equal(tensors[f"{name}/labels"], images.y[:32])
        assert (f"{name}/distractor" in tensors) == (images.distractor is not None)
    for row in table.itertuples():
        at, reference = f"{row.bed}/seed{row.seed}/{row.weight:g}", f"{row.bed}/seed{row.seed}"
        means = {
            f"{at}/bpd": row.bpd_simplified, f"{reference}/original/bpd": row.bpd_original,
            f"{at}/joint": row.accuracy_joint, f"{at}/retrained": row.accuracy_retrained,
            f"{reference}/plain": row.accuracy_plain,
        }  # fmt: skip
        for name, mean in means.items():
            assert tensors[name].shape == (N,)
            assert float(tensors[name].double().mean()) == pytest.approx(mean, rel=1e-6), name
        assert tensors[f"{at}/images"].shape == (N, 1, 8, 8) and tensors[f"{at}/images"].dtype == torch.uint8
        assert float(png_bits(tensors[f"{at}/images"]).mean()) == pytest.approx(row.png_simplified)
        if row.bed != "images":
            for part in ("removal", "retention"):
                median = np.median(tensors[f"{at}/{part}"].numpy())
                assert median == pytest.approx(getattr(row, part), rel=1e-5, abs=1e-6)


def test_measures_again_by_hand(done, tensors) -> None:
    rows = read_csv(done / OUTPUTS[0]).set_index(["bed", "weight"])
    images = bed(done, "beside")
    row = rows.loc[("beside", 10.0)]
    glow = load_glow(done / "results/glow.safetensors", "glow", torch.device("cpu"))
    made, test = tensors["beside/seed0/10/images"], images["test"]

    def bits(x: torch.Tensor) -> float:
        stream = runtime.generator(tiny_study.PARAMS["fetch"]["seed"], "bits", "beside")
        return float(measured(glow, x, stream).mean())

    assert bits(made) == pytest.approx(row["bpd_simplified"], rel=1e-6)
    assert bits(test.x) == pytest.approx(row["bpd_original"], rel=1e-6)
    assert bits(test.target) == pytest.approx(row["bpd_target"], rel=1e-6)
    index = removal_index(made, test.x, test.target, test.distractor, test.halves)
    assert np.nanmedian(index.numpy()) == pytest.approx(row["removal"], rel=1e-6, abs=1e-9)
    train = tiny_study.PARAMS["train"]
    network = retrain(
        images["train"].x, images["train"].y, test.n_classes, architecture=PARAMS["architecture"],
        widths=PARAMS["widths"], epochs=PARAMS["retrain_epochs"], crop_padding=train["crop_padding"],
        flip=train["flip"], precision=train["precision"], streams=partial(runtime.generator, 0, "retrain", "beside"),
    )  # fmt: skip
    assert torch.equal(right_answers(network, test.x, test.y), tensors["beside/seed0/plain"])


def test_weights_share_their_start_and_seeds_do_not(done, tensors) -> None:
    images = {weight: tensors[f"images/seed0/{weight:g}/images"] for weight in BEDS["images"]["weights"]}
    original = tensors["images/original"].int()
    assert all((each.int() - original).abs().max() <= 60 for each in images.values())  # four steps from the identity
    assert not torch.equal(images[0.0], images[10.0])
    assert not torch.equal(tensors["noise/seed0/10/images"], tensors["noise/seed1/10/images"])
    assert torch.equal(tensors["noise/seed0/original/bpd"], tensors["noise/seed1/original/bpd"])


def test_a_killed_run_goes_on_and_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    for path in OUTPUTS:
        (again / path).unlink()
    process = start(again, *COMMAND)
    wait_for(lambda: list(again.glob(".resume/simplify/*/noise, seed 0, weight 10.safetensors")), process)
    process.kill()
    process.communicate()
    assert not (again / OUTPUTS[0]).exists(), "it was too quick to be killed"
    assert run(again, *COMMAND)[0] == 0
    for path in OUTPUTS:
        assert (again / path).read_bytes() == (done / path).read_bytes(), path
    runs = read_csv(again / "results/runs.csv").set_index("stage")
    assert runs.loc["simplify", "resumed"] == 1 and not list(again.glob(".resume/simplify/*"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [("architecture", "resnet", "BatchNorm2d"), ("lr", 1e30, "finite"), ("widths", [4, 8], "widths")],
)
def test_what_cannot_be_trained_is_one_line_and_changes_nothing(done, tmp_path, key, value, said) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    params["simplify"][key] = value
    yaml.dump(params, folder / "params.yaml")
    code, stderr = run(folder, *COMMAND)
    assert code == 2 and is_one_line(stderr) and said in stderr, stderr
    assert (folder / OUTPUTS[0]).read_bytes() == (done / OUTPUTS[0]).read_bytes()
