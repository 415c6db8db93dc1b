"""The calibrated LPIPS as a judge, when its weights are on this machine."""

import hashlib
import warnings

import pytest
import torch
import torch.nn.functional as F
from small_judges import SEED_IMAGE, images

from fourlenses.errors import UserError
from fourlenses.invariance import judges
from fourlenses.invariance.judges import find_lpips, sanity


def fake_trunk(net):
    judges.import_torchvision()
    from torchvision.models import alexnet, vgg16

    torch.default_generator.manual_seed(5)
    features = {"alex": alexnet, "vgg": vgg16}[net]().features
    return {f"features.{name}": value for name, value in features.state_dict().items()}


@pytest.fixture(scope="module", params=["alex", "vgg"])
def calibrated(request, tmp_path_factory):
    """An LPIPS found on disk, with a random trunk under the right name whose digest is pinned for the test."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder, net = tmp_path_factory.mktemp(request.param), request.param
        trunk = fake_trunk(net)
        name = judges.LPIPS_TRUNKS[net][0]
        torch.save(trunk, folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(judges.LPIPS_TRUNKS, net, (name, digest))
            before = torch.random.get_rng_state()
            judge, status = find_lpips(net, [folder / "absent", folder])
            assert torch.equal(torch.random.get_rng_state(), before)
    return net, trunk, judge, status


def test_calibrated_lpips_is_a_sane_judge_on_small_grey_images(calibrated):
    _net, _trunk, judge, status = calibrated
    assert status == "used"
    assert sanity(judge, images(3), SEED_IMAGE)["passes"] == 1


def test_calibrated_lpips_uses_the_given_trunk_and_the_calibrated_weights(calibrated):
    net, trunk, judge, _status = calibrated
    x, y = images(2), images(2, seed=1)
    import lpips

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
        warnings.simplefilter("ignore")
        peer = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        for name, parameter in peer.net.named_parameters():
            parameter.copy_(trunk["features" + name[len("slice1") :]])
        large = [F.interpolate(i, size=(64, 64), mode="bilinear").repeat(1, 3, 1, 1) * 2 - 1 for i in (x, y)]
        assert all((lin.model[-1].weight >= 0).all() for lin in peer.lins)
        assert torch.allclose(judge(x, y), peer(*large).flatten(), rtol=1e-4)


def test_missing_or_wrong_lpips_is_named_never_replaced(tmp_path):
    judge, reason = find_lpips("alex", [tmp_path])
    assert judge is None and reason == "missing: alexnet-owt-7be5be79.pth is in none of the folders searched"
    (tmp_path / "vgg16-397923af.pth").write_bytes(b"<html>")
    judge, reason = find_lpips("vgg", [tmp_path])
    assert judge is None and "another sha256 than 397923af8e79" in reason
    with pytest.raises(UserError, match="alex, vgg"):
        find_lpips("squeeze", [tmp_path])
    for name, digest in judges.LPIPS_TRUNKS.values():
        assert len(digest) == 64 and digest.startswith(name.rpartition("-")[2].removesuffix(".pth"))
