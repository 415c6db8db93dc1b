"""The judges: sanity, the LPIPS form, SSIM, the negative control and the calibrated LPIPS."""

import hashlib
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import structural_similarity

from fourlenses.errors import UserError
from fourlenses.invariance import judges
from fourlenses.invariance.judges import (
    JUDGES,
    PANEL,
    choose,
    control,
    find_lpips,
    look,
    sanity,
)
from fourlenses.invariance.perceptual import TrunkDistance, lpips_distance
from fourlenses.nets import build

SHAPE = (1, 28, 28)


def images(n, shape=SHAPE, seed=0):
    """Smooth random images with black and white regions, as real ones have."""
    coarse = torch.rand(n, shape[0], 5, 5, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(coarse, size=shape[1:], mode="bicubic") * 1.6 - 0.3).clamp(0, 1)


def trunks(shape=SHAPE):
    return {name: build(architecture, widths=[8, 12, 16], n_classes=10, image_shape=shape, mean=0.3, std=0.3,
                        generator=torch.Generator().manual_seed(i)).eval()
            for i, (name, architecture) in enumerate((("standard", "resnet"), ("robust", "vgg"), ("random", "resnet")))}


TRUNKS = trunks()
PANELISTS = {name: JUDGES[name].build(TRUNKS) for name in PANEL}
SEED_IMAGE = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9)).clamp(0, 1)


@pytest.mark.parametrize("name", PANEL)
def test_target_scores_100_and_seed_scores_0_exactly(name):
    result = sanity(PANELISTS[name], images(12), SEED_IMAGE)
    assert result == {"target_score": 100.0, "seed_score": 0.0, "non_negative": 1.0, "symmetric": 1.0, "passes": 1.0}


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (3, 33, 40)])
@pytest.mark.parametrize("name", PANEL)
def test_sanity_at_other_sizes(name, shape):
    judge = JUDGES[name].build(trunks(shape))
    seed_image = torch.randn(shape, generator=torch.Generator().manual_seed(9)).clamp(0, 1)
    assert sanity(judge, images(4, shape), seed_image)["passes"] == 1


@given(seed=st.integers(0, 2**31), kind=st.sampled_from(["noise", "smooth", "constant", "near"]))
@settings(max_examples=12, deadline=None)
@pytest.mark.parametrize("name", PANEL)
def test_non_negative_symmetric_zero_on_itself(name, seed, kind):
    x = images(2, seed=seed)
    noise = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(seed))
    other = {"noise": noise, "smooth": images(2, seed=seed + 1),
             "constant": torch.full((2, *SHAPE), seed % 2), "near": (x + 1e-3).clamp(0, 1)}[kind].float()
    judge = PANELISTS[name]
    forth, back, same = judge(x, other), judge(other, x), judge(x, x)
    assert forth.shape == (2,) and forth.dtype == torch.float32 and not forth.requires_grad
    assert (forth >= 0).all() and torch.allclose(forth, back, atol=1e-6, rtol=1e-6)
    assert same.abs().max() <= 1e-6 and (kind == "near" or (forth > same).all())


def test_the_negative_control_fails_and_its_draws_differ():
    controls = control(TRUNKS["standard"], torch.Generator().manual_seed(0))
    assert list(controls) == [f"J9-{k}" for k in range(10)]
    results = [sanity(judge, images(20), SEED_IMAGE) for judge in controls.values()]
    assert sum(result["passes"] for result in results) <= 5
    assert min(result["target_score"] for result in results) == 0
    assert any(result["non_negative"] == 0 for result in results)
    distances = torch.stack([judge(images(3), images(3, seed=1)) for judge in controls.values()])
    assert (distances < 0).any() and (distances > 0).any()
    again = control(TRUNKS["standard"], torch.Generator().manual_seed(0), draws=2)
    assert torch.equal(again["J9-1"](images(3), images(3, seed=1)), distances[1])


