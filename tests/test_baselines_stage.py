"""The stage that simplifies without a task, on a study of 8x8 images."""

import shutil
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import tiny_study
import torch
from commands import is_one_line, run, start, wait_for

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_csv, save_tensors
from fourlenses.images import Images, load_dataset
from fourlenses.nets.glow import build_glow
from fourlenses.sections import Bed
from fourlenses.simplicity.beds import BedImages, load_bed
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import jpeg, png_bits
from fourlenses.simplicity.heuristics import blurred
from fourlenses.simplicity.prior import load_glow
from fourlenses.simplicity.retrain import retrain
from stages.baselines import COLUMNS

OUTPUT = "results/simplicity/baselines.csv"
COMMAND = (
    f"-m stages.baselines --data data --glow results/glow.safetensors --photos data/photos.safetensors --out {OUTPUT}"
).split()
PARAMS = tiny_study.PARAMS
KNOBS = {method: PARAMS["baselines"][method] for method in ("blur", "jpeg", "mse")}


def make(folder: Path) -> Path:
    """The study, two photographs, and a prior that has learned nothing but how bright images are."""
    tiny_study.make(folder)
    train, _ = load_tensors(folder / "data/train.safetensors")
    spec = PARAMS["glow"]["priors"]["glow"]
    stream = torch.Generator().manual_seed(0)
    glow = build_glow((1, 8, 8), n_scales=2, depth=spec["depth"], width=spec["width"], coupling="affine",
                      generator=stream)  # fmt: skip
    glow.initialise(train["x"].float() / 255 - 0.5)
    tensors = {f"glow/{name}": value for name, value in glow.state_dict().items()}
    about = {"priors": {"glow": glow.arguments}, "accepted": {"glow": {}}, "refused": {"glow": []}}
    save_tensors(folder / "results/glow.safetensors", tensors, about)
    photos = {"x": train["x"].flip(3).contiguous(), "y": train["y"] % 2}
    save_tensors(folder / "data/photos.safetensors", photos, {"classes": ["one", "two"]})
    return folder


def bed(folder: Path, name: str) -> dict[str, BedImages]:
    """The images of a bed, as the stage has them."""
    splits = {split: load_tensors(folder / f"data/{split}.safetensors")[0] for split in ("train", "test")}
    own = {split: Images(each["x"], each["y"]) for split, each in splits.items()}
    simplify, photos = PARAMS["simplify"], load_tensors(folder / "data/photos.safetensors")[0]
    sizes = {split: simplify[f"n_{split}"] for split in splits}
    return load_bed(
        Bed(**simplify["beds"][name]), own, Images(photos["x"], photos["y"]),
        lambda name: load_dataset(name, cache=folder, mirror=None, progress=False), sizes, PARAMS["fetch"]["seed"],
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("baselines"))
    code, stderr = run(folder, *COMMAND)
    assert code == 0, stderr
    return folder


def test_the_table_has_every_bed_method_knob_and_seed_once(done) -> None:
    table = read_csv(done / OUTPUT)
    assert table.columns.tolist() == COLUMNS
    wanted = [
        (name, method, knob, seed)
        for name in PARAMS["baselines"]["beds"] for method, knobs in KNOBS.items()
        for knob, seed in product(knobs, PARAMS["simplify"]["beds"][name]["seeds"])
    ]  # fmt: skip
    assert list(table[["bed", "method", "knob", "seed"]].itertuples(index=False, name=None)) == wanted
    assert (table["n_test"] == 16).all() and table.notna().all(axis=None)
    for name in ("accuracy", "accuracy_original"):
        assert ((table[name] * 16) % 1 == 0).all() and table[name].between(0, 1).all()


