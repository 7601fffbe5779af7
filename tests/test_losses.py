"""Eq. 7 and the SSIM inside it."""

import math

import pytest
import torch

from hinas_nb.method import losses
from hinas_nb.method.fast import ssim
from hinas_nb.method.losses import restoration_loss
from hinas_nb.scoring import metrics, protocol


@pytest.fixture
def images():
    """A structured truth and a noisy estimate, float64 (2, 1, 24, 31)."""
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(31.0), indexing="ij")
    truth = (0.5 + 0.4 * torch.sin(rows / 3) * torch.cos(columns / 4)).double().expand(2, 1, -1, -1).clone()
    return truth + 0.1 * torch.randn(truth.shape, generator=generator, dtype=truth.dtype), truth


@pytest.mark.parametrize(("fidelity", "error"), [("mse", 0.01), ("l1", 0.1)])
def test_loss_is_equation_7(images, fidelity, error):
    truth = images[1] * 0.8
    estimate = truth + 0.1
    scores = metrics.ssim(estimate, truth, protocol.get("denoise-released"))
    expected = error + 0.6 * math.log10(1 / scores.mean().item())
    assert restoration_loss(estimate, truth, fidelity, 0.6).item() == pytest.approx(expected, abs=1e-12)


def test_logarithm_is_of_the_batch_mean_not_the_mean_of_logarithms(images):
    noisy, truth = images
    noisy[0] = truth[0]
    both, bad = (restoration_loss(n, t) - (n - t).square().mean() for n, t in ((noisy, truth), (noisy[1:], truth[1:])))
    bad_ssim = 10 ** (-bad / 0.6)
    assert both.item() == pytest.approx(-0.6 * math.log10((1 + bad_ssim) / 2), abs=1e-12)


def test_a_perfect_estimate_costs_nothing(images):
    assert restoration_loss(images[1], images[1]).item() == pytest.approx(0, abs=1e-12)


@pytest.fixture(params=["this processor's", "another's"])
def rounding(request, monkeypatch):
    """Matrix products as they come, and as where their last bits depend on the row and on the column."""
    if request.param == "another's":
        noise = torch.Generator().manual_seed(0)

        def multiply(left, right, out):
            exact = left.double() @ right.double()
            ulps = torch.randint(-4, 5, exact.shape, generator=noise)
            return out.copy_(exact * (1 + ulps * torch.finfo(out.dtype).eps))

        monkeypatch.setattr(ssim, "multiply", multiply)


@pytest.mark.usefixtures("rounding")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_images_have_an_ssim_of_exactly_1(images, dtype):
    flat = torch.linspace(0, 1, 256, dtype=dtype).view(256, 1, 1, 1).expand(-1, -1, 21, 20)
    for image in (flat, images[0].to(dtype)):
        for padding in (0, 5):
            found = ssim.ssim_map(image, image, ssim.gaussian_window(image), padding)
            assert torch.equal(found, torch.ones_like(found))
        assert restoration_loss(image, image) == 0
    for window in ("valid", "zero-padded", "uniform"):
        rule = protocol.get("sr-standard", scale=2).but(ssim=window, round_output=False)
        colour = images[1].to(dtype).expand(-1, 3, -1, -1)
        again = colour.contiguous(memory_format=torch.channels_last)
        assert metrics.ssim(colour, again, rule).tolist() == [1, 1]
        assert metrics.psnr(colour, again, rule).tolist() == [math.inf, math.inf]


@pytest.mark.usefixtures("rounding")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("step", [1e-1, 1e-3, 1e-5, 1e-7])
def test_no_ssim_exceeds_1(images, dtype, step):
    truth = torch.cat([images[1], torch.linspace(0, 1, 8).view(8, 1, 1, 1).expand(-1, -1, 24, 31)]).to(dtype)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    for estimate in (truth + step, truth + step * noise, truth - step * truth):
        for padding in (0, 5):
            assert ssim.ssim_map(estimate, truth, ssim.gaussian_window(truth), padding).max() <= 1


@pytest.mark.parametrize("shape", [(1, 1, 24, 31), (2, 3, 24, 31), (2, 1, 1, 31)])
def test_images_of_other_shapes_are_refused(images, shape):
    other = torch.zeros(shape, dtype=torch.float64)
    for compare in (restoration_loss, lambda *both: ssim.ssim_map(*both, ssim.gaussian_window(other))):
        with pytest.raises(ValueError, match=r"the truth's shape \(2, 1, 24, 31\), got"):
            compare(other, images[1])


