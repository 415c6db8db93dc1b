"""The stage that simplifies single images after training, on a study of 8x8 images."""

import shutil
from itertools import product
from pathlib import Path

import pytest
import tiny_study
import torch
from commands import is_one_line, run, start, wait_for

from fourlenses import runtime
from fourlenses.artifacts import load_tensors, read_csv, save_tensors
from fourlenses.nets import arguments_for, build
from fourlenses.nets.glow import build_glow
from fourlenses.nets.zoo import load_network
from fourlenses.simplicity.bits import measured
from fourlenses.simplicity.codecs import png_bits
from fourlenses.simplicity.controls import answers, chosen, similarity
from fourlenses.simplicity.gates import divergence
from fourlenses.simplicity.heuristics import blurred
from fourlenses.simplicity.prior import load_glow
from stages.explain import COLUMNS

CPU = torch.device("cpu")
OUT = Path("results/simplicity")
OUTPUTS = [OUT / "explain.safetensors", *(OUT / f"{name}.csv" for name in COLUMNS)]
COMMAND = f"-m stages.explain --data data --models models --glow results/glow.safetensors --out {OUT}".split()
NETWORKS, GROUPS, SEEDS, N = ["plain", "robust", "randomised"], ["wrong", "right"], [0, 1], 3


def make(folder: Path) -> Path:
    """The study, a prior that knows nothing but how bright images are, and networks that have learned nothing."""
    tiny_study.make(folder)
    train, _ = load_tensors(folder / "data/train.safetensors")
    sizes = {"n_scales": 2, "depth": 2, "width": 8, "coupling": "affine"}
    glow = build_glow((1, 8, 8), **sizes, generator=torch.Generator().manual_seed(0))
    glow.initialise(train["x"].float() / 255 - 0.5)
    tensors = {f"glow/{name}": value for name, value in glow.state_dict().items()}
    about = {"priors": {"glow": glow.arguments}, "accepted": {"glow": {}}, "refused": {"glow": []}}
    save_tensors(folder / "results/glow.safetensors", tensors, about)
    for seed, name in enumerate(NETWORKS[:2]):
        arguments = arguments_for(train["x"], 3, **tiny_study.NETWORK)
        weights = build(**arguments, generator=torch.Generator().manual_seed(seed)).state_dict()
        passed = {"0": {"clean": 1.0, "robust": 1.0, "floor_clean": 0.0, "floor_robust": 0.0}}
        about = {"name": name, "network": arguments, "accuracy": passed, "epochs": 1}
        path = folder / f"models/{name}.safetensors"
        save_tensors(path, {f"seed0/{key}": value for key, value in weights.items()}, about)
    return folder


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Path:
    folder = make(tmp_path_factory.mktemp("explain"))
    code, stderr = run(folder, *COMMAND)
    assert code == 0, stderr
    return folder


@pytest.fixture(scope="module")
def shown(done):
    test, _ = load_tensors(done / "data/test.safetensors")
    return test["x"], test["y"]


@pytest.fixture(scope="module")
def table(done):
    return read_csv(done / OUTPUTS[1])


@pytest.fixture(scope="module")
def kept(done):
    return load_tensors(done / OUTPUTS[0])[0]


def test_a_row_for_every_image_of_every_network_and_seed(table) -> None:
    assert table.columns.tolist() == COLUMNS["explain"] and not table.isna().any(axis=None)
    expected = [(network, seed, group) for network, seed, group in product(NETWORKS, SEEDS, GROUPS) for _ in range(N)]
    assert list(table[["network", "seed", "group"]].itertuples(index=False, name=None)) == expected
    assert (table.groupby(["network", "seed"])["image"].apply(list).map(tuple).nunique()) == 1, "all see the same"


def test_groups_are_of_the_standard_network(done, table, shown) -> None:
    x, y = shown
    log_p = answers(load_network(done / "models/plain.safetensors", 0, CPU), x)
    of_plain = table[(table["network"] == "plain") & (table["seed"] == 0)]
    for group, members in chosen(log_p, y, N).items():
        rows = of_plain[of_plain["group"] == group]
        assert rows["image"].tolist() == members.tolist() and rows["label"].tolist() == y[members].tolist()
        assert rows["predicted"].tolist() == log_p[members].argmax(1).tolist()
        assert rows["confidence"].tolist() == pytest.approx(log_p[members].exp().amax(1).tolist())
        assert ((rows["predicted"] == rows["label"]) == (group == "right")).all()


@pytest.mark.parametrize("network,group,seed", [("plain", "wrong", 0), ("robust", "right", 1)])
def test_measures_are_of_the_images_that_are_kept(done, table, kept, shown, network, group, seed) -> None:
    rows = table[(table["network"] == network) & (table["group"] == group) & (table["seed"] == seed)]
    model = load_network(done / f"models/{network}.safetensors", 0, CPU)
    glow = load_glow(done / "results/glow.safetensors", "glow", CPU)
    original = kept[f"{group}/original"]
    assert torch.equal(original, shown[0][rows["image"].tolist()])
    log_p, at = answers(model, original), f"{network}/{group}/seed{seed}"
    place = slice(0, N) if group == "wrong" else slice(N, None)
    for name, kind in (("simplified", ""), ("blurred", "_blur")):
        images = kept[f"{at}/{name}"]
        padded = torch.zeros(2 * N, 1, 8, 8, dtype=torch.uint8)
        padded[place] = images  # the noise of an image's bits is that of its place
        bits = measured(glow, padded, runtime.generator(seed, "bits of explained images"))[place]
        found = answers(model, images)
        assert rows["bpd_blur" if kind else "bpd_after"].tolist() == pytest.approx(bits.tolist(), rel=1e-6)
        assert rows[f"kl{kind}"].tolist() == pytest.approx(divergence(log_p, found).tolist(), rel=1e-3, abs=1e-7)
        assert rows[f"kept{kind}"].tolist() == (found.argmax(1) == log_p.argmax(1)).int().tolist()
    simple = kept[f"{at}/simplified"]
    right = answers(model, simple).argmax(1).numpy() == rows["label"]
    assert rows["recognised_right"].tolist() == right.astype(int).tolist()
    assert rows["png_before"].tolist() == pytest.approx(png_bits(original).tolist())
    assert rows["png_after"].tolist() == pytest.approx(png_bits(simple).tolist())
    for image, sigma, blur in zip(original, rows["sigma"], kept[f"{at}/blurred"], strict=True):
        assert torch.equal(blurred(image[None], float(sigma))[0], blur)
    close = (rows["bpd_blur"] - rows["bpd_after"]).abs() < 0.1
    assert (close | (rows["sigma"] == 0) | (rows["sigma"] == 8)).all(), "as few bits, if a blur has them"


