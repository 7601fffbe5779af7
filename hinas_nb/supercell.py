"""The super-cell: every edge of a cell with every candidate operation, computed source by source (eqs. 1-3).

All edges that leave one source read the same activated tensor, so one convolution per kind of operation serves
them all (edges are stacked in the channels), and the alpha-weighted sum over normalised branches is a scaled sum of
the raw convolution outputs: the normalised ones are never made. The plain sum over edges, written from the
equations with stock modules, lives in `tests/reference.py`; both agree in values and gradients.
Notebook `02_search_space` shows a one-hot super-cell equal to the derived cell.
"""

from collections import defaultdict

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.genotype import OPERATIONS
from hinas_nb.network import Cell
from hinas_nb.ops import KINDS, SLOPE

EPSILON, MOMENTUM = 1e-5, 0.1  # of every batch norm, as torch's default


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
        for node in range(self.nodes):
            outputs.append(pending[:, : self.width])
            if node + 1 < self.nodes:
                pending = self._leave(2 + node, outputs[-1], weights, pending[:, self.width :])
        return torch.cat(outputs, dim=1)

    def copy_to(self, cell: Cell) -> None:
        """Give a derived cell the weights this super-cell has for the cell's operations."""
        for node, inputs in enumerate(cell.plan):
            for (name, source), module in zip(inputs, cell.operations[node]):
                if name != "skip":
                    self.branches[source][name].copy_to(module, self.targets[source].index(node))

    def _leave(self, source: int, feature: Tensor, weights: Tensor, pending: Tensor | None) -> Tensor:
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

    def _send(self, source, feature, columns, chosen: list[int], weights, pending) -> Tensor:
        """Weighted operations of the chosen edges, stacked in the channels, on top of `pending`."""
        branches = self.branches[source]
        names = [self.operations[column] for column in columns]
        batch, _, height, width = feature.shape
        if pending is None:
            pending = feature.new_zeros(batch, len(chosen) * self.width, height, width).to(
                memory_format=torch.channels_last
            )
        if "skip" in names:
            scale = weights[:, self.operations.index("skip")].view(1, -1, 1, 1, 1)
            stacked = pending.unflatten(1, (len(chosen), self.width))
            pending = torch.addcmul(stacked, scale, feature.unsqueeze(1)).flatten(1, 2)
        convolutions = [name for name in names if name in KINDS]
        if not convolutions:
            return pending
        activated = F.leaky_relu(feature, SLOPE)
        raw = [branches[name](activated, chosen) for name in convolutions]
        scales = [weights[:, self.operations.index(name)].repeat_interleave(self.width) for name in convolutions]
        norms = [branches[name].norm for name in convolutions]
        return _weighted_norm_sum(pending, scales, raw, norms, chosen)


class _Norm(nn.Module):
    """Running statistics of one operation's batch norm on each of `edges` edges; no affine part."""

    def __init__(self, edges: int, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(edges, width))
        self.register_buffer("var", torch.ones(edges, width))

    def statistics(self, raw: Tensor, chosen: list[int]) -> tuple[Tensor, Tensor]:
        """Mean and biased variance per channel: of the batch (and remembered) in training, else the running ones."""
        mean, var = self.mean[chosen].flatten(), self.var[chosen].flatten()
        if not self.training:
            return mean, var
        if raw.device.type == "mps":  # has no batch_norm_update_stats
            batch_var, batch_mean = torch.var_mean(raw, (0, 2, 3), correction=0)
            count = raw.numel() / raw.shape[1]
            mean.lerp_(batch_mean, MOMENTUM)
            var.lerp_(batch_var * (count / (count - 1)), MOMENTUM)
        else:
            batch_mean, batch_var = torch.ops.aten.batch_norm_update_stats(raw, mean, var, MOMENTUM)
        self.mean[chosen], self.var[chosen] = mean.view(len(chosen), -1), var.view(len(chosen), -1)
        return batch_mean, batch_var


class _Convolution(nn.Module):
    """A dense operation on `edges` edges that read the same tensor, up to its batch norm."""

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.weight = _kernels(edges, width, width, self.kind.kernel)
        self.norm = _Norm(edges, width)

    def forward(self, activated: Tensor, chosen: list[int]) -> Tensor:
        weight = _choose(self.weight, chosen).flatten(0, 1)
        return F.conv2d(activated, weight, padding=self.kind.padding, dilation=self.kind.dilation)

    def copy_to(self, module: nn.Sequential, edge: int) -> None:
        _load(module, [self.weight[edge]], [self.norm], edge)


