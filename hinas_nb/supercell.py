"""The super-cell: every edge of a cell with every candidate operation, computed source by source (eqs. 1-3).

All edges that leave one source read the same activated tensor, so one convolution per kind of operation serves
them all (edges are stacked in the channels), and the alpha-weighted sum over normalised branches is a scaled sum of
the raw convolution outputs: the normalised ones are never made, and what is cheap to compute again is not kept. The
plain sum over edges, written from the equations with stock modules, lives in `tests/reference.py`; both agree in
values and gradients.
Notebook `02_search_space` shows a one-hot super-cell equal to the derived cell.
"""

from collections import defaultdict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb import kernels, layers
from hinas_nb.deformable import DeformableBranch
from hinas_nb.genotype import OPERATIONS
from hinas_nb.kernels import EPSILON, Pixels
from hinas_nb.network import Cell
from hinas_nb.ops import KINDS, SLOPE

MOMENTUM = 0.1  # of every batch norm, as torch's default


def edges(nodes: int) -> list[tuple[int, int]]:
    """(node, source) of every edge of a cell, in the order of the rows of alpha; 14 edges for 4 nodes."""
    return [(node, source) for node in range(nodes) for source in range(2 + node)]


class SuperCell(nn.Module):
    """All candidate operations on all edges of one cell.

    width: channels of a node. operations: a subset of `OPERATIONS`, in that order.
    Batch norms have no affine part; their running statistics serve evaluation.
    """

    def __init__(self, nodes: int, width: int, operations: tuple[str, ...] = OPERATIONS):
        super().__init__()
        self.nodes, self.width, self.operations = nodes, width, tuple(operations)
        row = {edge: index for index, edge in enumerate(edges(nodes))}
        self.targets = [range(max(0, source - 1), nodes) for source in range(1 + nodes)]
        self.rows = [[row[node, source] for node in targets] for source, targets in enumerate(self.targets)]
        self.branches = nn.ModuleList(
            nn.ModuleDict({name: _branch(name, len(targets), width) for name in operations if name in KINDS})
            for targets in self.targets
        )

    def forward(
        self,
        previous: Float[Tensor, "batch width height width_px"],
        before: Float[Tensor, "batch width height width_px"],
        weights: Float[Tensor, "edges operations"],
    ) -> Float[Tensor, "batch nodes*width height width_px"]:
        """The cell's output for softmaxed or one-hot alphas.

        previous, before: h_{l-1} and h_{l-2}. An operation whose weight is exactly zero is not computed, unless
        the weights want a gradient.
        """
        pending = self._leave(0, previous, weights, None)  # sums of the nodes to come, stacked in the channels
        pending = self._leave(1, before, weights, pending)
        outputs = []
        for node in range(self.nodes - 1):
            ready, pending = pending.split([self.width, pending.shape[1] - self.width], dim=1)
            outputs.append(ready)
            pending = self._leave(2 + node, kernels.images(ready.contiguous(), previous), weights, pending)
        return kernels.images(torch.cat([*outputs, pending], dim=1), previous)

    def copy_to(self, cell: Cell) -> None:
        """Give a derived cell the weights this super-cell has for the cell's operations."""
        for node, inputs in enumerate(cell.plan):
            for (name, source), module in zip(inputs, cell.operations[node]):
                if name != "skip":
                    self.branches[source][name].copy_to(module, self.targets[source].index(node))

    def _leave(self, source: int, feature: Tensor, weights: Tensor, pending: Pixels | None) -> Pixels:
        """`pending` and what one source sends to the nodes after it."""
        weights = weights[self.rows[source]]
        groups = self._groups(weights)
        if list(groups.values()) == [list(range(len(weights)))]:
            (columns,) = groups
            return self._send(source, feature, columns, list(range(len(weights))), weights, pending)
        sums = {}  # one-hot or random architectures: edges with the same operations go together
        for columns, chosen in groups.items():
            sent = self._send(source, feature, columns, chosen, weights[chosen], None)
            sums |= dict(zip(chosen, sent.split(self.width, dim=1)))
        sent = torch.cat([sums[edge] for edge in range(len(weights))], dim=1)
        return sent if pending is None else pending + sent

    def _groups(self, weights: Tensor) -> dict[tuple[int, ...], list[int]]:
        """Edges by the columns of the operations they need."""
        if weights.requires_grad:
            needed = torch.ones_like(weights, dtype=torch.bool)
        else:
            needed = weights != 0
        groups = defaultdict(list)
        for edge, row in enumerate(needed.tolist()):
            columns = [c for c, name in enumerate(self.operations) if row[c] and name != "none"]
            groups[tuple(columns)].append(edge)
        return groups

    def _send(self, source, feature, columns, chosen: list[int], weights, pending) -> Pixels:
        """Weighted operations of the chosen edges, stacked in the channels, on top of `pending`."""
        total = self._skipped(feature, columns, weights, pending)
        convolutions = [self.operations[column] for column in columns if self.operations[column] != "skip"]
        if not convolutions:
            return total
        activated = F.leaky_relu(feature, SLOPE)
        for name in convolutions:
            scale = weights[:, self.operations.index(name)].repeat_interleave(self.width)
            total = self.branches[source][name](total, activated, scale, chosen)
        return total

    def _skipped(self, feature: Tensor, columns, weights, pending: Pixels | None) -> Pixels:
        """A new matrix to add to: `pending` and the weighted identities."""
        matrix = kernels.pixels(feature)
        skip = self.operations.index("skip") if "skip" in self.operations else None
        if skip not in columns:
            return pending.clone() if pending is not None else matrix.new_zeros(len(matrix), len(weights) * self.width)
        # As a matrix product they cost less than scaled copies do.
        identities = torch.kron(weights[:, skip].view(1, -1), torch.eye(self.width).to(matrix))
        return matrix @ identities if pending is None else torch.addmm(pending, matrix, identities)


