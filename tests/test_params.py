"""params.yaml: every kind of mistake is one line that names the file, the key, what was found and what was expected."""

import os
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from fourlenses.errors import UserError
from fourlenses.params import choose, read_params
from stages import check

ROOT = Path(__file__).parents[1]
STUDIES = [ROOT / "params.yaml", *sorted(ROOT.glob("studies/*/params.yaml"))]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Writes the default study's parameters with changes ("a.b": value, None deletes) and reads them."""
    monkeypatch.chdir(tmp_path)
    good = YAML(typ="safe").load((ROOT / "params.yaml").read_text()) | {"root": os.path.relpath(ROOT, tmp_path)}

    def read(changes: dict):
        for key, value in changes.items():
            *path, last = key.split("/")
            section = good
            for name in path:
                section = section[name]
            if value is None:
                del section[last]
            else:
                section[last] = value
        with open("params.yaml", "w") as file:
            YAML(typ="safe").dump(good, file)
        return read_params()

    return read


def message(call, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value) and str(caught.value).count("; ") >= 2
    return str(caught.value)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.parent.name)
def test_every_study_of_this_checkout_parses(path):
    params = read_params(path)
    assert params.networks and "free" in params.invert.losses


def test_two_studies_at_least():
    assert len(STUDIES) >= 3


MISTAKES = {
    "misspelled key": ({"train/epochs": None, "train/epoch": 3}, "unknown key train.epoch", "did you mean epochs?"),
    "misspelled section": ({"judge": None, "judgee": {"n_bootstrap": 3}}, "unknown key judgee", "did you mean judge?"),
    "unknown key": ({"train/xyzzy": 3}, "unknown key train.xyzzy", "expected one of seeds, epochs"),
    "unknown key of a network": ({"networks/resnet-standard/width": [3]}, "resnet-standard.width", "mean widths?"),
    "unknown key of a loss": ({"invert/losses/free/wieght": 1}, "invert.losses.free.wieght", "did you mean weight?"),
    "unknown key of a trunk": ({"judges/trunks/random/depth": 1}, "judges.trunks.random.depth", "remove it"),
    "unknown trunk": ({"judges/trunks/randm": {}}, "unknown key judges.trunks.randm", "or 'robust-regularizer'"),
    "missing key": ({"train/epochs": None}, "key train.epochs is missing", "add it"),
    "missing section": ({"invert": None}, "key invert is missing", "add it"),
    "missing trunk": ({"judges/trunks/random": None}, "inconsistent", "judges.trunks must have random"),
    "text for a number": ({"train/lr": "fast"}, "train.lr is 'fast'", "expected a valid number"),
    "number in quotes": ({"train/lr": "0.1"}, "train.lr is '0.1'", "expected a valid number"),
    "fraction for a count": ({"train/epochs": 2.5}, "train.epochs is 2.5", "expected a valid integer"),
    "whole float for a count": ({"train/epochs": 2.0}, "train.epochs is 2.0", "expected a valid integer"),
    "truth value for a number": ({"train/lr": True}, "train.lr is True", "expected a valid number"),
    "number for a truth value": ({"train/flip": 1}, "train.flip is 1", "expected a valid boolean"),
    "one seed and no list": ({"train/seeds": 0}, "train.seeds is 0", "expected a valid list"),
    "text among seeds": ({"train/seeds": [0, "a"]}, "train.seeds.1 is 'a'", "expected a valid integer"),
    "no seed": ({"train/seeds": []}, "train.seeds is []", "at least one entry"),
    "a seed twice": ({"train/seeds": [3, 3]}, "train.seeds", "every entry once"),
    "a seed image twice": ({"invert/seed_images": ["black", "black"]}, "invert.seed_images", "every entry once"),
    "zero epochs": ({"train/epochs": 0}, "train.epochs is 0", "expected greater than or equal to 1"),
    "negative rate": ({"train/lr": -0.1}, "train.lr is -0.1", "expected greater than 0"),
    "infinite rate": ({"train/lr": float("inf")}, "train.lr is inf", "expected a finite number"),
    "rate that is no number": ({"train/lr": float("nan")}, "train.lr is nan", "expected a finite number"),
    "average that never moves": ({"train/ema_decay": 1.0}, "train.ema_decay is 1.0", "expected less than 1"),
    "floor above one": ({"train/floor_clean": 1.5}, "train.floor_clean is 1.5", "less than or equal to 1"),
    "unknown precision": ({"train/precision": "float16"}, "train.precision is 'float16'", "'bfloat16' or 'float32'"),
    "width of zero": ({"networks/resnet-standard/widths": [8, 0]}, "resnet-standard.widths.1 is 0", "equal to 1"),
    "trunk of another threat": ({"judges/trunks/robust/recipe": "adversarial-linf"}, "robust.recipe", "adversarial"),
    "weight of nothing": ({"invert/losses/free/weight": 1.0}, "invert.losses.free is inconsistent", "or neither"),
    "regularizer of weight 0": ({"invert/losses/free/regularizer": "away"}, "free is inconsistent", "or neither"),
    "no bare loss": ({"invert/losses/free": None}, "the file is inconsistent", "'free: {}'"),
    "free loss that is not bare": ({"invert/losses/free/transforms": True}, "is inconsistent", "'free: {}'"),
    "loss of no network": ({"invert/losses/tv/networks": ["resnet"]}, "inconsistent", "'resnet', which is not in"),
    "checkpoint after the end": (
        {"networks/resnet-simclr/checkpoints": [99]}, "resnet-simclr is inconsistent", "before the last"
    ),
    "checkpoint without epochs": (
        {"networks/resnet-standard/checkpoints": [1]}, "resnet-standard is inconsistent", "needs its own epochs"
    ),
    "figure of no network": ({"draw/robust": "resnet"}, "is inconsistent", "'resnet', which is not in networks"),
    "more targets than images": ({"invert/n_targets": 9999}, "inconsistent", "n_targets must be at most fetch.n_test"),
    "batch beyond the images": ({"train/batch": 9999}, "inconsistent", "train.batch must be at most 1400"),
    "section that is a number": ({"train": 3}, "train is 3", "expected keys with values"),
    "root of another checkout": ({"root": ".."}, "root is '..'", "expected a study of this checkout"),
}


