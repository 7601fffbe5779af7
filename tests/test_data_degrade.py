"""MATLAB's bicubic against published low-resolution images, the noise, and the named random streams."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hinas_nb import data
from hinas_nb.data import degrade
from hinas_nb.data.images import to_image

SCALES = (2, 3, 4)


def photo(*shape: int, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    return torch.rand(*shape, generator=data.stream(seed, "photo"), dtype=dtype)


@pytest.mark.parametrize("name", ["Set5", "Set14"])
@pytest.mark.parametrize("scale", SCALES)
def test_bicubic_gives_the_published_low_resolution_images(data_root, name, scale):
    root = data_root(name)
    images = data.load(name, "test", root, scale)
    for stem, image in zip(images.names, images.images):
        published = to_image(data.read_image(root / name / "LR" / f"x{scale}" / f"{stem}.png"))
        assert torch.equal(data.bicubic(image, 1 / scale), published)
        from_float = (data.bicubic(image / 255, 1 / scale, clip=True) * 255).round().clamp(0, 255)
        assert (from_float - published).abs().max() <= 1


def test_b100_is_the_validation_split_of_bsds500(data_root):
    """Its published bicubic row (x4: 25.96 dB on Y) comes out of that split."""
    images = data.load("B100", "test", data_root("BSDS500"))
    weights = torch.tensor([65.481, 128.553, 24.966], dtype=torch.float64).view(3, 1, 1) / 255

    def psnr(image):
        clean = data.modcrop(image, 4)
        restored = data.bicubic(data.bicubic(clean, 1 / 4), 4)
        error = ((clean.double() - restored.double()) * weights).sum(0)[4:-4, 4:-4]
        return 10 * math.log10(255**2 / error.square().mean())

    assert sum(map(psnr, images.images)) / 100 == pytest.approx(25.96, abs=0.03)


@given(
    size=st.integers(1, 40),
    scale=st.sampled_from([2, 3, 4, 1 / 2, 1 / 3, 1 / 4, 0.5, 0.333333333333, 0.7, 1.3]),
)
def test_bicubic_sizes_and_constants(size, scale):
    image = torch.full((2, size, 7), 0.3, dtype=torch.float64)
    result = data.bicubic(image, scale)
    assert result.shape == (2, math.ceil(size * scale - 1e-6), math.ceil(7 * scale - 1e-6))
    assert torch.allclose(result, torch.full_like(result, 0.3), atol=1e-14)


def test_bicubic_keeps_straight_lines():
    """Cubic convolution reproduces a ramp away from the border; its samples sit at pixel centres."""
    ramp = torch.arange(24, dtype=torch.float64).expand(24, 24)
    for scale in SCALES:
        wide = data.bicubic(ramp, scale)[12, 4 * scale : -4 * scale]
        expected = (torch.arange(24 * scale, dtype=torch.float64) + 0.5) / scale - 0.5
        assert torch.allclose(wide, expected[4 * scale : -4 * scale])
        narrow = data.bicubic(ramp, 1 / scale)[1, 2:-2]
        expected = (torch.arange(24 // scale, dtype=torch.float64) + 0.5) * scale - 0.5
        assert torch.allclose(narrow, expected[2:-2])


def test_bicubic_commutes_with_the_symmetries_of_the_square():
    image = photo(3, 24, 36, dtype=torch.float64) * 3 - 1  # outside [0, 1]: purely linear
    for scale in (*SCALES, 1 / 2, 1 / 3, 1 / 4):
        small = data.bicubic(image, scale)
        assert torch.allclose(data.bicubic(image.flip(-1), scale), small.flip(-1))
        assert torch.allclose(data.bicubic(image.mT, scale), small.mT)


def test_bicubic_keeps_type_and_batch_dimensions():
    for dtype in (torch.float32, torch.float64, torch.uint8):
        image = (photo(2, 3, 12, 18) * 255).to(dtype)
        assert data.bicubic(image, 1 / 3).dtype == dtype
        assert data.bicubic(image, 1 / 3).shape == (2, 3, 4, 6)
        # One product of matrices may round otherwise than the same one among others.
        error = (data.bicubic(image, 2)[1, 2].double() - data.bicubic(image[1, 2], 2).double()).abs().max()
        assert error <= {torch.float32: 1e-3, torch.float64: 1e-11, torch.uint8: 0}[dtype]


@pytest.mark.parametrize("scale", [2, 3, 4, 1 / 2, 1 / 3, 1 / 4])
def test_bicubic_of_floats_is_linear_whatever_else_is_in_the_batch(scale):
    """MATLAB clips no doubles; `clip` keeps those of a picture within it between the two dimensions."""
    one, other = (photo(12, 24, seed=seed, dtype=torch.float64).round() for seed in (0, 1))
    small, rest = data.bicubic(one, scale), data.bicubic(other, scale)
    assert torch.allclose(data.bicubic(3 * one - other, scale), 3 * small - rest, atol=1e-12)
    assert torch.allclose(data.bicubic(torch.stack([one, 2 * other]), scale)[0], small, atol=1e-12)
    if scale > 1:
        assert small.max() > 1.1 and not torch.allclose(data.bicubic(one, scale, clip=True), small, atol=0.01)


def test_halves_go_up_whichever_way_a_product_rounds():
    halves = torch.tensor([0.5, 1.5, 2.5, 254.5], dtype=torch.float64)
    for error in (-1e-13, 0, 1e-13):
        assert degrade._eight_bits(halves + error).tolist() == [1, 2, 3, 255]
    assert degrade._eight_bits(torch.tensor([-3.0, 0.499, 1.499, 300.0]).double()).tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("scale", [0, -2, math.inf, math.nan])
def test_bicubic_refuses_what_is_no_scale(scale):
    with pytest.raises(data.DataError, match=f"^scale must be a positive number, got {scale!r}$"):
        data.bicubic(photo(4, 4), scale)


@pytest.mark.parametrize("sigma", [15, 30, 50, 70])
def test_noise_is_white_gaussian_with_sigma_in_grey_levels(sigma):
    clean = torch.full((400, 400), 0.5)
    noise = (data.add_noise(clean, sigma, data.stream(0, "noise", sigma)) - clean) * 255
    count = noise.numel()
    assert abs(noise.mean()) < 4 * sigma / math.sqrt(count)
    assert noise.std() == pytest.approx(sigma, rel=4 / math.sqrt(2 * count))
    assert noise.pow(4).mean() / sigma**4 == pytest.approx(3, abs=0.1)
    for other in (noise[:, 1:] * noise[:, :-1], noise[1:] * noise[:-1]):
        assert abs(other.mean()) < 4 * sigma**2 / math.sqrt(other.numel())


def test_each_image_may_have_its_own_sigma():
    clean = torch.zeros(3, 1, 100, 100)
    sigmas = torch.tensor([0.0, 10, 50]).view(3, 1, 1, 1)
    noise = data.add_noise(clean, sigmas, data.stream(0)) * 255
    assert [round(float(image.std())) for image in noise] == [0, 10, 50]


def test_streams_are_named_independent_and_leave_the_global_generator_alone():
    state = torch.get_rng_state()
    keys = [(0, "noise"), (1, "noise"), (0, "crops"), (0, "noise", 1), (0, "noise", "1"), (0, "nois", "e")]
    draws = torch.stack([torch.randn(20_000, generator=data.stream(*key)) for key in keys])
    correlation = torch.corrcoef(draws) - torch.eye(len(keys))
    assert correlation.abs().max() < 5 / math.sqrt(20_000)
    assert torch.equal(draws[0], torch.randn(20_000, generator=data.stream(0, "noise")))
    assert torch.equal(torch.get_rng_state(), state)


def test_modcrop():
    assert data.modcrop(photo(3, 10, 11), 4).shape == (3, 8, 8)
    assert data.modcrop(photo(3, 9, 12), 3).shape == (3, 9, 12)


@pytest.mark.parametrize("kind", [torch.uint16, torch.int32, torch.bool])
def test_bicubic_of_other_integers_is_refused(kind):
    with pytest.raises(data.DataError, match=rf"floats or uint8, got {kind} \(1, 4, 4\)"):
        data.bicubic(torch.ones(1, 4, 4).to(kind), 2)
    with pytest.raises(data.DataError, match=r"floats or uint8, got torch.float32 \(1, 0, 4\)"):
        data.bicubic(torch.ones(1, 0, 4), 2)
