"""The super-cell as the paper writes it: a plain sum over edges and operations (eqs. 1 and 2), stock modules only.

Read it before `supercell`, which computes the same faster: the tests hold that one to this, in values and gradients,
and notebook `24_speed` times both.
"""

import copy

import torch
from torch import Tensor, nn

from hinas_nb.method.genotype import OPERATIONS


class PlainCell(nn.Module):
    """One super-cell; arguments, `weights` and the order of edges as in `supercell.SuperCell`."""

    def __init__(self, nodes: int, width: int, operations=OPERATIONS):
        super().__init__()
        self.nodes = nodes
        self.edges = nn.ModuleList(
            nn.ModuleList(candidate(name, width) for name in operations)
            for node in range(nodes)
            for _ in range(2 + node)
        )

    def forward(self, previous: Tensor, before: Tensor, weights: Tensor) -> Tensor:
        """x_i = sum over its inputs j of sum over operations k of weights[j -> i, k] * o_k(x_j); the nodes stacked.

        previous, before: h_{l-1} and h_{l-2}, (batch, width, height, width_px). weights: (edges, operations).
        """
        features, row = [previous, before], 0
        for node in range(self.nodes):
            total = 0
            for source in range(2 + node):
                for operation, weight in zip(self.edges[row], weights[row]):
                    total = total + weight * operation(features[source])
                row += 1
            features.append(total)
        return torch.cat(features[2:], dim=1)

    @torch.no_grad()
    def copy_from(self, cell):
        """Take the weights of a `SuperCell`."""
        row = 0
        for node in range(self.nodes):
            for source in range(2 + node):
                for name, operation in zip(cell.operations, self.edges[row]):
                    if name in ("skip", "none"):
                        continue
                    branch, edge = cell.branches[source][name], cell.targets[source].index(node)
                    convolutions = [part for part in operation if isinstance(part, nn.Conv2d)]
                    if len(convolutions) == 1:
                        kernels = [branch.weight]
                    else:
                        kernels = [
                            branch.depthwise[0],
                            branch.pointwise[0],
                            branch.depthwise[1],
                            branch.pointwise[1],
                        ]
                    for convolution, kernel in zip(convolutions, kernels, strict=True):
                        convolution.weight.copy_(kernel[edge])
                row += 1


class Zero(nn.Module):
    def forward(self, feature):
        return torch.zeros_like(feature)


def candidate(name: str, width: int) -> nn.Module:
    """One candidate operation while searching: batch norms without affine."""
    if name in ("skip", "none"):
        return nn.Identity() if name == "skip" else Zero()
    kernel, dilation = int(name[-1]), 2 if name.startswith("dil") else 1
    padding = dilation * (kernel - 1) // 2
    if not name.startswith("sep"):
        convolution = nn.Conv2d(width, width, kernel, padding=padding, dilation=dilation, bias=False)
        return nn.Sequential(nn.LeakyReLU(0.2), convolution, nn.BatchNorm2d(width, affine=False))
    half = lambda: [  # noqa: E731
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, width, kernel, padding=padding, groups=width, bias=False),
        nn.Conv2d(width, width, 1, bias=False),
        nn.BatchNorm2d(width, affine=False),
    ]
    return nn.Sequential(*half(), *half())


def plain_supernet(net: nn.Module) -> nn.Module:
    """A copy of a `Supernet` with the same weights: each super-cell the plain sum, all layers torch's own."""
    reference = stock(net)
    reference.memory_format = torch.contiguous_format
    for layer in reference.layers:
        for key, cell in layer.cells.items():
            plain = PlainCell(cell.nodes, cell.width, cell.operations).to(next(cell.parameters()).dtype)
            plain.copy_from(cell)
            layer.cells[key] = plain
    return reference


def stock(net: nn.Module) -> nn.Module:
    """A copy made of torch's own layers, in contiguous memory, with the same numbers."""
    net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
    for module in list(net.modules()):
        for kind in (nn.BatchNorm2d, nn.Conv2d, nn.Sequential):
            if isinstance(module, kind):
                module.__class__ = kind
    return net
