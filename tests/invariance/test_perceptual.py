"""The LPIPS form and the distance through a trunk."""

import warnings

import numpy as np
import pytest
import torch
from small_judges import SHAPE, TRUNKS, images

from fourlenses.errors import UserError
from fourlenses.invariance import judges
from fourlenses.invariance.perceptual import TrunkDistance, lpips_distance
from fourlenses.nets import build


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
