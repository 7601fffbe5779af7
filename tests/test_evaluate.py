"""Tiles change nothing, protocols are followed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hinas_nb import data
from hinas_nb.data import ImageSet
from hinas_nb.scoring import evaluate, metrics, protocol

STANDARD = protocol.get("denoise-standard")


class Upscaler(nn.Module):
    """A small SR network with the parts that matter: dilation, pixel-shuffle and a bicubic skip."""

    halo, scale = 4, 3

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=2, dilation=2)
        self.last = nn.Conv2d(8, 27, 5, padding=2)

    def forward(self, x):
        skip = F.interpolate(x, scale_factor=3, mode="bicubic", align_corners=False)
        return skip + F.pixel_shuffle(self.last(F.leaky_relu(self.first(x), 0.2)), 3)


@pytest.fixture
def denoiser():
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(6, 6, 5, padding=4, dilation=2)]
    return nn.Sequential(*layers, nn.LeakyReLU(0.2), nn.Conv2d(6, 1, 3, padding=1)).double()  # halo 1 + 4 + 1


@pytest.fixture
def images():
    """A colour and a grey image of different odd sizes."""
    pixels = [
        torch.randint(0, 256, size, generator=data.stream(0, str(size)), dtype=torch.uint8)
        for size in ((3, 131, 97), (1, 75, 160))
    ]
    return ImageSet("test", "all", ("colour", "grey"), tuple(pixels))


@pytest.mark.parametrize(
    ("size", "tile"),
    [((37, 53), 16), ((37, 53), 200), ((8, 90), 1), ((8, 90), 37), ((64, 64), 32), ((1, 7), 3)],
)
def test_tiled_denoising_is_whole_image_denoising(denoiser, size, tile):
    noisy = torch.rand(2, 1, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        whole = denoiser(noisy)
    assert torch.allclose(evaluate.restore(denoiser, noisy, 6, tile), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(29, 41), (5, 64), (32, 32)])
def test_tiled_upscaling_is_whole_image_upscaling(size):
    network = Upscaler().double()
    low = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        whole = network(low)
    tiled = evaluate.restore(network, low, network.halo, 12)
    assert tiled.shape == (1, 3, size[0] * 3, size[1] * 3)
    assert torch.allclose(tiled, whole, rtol=0, atol=1e-12)


def test_a_halo_too_small_shows(denoiser):
    """The theorem has content: one pixel less and the seams appear."""
    noisy = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        whole = denoiser(noisy)
    assert (evaluate.restore(denoiser, noisy, 5, 16) - whole).abs().max() > 1e-6


def test_large_images_stay_within_the_pixel_budget(denoiser, monkeypatch):
    monkeypatch.setattr(evaluate, "PIXEL_BUDGET", 40 * 40)
    seen = []

    def counting(x):
        seen.append(x.shape[-2] * x.shape[-1])
        return denoiser(x)

    noisy = torch.rand(1, 1, 90, 130, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.no_grad():
        whole = denoiser(noisy)
    assert torch.allclose(evaluate.restore(counting, noisy, 6), whole, rtol=0, atol=1e-12)
    assert max(seen) <= 40 * 40 and len(seen) > 1
    seen.clear()
    evaluate.restore(counting, noisy, None)  # unknown halo: the whole image
    assert seen == [90 * 130]


def test_restorations_that_do_not_fit_are_refused(images):
    cases = [
        (lambda: evaluate.restore(nn.Identity(), torch.zeros(1, 1, 9, 9), None, 4), "needs a known halo"),
        (
            lambda: evaluate.restore(nn.Identity(), torch.zeros(1, 1, 9, 9), 2, 0),
            "tile must be at least 1 pixel",
        ),
        (lambda: evaluate.restore(nn.AvgPool2d(2), torch.zeros(1, 1, 9, 9), 2, 4), "must be a multiple"),
        (
            lambda: next(evaluate.evaluate(nn.AvgPool2d(2), images, STANDARD)),
            "restoration of colour must be of shape",
        ),
    ]
    for act, text in cases:
        with pytest.raises(ValueError) as error:
            act()
        assert text in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", protocol.PRESETS)
def test_every_preset_scores_every_image(images, name):
    settings = protocol.get(name, scale=3 if name.startswith("sr") else None)
    scores = list(evaluate.evaluate(evaluate.baseline(settings), images, settings))
    assert [score.image for score in scores] == ["colour", "grey"]
    for score, image in zip(scores, images.images):
        _, clean = settings.pair(image, score.image)
        assert (score.height, score.width) == tuple(clean.shape[-2:])
        assert score.restored.dtype == torch.float32 and 0 <= score.restored.min() <= score.restored.max() <= 1
        assert score.psnr == metrics.psnr(score.restored, clean, settings).item()
        assert score.ssim == metrics.ssim(score.restored, clean, settings).item()
        assert score.seconds >= 0
    again = [(score.psnr, score.ssim) for score in evaluate.evaluate(evaluate.baseline(settings), images, settings)]
    assert again == [(score.psnr, score.ssim) for score in scores]


def test_overlapping_fresh_noise_is_averaged_and_one_noisy_image_is_not():
    """For the identity the released protocol's mean squared error is sigma^2 times the mean of 1/looks."""
    flat = ImageSet("test", "all", ("flat",), (torch.full((1, 321, 481), 128, dtype=torch.uint8),))
    fresh = protocol.get("denoise-released", sigma=10)
    cut = fresh.but(fresh_noise=False)
    looks = fresh.looks(321, 481).double()
    variance = (10 / 255) ** 2
    for settings, expected in ((fresh, variance * (1 / looks).mean()), (cut, variance)):
        (score,) = evaluate.evaluate(evaluate.baseline(settings), flat, settings)
        assert 10 ** (-score.psnr / 10) == pytest.approx(float(expected), rel=0.02)
    (whole,) = evaluate.evaluate(evaluate.baseline(cut), flat, cut.but(tile=None))
    assert whole.psnr == pytest.approx(score.psnr, abs=1e-4)  # tiles of one noisy image put it together again


def test_the_restoration_sees_tiles_one_by_one(images):
    seen = []

    def look(noisy):
        seen.append(tuple(noisy.shape))
        return noisy

    settings = protocol.get("denoise-released").but(tile=32)
    list(evaluate.evaluate(look, images, settings))
    assert set(seen) == {(1, 1, 32, 32)}
    assert len(seen) == sum(len(settings.tiles(*image.shape[-2:])) for image in images.images)


def test_baseline_upscales_to_8_bit(images):
    settings = protocol.get("sr-standard", scale=2)
    low, high = settings.pair(images.images[0], "colour")
    up = evaluate.baseline(settings)(low)
    assert up.shape == high.shape and torch.allclose(up * 255, (up * 255).round(), atol=1e-4)


def test_a_restoration_that_is_not_finite_is_no_score(images):
    with pytest.raises(ValueError, match="restoration of colour must be finite, got NaN or infinite"):
        list(evaluate.evaluate(lambda noisy: noisy / 0 * 0, images, STANDARD))