def test_the_form_equals_a_float64_loop():
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 5, 6), (3, 7, 2, 3)]
    x, y = ([torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes] for _ in range(2))
    x[0][1, :, 2, 2] = 0
    weights = [torch.rand(shape[1], generator=generator, dtype=torch.float64) for shape in shapes]
    expected = np.zeros(3)
    for a, b, w in zip(x, y, weights, strict=True):
        n, c, height, width = a.shape
        for i in range(n):
            total = 0.0
            for row in range(height):
                for column in range(width):
                    u, v = a[i, :, row, column].numpy(), b[i, :, row, column].numpy()
                    u, v = u / max(np.linalg.norm(u), 1e-10), v / max(np.linalg.norm(v), 1e-10)
                    total += sum(float(w[k]) * (u[k] - v[k]) ** 2 for k in range(c))
            expected[i] += total / (height * width)
    assert np.allclose(lpips_distance(x, y, weights).numpy(), expected, rtol=1e-9)
    ones = [torch.ones_like(w) for w in weights]
    assert torch.equal(lpips_distance(x, y), lpips_distance(x, y, ones))
    half = lpips_distance([f.bfloat16() for f in x], [f.bfloat16() for f in y])
    assert half.dtype == torch.float32 and torch.allclose(half.double(), lpips_distance(x, y), rtol=0.02)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_the_form_equals_the_lpips_package(net):
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judges.import_torchvision()
        import lpips

        torch.default_generator.manual_seed(0)
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False, spatial=False)
    x, y = images(2, (3, 64, 64)), images(2, (3, 64, 64), seed=1)
    with torch.no_grad():
        expected = model(x, y, normalize=True).flatten()
        maps = [model.net(model.scaling_layer(2 * image - 1)) for image in (x, y)]
        weights = [lin.model[-1].weight.flatten() for lin in model.lins]
        assert torch.allclose(lpips_distance(*maps, weights), expected, rtol=1e-4, atol=1e-7)


def test_gradient_is_finite_on_dead_maps_and_equals_finite_differences():
    x = torch.zeros(2, 5, 3, 3, dtype=torch.float64)
    x[0] = torch.rand(5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    y = torch.rand(2, 5, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    dead = x.clone().requires_grad_()
    lpips_distance([dead], [y]).sum().backward()
    assert dead.grad.isfinite().all() and dead.grad[0].abs().sum() > 0
    live = x[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda f: lpips_distance([f], [y[:1]]), (live,))


def test_trunk_distance_with_a_reference_is_the_same_distance_and_gradient():
    distance = TrunkDistance(TRUNKS["standard"])
    y = images(4, seed=1)
    x = images(4).requires_grad_()
    direct = distance(x, y)
    stored = distance.reference(y)
    assert not any(f.requires_grad for f in stored)
    assert torch.equal(distance.to(x, stored), direct)
    (gradient,) = torch.autograd.grad(distance.to(x, stored).sum(), x)
    assert gradient.isfinite().all() and (gradient.flatten(1).norm(dim=1) > 0).all()
    one = distance.to(x, distance.reference(y[:1]))
    assert torch.allclose(one, distance(x, y[:1].expand_as(y)), rtol=1e-5)
    step = x.detach() - 0.05 * gradient / gradient.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    assert (distance(step, y) < direct).all()


def test_trunk_is_a_frozen_copy_in_evaluation_mode():
    network = build("vgg", widths=[4, 6], n_classes=3, image_shape=SHAPE, generator=torch.Generator().manual_seed(0))
    distance = TrunkDistance(network)
    before = distance(images(2), images(2, seed=1))
    network(images(8))
    next(network.parameters()).data.zero_()
    assert network.training and torch.equal(distance(images(2), images(2, seed=1)), before)


def test_layers_default_to_the_stages_and_must_exist():
    stages = TrunkDistance(TRUNKS["standard"])
    named = TrunkDistance(TRUNKS["standard"], ["body.stem", "body.block1", "body.block2"])
    assert torch.equal(stages(images(2), images(2, seed=1)), named(images(2), images(2, seed=1)))
    with pytest.raises(UserError, match="at least one"):
        TrunkDistance(TRUNKS["standard"], [])
    with pytest.raises(UserError, match="body.block1"):
        TrunkDistance(TRUNKS["standard"], ["body.blok1"])(images(1), images(1))


def test_judges_measure_in_float32_under_autocast():
    x, y = images(7), images(7, seed=1)
    plain = PANELISTS["J1"](x, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(PANELISTS["J1"](x, y), plain)


def test_judges_that_see_alike_look_once():
    x, y = images(5), images(5, seed=1)
    jury = PANELISTS | control(TRUNKS["standard"], torch.Generator().manual_seed(0))
    seen_x, seen_y = look(jury.values(), x), look(jury.values(), y)
    assert len(seen_x) == 5  # three trunks, the control's own copy, and pixels
    for name, judge in jury.items():
        assert torch.equal(judge.between(seen_x[judge.see], seen_y[judge.see]), judge(x, y)), name


def noisy_pair(shape):
    x = images(3, shape)
    return x, (x + 0.2 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2))).clamp(0, 1)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 40)])