class _Separable(nn.Module):
    """A separable operation on `edges` edges that read the same tensor, up to its last batch norm."""

    def __init__(self, name: str, edges: int, width: int):
        super().__init__()
        self.kind = KINDS[name]
        self.depthwise = nn.ParameterList(_kernels(edges, width, 1, self.kind.kernel) for _ in range(2))
        self.pointwise = nn.ParameterList(_kernels(edges, width, width, 1) for _ in range(2))
        self.middle = _Norm(edges, width)
        self.norm = _Norm(edges, width)

    def forward(self, activated: Tensor, chosen: list[int]) -> Tensor:
        depthwise = [_choose(kernels, chosen).flatten(0, 1) for kernels in self.depthwise]
        # One block-diagonal 1x1 is faster than a grouped one: it is bound by memory, not by arithmetic.
        pointwise = [torch.block_diag(*_choose(kernels, chosen).flatten(2).unbind()) for kernels in self.pointwise]
        if torch.is_autocast_enabled(activated.device.type):  # a Function of our own has to see to it itself
            dtype = torch.get_autocast_dtype(activated.device.type)
            activated = activated.to(dtype)
            depthwise, pointwise = ([kernels.to(dtype) for kernels in stack] for stack in (depthwise, pointwise))
        half = _SeparableHalf.apply(activated, depthwise[0], pointwise[0], None)
        statistics = self.middle.statistics(half.detach(), chosen)
        return _SeparableHalf.apply(half, depthwise[1], pointwise[1], (*statistics, self.training))

    def copy_to(self, module: nn.Sequential, edge: int) -> None:
        kernels = [kernel[index][edge] for index in range(2) for kernel in (self.depthwise, self.pointwise)]
        _load(module, kernels, [self.middle, self.norm], edge)


