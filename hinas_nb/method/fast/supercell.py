"""The super-cell of `method.supercell`, computed source by source: the same numbers in values and gradients, sooner.

All edges that leave one source read the same activated feature, so one convolution per candidate serves them all
(edges are stacked in the channels, see `branches`). The alpha-weighted sum of normalised outputs is a scaled sum of the
raw ones, so the normalised ones are never made, and what is cheap to compute again is not kept.
"""

from collections import defaultdict
from itertools import islice

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hinas_nb.method.fast import kernels
from hinas_nb.method.fast.branches import Branch, Convolution, FirstHalf, Separable, Source, centre
from hinas_nb.method.fast.deformable import DeformableBranch
from hinas_nb.method.fast.kernels import Pixels
from hinas_nb.method.genotype import KINDS, OPERATIONS, SLOPE, edges

_Feature = Float[Tensor, "batch width height width_px"]


class SuperCell(nn.Module):
    """All candidate operations on all edges of one cell; `width` is the channels of a node.

    `branches[source][name]` holds the weights of one candidate on all edges that leave a source, which go to the nodes
    `targets[source]` and stand in the rows `rows[source]` of alpha.
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
        self, previous: _Feature, before: _Feature, weights: Float[Tensor, "edges operations"]
    ) -> Float[Tensor, "batch nodes*width height width_px"]:
        """Return the nodes, stacked in the channels, for softmaxed or one-hot alphas.

        previous, before: h_{l-1} and h_{l-2}. An operation whose weight is exactly zero is not computed, unless
        the weights want a gradient.
        """
        # What the nodes to come have been sent so far, stacked in the channels; the first of them is complete.
        pending = self._leave(0, previous, weights, None)
        pending = self._leave(1, before, weights, pending)
        outputs = []
        for node in range(self.nodes - 1):
            ready, pending = pending.split([self.width, pending.shape[1] - self.width], dim=1)
            outputs.append(ready)
            pending = self._leave(2 + node, kernels.images(ready.contiguous(), previous), weights, pending)
        return kernels.images(torch.cat([*outputs, pending], dim=1), previous)

    def copy_to(self, cell: nn.Module) -> None:
        """Give a derived cell (`network.Cell`) the weights this super-cell has for the cell's operations."""
        for node, inputs in enumerate(cell.plan):
            for (name, source), operation in zip(inputs, cell.operations[node]):
                if name in KINDS:
                    self.copy_candidate(node, source, name, operation)

    def copy_candidate(self, node: int, source: int, name: str, operation: nn.Sequential) -> None:
        """Give a single `operation` the weights and running statistics of the candidate `name` on one edge."""
        self.branches[source][name].copy_to(operation, self.targets[source].index(node))

    def _leave(self, source: int, feature: Tensor, weights: Tensor, pending: Pixels | None) -> Pixels:
        """Return `pending` plus what one source sends to the nodes after it."""
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
        """Group a source's edges by the operations they need, which are columns of alpha."""
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
        """Return `pending` plus the weighted operations of the chosen edges, stacked in the channels."""
        names = {column: self.operations[column] for column in columns}
        skip = next((column for column, name in names.items() if name == "skip"), None)
        branches = {column: self.branches[source][name] for column, name in names.items() if name != "skip"}
        batched = {column: branch for column, branch in branches.items() if isinstance(branch, Branch)}
        batched = dict(sorted(batched.items(), key=lambda item: isinstance(item[1], Separable)))
        stacks = [_choose(stack, chosen) for branch in batched.values() for stack in branch.kernels()]
        if torch.is_autocast_enabled(feature.device.type):  # it casts what enters torch's layers, not our function
            dtype = torch.get_autocast_dtype(feature.device.type)
            feature, stacks = feature.to(dtype), [stack.to(dtype) for stack in stacks]
        total = _Send.apply(pending, feature, weights, [*batched], skip, [*batched.values()], chosen, *stacks)
        for column, branch in branches.items():
            if column not in batched:
                scale = weights[:, column].repeat_interleave(self.width)
                total = branch(total, F.leaky_relu(feature, SLOPE), scale, chosen)
        return total