def test_ssim_equals_scikit_image(shape):
    x, y = noisy_pair(shape)
    ours = JUDGES["J5"].build({})(x, y)
    for i in range(3):
        expected = structural_similarity(x[i].double().numpy(), y[i].double().numpy(), channel_axis=0, data_range=1.0,
                                         gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
        assert ours[i].item() == pytest.approx(1 - expected, abs=1e-4)


@pytest.mark.parametrize(("shape", "window"), [((1, 8, 8), 7), ((1, 9, 30), 9), ((2, 10, 12), 9)])
def test_ssim_of_small_images_uses_the_largest_window_that_fits(shape, window):
    x, y = noisy_pair(shape)
    offsets = np.arange(window) - window // 2
    kernel = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    kernel /= kernel.sum()
    ours = JUDGES["J5"].build({})(x, y)
    for i in range(3):
        values = []
        for a, b in zip(x[i].double().numpy(), y[i].double().numpy(), strict=True):
            for row in range(shape[1] - window + 1):
                for column in range(shape[2] - window + 1):
                    u, v = (z[row:row + window, column:column + window] for z in (a, b))
                    mu, mv = (kernel * u).sum(), (kernel * v).sum()
                    su, sv = (kernel * (u - mu) ** 2).sum(), (kernel * (v - mv) ** 2).sum()
                    suv = (kernel * (u - mu) * (v - mv)).sum()
                    values.append((2 * mu * mv + 1e-4) * (2 * suv + 9e-4) / (mu**2 + mv**2 + 1e-4) / (su + sv + 9e-4))
        assert ours[i].item() == pytest.approx(1 - np.mean(values), abs=1e-4)


def test_pixel_and_pooled_distances_by_hand():
    x, y = torch.zeros(2, 1, 10, 8), torch.zeros(2, 1, 10, 8)
    y[0, 0, 0, 0], y[1, 0, 9, 7] = 0.8, 0.6
    assert torch.allclose(JUDGES["J4"].build({})(x, y), torch.tensor([0.8, 0.6]))
    assert torch.allclose(JUDGES["J6"].build({})(x, y), torch.tensor([0.8 / 16, 0.6 / 8]))


def test_choose():
    target, seed = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 1.0, 3.0])
    assert choose(target, seed).tolist() == [1.0, 0.0, 0.5]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(UserError, match="finite"):
            choose(torch.tensor([1.0, bad]), torch.tensor([1.0, 1.0]))


def test_sanity_catches_each_fault():
    def ok(x, y):
        return (x - y).flatten(1).norm(dim=1)

    faults = {"target_score": lambda x, y: -ok(x, y), "non_negative": lambda x, y: ok(x, y) - 1e-3,
              "symmetric": lambda x, y: ok(x, y) * (1 + x.mean((1, 2, 3))),
              "seed_score": lambda x, y: torch.zeros(len(x))}
    assert sanity(ok, images(5), SEED_IMAGE)["passes"] == 1
    good = {"target_score": 100, "seed_score": 0, "non_negative": 1, "symmetric": 1}
    for name, judge in faults.items():
        result = sanity(judge, images(5), SEED_IMAGE)
        assert result["passes"] == 0 and result[name] != good[name], name


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
            parameter.copy_(trunk["features" + name[len("slice1"):]])
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
