"""Legacy checkpoints: what is converted, what is refused, and that nothing is executed."""

import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from fourlenses.artifacts import sha256_file
from fourlenses.errors import UserError
from fourlenses.nets import build
from fourlenses.nets.checkpoints import CHECKPOINTS
from fourlenses.nets.convert import convert, read_pickle

X = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def make(architecture="robustness-resnet18", seed=0, n_classes=10, **options):
    return build(architecture, n_classes=n_classes, image_shape=(3, 32, 32),
                 generator=torch.Generator().manual_seed(seed), **options)


def legacy_state(network, wrapper="model."):
    """The state as robustness saves it: DataParallel around a normaliser, the model, and the attacker's copies."""
    state = {}
    for name, value in network.state_dict().items():
        if name.startswith("normalize."):
            for place in ("normalizer", "attacker.normalize"):
                state[f"module.{place}.new_{name.partition('.')[2]}"] = value[0]
        else:
            inner = name.removeprefix("body.") if name.startswith("body.") else network.head_name + name[len("head"):]
            for place in ("", "attacker."):
                state[f"module.{place}{wrapper}{inner}"] = value
    return state


@pytest.mark.parametrize("key", ["model", "state_dict"])
@pytest.mark.parametrize("wrapper", ["model.", "model.model."])
def test_round_trip_of_a_robustness_checkpoint(tmp_path, key, wrapper):
    source, target = make(seed=1, mean=[0.1, 0.2, 0.3], std=[0.4, 0.5, 0.6]), make(seed=2)
    path = tmp_path / "robust.pt"
    torch.save({key: legacy_state(source, wrapper), "epoch": 3, "nat_prec1": np.float64(0.9),
                "adv_prec1": torch.tensor(0.5), "schedule": {"lr_lambdas": [None]}, "optimizer": {"state": {}}}, path)
    source.eval(), target.eval()
    assert not torch.allclose(source(X), target(X))
    assert convert(path, target, sha256=sha256_file(path)) is target
    for name, value in source.state_dict().items():
        assert torch.equal(value, target.state_dict()[name]), name
    assert torch.equal(source(X), target(X))


def test_a_plain_state_dict_of_the_original_keeps_our_normalisation(tmp_path):
    source, target = make(seed=1), make(seed=2, mean=0.25, std=0.5)
    state = {name.removeprefix("module.model."): value for name, value in legacy_state(source).items()
             if name.startswith("module.model.")}
    path = tmp_path / "plain.pt"
    torch.save(state, path)
    convert(path, target, sha256=sha256_file(path))
    assert torch.equal(target.body.conv1.weight, source.body.conv1.weight)
    assert torch.equal(target.head.bias, source.head.bias) and (target.normalize.mean == 0.25).all()


def test_another_architecture_is_refused_by_name_and_nothing_is_loaded(tmp_path):
    path = tmp_path / "vgg.pt"
    torch.save({"model": legacy_state(make("robustness-vgg16"))}, path)
    target = make()
    before = target.state_dict()["body.conv1.weight"].clone()
    with pytest.raises(UserError, match=r"missing body\.conv1\.weight.*unexpected model\.features\.0"):
        convert(path, target, sha256=sha256_file(path))
    assert torch.equal(target.state_dict()["body.conv1.weight"], before)


def test_another_class_count_is_refused_with_both_shapes(tmp_path):
    path = tmp_path / "hundred.pt"
    torch.save({"model": legacy_state(make(n_classes=100))}, path)
    with pytest.raises(UserError, match=r"mis-shaped head\.weight \(100, 512\) instead of \(10, 512\)"):
        convert(path, make(), sha256=sha256_file(path))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def in_zip(path, payload):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(payload, protocol=2))
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")


def bare(path, payload):
    path.write_bytes(pickle.dumps(payload, protocol=2))


def by_torch(path, payload):
    torch.save(payload, path)


@pytest.mark.parametrize("write", [in_zip, bare, by_torch])
def test_a_malicious_pickle_is_refused_and_executes_nothing(tmp_path, write):
    proof, path = tmp_path / "executed", tmp_path / "evil.pt"
    write(path, {"model": {"module.model.conv1.weight": torch.ones(1)}, "epoch": Malicious(proof)})
    with pytest.raises(UserError, match="cannot be read safely") as caught:
        convert(path, make(), sha256=sha256_file(path))
    assert not proof.exists() and "\n" not in str(caught.value)
    if write is by_torch:
        assert "mkdir" in str(caught.value)
        torch.load(path, weights_only=False)
        assert proof.exists()  # the payload is live: only weights_only stood between it and the disk


@pytest.mark.parametrize("content", [b"", b"\x80", b"<!DOCTYPE html><html>no such file</html>", bytes(range(256)) * 9,
                                     b"PK\x03\x04torn"])
def test_torn_and_foreign_files_are_refused(tmp_path, content):
    path = tmp_path / "torn.pt"
    path.write_bytes(content)
    with pytest.raises(UserError, match="cannot be read safely"):
        read_pickle(path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "cut.pt"
    torch.save({"model": {"a": torch.ones(5000)}}, path)
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UserError, match="cannot be read safely"):
        read_pickle(path)


def test_a_list_is_no_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(UserError, match="with a list"):
        read_pickle(tmp_path / "list.pt")


def test_a_digest_is_required_and_checked(tmp_path):
    path = tmp_path / "robust.pt"
    torch.save({"model": {}}, path)
    with pytest.raises(UserError, match="pass it as sha256"):
        convert(path, make())
    with pytest.raises(UserError, match="published none"):
        convert(path, make("robustness-resnet50"), name="robustness-cifar_l2_0_5")
    with pytest.raises(UserError, match="download the file again"):
        convert(path, make(), sha256="0" * 64)
    with pytest.raises(UserError, match="check the path"):
        convert(tmp_path / "none.pt", make(), sha256="0" * 64)
    with pytest.raises(UserError, match="build the network with that architecture"):
        convert(path, make(), name="imagenet-resnet18_l2_eps3")
    with pytest.raises(UserError, match="correct the name"):
        convert(path, make(), name="nothing")


def test_a_published_digest_wins_over_one_that_the_user_gives(tmp_path):
    path = tmp_path / "fake.ckpt"
    torch.save({"model": {}}, path)
    network = build("imagenet-resnet18", n_classes=1000, image_shape=(3, 64, 64), generator=torch.Generator())
    with pytest.raises(UserError, match=CHECKPOINTS["imagenet-resnet18_l2_eps3"].sha256):
        convert(path, network, name="imagenet-resnet18_l2_eps3", sha256=sha256_file(path))


def test_registry_is_well_formed():
    digests = [entry.sha256 for entry in CHECKPOINTS.values() if entry.sha256]
    assert len(set(digests)) == len(digests) > 20
    assert all(len(digest) == 64 and int(digest, 16) for digest in digests)
    assert all(entry.url.startswith("https://") for entry in CHECKPOINTS.values())
    assert {entry.norm for entry in CHECKPOINTS.values()} == {"l2", "linf"}
