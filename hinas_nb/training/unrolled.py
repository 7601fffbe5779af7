"""DARTS, second order (Liu et al., ICLR 2019, eqs. 7 and 8): the gradient of alpha looks one step of the weights ahead.

    w' = w - xi grad_w L_W(w, alpha)
    gradient = grad_alpha L_A(w', alpha) - xi (grad_alpha L_W(w+, alpha) - grad_alpha L_W(w-, alpha)) / (2 epsilon)

with w+- = w +- epsilon grad_w' L_A(w', alpha) and epsilon = 0.01 / |grad_w' L_A(w', alpha)|. That takes four forward
and backward passes where first order takes one. With LeakyReLU the difference is exact only as far as no unit changes
its sign between w+ and w-.
"""

from collections.abc import Callable
from contextlib import contextmanager

import torch
from torch import Tensor, nn

EPSILON = 0.01

Loss = Callable[[], Tensor]  # of the weights as they are when it is called


def gradients(
    on_w: Loss, on_a: Loss, weights: list[nn.Parameter], logits: list[nn.Parameter], rate: float, clip: float
) -> tuple[Tensor, list[Tensor]]:
    """Return the loss on A after the step of the weights, and the gradients of all logits; the weights stay.

    rate, clip: learning rate of the step, and the norm that its gradient is clipped to; xi is what both come to.
    """
    step = _by(on_w(), weights)
    xi = rate * min(1.0, clip / float(_norm(step)))
    with _moved(weights, step, -xi):
        loss = on_a()
        found = _by(loss, [*logits, *weights])
    first, ahead = found[: len(logits)], found[len(logits) :]
    epsilon = EPSILON / float(_norm(ahead))
    sides = []
    for sign in (1, -1):
        with _moved(weights, ahead, sign * epsilon):
            sides.append(_by(on_w(), logits))
    return loss.detach(), [one - xi * (plus - minus) / (2 * epsilon) for one, plus, minus in zip(first, *sides)]


@contextmanager
def _moved(weights: list[nn.Parameter], direction: list[Tensor], factor: float):
    """Let weights stand elsewhere inside; afterwards they are what they were, to the bit."""
    kept = [weight.detach().clone() for weight in weights]
    try:
        with torch.no_grad():
            for weight, by in zip(weights, direction):
                weight.add_(by, alpha=factor)
        yield
    finally:
        with torch.no_grad():
            for weight, before in zip(weights, kept):
                weight.copy_(before)


def _by(loss: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    return list(torch.autograd.grad(loss, parameters, materialize_grads=True))


def _norm(tensors: list[Tensor]) -> Tensor:
    """Return the length of all of them together, never 0."""
    return torch.stack([tensor.norm() for tensor in tensors]).norm().clamp(min=torch.finfo(torch.float32).tiny)