def test_bits_are_those_of_the_changed_test_images(done) -> None:
    table = read_csv(done / OUTPUT).set_index(["bed", "method", "knob"])
    glow = load_glow(done / "results/glow.safetensors", "glow", torch.device("cpu"))
    for name in PARAMS["baselines"]["beds"]:
        x = bed(done, name)["test"].x
        for method, change in {"blur": blurred, "jpeg": jpeg}.items():
            for knob in KNOBS[method]:
                changed, stream = change(x, knob), runtime.generator(PARAMS["fetch"]["seed"], "bits", name)
                row = table.loc[name, method, knob]
                assert row["bpd"] == pytest.approx(measured(glow, changed, stream).mean().item(), rel=1e-5)
                assert row["png"] == pytest.approx(png_bits(changed).mean().item())


def test_accuracies_are_those_of_a_network_trained_on_changed_images(done) -> None:
    table = read_csv(done / OUTPUT).set_index(["bed", "method", "knob"])
    simplify, train = PARAMS["simplify"], PARAMS["train"]
    options = {key: train[key] for key in ("crop_padding", "flip", "precision")}
    options |= {key: simplify[key] for key in ("architecture", "widths")} | {"epochs": simplify["retrain_epochs"]}
    torch.set_num_threads(1)
    images, found = bed(done, "beside"), []
    for knob in KNOBS["blur"]:
        changed = {split: blurred(each.x, knob) for split, each in images.items()}
        streams = partial(runtime.generator, 0, "retrain", "beside")
        network = retrain(changed["train"], images["train"].y, 3, streams=streams, **options)
        for column, x in (("accuracy", changed["test"]), ("accuracy_original", images["test"].x)):
            right = network(x.float() / 255).argmax(1) == images["test"].y
            found.append(right.double().mean().item())
            assert table.loc[("beside", "blur", knob), column] == pytest.approx(found[-1])
    assert len(set(found)) > 1


def test_a_simplifier_that_must_stay_close_changes_little_at_first(done) -> None:
    table = read_csv(done / OUTPUT).set_index(["bed", "method"])
    for name in PARAMS["baselines"]["beds"]:
        plain = png_bits(bed(done, name)["test"].x).mean().item()
        assert table.loc[(name, "mse"), "png"].item() == pytest.approx(plain, rel=0.1)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    (again / OUTPUT).unlink()
    process = start(again, *COMMAND)
    wait_for(lambda: list(again.glob(".resume/baselines/*/mse 1 on images, seed 0.safetensors")), process)
    process.kill()
    process.communicate()
    assert not (again / OUTPUT).exists(), "it was too quick to be killed"
    assert run(again, *COMMAND)[0] == 0
    assert (again / OUTPUT).read_bytes() == (done / OUTPUT).read_bytes()
    runs = read_csv(again / "results/runs.csv").set_index("stage")
    assert runs.loc["baselines", "resumed"] == 1 and not list(again.glob(".resume/baselines/*"))


def test_numbers_that_run_away_are_one_line(done, tmp_path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    before = (folder / OUTPUT).read_bytes()
    tensors, about = load_tensors(folder / "results/glow.safetensors")
    about.pop("sha256")
    name = next(name for name, each in tensors.items() if each.is_floating_point() and "log" in name)
    save_tensors(folder / "results/glow.safetensors", tensors | {name: torch.full_like(tensors[name], 1e4)}, about)
    code, stderr = run(folder, *COMMAND)
    assert code == 2 and is_one_line(stderr) and "blur 0.5 on images, seed 0" in stderr and "finite" in stderr
    assert (folder / OUTPUT).read_bytes() == before


def test_a_refused_prior_and_missing_files_are_one_line(done, tmp_path) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    tensors, about = load_tensors(folder / "results/glow.safetensors")
    about.pop("sha256")
    save_tensors(folder / "results/glow.safetensors", tensors, about | {"refused": {"glow": ["black is too dear"]}})
    code, stderr = run(folder, *COMMAND)
    assert code == 2 and is_one_line(stderr) and "black is too dear" in stderr
    (folder / "data/photos.safetensors").unlink()
    code, stderr = run(folder, *COMMAND)
    assert code == 2 and is_one_line(stderr) and "photos.safetensors" in stderr
