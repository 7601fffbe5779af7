"""What a super-cell computes on one source: its convolutions, batch norms and their gradients, for all edges at once.

All edges that leave one source read the same activated tensor, so one convolution per kind of operation serves
them all (edges are stacked in the channels). Outputs are centred, not divided by their deviations: `supercell` scales
and sums them. Gradients are written by hand from the centred outputs; what is cheap to compute again is not kept.
Notebook `02_search_space` shows a one-hot super-cell equal to the derived cell.
"""

from functools import cached_property, lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.method.fast import kernels
from hinas_nb.method.fast.kernels import EPSILON, Pixels
from hinas_nb.method.genotype import KINDS, SLOPE

MOMENTUM = 0.1  # of every batch norm, as torch's default


class Source:
    """A source's feature, the number of its edges, and what the operations read."""

    def __init__(self, feature: Tensor, edges: int):
        self.feature, self.matrix, self.edges = feature, kernels.pixels(feature), edges

    @cached_property
    def activated(self) -> Tensor:
        return F.leaky_relu(self.feature, SLOPE)

    @cached_property
    def stacked(self) -> Tensor:
        """One copy of the activated tensor for every edge. As a matrix product it costs less than as a copy."""
        if self.edges == 1:
            return self.activated
        return self.images(kernels.pixels(self.activated) @ self.identities)

    @cached_property
    def identities(self) -> Float[Tensor, "width channels"]:
        return _identities(self.matrix.shape[1], self.edges, self.matrix.dtype, self.matrix.device)

    def images(self, matrix: Pixels) -> Tensor:
        return kernels.images(matrix, self.feature)

    def rooms(self, count: int) -> list[Pixels]:
        """Memory for outputs on all edges. In one piece, as the holes that pieces leave would add up."""
        pixels, width = self.matrix.shape
        return list(self.matrix.new_empty(count, pixels, self.edges * width).unbind())

    def summed(self, stacked: Pixels, total: Pixels | None) -> Pixels:
        """The sum over the edges, on top of `total`: the backward pass of `stacked`."""
        if total is not None:
            return total.addmm_(stacked, self.identities.T)
        return stacked if self.edges == 1 else stacked @ self.identities.T

    def skipped(self, pending: Pixels | None, weights: Float[Tensor, " edges"] | None) -> Pixels:
        """A new matrix to add to: `pending` and the feature once for every edge, weighted."""
        if weights is None:
            zeros = self.matrix.new_zeros(len(self.matrix), self.edges * self.matrix.shape[1])
            return zeros if pending is None else zeros.add_(pending)
        identities = self._weighted(weights)
        return self.matrix @ identities if pending is None else torch.addmm(pending, self.matrix, identities)

    def gradient(self, gradient: Pixels, by_activated: Pixels | None, skip: Float[Tensor, " edges"] | None) -> Tensor:
        """By the feature, from those by what was sent and by the activated tensor; skip: weights of `skipped`."""
        total = torch.zeros_like(self.matrix) if by_activated is None else _through(by_activated, self.matrix)
        if skip is not None:
            total.addmm_(gradient, self._weighted(skip).T)
        return self.images(total)

    def skipped_gradient(self, gradient: Pixels) -> Float[Tensor, " edges"]:
        """By the weights of `skipped`."""
        products = kernels.product(gradient, self.matrix).unflatten(0, (self.edges, -1))
        return products.diagonal(dim1=1, dim2=2).sum(1)

    def _weighted(self, weights: Float[Tensor, " edges"]) -> Float[Tensor, "width channels"]:
        one = self.identities.unflatten(1, (self.edges, -1))
        return (one * weights.to(one.dtype)[:, None]).flatten(1)