def test_every_image_is_kept(kept) -> None:
    parts = product(NETWORKS, GROUPS, SEEDS, ("simplified", "blurred"))
    made = {f"{name}/{group}/seed{seed}/{part}" for name, group, seed, part in parts}
    assert kept.keys() == made | {f"{group}/original" for group in GROUPS}
    assert all(each.shape == (N, 1, 8, 8) and each.dtype == torch.uint8 for each in kept.values())
    first = kept["plain/wrong/seed0/simplified"]
    for other in ("plain/wrong/seed1", "robust/wrong/seed0", "randomised/wrong/seed0"):
        assert not torch.equal(first, kept[f"{other}/simplified"]), other


def test_the_way_is_followed_by_group(done) -> None:
    history = read_csv(done / OUTPUTS[2])
    assert history.columns.tolist() == COLUMNS["explain_history"] and not history.isna().any(axis=None)
    expected = [(network, seed, group, 3) for network, seed, group in product(NETWORKS, SEEDS, GROUPS)]
    assert list(history[["network", "seed", "group", "step"]].itertuples(index=False, name=None)) == expected
    assert history["match"].between(-1, 1).all() and (history["kl"] >= 0).all() and (history["loss"] > 0).all()


def test_distances_are_from_the_standard_network(done, table, kept) -> None:
    distances = read_csv(done / OUTPUTS[3])
    assert distances.columns.tolist() == COLUMNS["explain_distances"]
    others = {
        "seeds": [("plain/{}/seed0", "plain/{}/seed1")],
        "robust": [("plain/{}/seed0", "robust/{}/seed0"), ("plain/{}/seed1", "robust/{}/seed1")],
        "randomised": [("plain/{}/seed0", "randomised/{}/seed0"), ("plain/{}/seed1", "randomised/{}/seed1")],
    }
    assert list(distances["pair"].drop_duplicates()) == list(others)
    for (pair, pairs), group in product(others.items(), GROUPS):
        rows = distances[(distances["pair"] == pair) & (distances["group"] == group)]
        images = [[kept[f"{each.format(group)}/simplified"] for each in of] for of in zip(*pairs, strict=True)]
        assert rows["ssim"].tolist() == pytest.approx(similarity(*map(torch.cat, images)), abs=1e-9)
        assert rows["image"].tolist() == table[table["group"] == group]["image"].tolist()[:N] * len(pairs)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(done, tmp_path) -> None:
    again = Path(shutil.copytree(done, tmp_path / "again"))
    for path in OUTPUTS:
        (again / path).unlink()
    process = start(again, *COMMAND)
    wait_for(lambda: list(again.glob(".resume/explain/*/plain, seed 1.safetensors")), process)
    process.kill()
    process.communicate()
    assert not (again / OUTPUTS[1]).exists(), "it was too quick to be killed"
    assert run(again, *COMMAND)[0] == 0
    for path in OUTPUTS:
        assert (again / path).read_bytes() == (done / path).read_bytes(), path
    runs = read_csv(again / "results/runs.csv").set_index("stage")
    assert runs.loc["explain", "resumed"] == 1 and not list(again.glob(".resume/explain/*"))


def test_a_network_that_errs_on_nothing_has_one_group(done, tmp_path, shown) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    test, about = load_tensors(folder / "data/test.safetensors")
    y = answers(load_network(done / "models/plain.safetensors", 0, CPU), shown[0]).argmax(1)
    save_tensors(folder / "data/test.safetensors", test | {"y": y}, {"classes": about["classes"]})
    code, stderr = run(folder, *COMMAND)
    assert code == 0, stderr
    for path in OUTPUTS[1:]:
        assert read_csv(folder / path)["group"].unique().tolist() == ["right"]
    assert not any("wrong" in name for name in load_tensors(folder / OUTPUTS[0])[0])


@pytest.mark.parametrize("change,said", [(("lr: 0.05", "lr: 1.0e+30"), "lower explain.lr"), (None, "models/robust")])
def test_mistakes_are_one_line(done, tmp_path, change, said) -> None:
    folder = Path(shutil.copytree(done, tmp_path / "study"))
    if change:
        text = (folder / "params.yaml").read_text()
        assert change[0] in text
        (folder / "params.yaml").write_text(text.replace(*change))
    else:
        (folder / "models/robust.safetensors").unlink()
    code, stderr = run(folder, *COMMAND)
    assert code == 2 and is_one_line(stderr) and said in stderr, stderr
    assert (folder / OUTPUTS[1]).read_bytes() == (done / OUTPUTS[1]).read_bytes()