@pytest.mark.parametrize(("changes", "found", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistake_is_one_line(study, changes, found, expected):
    text = message(study, changes)
    assert text.startswith("params.yaml: ") and found in text and expected in text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "is None"),
        (b"- a\n- b\n", "is ['a', 'b']"),
        (b"hello", "is 'hello'"),
        (b"root: .\nroot: .\n", "duplicate key"),
        (b"root: [.\n", "not YAML"),
        (b"root:\t.\n\tfetch: {}\n", "not YAML"),
        (b"\xff\xfe\x00", "not YAML"),
    ],
)
def test_file_that_is_no_table_of_keys_is_one_line(tmp_path, text, found):
    path = tmp_path / "params.yaml"
    path.write_bytes(text)
    assert found in message(read_params, path)


def test_absent_file_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert f"no params.yaml in {tmp_path}" in message(read_params)


def test_numbers_are_read_as_dvc_reads_them(study, tmp_path):
    study({"train/lr": 0.1})
    text = (tmp_path / "params.yaml").read_text()
    assert "lr: 0.1" in text
    (tmp_path / "params.yaml").write_text(text.replace("lr: 0.1", "lr: 1e-3"))
    assert read_params().train.lr == 0.001
    (tmp_path / "params.yaml").write_text(text.replace("lr: 0.1", "lr: 1"))
    assert read_params().train.lr == 1.0


def test_networks_with_widths_of_their_own_take_none(study):
    params = study({"networks/resnet-standard": {"architecture": "robustness-resnet18", "recipe": "standard"}})
    assert params.networks["resnet-standard"].widths is None


def test_parameters_cannot_be_changed_after_reading(study):
    with pytest.raises(ValueError, match="frozen"):
        study({}).train.epochs = 3


def test_choose_gives_the_entry_or_the_names():
    registry = {"super-noise": 1, "black": 2}
    assert choose("seed image", "black", registry) == 2
    text = message(choose, "seed image", "supernoise", registry)
    assert text == "seed image 'supernoise' is unknown; expected one of super-noise, black; did you mean super-noise?"
    assert message(choose, "seed image", "zzz", registry).endswith("did you mean super-noise?")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"networks/resnet-standard/recipe": "standrad"}, "did you mean standard?"),
        ({"networks/resnet-standard/architecture": "resnett"}, "did you mean resnet?"),
        ({"networks/resnet-standard/augment": "corp"}, "did you mean crop?"),
        ({"invert/losses/tv/backward": "exat"}, "did you mean exact?"),
        ({"fetch/dataset": "mnist5"}, "did you mean mnist5k?"),
        ({"invert/seed_images": ["super-nose"]}, "did you mean super-noise?"),
        ({"invert/losses/tv": {"regularizer": "awya", "weight": 1.0}}, "did you mean away?"),
    ],
)
def test_names_are_looked_up_before_a_study_runs(study, changes, words):
    study(changes)
    if words is None:
        check.main()
    else:
        assert words in message(check.main)