def test_another_fidelity_is_refused(images):
    with pytest.raises(ValueError, match="fidelity must be mse or l1, got 'huber'"):
        restoration_loss(*images, fidelity="huber")


@pytest.mark.parametrize("size", [(10, 10), (40, 10), (5, 40)])
def test_images_smaller_than_the_window_are_refused(size):
    image = torch.zeros(1, 1, *size)
    with pytest.raises(ValueError, match="window of 11, got"):
        ssim.ssim_map(image, image, ssim.gaussian_window(image))


def test_gradient(images):
    noisy, truth = (image[:, :, :13, :15].clone() for image in images)
    noisy.requires_grad_()
    assert torch.autograd.gradcheck(lambda estimate: restoration_loss(estimate, truth, "mse", 0.6), noisy)


def test_images_are_taken_some_at_a_time(images, monkeypatch):
    def found():
        noisy = images[0].clone().requires_grad_()
        loss = restoration_loss(noisy, images[1])
        return loss.detach(), *torch.autograd.grad(loss, noisy)

    whole = found()
    monkeypatch.setattr(ssim, "_PIXELS", images[0][0].numel())
    torch.testing.assert_close(found(), whole, rtol=1e-12, atol=1e-15)


def test_a_factor_of_exactly_zero_has_a_gradient():
    truth = torch.zeros(1, 1, 1, dtype=torch.float64)
    means = torch.full_like(truth, 0.5), torch.full_like(truth, 0.5)
    for factor in (0, 1):  # of the means and of the covariance
        factors = [torch.full_like(truth, 0.5) for _ in range(4)]
        factors[factor] = torch.zeros_like(truth)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ssim, "_factors", lambda *_: (means, *(one.clone() for one in factors)))  # noqa: B023
            found, gradient = ssim._ssim_and_gradient(truth, truth, ssim.gaussian_window(truth), True)
        assert found.item() == 0 and gradient.isfinite().all() and gradient.abs().sum() > 0


def test_weight_zero_never_computes_the_ssim(images, monkeypatch):
    monkeypatch.delattr(ssim, "_factors")
    assert restoration_loss(*images, "mse", 0.0).item() == (images[0] - images[1]).square().mean().item()


def test_negative_ssim_has_a_finite_loss_that_still_falls(images):
    truth = images[1]
    inverted = (1 - truth).requires_grad_()
    window = ssim.gaussian_window(truth)
    assert ssim.ssim_map(inverted, truth, window, 5).mean() < 0
    loss = restoration_loss(inverted, truth)
    (gradient,) = torch.autograd.grad(loss, inverted)
    assert loss.isfinite() and gradient.isfinite().all()
    assert restoration_loss(inverted - 1e-6 * gradient / gradient.norm(), truth) < loss


def test_floor_joins_smoothly():
    values = torch.tensor(losses._SSIM_FLOOR, dtype=torch.float64) * torch.tensor([1 - 1e-6, 1 + 1e-6])
    values.requires_grad_()
    results = torch.stack([losses.log_dissimilarity(value) for value in values])
    (slopes,) = torch.autograd.grad(results.sum(), values)
    assert results[0].item() == pytest.approx(results[1].item(), rel=1e-5)
    assert slopes[0].item() == pytest.approx(slopes[1].item(), rel=1e-5)
    assert torch.equal(losses.log_dissimilarity(torch.tensor(0.5)), -torch.tensor(0.5).log10())


def test_single_precision_suffices_for_training(images):
    noisy, truth = images
    assert restoration_loss(noisy.float(), truth.float()).item() == pytest.approx(
        restoration_loss(noisy, truth).item(), abs=1e-6
    )


def test_half_precision_estimates_are_compared_in_the_truths_precision(images):
    noisy, truth = (image.float() for image in images)
    assert restoration_loss(noisy.bfloat16(), truth) == restoration_loss(noisy.bfloat16().float(), truth)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert restoration_loss(noisy, truth).item() == pytest.approx(restoration_loss(noisy, truth).item(), abs=1e-6)


def test_colour_images_average_their_channels(images):
    noisy, truth = images
    colour = restoration_loss(noisy.reshape(1, 2, 24, 31), truth.reshape(1, 2, 24, 31))
    assert colour.item() == pytest.approx(restoration_loss(noisy, truth).item(), abs=1e-12)
