"""The super-cell as the paper writes it (eqs. 1 to 3): a plain sum over edges and candidate operations.

Read it for what a super-cell is. The supernet is built with `fast.SuperCell`, which takes the same arguments and gives
the same numbers sooner: tests hold it to this one in values and gradients, and notebook `24_speed` times both.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.method import fast
from hinas_nb.method.genotype import KINDS, OPERATIONS, edges
from hinas_nb.method.operations import operation

_Feature = Float[Tensor, "batch width height width_px"]


class SuperCell(nn.Module):
    """All candidate operations on all edges of one cell; `width` is the channels of a node."""

    def __init__(self, nodes: int, width: int, operations: tuple[str, ...] = OPERATIONS):
        super().__init__()
        self.nodes, self.width, self.operations = nodes, width, tuple(operations)
        self.edges = nn.ModuleList(nn.ModuleList(_candidate(name, width) for name in operations) for _ in edges(nodes))

    def forward(
        self, previous: _Feature, before: _Feature, weights: Float[Tensor, "edges operations"]
    ) -> Float[Tensor, "batch nodes*width height width_px"]:
        """Return the nodes, stacked in the channels (eq. 3), for softmaxed or one-hot alphas.

        previous, before: h_{l-1} and h_{l-2}, which are sources 0 and 1; node i is source 2 + i.
        """
        features = [previous, before]
        alphas = dict(zip(edges(self.nodes), weights))
        candidates = dict(zip(edges(self.nodes), self.edges))
        for node in range(self.nodes):
            # eq. 1: a node is the sum of its edges; eq. 2: an edge is the alpha-weighted sum of its candidates.
            leaving = [(features[source], alphas[node, source], candidates[node, source]) for source in range(2 + node)]
            features.append(sum(self.edge(*one) for one in leaving))
        return torch.cat(features[2:], dim=1)

    def edge(self, feature: _Feature, weights: Float[Tensor, " operations"], candidates: nn.ModuleList) -> _Feature:
        """Return the alpha-weighted sum of one edge's candidates (eq. 2)."""
        return sum(weight * candidate(feature) for weight, candidate in zip(weights, candidates))


class PartialSuperCell(SuperCell):
    """Computes as the super-cell of PC-DARTS (Xu et al., ICLR 2020): one channel of `parts` enters the operations.

    The others pass by, times the weight of their edge, which is the sum of its row of alphas. Channels are shuffled
    after each edge, so that the next one's operations meet others.
    """

    def __init__(self, nodes: int, width: int, operations: tuple[str, ...], parts: int):
        super().__init__(nodes, width // parts, operations)
        self.parts = parts

    def edge(self, feature: _Feature, weights: Float[Tensor, " operations"], candidates: nn.ModuleList) -> _Feature:
        through, past = feature.tensor_split([self.width], dim=1)
        joined = torch.cat([super().edge(through, weights, candidates), weights.sum() * past], dim=1)
        return F.channel_shuffle(joined, self.parts)


def plain_supernet(net: nn.Module) -> nn.Module:
    """Return a copy of a `Supernet` with the same weights, made of plain super-cells and of torch's own layers."""
    plain = fast.stock(net)
    plain.memory_format = torch.contiguous_format
    for layer in plain.layers:
        for key, cell in layer.cells.items():
            if isinstance(cell, fast.SuperCell):
                layer.cells[key] = _plain_super_cell(cell)
    return plain


def _plain_super_cell(cell: fast.SuperCell) -> SuperCell:
    """Return a fast super-cell's plain twin: the same weights and running statistics, in torch's own layers."""
    plain = SuperCell(cell.nodes, cell.width, cell.operations).to(next(cell.parameters(), torch.empty(0)))
    plain.train(cell.training)
    for (node, source), candidates in zip(edges(cell.nodes), plain.edges):
        for name, candidate in zip(cell.operations, candidates):
            if name in KINDS:
                cell.copy_candidate(node, source, name, candidate)
    return fast.stock(plain)


class _Zero(nn.Module):
    """The operation `none`."""

    def forward(self, feature: _Feature) -> _Feature:
        return torch.zeros_like(feature)


def _candidate(name: str, width: int) -> nn.Module:
    return _Zero() if name == "none" else operation(name, width, affine=False)
