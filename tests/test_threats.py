"""What is drawn, against loops and other libraries; the attacks that draw it, by what must hold of any."""

import io
import itertools
import math

import numpy as np
import pytest
import torch
from attacked import SHAPE, X, Y, attack, loss_of, stream, trained_a_little
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.fft import idctn
from scipy.signal import convolve2d

from fourlenses.attacks import STEPS, frozen, projected_gradient
from fourlenses.threats import (
    CHROMINANCE,
    KERNEL,
    LUMINANCE,
    SNOWFALL,
    artefacts,
    flakes,
    gabor_kernels,
    gabor_noise,
    snowflakes,
)

NORMS = ["jpeg", "gabor", "snow"]
TABLES = (LUMINANCE, CHROMINANCE, CHROMINANCE)
EPS = {"jpeg": 20.0, "gabor": 0.4, "snow": 0.5}
NETWORK = trained_a_little()


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=stream(seed), dtype=torch.float64)


def stepper(norm: str, x: torch.Tensor, eps: float = 0.3, step_size: float = 0.1):
    return STEPS[norm](orig_input=x, eps=eps, step_size=step_size)


def size(norm: str, z: torch.Tensor) -> torch.Tensor:
    return z.flatten(1).norm(dim=1) if norm == "jpeg" else z.flatten(1).abs().amax(1)


def test_quantisation_tables_are_those_of_pillow_at_quality_50():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=50)
    tables = Image.open(file).quantization
    for table, ours in ((tables[0], LUMINANCE), (tables[1], CHROMINANCE)):
        assert list(table) == [entry for row in ours for entry in row]


def test_artefacts_are_the_inverse_transform_of_scipy_block_by_block():
    z = draws(2, 1, 16, 24)
    expected = torch.empty_like(z)
    for i, top, left in itertools.product(range(2), (0, 8), (0, 8, 16)):
        block = z[i, 0, top : top + 8, left : left + 8].numpy() * np.array(LUMINANCE)
        expected[i, 0, top : top + 8, left : left + 8] = torch.from_numpy(idctn(block, norm="ortho"))
    torch.testing.assert_close(artefacts(z), expected / 255)


def test_colour_is_that_of_pillow():
    """A move of the mean of each plane of grey, decoded; Pillow rounds to whole steps of 1/255."""
    z = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    z[0, :, 0, 0] = torch.tensor([5.0, -7.0, 9.0])
    moved = [128 + value * table[0][0] / 8 for value, table in zip((5, -7, 9), TABLES, strict=True)]
    decoded = Image.new("YCbCr", (1, 1), tuple(round(value) for value in moved)).convert("RGB").getpixel((0, 0))
    ours = 128 + 255 * artefacts(z)[0, :, 3, 4]
    torch.testing.assert_close(ours, torch.tensor(decoded, dtype=torch.float64), atol=2, rtol=0)


def test_two_channels_are_no_jpeg():
    with pytest.raises(ValueError, match="2 channels"):
        artefacts(draws(1, 2, 8, 8))


