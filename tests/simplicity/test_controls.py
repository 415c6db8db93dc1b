"""Which images are simplified, and what they are compared with, by hand and against another library."""

import numpy as np
import piq
import pytest
import torch
from attacked import SHAPE, stream, trained_a_little
from scipy.ndimage import gaussian_filter

from fourlenses.simplicity.controls import answers, chosen, matched_blur, similarity

IMAGES = torch.randint(0, 256, (4, *SHAPE), generator=stream(3), dtype=torch.uint8)


def roughness(x):
    """A stand-in for bits that blur lowers: the variance within an image."""
    return x.double().flatten(1).var(1)


def of(confidences, predicted):
    """log p over three classes with these largest probabilities at these places."""
    p = ((1 - torch.tensor(confidences)) / 2)[:, None].repeat(1, 3)
    p[torch.arange(len(predicted)), torch.tensor(predicted)] = torch.tensor(confidences)
    return p.log()


def test_answers_are_those_of_evaluation_mode():
    network = trained_a_little().train()
    found = answers(network, IMAGES)
    assert network.training
    expected = network.eval()(IMAGES.float() / 255).log_softmax(1)
    torch.testing.assert_close(found, expected.detach())


def test_confident_errors_and_hits_as_confident():
    confidences = [0.9, 0.99, 0.7, 0.95, 0.93, 0.6, 0.88]
    log_p, y = of(confidences, [0, 0, 1, 1, 2, 2, 2]), torch.tensor([1, 0, 0, 1, 0, 2, 2])
    found = chosen(log_p, y, 2)  # wrong are 0, 2 and 4, right 1, 3, 5 and 6
    assert found["wrong"].tolist() == [4, 0] and found["right"].tolist() == [3, 6]
    assert chosen(log_p, y, 10)["wrong"].tolist() == [4, 0, 2]
    assert chosen(log_p, y, 10)["right"].tolist() == [3, 6, 5], "each right one once"


def test_few_images_are_fewer_pairs():
    log_p = of([0.9, 0.8, 0.7], [0, 0, 0])
    assert chosen(log_p, torch.tensor([1, 1, 0]), 3)["right"].tolist() == [2]
    perfect = chosen(log_p, torch.tensor([0, 0, 0]), 2)
    assert perfect["wrong"].tolist() == [] and perfect["right"].tolist() == [0, 1]


@pytest.mark.parametrize("share", [0.8, 0.3, 0.05])
def test_blur_takes_as_few_bits(share):
    wanted = share * roughness(IMAGES) * torch.tensor([1.0, 0.9, 0.8, 0.7], dtype=torch.float64)
    found, sigmas = matched_blur(IMAGES, wanted, roughness)
    assert (roughness(found) <= wanted).all()
    np.testing.assert_allclose(roughness(found), wanted, rtol=0.05)
    for image, sigma, blurred in zip(IMAGES.numpy(), sigmas, found, strict=True):
        expected = np.rint(gaussian_filter(image.astype(np.float32), (0, float(sigma), float(sigma)), mode="mirror"))
        assert np.array_equal(blurred.numpy(), expected)


def test_blur_that_need_not_or_cannot():
    wanted = torch.tensor([1e9, -1.0, 1e9, -1.0], dtype=torch.float64)
    found, sigmas = matched_blur(IMAGES, wanted, roughness)
    assert sigmas.tolist() == [0, SHAPE[1], 0, SHAPE[1]]
    assert torch.equal(found[::2], IMAGES[::2]) and roughness(found)[1::2].max() < 0.05 * roughness(IMAGES).min()


def test_similarity_is_that_of_another_library():
    other = (IMAGES.float() * 0.7 + 20 * torch.rand(IMAGES.shape, generator=stream())).byte()
    found = similarity(IMAGES, other)
    assert similarity(IMAGES, IMAGES) == pytest.approx([1.0] * 4)
    assert np.abs(similarity(IMAGES[:2], IMAGES[2:])).max() < 0.3 < min(found) < max(found) < 1
    settings = {"kernel_size": 7, "data_range": 255.0, "reduction": "none", "downsample": False}
    theirs = piq.ssim(IMAGES.float(), other.float(), **settings)
    np.testing.assert_allclose(found, theirs, atol=0.1)
