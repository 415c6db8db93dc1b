"""Several processes under torchrun end with what one process alone does."""

import json
import shutil

import pytest
import tiny_study
import torch
import two_processes
from commands import ROOT, is_one_line, run

from fourlenses import processes
from fourlenses.artifacts import load_tensors, read_csv
from fourlenses.errors import UserError

TORCHRUN = "-m torch.distributed.run --standalone --nproc-per-node 2".split()


@pytest.fixture
def second_of_two(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A study whose stages were run by one process each."""
    folder = tiny_study.make(tmp_path_factory.mktemp("study") / "alone", precision="float32", seeds=[0], epochs=2)
    for command in (tiny_study.train_judges(), *map(tiny_study.train, ("robust", "plain", "other")),
                    tiny_study.invert("robust"), tiny_study.train_sweep(), tiny_study.represent()):  # fmt: skip
        code, stderr = run(folder, *command)
        assert code == 0, stderr
    return folder


def together(folder, command) -> None:
    code, stderr = run(folder, *TORCHRUN, *command)
    assert code == 0, stderr


def far(ours: dict, theirs: dict) -> float:
    """By how much two checkpoints differ, relative to the length of the second."""
    assert ours.keys() == theirs.keys()
    a, b = (torch.cat([each[name].double().flatten() for name in sorted(ours)]) for each in (ours, theirs))
    return float((a - b).norm() / b.norm())


def test_alone_there_is_nothing_to_share_or_to_wait_for():
    x = torch.rand(4, 2, requires_grad=True)
    assert (processes.rank(), processes.count()) == (0, 1)
    assert processes.share(range(5)) == [0, 1, 2, 3, 4]
    assert processes.gathered(x) is x
    processes.wait()
    processes.average([x])


def test_a_process_has_its_rows_of_every_view(second_of_two):
    whole = torch.arange(12)  # two views of six images
    assert processes.share("abcde") == ["b", "d"]
    assert processes.Part(torch.Generator()).rows(whole).tolist() == [6, 7, 8, 9, 10, 11]
    assert processes.Part(torch.Generator(), views=2).rows(whole).tolist() == [3, 4, 5, 9, 10, 11]


def test_the_whole_batch_is_put_together_in_its_order(second_of_two, monkeypatch):
    whole = torch.arange(12.0)
    monkeypatch.setenv("RANK", "0")
    first = processes.Part(torch.Generator(), views=2).rows(whole)
    monkeypatch.setenv("RANK", "1")
    part = processes.Part(torch.Generator(), views=2)
    monkeypatch.setattr(processes, "gathered", lambda rows: torch.cat([first, rows]))
    assert part.whole(part.rows(whole)).tolist() == whole.tolist()


def test_every_recipe_learns_in_two_processes_what_it_learns_in_one(tmp_path):
    together(tmp_path, [str(ROOT / "tests/two_processes.py"), "out.safetensors"])
    found, histories = load_tensors(tmp_path / "out.safetensors")
    for name in two_processes.NAMES:
        weights, history = two_processes.trained(name)
        theirs = {key.removeprefix(f"{name}/"): value for key, value in found.items() if key.startswith(f"{name}/")}
        assert far(theirs, weights) < 1e-4, name
        assert histories[name] == [pytest.approx(row, rel=1e-4) for row in history]


def test_a_batch_that_cannot_be_shared_alike_is_an_error(second_of_two, monkeypatch):
    monkeypatch.setattr(two_processes, "BATCH", 15)
    with pytest.raises(UserError, match="15 images for 2 processes"):
        two_processes.trained("standard")


def test_the_training_stage_in_two_processes_gives_the_checkpoint_of_one(alone, tmp_path):
    folder = tiny_study.make(tmp_path / "study", precision="float32", seeds=[0], epochs=2)
    together(folder, tiny_study.train("robust"))
    (ours, about), (theirs, same) = (load_tensors(at / "models/robust.safetensors") for at in (folder, alone))
    assert far(ours, theirs) < 1e-4 and about["network"] == same["network"]
    assert read_csv(folder / "results/robust.csv").shape == read_csv(alone / "results/robust.csv").shape
    manifest = json.loads((folder / "results/manifests/train@robust.json").read_text())
    assert manifest["environment"]["processes"] == 2
    assert len(read_csv(folder / "results/runs.csv")) == 1
    assert not list((folder / ".resume/train@robust").glob("*"))


@pytest.mark.parametrize(("command", "outputs"), [
    (tiny_study.invert("robust"), ["iris/robust.safetensors", "results/invert/robust.csv"]),
    (tiny_study.represent(), ["grams/robust.safetensors", "grams/wide-robust.safetensors"]),
])  # fmt: skip
def test_what_is_shared_item_by_item_has_the_same_bytes(alone, tmp_path, command, outputs):
    folder = shutil.copytree(alone, tmp_path / "study")
    for output in outputs:
        (folder / output).unlink()
    together(folder, command)
    for output in outputs:
        assert (folder / output).read_bytes() == (alone / output).read_bytes()


def test_a_stage_that_cannot_be_shared_says_so(alone):
    code, stderr = run(alone, *tiny_study.judge(), RANK="0", WORLD_SIZE="2")
    assert code == 2 and is_one_line(stderr) and "start it without torchrun" in stderr
