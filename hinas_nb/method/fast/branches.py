"""The candidates on all edges that leave one source of a super-cell: convolutions, batch norms, gradients by hand.

These edges read the same activated feature, so one convolution with stacked kernels computes a candidate on all of
them: edge after edge in the channels. A candidate's raw output is centred here (its mean subtracted); the division by
its deviation is left to `supercell`, which scales and sums all candidates in one pass. What is cheap to compute again
is not kept for the backward pass. Notebook `02_search_space` shows a one-hot super-cell equal to the derived cell.
"""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.method.fast import kernels
from hinas_nb.method.fast.kernels import EPSILON, Pixels
from hinas_nb.method.genotype import KINDS, SLOPE

_MOMENTUM = 0.1  # of every batch norm, as torch's default


class DenseKernels(NamedTuple):
    """The kernels of a `Convolution`, or what belongs to each of them: a gradient, whether it is wanted."""

    weight: Tensor


class SeparableKernels(NamedTuple):
    """The kernels of both halves of a `Separable`, or what belongs to each of them."""

    depthwise: Tensor
    pointwise: Tensor
    second_depthwise: Tensor
    second_pointwise: Tensor


class FirstHalf(NamedTuple):
    """Holds what a `Separable` keeps of its first half for the backward pass."""

    centred: Pixels
    inverse: Float[Tensor, " channels"]  # 1 / standard deviations
    training: bool


class Source:
    """The feature of one source and the sums to and from its edges; "stacked" is edge after edge in the channels."""

    def __init__(self, feature: Tensor, edges: int):
        self.feature, self.matrix, self.edges = feature, kernels.pixels(feature), edges

    @cached_property
    def activated(self) -> Tensor:
        return F.leaky_relu(self.feature, SLOPE)

    @cached_property
    def stacked(self) -> Tensor:
        """The activated feature once for every edge. As a matrix product it costs less than as a copy."""
        if self.edges == 1:
            return self.activated
        return self.images(kernels.pixels(self.activated) @ self.identities)

    @cached_property
    def identities(self) -> Float[Tensor, "width channels"]:
        return _identities(self.matrix.shape[1], self.edges, self.matrix.dtype, self.matrix.device)

    def images(self, matrix: Pixels) -> Tensor:
        """Return a matrix as images of the feature's size."""
        return kernels.images(matrix, self.feature)

    def rooms(self, count: int) -> list[Pixels]:
        """Return memory for `count` stacked outputs, cut from one piece: the holes between pieces would add up."""
        pixels, width = self.matrix.shape
        return list(self.matrix.new_empty(count, pixels, self.edges * width).unbind())

    def summed(self, stacked: Pixels, total: Pixels | None) -> Pixels:
        """Return the sum over the edges, added to `total` if there is one: the backward pass of `stacked`."""
        if total is not None:
            return total.addmm_(stacked, self.identities.T)
        return stacked if self.edges == 1 else stacked @ self.identities.T

    def skipped(self, pending: Pixels | None, weights: Float[Tensor, " edges"] | None) -> Pixels:
        """Return `pending` plus the operation `skip` on every edge: the feature times the edge's weight."""
        if weights is None:
            zeros = self.matrix.new_zeros(len(self.matrix), self.edges * self.matrix.shape[1])
            return zeros if pending is None else zeros.add_(pending)
        identities = self._weighted(weights)
        return self.matrix @ identities if pending is None else torch.addmm(pending, self.matrix, identities)

    def gradient(self, by_sent: Pixels, by_activated: Pixels | None, skip: Float[Tensor, " edges"] | None) -> Tensor:
        """Return the gradient by the feature: what comes through its activation, and what comes through the skips.

        by_sent, by_activated: the gradients by what was sent to the edges and by the activated feature (None where no
        candidate read it); skip: the weights that `skipped` was given.
        """
        total = (
            torch.zeros_like(self.matrix) if by_activated is None else _through_activation(by_activated, self.matrix)
        )
        if skip is not None:
            total.addmm_(by_sent, self._weighted(skip).T)
        return self.images(total)

    def skip_gradient(self, by_sent: Pixels) -> Float[Tensor, " edges"]:
        """Return the gradient by the weights of `skipped`."""
        products = kernels.product(by_sent, self.matrix).unflatten(0, (self.edges, -1))
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


