"""Networks on disk: what is refused, and how that is said."""

import pytest
import torch

from fourlenses.artifacts import save_tensors
from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.zoo import load_network, load_state, load_trunks

CPU = torch.device("cpu")
ARGUMENTS = {
    "architecture": "resnet", "widths": [4, 8], "n_classes": 3, "image_shape": [1, 8, 8], "mean": [0.2], "std": [0.3],
}  # fmt: skip
GOOD = {"clean": 0.9, "robust": 0.4, "floor_clean": 0.8, "floor_robust": 0.0}


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def zoo(path, accuracy=None, **changes):
    """A file as the train stage writes it, of seeds 1 and 10."""
    networks = {seed: build(**ARGUMENTS | changes, generator=stream(seed)).eval() for seed in (1, 10)}
    tensors = {f"seed{seed}/{key}": v for seed, net in networks.items() for key, v in net.state_dict().items()}
    accuracies = {str(seed): accuracy or GOOD for seed in networks}
    save_tensors(path, tensors, {"name": "mine", "network": ARGUMENTS, "accuracy": accuracies})
    return networks


def refused(path, seed=1, name=None) -> str:
    with pytest.raises(UserError) as caught:
        load_network(path, seed, CPU, name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_each_seed_comes_back_in_evaluation_mode(tmp_path):
    path = tmp_path / "mine.safetensors"
    x = torch.rand(2, 1, 8, 8, generator=stream(0))
    for seed, network in zoo(path).items():
        loaded = load_network(path, seed, CPU, "mine")
        assert not any(module.training for module in loaded.modules())
        torch.testing.assert_close(loaded(x), network(x))


@pytest.mark.parametrize("kind", ["clean", "robust"])
def test_network_below_its_floor_is_refused(tmp_path, kind):
    path = tmp_path / "mine.safetensors"
    zoo(path, GOOD | {f"floor_{kind}": 0.95})
    message = refused(path, 10)
    assert str(path) in message and f"{kind} accuracy of seed 10 is {GOOD[kind]:.3f}; expected at least 0.95" in message
    zoo(path, GOOD | {f"floor_{kind}": GOOD[kind]})
    load_network(path, 10, CPU)


def test_missing_seed_names_those_there(tmp_path):
    path = tmp_path / "mine.safetensors"
    zoo(path)
    assert "has no seed 2; expected one of 1, 10" in refused(path, 2)


def test_other_network_is_refused(tmp_path):
    path = tmp_path / "mine.safetensors"
    zoo(path)
    assert "holds mine; expected yours" in refused(path, name="yours")


@pytest.mark.parametrize(
    ("changes", "key"), [({"widths": [4, 6]}, "body.block1.bn1.bias: [6]"), ({"architecture": "vgg"}, "body.block1")]
)
def test_other_architecture_names_the_first_key_that_differs(tmp_path, changes, key):
    path = tmp_path / "mine.safetensors"
    zoo(path, **changes)
    message = refused(path)
    assert "another architecture" in message and key in message


def test_state_with_a_missing_or_an_extra_tensor_is_refused():
    network = build(**ARGUMENTS, generator=stream(0))
    state = network.state_dict()
    for wrong, named in (
        ({k: v for k, v in state.items() if k != "head.bias"}, "head.bias: no such tensor"),
        (state | {"zzz": torch.zeros(3)}, r"zzz: \[3\]"),
    ):
        with pytest.raises(UserError, match=named):
            load_state(network, wrong, "file")


def test_corrupt_absent_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "mine.safetensors"
    assert "no file" in refused(path)
    zoo(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "corrupt" in refused(path, 10)
    torch.save({"state": torch.zeros(2)}, path)
    assert "cannot be read" in refused(path)
    save_tensors(path, {"x": torch.zeros(1)}, {})
    assert "holds no trained network" in refused(path, name="mine")


def test_trunks_come_back_by_name(tmp_path):
    path = tmp_path / "judges.safetensors"
    networks = {name: build(**ARGUMENTS, generator=stream(i)).eval() for i, name in enumerate(("standard", "random"))}
    tensors = {f"{name}/{key}": v for name, net in networks.items() for key, v in net.state_dict().items()}
    save_tensors(path, tensors, {"networks": dict.fromkeys(networks, ARGUMENTS)})
    x = torch.rand(2, 1, 8, 8, generator=stream(0))
    loaded = load_trunks(path, CPU)
    assert loaded.keys() == networks.keys()
    for name, network in networks.items():
        assert not loaded[name].training
        torch.testing.assert_close(loaded[name](x), network(x))
