"""One network of one seed: what comes out is what the steps inside give, and an interrupted call goes on."""

import pytest
import torch

from fourlenses import runtime
from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.params import NetworkSpec
from fourlenses.resume import Resume
from fourlenses.training import RECIPES, Settings, Threat, accuracy
from fourlenses.training.network import named_tensors, recipe_of, train_network

ARGUMENTS = {"architecture": "resnet", "widths": [4, 8], "n_classes": 3, "image_shape": [1, 8, 8]}
SETTINGS = Settings(epochs=3, batch=8, lr=0.1, weight_decay=0.0, crop_padding=1, flip=False, ema_decay=0.0)
STREAM = torch.Generator().manual_seed(0)
X = torch.randint(0, 256, (48, 1, 8, 8), generator=STREAM, dtype=torch.uint8)
Y = torch.arange(48) % 3


def trained(folder, recipe: str = "standard", **changes):
    given = {
        "train": (X, Y), "calibration": (X[:9], Y[:9]), "test": (X[20:40], Y[20:40]), "settings": SETTINGS,
        "threat": Threat("l2", 0.2, 2), "test_threat": Threat("l2", 0.2, 3), "beta": 0.0, "precision": "float32",
        "streams": runtime.generator, "resume": Resume(folder, "key"), "label": "net",
        "progress": lambda epochs, *_: epochs,
    }  # fmt: skip
    return train_network("net", RECIPES[recipe], ARGUMENTS, 7, **given | changes)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_checkpoints_and_the_end_are_kept_by_epoch_and_measured(tmp_path):
    found = trained(tmp_path, checkpoints=[1])
    assert list(found.weights) == [1, 3] and [row["epoch"] for row in found.history] == [1, 2, 3]
    network = build(**ARGUMENTS, generator=torch.Generator())
    network.load_state_dict(found.weights[3])
    assert found.clean == accuracy(network, X[20:40].float() / 255, Y[20:40])
    assert found.clean.n == found.robust.n == 20 and found.robust.value <= found.clean.value
    assert found.n_parameters == sum(parameter.numel() for parameter in network.parameters())


def test_only_some_images_are_attacked(tmp_path):
    assert trained(tmp_path, n_attacked=5).robust.n == 5


def test_the_seed_and_the_name_decide(tmp_path):
    first, again = (trained(tmp_path / folder).weights[3] for folder in ("a", "b"))
    assert same(first, again)
    other = train_network("net", RECIPES["standard"], ARGUMENTS, 8, train=(X, Y), calibration=(X[:9], Y[:9]),
                          test=(X, Y), settings=SETTINGS, threat=Threat("l2", 0.2, 2),
                          test_threat=Threat("l2", 0.2, 3), beta=0.0, precision="float32", streams=runtime.generator,
                          resume=Resume(tmp_path / "c", "key"), label="net",
                          progress=lambda epochs, *_: epochs)  # fmt: skip
    assert not same(first, other.weights[3])


def test_what_was_finished_is_not_trained_again(tmp_path):
    first = trained(tmp_path, checkpoints=[1])
    shown = []
    again = trained(tmp_path, checkpoints=[1], progress=lambda epochs, name, total: shown.append(total) or epochs)
    assert shown == [0]
    assert all(same(first.weights[epoch], again.weights[epoch]) for epoch in (1, 3))
    assert first.history == again.history


def test_an_untrained_network_stays_as_drawn(tmp_path):
    drawn = build(**ARGUMENTS, generator=runtime.generator(7, "initial weights", "net")).state_dict()
    found = trained(tmp_path, "untrained")
    assert same(found.weights[3], drawn) and found.history == []


def test_names_on_disk_tell_seed_and_epoch():
    weights = {2: {"w": torch.zeros(1)}, 9: {"w": torch.ones(1)}}
    assert named_tensors(4, weights) == {"epoch2/seed4/w": weights[2]["w"], "seed4/w": weights[9]["w"]}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"recipe": "standart"}, "did you mean standard"),
        ({"recipe": "standard", "augment": "crap"}, "did you mean crop"),
        ({"recipe": "standard", "beta": 1.0}, "beta"),
        ({"recipe": "trades-l2"}, "beta"),
    ],
)
def test_a_recipe_that_is_none_is_refused(spec, said):
    with pytest.raises(UserError, match=said):
        recipe_of("net", NetworkSpec(architecture="resnet", **spec))
