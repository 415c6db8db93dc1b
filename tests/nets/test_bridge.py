"""The bridge to robustness and torchvision."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fourlenses.errors import UserError
from fourlenses.nets import NETWORKS, build
from fourlenses.nets.taps import activations

CIFAR = sorted(name for name in NETWORKS if name.startswith("robustness-"))
WIDTH = {"robustness-resnet18": 512, "robustness-resnet50": 2048, "robustness-vgg16": 512,
         "robustness-densenet121": 1024, "robustness-inceptionv3": 2048}
X = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def make(architecture: str, seed: int = 0, n_classes: int = 7, shape=(3, 32, 32)):
    return build(architecture, n_classes=n_classes, image_shape=shape, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.4],
                 generator=torch.Generator().manual_seed(seed)).eval()


def restored(network):
    """The original model: the body with its head back in place."""
    network.body.set_submodule(network.head_name, network.head)
    return network.body


@pytest.mark.parametrize("architecture", CIFAR)
def test_cifar_architectures_agree_with_robustness_itself(architecture):
    network = make(architecture)
    maps = activations(network, X, network.stages)
    assert len(maps) >= 3 and all(m.ndim == 4 for m in maps.values())
    with torch.no_grad():
        features, logits = network.features(X), network(X)
        original = restored(network)
        expected_logits, latent = original(network.normalize(X), with_latent=True)
    assert features.shape == (1, WIDTH[architecture]) and logits.shape == (1, 7)
    assert torch.equal(features, latent) and torch.equal(logits, expected_logits)


@pytest.mark.parametrize("architecture", ["robustness-resnet18", "robustness-densenet121"])
def test_straight_through_relu_changes_the_gradient_not_the_value(architecture):
    network = make(architecture)
    gradients, values = [], []
    for fake_relu in (False, True):
        x = X.clone().requires_grad_()
        features = network.features(x, fake_relu=fake_relu)
        features.sum().backward()
        gradients.append(x.grad)
        values.append(features.detach())
    assert torch.equal(*values) and not torch.allclose(*gradients)


@pytest.mark.parametrize("architecture", ["robustness-vgg16", "robustness-inceptionv3"])
def test_straight_through_relu_is_refused_where_there_is_none(architecture):
    with pytest.raises(UserError, match="straight-through"):
        make(architecture).features(X, fake_relu=True)


def test_initialisation_comes_from_the_generator_and_the_global_state_is_restored():
    before = torch.random.get_rng_state()
    first, second, other = (make("robustness-resnet18", seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    weight = [network.body.conv1.weight for network in (first, second, other)]
    assert torch.equal(weight[0], weight[1]) and not torch.equal(weight[0], weight[2])


def test_imagenet_names_are_those_of_torchvision_with_the_same_keys():
    network = make("imagenet-resnet18", shape=(3, 64, 64))
    from torchvision.models import resnet18

    theirs = resnet18(num_classes=7).eval()
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, features = network(x), network.features(x)
        assert features.shape == (2, 512) and network.straight_through
        theirs.load_state_dict(restored(network).state_dict())
        assert torch.allclose(theirs(network.normalize(x)), ours, atol=1e-5)


def test_any_other_classifier_of_torchvision():
    network = make("imagenet-mobilenet_v2", shape=(3, 64, 64))
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert network.features(x).shape == (2, 1280)
        assert torch.equal(network(x), restored(network)(network.normalize(x)))


def test_the_missing_module_is_supplied():
    from fourlenses.nets.bridge import import_torchvision

    import_torchvision()
    from torchvision.models.utils import load_state_dict_from_url

    assert load_state_dict_from_url is torch.hub.load_state_dict_from_url


def test_torchvision_without_its_compiled_operators_still_gives_models(tmp_path):
    """What a CPU-only torch beside the ordinary torchvision wheel amounts to."""
    installed = Path(importlib.util.find_spec("torchvision").origin).parent
    shutil.copytree(installed, tmp_path / "torchvision", ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
    code = ("from fourlenses.nets.bridge import DECLARED, import_torchvision as load\n"
            f"assert load().__file__.startswith({str(tmp_path)!r}) and DECLARED\n"
            "import torch; print(load().models.resnet18(num_classes=3).eval()(torch.zeros(1, 3, 32, 32)).shape)")
    run = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"},
                         capture_output=True, text=True, timeout=120)
    assert "torch.Size([1, 3])" in run.stdout, run.stderr


@pytest.mark.parametrize(("architecture", "options", "words"), [
    ("robustness-resnet18", {"image_shape": (1, 28, 28)}, "3, 32, 32"),
    ("robustness-vgg16", {"widths": [4, 8]}, "no widths"),
    ("imagenet-resnet19", {"image_shape": (3, 64, 64)}, "resnet18"),
    ("imagenet-squeezenet1_1", {"image_shape": (3, 64, 64)}, "linear layer"),
])
def test_a_mistake_is_one_line(architecture, options, words):
    good = {"n_classes": 10, "image_shape": (3, 32, 32), "generator": torch.Generator()}
    with pytest.raises(UserError, match=words):
        build(architecture, **(good | options))