def statistics(raws: list[Pixels], norms: list[Norm], chosen: list[int]) -> tuple[Tensor, Tensor]:
    """Return mean and 1 / standard deviation per norm and channel: in training the batch's, else the running ones.

    In training the running ones are moved towards the batch's. Raises ValueError for a single value a channel.
    """
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
    """Move the running statistics of the chosen edges towards a batch's; var: unbiased."""
    running = [norm.mean for norm in norms] + [norm.var for norm in norms]
    new = torch.cat((mean, var)).view(len(running), len(chosen), -1).unbind()
    if len(chosen) == len(running[0]):
        torch._foreach_lerp_(running, new, _MOMENTUM)  # one call for all
    else:
        for old, one in zip(running, new):
            old[chosen] = old[chosen].lerp(one.to(old.dtype), _MOMENTUM)


def centre(raws: list[Pixels], norms: list[Norm], chosen: list[int]) -> Float[Tensor, "norms channels"]:
    """Subtract the means from raw outputs in place, and return their 1 / standard deviations."""
    mean, inverse = statistics(raws, norms, chosen)
    kernels.subtract(raws, mean)
    return inverse


class Branch(nn.Module):
    """A candidate on several edges that read the same feature, both passes written by hand."""

    norms: list[Norm]  # in order

    def kernels(self) -> tuple[Tensor, ...]:
        """Return the stacked kernels, in order and by name."""
        raise NotImplementedError

    @torch.no_grad()
    def copy_to(self, operation: nn.Sequential, edge: int) -> None:
        """Give a single operation the kernels and running statistics of one edge."""
        convolutions = [layer for layer in operation if isinstance(layer, nn.Conv2d)]
        for layer, kernel in zip(convolutions, self.kernels(), strict=True):
            layer.weight.copy_(kernel[edge])
        batch_norms = [layer for layer in operation if isinstance(layer, nn.BatchNorm2d)]
        for layer, norm in zip(batch_norms, self.norms, strict=True):
            layer.running_mean.copy_(norm.mean[edge])
            layer.running_var.copy_(norm.var[edge])


class Convolution(Branch):
    """A dense candidate (`conv`, `dil`) on `edges` edges that read the same feature."""

    Kernels = DenseKernels

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.weight = _drawn_kernels(edges, width, width, self.kind.kernel)
        self.norm = Norm(edges, width)
        self.norms = [self.norm]

    def kernels(self) -> DenseKernels:
        return DenseKernels(self.weight)

    def first(self, source: Source, given: DenseKernels) -> Pixels:
        """Return the raw output on all edges."""
        padding, dilation, feature = self.kind.padding, self.kind.dilation, source.activated
        images, weight = _trusted(dilation, feature, given.weight.flatten(0, 1))
        return kernels.pixels(F.conv2d(images, weight, padding=padding, dilation=dilation).to(feature.dtype))

    def gradients(
        self,
        source: Source,
        given: DenseKernels,
        wanted: DenseKernels,
        by_raw: Pixels,
        factor: Float[Tensor, " channels"],
        total: Pixels | None,
        want_feature: bool,
        first_half: None = None,
    ) -> tuple[Pixels | None, DenseKernels]:
        """Return the gradients by the activated feature, added to `total`, and by the kernels (None: not wanted).

        by_raw times `factor` is the gradient by the raw output: kernels are smaller than images, so they are scaled.
        """
        padding, dilation = [self.kind.padding] * 2, [self.kind.dilation] * 2
        inputs = source.images(by_raw), source.activated, _scaled(given.weight, factor).flatten(0, 1)
        asked = [want_feature, wanted.weight, False]
        by_activated, by_weight, _ = torch.ops.aten.convolution_backward.default(
            *_trusted(self.kind.dilation, *inputs), None, [1, 1], padding, dilation, False, [0, 0], 1, asked
        )
        if want_feature:
            found = kernels.pixels(by_activated.to(by_raw.dtype))
            total = found if total is None else total.add_(found)
        if wanted.weight:
            by_weight = _scaled(by_weight.view_as(given.weight), factor).to(given.weight.dtype)
        return total, DenseKernels(by_weight if wanted.weight else None)


