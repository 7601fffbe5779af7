"""Training minimises eq. 7, fidelity + lambda * log10(1 / SSIM); its course is in `03_search_denoising`."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from hinas_nb.method import fast

#: Below this mean SSIM log10(1/SSIM) goes on as its tangent: finite, and still falling, at zero and below.
_SSIM_FLOOR = 1e-3


def restoration_loss(
    estimate: Float[Tensor, "batch channel height width"],
    truth: Float[Tensor, "batch channel height width"],
    fidelity: Literal["mse", "l1"] = "mse",
    ssim_weight: float = 0.6,
) -> Float[Tensor, ""]:
    """Return eq. 7 for images on 0-1, differentiable by the estimate; ssim_weight is lambda, 0 skips the SSIM.

    As released: the SSIM is zero-padded and the logarithm is that of the batch mean. Raises ValueError for images of
    different shapes, and another fidelity.
    """
    if fidelity not in ("mse", "l1"):
        raise ValueError(f"fidelity must be mse or l1, got {fidelity!r}")
    fast.check_shapes(estimate, truth)
    # Mixed precision ends here: a variance is a small difference of large numbers.
    return _Restoration.apply(estimate.to(truth.dtype), truth, fidelity, ssim_weight)


def log_dissimilarity(ssim: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """Return log10(1 / ssim), continued by its tangent below `_SSIM_FLOOR` (untrained networks: SSIM < 0)."""
    floored = ssim.clamp(min=_SSIM_FLOOR)
    return -floored.log10() + (floored - ssim) / (_SSIM_FLOOR * math.log(10))


class _Restoration(torch.autograd.Function):
    """Eq. 7. It keeps its gradient by the estimate for the backward pass, and nothing else."""

    @staticmethod
    def forward(ctx, estimate, truth, fidelity, ssim_weight):
        with_gradient, errors = ctx.needs_input_grad[0], estimate - truth
        loss = errors.square().mean() if fidelity == "mse" else errors.abs().mean()
        gradient = errors.mul_(2 / errors.numel()) if fidelity == "mse" else errors.sign_().div_(errors.numel())
        if ssim_weight:
            ssim, by_estimate = fast.mean_ssim(estimate, truth, with_gradient)
            loss = loss + ssim_weight * log_dissimilarity(ssim)
            if with_gradient:
                gradient.addcmul_(by_estimate, -ssim_weight / (ssim.clamp(min=_SSIM_FLOOR) * math.log(10)))
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        (by_estimate,) = ctx.saved_tensors
        return gradient * by_estimate, None, None, None