class _SeparableHalf(torch.autograd.Function):
    """Depthwise k x k, then 1x1, of an input that is first repeated for every edge, or normalised and activated.

    Keeps its input only: what lies between is cheaper to compute again than to keep.
    """

    @staticmethod
    def forward(ctx, feature, depthwise, pointwise, norm):
        ctx.norm = norm
        ctx.save_for_backward(feature, depthwise, pointwise)
        return _linear(_depthwise(_SeparableHalf.entered(feature, depthwise, norm)[1], depthwise), pointwise)

    @staticmethod
    def entered(feature, depthwise, norm):
        """(normalised, activated): what the depthwise convolution reads, and what that was before activation."""
        if norm is None:
            copies = len(depthwise) // feature.shape[1]
            return None, torch.cat([feature] * copies, dim=1) if copies > 1 else feature
        mean, var, _ = norm
        inverse = torch.rsqrt(var + EPSILON)
        normalised = torch.addcmul(_channel(-mean * inverse), feature, _channel(inverse)).to(feature.dtype)
        return normalised, F.leaky_relu(normalised, SLOPE)

    @staticmethod
    def backward(ctx, gradient):
        feature, depthwise, pointwise = ctx.saved_tensors
        want_feature, want_depthwise, want_pointwise, _ = ctx.needs_input_grad
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        normalised, stacked = _SeparableHalf.entered(feature, depthwise, ctx.norm)
        pointwise_gradient = None
        if want_pointwise:
            inner = _depthwise(stacked, depthwise).permute(0, 2, 3, 1).flatten(0, 2)
            pointwise_gradient = gradient.permute(0, 2, 3, 1).flatten(0, 2).T @ inner
        padding = [depthwise.shape[-1] // 2] * 2
        stacked_gradient, depthwise_gradient, _ = torch.ops.aten.convolution_backward(
            _linear(gradient, pointwise.T), stacked, depthwise, None, [1, 1], padding, [1, 1], False, [0, 0],
            len(depthwise), [want_feature, want_depthwise, False],
        )  # fmt: skip
        if not want_feature:
            feature_gradient = None
        elif ctx.norm is None:
            feature_gradient = stacked_gradient.unflatten(1, (-1, feature.shape[1])).sum(1)
        else:
            feature_gradient = _norm_backward(
                torch.ops.aten.leaky_relu_backward(stacked_gradient, normalised, SLOPE, False),
                feature,
                None,
                ctx.norm,
            )[0]
        return feature_gradient, depthwise_gradient, pointwise_gradient, None


class _WeightedNormSum(torch.autograd.Function):
    """base + sum_k scale_k * (raw_k - mean_k) / sqrt(var_k + eps), keeping only the raw tensors."""

    @staticmethod
    def forward(ctx, base, training, statistics, count, *tensors):
        scales, raw = tensors[:count], tensors[count:]
        inverse = [torch.rsqrt(var + EPSILON) for _, var in statistics]
        shift = -sum(s * i * mean for s, i, (mean, _) in zip(scales, inverse, statistics))
        total = base + _channel(shift)
        for tensor, scale, inv in zip(raw, scales, inverse):
            total.addcmul_(tensor, _channel(scale * inv))
        ctx.training, ctx.count, ctx.statistics = training, count, statistics
        ctx.save_for_backward(*scales, *raw)
        return total

    @staticmethod
    def backward(ctx, gradient):
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        scales, raw = ctx.saved_tensors[: ctx.count], ctx.saved_tensors[ctx.count :]
        scale_gradients, raw_gradients = [], []
        for index, statistics in enumerate(ctx.statistics):
            # Batch norm with `scale` as its affine weight: the weight's gradient is that of the scale.
            wanted = [ctx.needs_input_grad[4 + ctx.count + index], ctx.needs_input_grad[4 + index]]
            norm = (*statistics, ctx.training)
            found = _norm_backward(gradient, raw[index], scales[index], norm, wanted)
            raw_gradients.append(found[0])
            scale_gradients.append(found[1])
        return gradient, None, None, None, *scale_gradients, *raw_gradients


def _weighted_norm_sum(base, scales, raw, norms: list[_Norm], chosen: list[int]) -> Tensor:
    statistics = [norm.statistics(tensor.detach(), chosen) for norm, tensor in zip(norms, raw)]
    return _WeightedNormSum.apply(base, norms[0].training, statistics, len(raw), *scales, *raw)


def _norm_backward(gradient: Tensor, raw: Tensor, scale: Tensor | None, norm: tuple, wanted=(True, False)):
    """Gradients of `scale * batch_norm(raw)` by raw and by scale; norm: mean, variance, training or not."""
    mean, var, training = norm
    inverse = torch.rsqrt(var + EPSILON)
    return torch.ops.aten.native_batch_norm_backward(
        gradient.to(raw.dtype), raw, scale, mean, var, mean, inverse, training, EPSILON, [*wanted, False]
    )


def _depthwise(stacked: Tensor, kernels: Tensor) -> Tensor:
    return F.conv2d(stacked, kernels, padding=kernels.shape[-1] // 2, groups=len(kernels))


def _linear(stacked: Tensor, matrix: Tensor) -> Tensor:
    """A 1x1 convolution of a channels-last tensor as one matrix product."""
    return F.linear(stacked.permute(0, 2, 3, 1), matrix).permute(0, 3, 1, 2)


def _branch(name: str, edges: int, width: int) -> nn.Module:
    return (_Separable if KINDS[name].separable else _Convolution)(name, edges, width)


def _kernels(edges: int, outputs: int, inputs: int, kernel: int) -> nn.Parameter:
    """One kernel per edge, drawn as `nn.Conv2d` draws its own."""
    weight = torch.empty(edges, outputs, inputs, kernel, kernel)
    for one in weight:
        nn.init.kaiming_uniform_(one, a=5**0.5)
    return nn.Parameter(weight)


def _choose(stacked: Tensor, chosen: list[int]) -> Tensor:
    return stacked if len(chosen) == len(stacked) else stacked[chosen]


def _channel(vector: Tensor) -> Tensor:
    return vector.view(1, -1, 1, 1)


@torch.no_grad()
def _load(module: nn.Sequential, kernels: list[Tensor], norms: list[_Norm], edge: int) -> None:
    """Copy kernels and running statistics into the layers of a derived operation, in order."""
    for layer, kernel in zip([part for part in module if isinstance(part, nn.Conv2d)], kernels, strict=True):
        layer.weight.copy_(kernel)
    for layer, norm in zip([part for part in module if isinstance(part, nn.BatchNorm2d)], norms, strict=True):
        layer.running_mean.copy_(norm.mean[edge])
        layer.running_var.copy_(norm.var[edge])
