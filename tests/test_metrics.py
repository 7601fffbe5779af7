"""PSNR and SSIM against their definitions, scikit-image and the published bicubic rows."""

from functools import cache

import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from hinas_nb import data
from hinas_nb.scoring import evaluate, metrics, protocol

GREY = protocol.get("denoise-standard")
FLOAT = GREY.but(round_output=False)
SR = protocol.get("sr-standard", scale=2)

#: PSNR (dB) and SSIM of MATLAB's bicubic as the SR literature prints them.
PUBLISHED = {
    ("Set5", 2): (33.66, 0.9299), ("Set5", 3): (30.39, 0.8682), ("Set5", 4): (28.42, 0.8104),
    ("Set14", 2): (30.24, 0.8688), ("Set14", 3): (27.55, 0.7742), ("Set14", 4): (26.00, 0.7027),
}  # fmt: skip
#: Range of sr-released minus sr-standard without rounding on the same rows, over the scales.
DEVIATIONS = {"Set5": ((0.05, 0.17), (0.001, 0.004)), "Set14": ((-0.27, -0.20), (0.002, 0.007))}


@pytest.fixture
def images():
    """Two unlike colour images and noisy estimates, float64 (2, 3, 41, 37)."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(41.0), torch.arange(37.0), indexing="ij")
    waves = [0.5 + 0.4 * torch.sin(rows / k) * torch.cos(columns / (k + 1)) for k in range(2, 8)]
    truth = torch.stack(waves).double().reshape(2, 3, 41, 37)
    return truth + 0.08 * torch.randn(truth.shape, generator=generator, dtype=truth.dtype), truth


def test_constant_error_of_a_tenth_is_20_db():
    truth = torch.full((2, 1, 16, 16), 0.4, dtype=torch.float64)
    assert torch.allclose(metrics.psnr(truth + 0.1, truth, FLOAT), torch.tensor([20.0, 20.0]).double(), atol=1e-12)


def test_constant_error_of_one_grey_level_is_48_db():
    truth = torch.full((1, 1, 16, 16), 100 / 255)
    assert metrics.psnr(truth + 1 / 255, truth, GREY).item() == pytest.approx(48.1308, abs=1e-4)
    assert metrics.psnr(truth + 0.49 / 255, truth, GREY).item() == float("inf")


def test_identical_images_are_inf_and_1(images):
    truth = images[1]
    assert metrics.psnr(truth, truth, SR).tolist() == [float("inf")] * 2
    assert torch.allclose(metrics.ssim(truth, truth, SR), torch.ones(2).double(), atol=1e-12)


@pytest.mark.parametrize("window", ["valid", "uniform"])
def test_ssim_is_scikit_images(images, window):
    estimate, truth = (image[:, :1].clamp(0, 1) for image in images)
    options = {"data_range": 1.0}
    if window == "valid":
        options |= {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for index, value in enumerate(metrics.ssim(estimate, truth, FLOAT.but(ssim=window))):
        # skimage's mean leaves out the border its own padding touches: the valid region
        expected = structural_similarity(truth[index, 0].numpy(), estimate[index, 0].numpy(), **options)
        assert value.item() == pytest.approx(expected, abs=1e-9)


def test_zero_padded_ssim_is_the_valid_one_of_the_padded_images(images):
    estimate, truth = (image[:, :1].clamp(0, 1) for image in images)
    padded = [torch.nn.functional.pad(image, (5,) * 4) for image in (estimate, truth)]
    assert torch.allclose(
        metrics.ssim(estimate, truth, FLOAT.but(ssim="zero-padded")), metrics.ssim(*padded, FLOAT), atol=1e-12
    )


def test_large_images_are_filtered_in_blocks_without_seams():
    """300 rows are three blocks; scikit-image knows of none."""
    generator = torch.Generator().manual_seed(0)
    estimate, truth = torch.rand(2, 1, 1, 300, 20, generator=generator, dtype=torch.float64)
    expected = structural_similarity(
        *(image[0, 0].numpy() for image in (truth, estimate)),
        data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    )  # fmt: skip
    assert metrics.ssim(estimate, truth, FLOAT).item() == pytest.approx(expected, abs=1e-9)


def test_every_image_is_scored_alone(images):
    for score in (metrics.psnr, metrics.ssim):
        alone = torch.cat([score(a[None], b[None], SR) for a, b in zip(*images)])
        assert torch.allclose(score(*images, SR), alone, atol=1e-12)
        assert alone[0] != alone[1]


@pytest.mark.parametrize("settings", [SR, SR.but(colour="rgb"), protocol.get("sr-released", scale=2)])
def test_scores_do_not_change_under_rotations_and_flips(images, settings):
    for score in (metrics.psnr, metrics.ssim):
        expected = score(*images, settings)
        for turned in ([image.rot90(1, (2, 3)) for image in images], [image.flip(3) for image in images]):
            assert torch.allclose(score(*turned, settings), expected, atol=1e-9)


def test_y_is_bt601_of_16_to_235(images):
    truth = images[1]
    y, _ = metrics._scored(truth, truth, SR.but(round_output=False, border=0))
    expected = torch.from_numpy(rgb2ycbcr(truth[0].permute(1, 2, 0).numpy())[..., 0]) / 255
    assert torch.allclose(y[0, 0], expected, atol=1e-12)
    levels = metrics._scored(truth, truth, SR.but(border=0))[0] * 255
    assert torch.allclose(levels, levels.round(), atol=1e-9)


def test_swapped_y_is_y_of_swapped_channels(images):
    swapped = [image.flip(1) for image in images]
    assert torch.allclose(metrics.psnr(*images, SR.but(colour="y-swapped")), metrics.psnr(*swapped, SR), atol=1e-9)


def test_border_is_left_out(images):
    estimate, truth = images
    estimate[..., :2, :] = 0
    estimate[..., -2:] = 1
    cropped = [image[..., 2:-2, 2:-2] for image in (estimate, truth)]
    for score in (metrics.psnr, metrics.ssim):
        assert torch.allclose(score(estimate, truth, SR), score(*cropped, SR.but(border=0)), atol=1e-12)


def test_single_channel_file_is_scored_on_grey_three_equal_channels_on_y(images):
    """Y spans 219 of 255 levels: a grey page stored as RGB scores 20 log10(255/219) = 1.32 dB more."""
    settings = SR.but(round_output=False)
    estimate, truth = (image[:, :1].clamp(0, 1) for image in images)
    as_rgb = [image.expand(-1, 3, -1, -1) for image in (estimate, truth)]
    grey = metrics.psnr(as_rgb[0], truth, settings)
    assert torch.allclose(grey, metrics.psnr(estimate, truth, settings), atol=1e-9)
    gain = torch.full((2,), 255 / 219, dtype=torch.float64).log10() * 20
    assert torch.allclose(metrics.psnr(*as_rgb, settings) - grey, gain, atol=1e-9)


@pytest.mark.parametrize("settings", [SR, protocol.get("sr-released", scale=2), SR.but(colour="rgb")])
def test_a_grey_estimate_of_a_colour_image_is_scored_as_three_equal_channels(images, settings):
    estimate, truth = images[0][:, :1], images[1]
    for score in (metrics.psnr, metrics.ssim):
        assert torch.equal(score(estimate, truth, settings), score(estimate.expand(-1, 3, -1, -1), truth, settings))
    grey = truth[:, :1]
    assert metrics.psnr(grey, grey.expand(-1, 3, -1, -1), settings).isinf().all()


def test_estimates_are_clipped_and_gradients_dropped(images):
    estimate, truth = images
    wild = (estimate + 3 * (estimate > 0.5)).requires_grad_()
    assert torch.equal(metrics.psnr(wild, truth, SR), metrics.psnr(wild.clamp(0, 1), truth, SR))
    assert not metrics.ssim(wild, truth, SR).requires_grad


@pytest.mark.parametrize(
    ("estimate", "truth", "settings", "text"),
    [
        ((1, 3, 20, 20), (1, 3, 20, 21), SR, "estimate must have the truth's size (1, 3, 20, 21)"),
        ((1, 3, 20, 20), (1, 3, 20, 20), GREY, "denoising is scored on one grey channel, got 3 and 3"),
        ((1, 3, 4, 20), (1, 3, 4, 20), SR, "images must be larger than two borders of 2 px, got (4, 20)"),
        (
            (1, 3, 14, 20),
            (1, 3, 14, 20),
            SR,
            "images must be at least 11 pixels wide and high inside the border",
        ),
    ],
)
def test_images_that_cannot_be_compared(estimate, truth, settings, text):
    with pytest.raises(ValueError) as error:
        metrics.ssim(torch.zeros(estimate), torch.zeros(truth), settings)
    assert text in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "scale"), PUBLISHED)
def test_standard_sr_reproduces_the_published_bicubic_rows(data_root, name, scale):
    row = bicubic_row(data_root(name), name, protocol.get("sr-standard", scale=scale))
    assert row[0].item() == pytest.approx(PUBLISHED[name, scale][0], abs=0.03)
    assert row[1].item() == pytest.approx(PUBLISHED[name, scale][1], abs=0.001)


@pytest.mark.parametrize("name", ["Set5", "Set14"])
def test_released_sr_deviates_as_listed(data_root, name):
    """The ranges are listed to two and three digits; 1.5 units of the last are allowed at both ends."""
    rows = []
    for scale in (2, 3, 4):
        floats = protocol.get("sr-standard", scale=scale).but(round_output=False)
        released = bicubic_row(data_root(name), name, protocol.get("sr-released", scale=scale))
        rows.append(released - bicubic_row(data_root(name), name, floats))
    for column, (low, high), unit in zip(torch.stack(rows).T, DEVIATIONS[name], (0.01, 0.001)):
        assert column.min().item() == pytest.approx(low, abs=1.5 * unit)
        assert column.max().item() == pytest.approx(high, abs=1.5 * unit)


def bicubic_row(root, name, settings):
    """Mean PSNR and SSIM of bicubic up-sampling over a data set."""
    scores = [
        torch.cat([metrics.psnr(up, truth, settings), metrics.ssim(up, truth, settings)])
        for up, truth in upsampled(root, name, settings.scale)
    ]
    return torch.stack(scores).mean(0)


@cache
def upsampled(root, name, scale):
    settings = protocol.get("sr-standard", scale=scale)
    images = data.load(name, "test", root=root, scale=scale)
    pairs = [settings.pair(image, name) for name, image in zip(images.names, images.images)]
    return [(evaluate.baseline(settings)(low), high) for low, high in pairs]


@pytest.mark.parametrize(
    ("estimate", "truth", "line"),
    [
        (lambda x: (x * 255).byte(), lambda x: (x * 255).byte(), "images must be floats in .*, got torch.uint8"),
        (lambda x: x, lambda x: x.numpy(), "images must be floats in .*, got float64"),
        (lambda x: x[0], lambda x: x[0], r"images must be floats in .*, got torch.float64 \(3, 41, 37\)"),
        (lambda x: x, lambda x: x * 255, r"truth must be in \[0, 1\], got \[.*, 2.*\]"),
        (lambda x: x, lambda x: x * torch.nan, r"truth must be in \[0, 1\], got \[nan, nan\]"),
        (lambda x: x[:, :2], lambda x: x[:, :2], "images must have 1 or 3 channels, got 2 and 2"),
    ],
)
def test_images_of_another_kind_get_no_score(images, estimate, truth, line):
    """An 8-bit image would be clipped to 1 and look perfect."""
    for metric in (metrics.psnr, metrics.ssim):
        with pytest.raises(ValueError, match=line):
            metric(estimate(images[1]), truth(images[1]), SR)