class Separable(Branch):
    """A separable candidate (`sep`) on `edges` edges that read the same feature."""

    Kernels = SeparableKernels

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.depthwise = nn.ParameterList(_drawn_kernels(edges, width, 1, self.kind.kernel) for _ in range(2))
        self.pointwise = nn.ParameterList(_drawn_kernels(edges, width, width, 1) for _ in range(2))
        self.middle = Norm(edges, width)
        self.norm = Norm(edges, width)
        self.norms = [self.middle, self.norm]

    def kernels(self) -> SeparableKernels:
        return SeparableKernels(self.depthwise[0], self.pointwise[0], self.depthwise[1], self.pointwise[1])

    def first(self, source: Source, out: Pixels, given: SeparableKernels) -> Pixels:
        """Write the raw output of the first half on all edges to `out`, and return it."""
        return _half(source.stacked, given.depthwise, given.pointwise, out)

    def second(self, source: Source, centred: Pixels, inverse: Tensor, out: Pixels, given: SeparableKernels) -> Pixels:
        """Write the raw output of the second half to `out`, and return it; centred, inverse: the first one's."""
        activated = source.images(F.leaky_relu(centred, SLOPE))  # its scale, positive, can wait for the kernels
        return _half(activated, _scaled(given.second_depthwise, inverse), given.second_pointwise, out)

    def gradients(
        self,
        source: Source,
        given: SeparableKernels,
        wanted: SeparableKernels,
        by_raw: Pixels,
        factor: Float[Tensor, " channels"],
        total: Pixels | None,
        want_feature: bool,
        first_half: FirstHalf,
    ) -> tuple[Pixels | None, SeparableKernels]:
        """Return gradients as `Convolution.gradients` does."""
        centred, inverse, training = first_half
        by_centred, by_depthwise, by_pointwise = _half_backward(
            by_raw,
            source,
            lambda: source.images(F.leaky_relu(centred, SLOPE)),
            _scaled(given.second_depthwise, inverse),
            _scaled(given.second_pointwise, factor),
            (want_feature or wanted.depthwise or wanted.pointwise, wanted.second_depthwise, wanted.second_pointwise),
        )
        if wanted.second_depthwise:
            by_depthwise = _scaled(by_depthwise, inverse)
        if wanted.second_pointwise:
            by_pointwise = _scaled(by_pointwise, factor)
        if by_centred is None:
            return total, SeparableKernels(None, None, by_depthwise, by_pointwise)
        by_first = _through_activation(kernels.pixels(by_centred), centred)
        if training:
            kernels.norm_gradient(by_first, centred, inverse)
        by_stacked, *by_own = _half_backward(
            by_first,
            source,
            lambda: source.stacked,
            given.depthwise,
            given.pointwise,
            (want_feature, wanted.depthwise, wanted.pointwise),
        )
        if want_feature:
            total = source.summed(kernels.pixels(by_stacked), total)
        return total, SeparableKernels(*by_own, by_depthwise, by_pointwise)


def _trusted(dilation: int, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Return the tensors, in float32 where bfloat16 gradients cannot be trusted; see `layers.DilatedConv2d`."""
    wrong = dilation > 1 and tensors[0].dtype == torch.bfloat16 and tensors[0].device.type == "cpu"
    return tuple(tensor.float() for tensor in tensors) if wrong else tensors


def _half(feature: Tensor, depthwise: Tensor, pointwise: Tensor, out: Pixels) -> Pixels:
    """Write half of a separable convolution, depthwise and then 1x1 on all edges, to `out`, and return it."""
    inner = kernels.pixels(kernels.depthwise(feature, depthwise.flatten(0, 1)))
    return kernels.pointwise(inner, pointwise.flatten(2), out)


def _half_backward(
    gradient: Pixels,
    source: Source,
    feature: Callable[[], Tensor],
    depthwise: Tensor,
    pointwise: Tensor,
    wanted: tuple[bool, bool, bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the wanted gradients of `_half`, by its feature (computed again by `feature`), depthwise and pointwise."""
    flat, by_pointwise = depthwise.flatten(0, 1), None
    by_inner = source.images(kernels.pointwise(gradient, pointwise.flatten(2).transpose(1, 2)))
    given = feature() if any(wanted[1:]) else by_inner
    if wanted[2]:
        inner = kernels.pixels(kernels.depthwise(given, flat))
        by_pointwise = kernels.pointwise_gradient(gradient, inner, pointwise.flatten(2)).reshape(pointwise.shape)
    by_feature, by_depthwise = kernels.depthwise_backward(by_inner, given, flat, wanted[:2])
    return by_feature, None if by_depthwise is None else by_depthwise.view_as(depthwise), by_pointwise


def _scaled(stack: Tensor, factor: Tensor) -> Tensor:
    """Return stacked kernels, those of every output channel times its factor."""
    return stack * factor.to(stack.dtype).view(*stack.shape[:2], 1, 1, 1)


def _through_activation(gradient: Pixels, matrix: Pixels) -> Pixels:
    """Multiply, in place, by the slopes of the activation; matrix: what was activated."""
    return torch.ops.aten.leaky_relu_backward.grad_input(gradient, matrix, SLOPE, False, grad_input=gradient)


def _drawn_kernels(edges: int, outputs: int, inputs: int, kernel: int) -> nn.Parameter:
    """Draw one kernel per edge as `nn.Conv2d` draws its own."""
    weight = torch.empty(edges, outputs, inputs, kernel, kernel)
    for one in weight:
        nn.init.kaiming_uniform_(one, a=5**0.5)
    return nn.Parameter(weight)