class _Norm(nn.Module):
    """Running statistics of one operation's batch norm on each of `edges` edges; no affine part."""

    def __init__(self, edges: int, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(edges, width))
        self.register_buffer("var", torch.ones(edges, width))

    def statistics(self, raw: Pixels, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Mean and 1 / standard deviation per channel: the batch's (remembered) in training, else the running ones."""
        if not self.training:
            return self.mean[chosen].flatten(), torch.rsqrt(self.var[chosen].flatten() + EPSILON)
        mean, var = kernels.moments(raw)
        if layers.recomputing():
            return mean, torch.rsqrt(var + EPSILON)
        unbiased = var * (raw.shape[0] / (raw.shape[0] - 1))
        for running, new in ((self.mean, mean), (self.var, unbiased)):
            if len(chosen) == running.shape[0]:
                running.view(-1).lerp_(new, MOMENTUM)
            else:
                running[chosen] = running[chosen].lerp(new.view(len(chosen), -1), MOMENTUM)
        return mean, torch.rsqrt(var + EPSILON)


class _Convolution(nn.Module):
    """A dense operation on `edges` edges that read the same tensor."""

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.weight = _kernels(edges, width, width, self.kind.kernel)
        self.norm = _Norm(edges, width)

    def forward(self, total: Pixels, activated: Tensor, scale: Tensor, chosen: list[int]) -> Pixels:
        """`total` and the normalised outputs of the chosen edges times `scale`; changes `total`."""
        weight = _choose(self.weight, chosen).flatten(0, 1)
        raw = F.conv2d(activated, weight, padding=self.kind.padding, dilation=self.kind.dilation)
        return _AddNormalised.apply(total, raw, scale, self.norm, chosen)

    def copy_to(self, module: nn.Sequential, edge: int) -> None:
        _load(module, [self.weight[edge]], [self.norm], edge)


class _Separable(nn.Module):
    """A separable operation on `edges` edges that read the same tensor."""

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.depthwise = nn.ParameterList(_kernels(edges, width, 1, self.kind.kernel) for _ in range(2))
        self.pointwise = nn.ParameterList(_kernels(edges, width, width, 1) for _ in range(2))
        self.middle = _Norm(edges, width)
        self.norm = _Norm(edges, width)

    def forward(self, total: Pixels, activated: Tensor, scale: Tensor, chosen: list[int]) -> Pixels:
        """`total` and the normalised outputs of the chosen edges times `scale`; changes `total`."""
        depthwise = [_choose(stack, chosen).flatten(0, 1) for stack in self.depthwise]
        pointwise = [_choose(stack, chosen).flatten(2) for stack in self.pointwise]
        if torch.is_autocast_enabled(activated.device.type):  # a Function of our own has to see to it itself
            dtype = torch.get_autocast_dtype(activated.device.type)
            activated = activated.to(dtype)
            depthwise, pointwise = ([stack.to(dtype) for stack in stacks] for stacks in (depthwise, pointwise))
        half = _FirstHalf.apply(activated, depthwise[0], pointwise[0])
        norms = (self.middle, self.norm)
        return _AddSecondHalf.apply(total, half, depthwise[1], pointwise[1], scale, norms, chosen)

    def copy_to(self, module: nn.Sequential, edge: int) -> None:
        kernels = [kernel[index][edge] for index in range(2) for kernel in (self.depthwise, self.pointwise)]
        _load(module, kernels, [self.middle, self.norm], edge)


class _AddNormalised(torch.autograd.Function):
    """total += scale * batch_norm(raw), keeping only `raw`."""

    @staticmethod
    def forward(ctx, total, raw, scale, norm, chosen):
        matrix = kernels.pixels(raw)
        mean, inverse = norm.statistics(matrix, chosen)
        kernels.add_normalised(total, matrix, scale, mean, inverse)
        ctx.mark_dirty(total)
        ctx.training = norm.training
        ctx.save_for_backward(raw, scale, mean, inverse)
        return total

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        raw, scale, mean, inverse = ctx.saved_tensors
        by_raw, by_scale, _ = kernels.norm_backward(
            gradient, kernels.pixels(raw), scale, mean, inverse, ctx.training, ctx.needs_input_grad[1:3]
        )
        return gradient, None if by_raw is None else kernels.images(by_raw, raw), by_scale, None, None


class _FirstHalf(torch.autograd.Function):
    """Depthwise k x k, then 1x1, on an input that every edge reads; keeps that input only."""

    @staticmethod
    def forward(ctx, activated, depthwise, pointwise):
        ctx.save_for_backward(activated, depthwise, pointwise)
        inner = kernels.depthwise(_repeated(activated, len(pointwise)), depthwise)
        return kernels.images(kernels.pointwise(kernels.pixels(inner), pointwise), activated)

    @staticmethod
    def backward(ctx, gradient):
        activated, depthwise, pointwise = ctx.saved_tensors
        edges = len(pointwise)
        stacked = _repeated(activated, edges)
        by_stacked, by_depthwise, by_pointwise = _half_backward(
            gradient, stacked, depthwise, pointwise, ctx.needs_input_grad
        )
        by_activated = None
        if by_stacked is not None:
            identities = torch.eye(activated.shape[1], dtype=activated.dtype, device=activated.device).repeat(edges, 1)
            by_activated = kernels.images(kernels.pixels(by_stacked) @ identities, activated)
        return by_activated, by_depthwise, by_pointwise


class _AddSecondHalf(torch.autograd.Function):
    """total += scale * batch_norm(1x1(depthwise(act(batch_norm(half))))).

    Keeps `half`. What follows it is computed again: the kernels' gradients need it. In a step on the architecture they
    are not wanted, and the raw sum is kept instead.
    """

    @staticmethod
    def forward(ctx, total, half, depthwise, pointwise, scale, norms, chosen):
        middle = norms[0].statistics(kernels.pixels(half), chosen)
        inner = kernels.depthwise(_activated(half, *middle), depthwise)
        raw = kernels.pointwise(kernels.pixels(inner), pointwise)
        last = norms[1].statistics(raw, chosen)
        kernels.add_normalised(total, raw, scale, *last)
        ctx.mark_dirty(total)
        ctx.training = norms[0].training
        kept = raw if not any(ctx.needs_input_grad[2:4]) else None
        ctx.save_for_backward(half, depthwise, pointwise, kept, scale, *middle, *last)
        return total

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous()
        half, depthwise, pointwise, raw, scale, *statistics = ctx.saved_tensors
        _, want_half, want_depthwise, want_pointwise, want_scale, _, _ = ctx.needs_input_grad
        activated = _activated(half, *statistics[:2])
        inner = None
        if raw is None:
            inner = kernels.depthwise(activated, depthwise)
            raw = kernels.pointwise(kernels.pixels(inner), pointwise)
        by_raw, by_scale, _ = kernels.norm_backward(
            gradient, raw, scale, *statistics[2:], ctx.training, (True, want_scale)
        )
        del raw
        by_activated, by_depthwise, by_pointwise = _half_backward(
            kernels.images(by_raw, half), activated, depthwise, pointwise,
            (want_half, want_depthwise, want_pointwise), inner,
        )  # fmt: skip
        by_half = None
        if want_half:
            by_normalised = torch.ops.aten.leaky_relu_backward(by_activated, activated, SLOPE, True)
            by_half = kernels.norm_backward(
                kernels.pixels(by_normalised), kernels.pixels(half), 1.0, *statistics[:2], ctx.training, (True, False)
            )[0]
            by_half = kernels.images(by_half, half)
        return gradient, by_half, by_depthwise, by_pointwise, by_scale, None, None


def _half_backward(gradient, feature, depthwise, pointwise, wanted, inner=None):
    """Gradients of 1x1(depthwise(feature)) by feature, depthwise and pointwise; inner: depthwise(feature), if known."""
    want_feature, want_depthwise, want_pointwise = wanted
    matrix = kernels.pixels(gradient)
    by_pointwise = None
    if want_pointwise:
        inner = kernels.depthwise(feature, depthwise) if inner is None else inner
        by_pointwise = kernels.pointwise_gradient(matrix, kernels.pixels(inner), len(pointwise))
    by_inner = kernels.images(kernels.pointwise(matrix, pointwise.transpose(1, 2)), feature)
    by_feature, by_depthwise = kernels.depthwise_backward(by_inner, feature, depthwise, (want_feature, want_depthwise))
    return by_feature, by_depthwise, by_pointwise


def _activated(half: Tensor, mean: Tensor, inverse: Tensor) -> Tensor:
    """act(batch_norm(half))."""
    normalised = kernels.scaled_sum(-mean * inverse, (kernels.pixels(half), inverse))
    return kernels.images(F.leaky_relu_(normalised, SLOPE), half)


def _repeated(feature: Tensor, edges: int) -> Tensor:
    return kernels.images(kernels.pixels(feature).repeat(1, edges), feature) if edges > 1 else feature


def _branch(name: str, edges: int, width: int) -> nn.Module:
    if KINDS[name].deformable:
        return DeformableBranch(edges, width, _Norm(edges, width), _AddNormalised.apply)
    return (_Separable if KINDS[name].separable else _Convolution)(name, edges, width)


def _kernels(edges: int, outputs: int, inputs: int, kernel: int) -> nn.Parameter:
    """One kernel per edge, drawn as `nn.Conv2d` draws its own."""
    weight = torch.empty(edges, outputs, inputs, kernel, kernel)
    for one in weight:
        nn.init.kaiming_uniform_(one, a=5**0.5)
    return nn.Parameter(weight)


def _choose(stacked: Tensor, chosen: list[int]) -> Tensor:
    return stacked if len(chosen) == len(stacked) else stacked[chosen]


@torch.no_grad()
def _load(module: nn.Sequential, kernels: list[Tensor], norms: list[_Norm], edge: int) -> None:
    """Copy kernels and running statistics into the layers of a derived operation, in order."""
    for layer, kernel in zip([part for part in module if isinstance(part, nn.Conv2d)], kernels, strict=True):
        layer.weight.copy_(kernel)
    for layer, norm in zip([part for part in module if isinstance(part, nn.BatchNorm2d)], norms, strict=True):
        layer.running_mean.copy_(norm.mean[edge])
        layer.running_var.copy_(norm.var[edge])