def test_kernels_against_a_loop():
    sides, sigma, frequency, angle = torch.tensor([1, 3, 10]), [0.1, 0.2, 0.4], [3.0, 4.0, 5.75], [0.0, 1.0, 3.0]
    ours = gabor_kernels(sides, *(torch.tensor(v, dtype=torch.float64) for v in (sigma, frequency, angle)))
    for k, row, column in itertools.product(range(3), (0, 4, 11, 22), (0, 9, 22)):
        y, x = row / 22 - 0.5, column / 22 - 0.5
        waves = 0.0
        for i in range(int(sides[k])):
            theta = angle[k] + math.pi * i / int(sides[k])
            waves += math.cos(2 * math.pi * frequency[k] * (x * math.cos(theta) + y * math.sin(theta)))
        expected = waves * math.exp(-(x * x + y * y) / (2 * sigma[k] ** 2))
        assert float(ours[k, row, column]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("sides", [(9, 30), (14, 14)])
def test_noise_is_the_convolution_of_scipy(sides):
    kernels, z = draws(2, KERNEL, KERNEL), draws(2, 5, seed=1)
    places = torch.rand(2, sides[0] * sides[1], generator=stream(2)).topk(5).indices
    ours = gabor_noise(z, places, kernels, *sides)
    for i in range(2):
        impulses = np.zeros(sides[0] * sides[1])
        impulses[places[i]] = z[i]
        g = torch.from_numpy(convolve2d(impulses.reshape(sides), kernels[i].numpy(), mode="same"))
        torch.testing.assert_close(ours[i, 0], g / g.abs().max())
    torch.testing.assert_close(gabor_noise(3 * z, places, kernels, *sides), ours)


def test_flakes_are_streaks_of_their_width_around_their_line():
    centres, ends = torch.tensor([[0.0, 0.0], [1.0, 3.0]]), torch.tensor([[6.0, 2.0], [3.0, -4.0]])
    widths = torch.tensor([1.5, 3.5])
    ours = flakes(centres, ends, widths)
    line = torch.linspace(-1, 1, 4001)[:, None]
    for k, row, column in itertools.product(range(2), range(20), range(20)):
        at = torch.tensor([row - 8.0, column - 8.0])
        distance = (centres[k] + line * ends[k] - at).norm(dim=1).min()
        expected = float(((widths[k] + 1) / 2 - distance).clamp(0, 1))
        assert float(ours[k, 0, row, column]) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("sides", [(8, 8), (14, 14), (9, 17)])
def test_snow_is_the_sum_of_its_flakes(sides):
    z, kinds = draws(1, 7, math.ceil(sides[0] / 4), math.ceil(sides[1] / 4)), draws(7, 1, 20, 20, seed=1)
    expected = torch.zeros(1, 1, *sides, dtype=torch.float64)
    for j, r, c in itertools.product(*map(range, z.shape[1:])):
        for row, column in itertools.product(range(sides[0]), range(sides[1])):
            at = row - 4 * r + 8, column - 4 * c + 8
            if 0 <= min(at) and max(at) < 20:
                expected[0, 0, row, column] += z[0, j, r, c] * kinds[j, 0, at[0], at[1]]
    torch.testing.assert_close(snowflakes(z, kinds, *sides), expected)


def test_gradients_against_finite_differences():
    kernels, places = draws(2, KERNEL, KERNEL), torch.tensor([[3, 50, 90], [8, 9, 10]])
    for function, z in (
        (artefacts, draws(1, 3, 8, 8)),
        (lambda z: gabor_noise(z, places, kernels, 10, 10), draws(2, 3)),
        (lambda z: snowflakes(z, flakes(*draws(2, 7, 2), draws(7).abs()), 9, 9), draws(1, 7, 3, 3)),
    ):
        assert torch.autograd.gradcheck(function, z.requires_grad_(True), fast_mode=False)


@pytest.mark.parametrize("norm", NORMS)
def test_nothing_drawn_leaves_the_image(norm):
    step = stepper(norm, X)
    start = step.random_perturb(X)
    torch.testing.assert_close(step.to_image(torch.zeros_like(start)), X)
    assert (step.to_image(start) - X).abs().amax() > 0.01


@settings(max_examples=60, deadline=None)
@given(
    norm=st.sampled_from(NORMS), channels=st.sampled_from([1, 3]), height=st.integers(8, 20), width=st.integers(8, 33),
    eps=st.floats(1e-3, 50), pace=st.floats(0.01, 10), seed=st.integers(0, 100),
)  # fmt: skip
def test_points_stay_in_the_budget_and_images_in_the_pixels(norm, channels, height, width, eps, pace, seed):
    x = (torch.rand(2, channels, height, width, generator=stream(seed)) * 1.5 - 0.25).clamp(0, 1)
    step = stepper(norm, x, eps, pace * eps)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        z = step.random_perturb(x)
    for k in range(3):
        assert (size(norm, z) <= eps * 1.00001).all() and torch.isfinite(z).all()
        image = step.to_image(z)
        assert image.shape == x.shape and 0 <= image.min() and image.max() <= 1
        if norm == "gabor":
            assert ((image - x).abs() <= eps + 1e-6).all()
        if norm == "snow":
            assert (z >= 0).all() and (z.mean((1, 2, 3)) <= SNOWFALL * eps * 1.0001).all() and (image >= x).all()
        z = step.project(step.step(z, torch.randn(z.shape, generator=stream(seed + k))))


@pytest.mark.parametrize("norm", NORMS)
def test_a_flat_loss_moves_nothing(norm):
    step = stepper(norm, X)
    z = step.random_perturb(X)
    torch.testing.assert_close(step.project(step.step(z, torch.zeros_like(z))), z)
    assert torch.isfinite(step.to_image(step.project(torch.zeros_like(z)))).all()


@pytest.mark.parametrize("norm", NORMS)
def test_attack_raises_the_loss_of_every_start(norm):
    seen = []

    def loss(x):
        seen.append(x.detach())
        return torch.nn.functional.cross_entropy(NETWORK(x), Y, reduction="none")

    options = {"norm": norm, "eps": EPS[norm], "step_size": EPS[norm] / 4, "steps": 10}
    with frozen(NETWORK):
        found = projected_gradient(loss, X, **options, generator=stream())
    start, after = (loss_of(NETWORK, images) for images in (seen[0], found))
    assert (after >= start).all() and after.mean() > start.mean() + 0.05
    torch.testing.assert_close(after, torch.stack([loss_of(NETWORK, images) for images in seen]).amax(0))


@pytest.mark.parametrize("norm", NORMS)
def test_more_restarts_are_never_worse(norm):
    """Both draw the same first start; the others have other kernels and flakes, which the images returned keep."""
    options = {"norm": norm, "eps": EPS[norm], "step_size": EPS[norm] / 4, "steps": 2}
    once, often = (loss_of(NETWORK, attack(NETWORK, **options, generator=stream(5), restarts=n)) for n in (1, 6))
    assert (often >= once - 1e-6).all() and (often > once + 1e-6).any()


@pytest.mark.parametrize("norm", NORMS)
def test_draws_come_from_the_generator_alone(norm):
    options = {"norm": norm, "eps": EPS[norm], "step_size": EPS[norm] / 4, "steps": 2}
    state = torch.random.get_rng_state()
    first, again, other = (attack(NETWORK, **options, generator=stream(seed)) for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first, again) and not torch.equal(first, other)
    with pytest.raises(ValueError, match=f"{norm} starts at random"):
        attack(NETWORK, **options)


def test_each_image_has_its_own_kernel_and_places_and_a_batch_one_snow():
    x = torch.rand(64, *SHAPE, generator=stream())
    gabor, snow = stepper("gabor", x), stepper("snow", x)
    gabor.random_perturb(x), snow.random_perturb(x)
    assert len({kernel.numpy().tobytes() for kernel in gabor.kernels}) == 64
    assert all(len(set(row)) == len(row) == math.ceil(math.prod(SHAPE[1:]) / 14) for row in gabor.places.tolist())
    assert snow.flakes.shape == (7, 1, 20, 20)
    assert (snow.flakes.flatten(1).amax(1) == 1).all() and (snow.flakes.flatten(1).sum(1) > 5).all()