class _Send(torch.autograd.Function):
    """`pending` plus the weighted operations of some edges of one source, both passes by hand.

    Kept for the backward pass are the centred raw outputs, the first halves of separable candidates among them; the
    rest is computed again, and only where a gradient wants it.
    """

    @staticmethod
    def forward(ctx, pending, feature, weights, columns, skip, branches, chosen, *stacks):
        """Compute the sum; columns: those of `weights` that belong to the branches, dense ones first, and to `skip`."""
        source, kernels_of, kept = Source(feature, len(weights)), _by_branch(stacks, branches), []
        total = source.skipped(pending, None if skip is None else weights[:, skip])
        if branches:
            dense = sum(isinstance(branch, Convolution) for branch in branches)
            separable, theirs = branches[dense:], kernels_of[dense:]
            raws = [branch.first(source, given) for branch, given in zip(branches[:dense], kernels_of)]
            rooms = source.rooms(2 * len(separable))
            halves, seconds = rooms[: len(separable)], rooms[len(separable) :]
            for branch, half, given in zip(separable, halves, theirs):
                branch.first(source, half, given)
            first_inverse = inverse = centre(raws + halves, [branch.norms[0] for branch in branches], chosen)
            if separable:
                for branch, half, of_half, out, given in zip(separable, halves, inverse[dense:], seconds, theirs):
                    branch.second(source, half, of_half, out, given)
                by_second = centre(seconds, [branch.norms[1] for branch in separable], chosen)
                raws, inverse = raws + seconds, torch.cat((inverse[:dense], by_second))
            scales = weights[:, columns].T.repeat_interleave(feature.shape[1], dim=1) * inverse
            kernels.add_scaled(total, raws, scales)
            kept = [first_inverse[dense:], inverse, scales, *raws, *halves]
        ctx.columns, ctx.skip, ctx.branches = columns, skip, branches
        ctx.training = any(branch.norms[0].training for branch in branches)
        ctx.save_for_backward(feature, weights, *stacks, *kept)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        branches, skip, by_sent = ctx.branches, ctx.skip, gradient.contiguous()
        want_pending, want_feature, want_weights, _, _, _, _, *want_stacks = ctx.needs_input_grad
        feature, weights, *rest = ctx.saved_tensors
        stacks, kept = rest[: len(want_stacks)], rest[len(want_stacks) :]
        source = Source(feature, len(weights))
        by_weights = torch.zeros_like(weights) if want_weights else None
        by_activated, by_stacks = None, [None] * len(stacks)
        if branches:
            half_inverse, inverse, scales, *outputs = kept
            raws, halves = outputs[: len(branches)], outputs[len(branches) :]
            sums = kernels.products(by_sent, raws)
            if want_weights:
                by_scales = sums[1:] * inverse
                by_weights[:, ctx.columns] = by_scales.unflatten(1, (len(weights), -1)).sum(2).T.to(weights.dtype)
            if want_feature or any(want_stacks):
                first_halves = [FirstHalf(*one, ctx.training) for one in zip(halves, half_inverse)]
                of_branch = zip(
                    branches,
                    _by_branch(stacks, branches),
                    _by_branch(want_stacks, branches),
                    kernels.norm_gradients(by_sent, raws, inverse, sums if ctx.training else None),
                    scales,
                    [None] * (len(branches) - len(halves)) + first_halves,
                )
                by_stacks = []
                for branch, given, wanted, by_raw, scale, first_half in of_branch:
                    by_activated, by_own = branch.gradients(
                        source, given, wanted, by_raw, scale, by_activated, want_feature, first_half
                    )
                    by_stacks += by_own
        skip_weights = None if skip is None else weights[:, skip]
        by_feature = source.gradient(by_sent, by_activated, skip_weights) if want_feature else None
        if want_weights and skip is not None:
            by_weights[:, skip] = source.skip_gradient(by_sent)
        return by_sent if want_pending else None, by_feature, by_weights, None, None, None, None, *by_stacks


def _branch(name: str, edges: int, width: int) -> nn.Module:
    if KINDS[name].deformable:
        return DeformableBranch(edges, width)
    return (Separable if KINDS[name].separable else Convolution)(name, edges, width)


def _by_branch(stacks, branches: list[Branch]) -> list[tuple]:
    """Return what belongs to each branch's kernels, by name; `stacks` has it for one kernel after the other."""
    stacks = iter(stacks)
    return [branch.Kernels(*islice(stacks, len(branch.Kernels._fields))) for branch in branches]


def _choose(stacked: Tensor, chosen: list[int]) -> Tensor:
    return stacked if len(chosen) == len(stacked) else stacked[chosen]