@lru_cache(maxsize=64)
def _identities(width: int, edges: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.eye(width, dtype=dtype, device=device).repeat(1, edges)


class Norm(nn.Module):
    """Running statistics of one operation's batch norm on each of `edges` edges; no affine part."""

    remembers = True  # whether a training batch moves them, see `layers.repetition`

    def __init__(self, edges: int, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(edges, width))
        self.register_buffer("var", torch.ones(edges, width))

    def statistics(self, raw: Pixels, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Mean and 1 / standard deviation per channel, see `_statistics`."""
        mean, inverse = _statistics([raw], [self], chosen)
        return mean[0], inverse[0]


def _statistics(raws: list[Pixels], norms: list[Norm], chosen: list[int]) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation per norm and channel: the batch's (remembered) in training, else running ones."""
    if not norms[0].training:
        mean, var = (torch.stack([getattr(norm, of)[chosen].flatten() for norm in norms]) for of in ("mean", "var"))
        return mean, torch.rsqrt(var + EPSILON)
    if len(raws[0]) < 2:
        raise ValueError(f"batch norm must see more than 1 value per channel when training, got {len(raws[0])}")
    mean, var = kernels.moments(*raws)
    if norms[0].remembers:
        _remember(norms, mean, var * (len(raws[0]) / (len(raws[0]) - 1)), chosen)
    return mean, torch.rsqrt(var + EPSILON)


def _remember(norms: list[Norm], mean: Tensor, var: Tensor, chosen: list[int]) -> None:
    """The moments of a batch on some edges; var: unbiased."""
    running = [norm.mean for norm in norms] + [norm.var for norm in norms]
    new = torch.cat((mean, var)).view(len(running), len(chosen), -1).unbind()
    if len(chosen) == len(running[0]):
        torch._foreach_lerp_(running, new, MOMENTUM)  # one call for all
    else:
        for old, one in zip(running, new):
            old[chosen] = old[chosen].lerp(one.to(old.dtype), MOMENTUM)


def centre(raws: list[Pixels], norms: list[Norm], chosen: list[int]) -> Tensor:
    """1 / standard deviations; subtracts the means in place."""
    mean, inverse = _statistics(raws, norms, chosen)
    kernels.subtract(raws, mean)
    return inverse


class Convolution(nn.Module):
    """A dense operation on `edges` edges that read the same tensor."""

    stacks = 1  # of kernels

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.weight = _kernels(edges, width, width, self.kind.kernel)
        self.norm = Norm(edges, width)

    @property
    def norms(self) -> list[Norm]:
        return [self.norm]

    def kernels(self) -> list[Tensor]:
        return [self.weight]

    def first(self, source: Source, weight: Tensor) -> Pixels:
        """The raw output on all edges."""
        padding, dilation, feature = self.kind.padding, self.kind.dilation, source.activated
        images, weight = _exact(dilation, feature, weight.flatten(0, 1))
        return kernels.pixels(F.conv2d(images, weight, padding=padding, dilation=dilation).to(feature.dtype))

    def gradients(self, source: Source, wanted, total: Pixels | None, by_raw: Pixels, factor: Tensor, inner, stacks):
        """By the activated tensor, on top of `total`, and by the kernels.

        by_raw: still without its `factor` per channel.
        """
        (weight,), padding, dilation = stacks, [self.kind.padding] * 2, [self.kind.dilation] * 2
        given = source.images(by_raw), source.activated, _scaled(weight, factor).flatten(0, 1)
        by_activated, by_weight, _ = torch.ops.aten.convolution_backward.default(
            *_exact(self.kind.dilation, *given), None, [1, 1], padding, dilation, False, [0, 0], 1, [*wanted, False]
        )
        if wanted[0]:
            found = kernels.pixels(by_activated.to(by_raw.dtype))
            total = found if total is None else total.add_(found)
        return total, _scaled(by_weight.view_as(weight), factor).to(weight.dtype) if wanted[1] else None

    def copy_to(self, module: nn.Sequential, edge: int) -> None:
        _load(module, [self.weight[edge]], [self.norm], edge)


class Separable(nn.Module):
    """A separable operation on `edges` edges that read the same tensor."""

    stacks = 4  # of kernels

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.depthwise = nn.ParameterList(_kernels(edges, width, 1, self.kind.kernel) for _ in range(2))
        self.pointwise = nn.ParameterList(_kernels(edges, width, width, 1) for _ in range(2))
        self.middle = Norm(edges, width)
        self.norm = Norm(edges, width)

    @property
    def norms(self) -> list[Norm]:
        return [self.middle, self.norm]

    def kernels(self) -> list[Tensor]:
        return [self.depthwise[0], self.pointwise[0], self.depthwise[1], self.pointwise[1]]

    def first(self, source: Source, out: Pixels, depthwise, pointwise, *_) -> Pixels:
        """The raw output of the first half on all edges, in `out`."""
        return _half(source.stacked, depthwise, pointwise, out)

    def second(self, source: Source, half: Pixels, inverse: Tensor, out: Pixels, _, __, depthwise, pointwise) -> Pixels:
        """That of the second half; half: the centred first one's."""
        return _half(source.images(F.leaky_relu(half, SLOPE)), _scaled(depthwise, inverse), pointwise, out)

    def gradients(self, source: Source, wanted, total: Pixels | None, by_raw: Pixels, factor: Tensor, inner, stacks):
        """As those of `Convolution`."""
        half, inverse, training = inner
        read = lambda: source.images(F.leaky_relu(half, SLOPE))  # noqa: E731
        second = _scaled(stacks[2], inverse), _scaled(stacks[3], factor)
        want = any(wanted[:3]), *wanted[3:]
        by_half, by_depthwise, by_pointwise = _half_backward(by_raw, source, read, *second, want)
        if wanted[3]:
            by_depthwise = _scaled(by_depthwise, inverse)
        if wanted[4]:
            by_pointwise = _scaled(by_pointwise, factor)
        if by_half is None:
            return total, None, None, by_depthwise, by_pointwise
        by_half = _through(kernels.pixels(by_half), half)
        if training:
            kernels.norm_gradient(by_half, half, inverse)
        by_stacked, *by_first = _half_backward(by_half, source, lambda: source.stacked, *stacks[:2], wanted[:3])
        if wanted[0]:
            total = source.summed(kernels.pixels(by_stacked), total)
        return total, *by_first, by_depthwise, by_pointwise

    def copy_to(self, module: nn.Sequential, edge: int) -> None:
        _load(module, [kernel[edge] for kernel in self.kernels()], self.norms, edge)


def _exact(dilation: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors, in float32 where bfloat16 gradients cannot be trusted; see `layers.DilatedConv2d`."""
    wrong = dilation > 1 and tensors[0].dtype == torch.bfloat16 and tensors[0].device.type == "cpu"
    return tuple(tensor.float() for tensor in tensors) if wrong else tensors


def _half(feature: Tensor, depthwise: Tensor, pointwise: Tensor, out: Pixels) -> Pixels:
    """Depthwise, then 1x1; the kernels of several edges."""
    inner = kernels.pixels(kernels.depthwise(feature, depthwise.flatten(0, 1)))
    return kernels.pointwise(inner, pointwise.flatten(2), out)


def _half_backward(gradient: Pixels, source: Source, read, depthwise: Tensor, pointwise: Tensor, wanted):
    """Gradients of `_half` by what it `read`, by depthwise and by pointwise."""
    flat, by_pointwise = depthwise.flatten(0, 1), None
    by_inner = source.images(kernels.pointwise(gradient, pointwise.flatten(2).transpose(1, 2)))
    feature = read() if any(wanted[1:]) else by_inner  # else of its shape only
    if wanted[2]:
        inner = kernels.pixels(kernels.depthwise(feature, flat))
        by_pointwise = kernels.pointwise_gradient(gradient, inner, pointwise.flatten(2)).reshape(pointwise.shape)
    by_feature, by_depthwise = kernels.depthwise_backward(by_inner, feature, flat, wanted[:2])
    return by_feature, None if by_depthwise is None else by_depthwise.view_as(depthwise), by_pointwise


def _scaled(stack: Tensor, factor: Tensor) -> Tensor:
    """Kernels, each output channel's times its factor."""
    return stack * factor.to(stack.dtype).view(*stack.shape[:2], 1, 1, 1)


def _through(gradient: Pixels, matrix: Pixels) -> Pixels:
    """The activation's backward pass, in place; matrix: what was activated."""
    return torch.ops.aten.leaky_relu_backward.grad_input(gradient, matrix, SLOPE, False, grad_input=gradient)


def _kernels(edges: int, outputs: int, inputs: int, kernel: int) -> nn.Parameter:
    """One kernel per edge, drawn as `nn.Conv2d` draws its own."""
    weight = torch.empty(edges, outputs, inputs, kernel, kernel)
    for one in weight:
        nn.init.kaiming_uniform_(one, a=5**0.5)
    return nn.Parameter(weight)


@torch.no_grad()
def _load(module: nn.Sequential, kernels: list[Tensor], norms: list[Norm], edge: int) -> None:
    """Copy kernels and running statistics into the layers of a derived operation, in order."""
    for layer, kernel in zip([part for part in module if isinstance(part, nn.Conv2d)], kernels, strict=True):
        layer.weight.copy_(kernel)
    for layer, norm in zip([part for part in module if isinstance(part, nn.BatchNorm2d)], norms, strict=True):
        layer.running_mean.copy_(norm.mean[edge])
        layer.running_var.copy_(norm.var[edge])
