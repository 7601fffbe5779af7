"""FALSR-A, -B and -C (Chu et al., "Fast, accurate and lightweight super-resolution with neural architecture search").

Three networks that evolution and reinforcement learning found (ICPR 2020), for the luminance and x2. A 3x3 convolution
makes 32 channels; seven cells follow, each of which sees the joined outputs of some before it; a 3x3 joins the last
ones, the first features are added, pixel shuffle leaves 8 channels, and a 3x3 makes the luminance, without a skip.
A cell repeats plain convolutions, grouped ones, or inverted bottlenecks (to twice the width, depthwise 3x3, and back,
added to the input, after a 1x1 without activation). In some the first layer's output is added to the last's. ReLU.

1,021,401 (A), 324,745 (B) and 426,569 (C) parameters against 1,021 K, 326 K and 408 K published; `comparators.TABLE`
says why C differs.
As in the code: all cells and their wiring, from the trained graphs of its authors, with whose weights these networks
give the published scores. Chosen here: first weights by He et al.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from hinas_nb.comparators.base import Grey, Image, he_normal
from hinas_nb.comparators.layers import LumaUpscaler, Skip, conv


@dataclass(frozen=True)
class Cell:
    """Describes a cell."""

    kind: int | str  # "inverted", or the number of groups of its convolutions
    width: int  # in halves of the stem's
    kernel: int  # side
    repeats: int  # of the layer
    skip: bool  # whether the first layer's output is added to the last's
    sources: tuple[int, ...]  # 0 is the stem, i the i-th cell

    @property
    def radius(self) -> int:
        """Return how far a pixel sees, in pixels."""
        own = self.kernel // 2
        return self.repeats * (own if self.kind != "inverted" else 2 * own + 1)


class Cells(LumaUpscaler):
    """Makes the luminance by the cells of `cells`, of which `joined` are seen at the end. width: of the stem."""

    cells: tuple[Cell, ...] = ()
    joined: tuple[int, ...] = ()

    def __init__(self, scale: int, width: int = 32):
        super().__init__(scale)
        widths = [width, *(cell.width * width // 2 for cell in self.cells)]
        self.stem = nn.Sequential(conv(1, width), nn.ReLU())
        self.inner = nn.ModuleList(
            _Cell(cell, sum(widths[source] for source in cell.sources), own)
            for cell, own in zip(self.cells, widths[1:])
        )
        self.last = nn.Sequential(conv(sum(widths[source] for source in self.joined), width), nn.ReLU())
        self.image = nn.Sequential(nn.PixelShuffle(scale), conv(width // scale**2, 1))
        he_normal(self)
        seen = [1]
        for cell in self.cells:
            seen.append(max(seen[source] for source in cell.sources) + cell.radius)
        self.halo = max(seen[source] for source in self.joined) + 2

    def luma(self, low: Grey, large: Grey) -> Grey:
        known = [self.stem(low)]
        for cell, inner in zip(self.cells, self.inner):
            known.append(inner(torch.cat([known[source] for source in cell.sources], dim=1)))
        return self.image(self.last(torch.cat([known[source] for source in self.joined], dim=1)) + known[0])


class _Cell(nn.Module):
    def __init__(self, cell: Cell, inputs: int, width: int):
        super().__init__()
        self.skip = cell.skip and cell.repeats > 1
        if cell.kind == "inverted":
            self.first = conv(inputs, width, 1)
            self.rest = nn.Sequential(*(_inverted(width, cell.kernel) for _ in range(cell.repeats)))
        else:
            first, *rest = (
                nn.Sequential(conv(a, b, cell.kernel, groups=cell.kind), nn.ReLU())
                for a, b in pairwise([inputs, *[width] * cell.repeats])
            )
            self.first, self.rest = first, nn.Sequential(*rest)

    def forward(self, features: Image) -> Image:
        first = self.first(features)
        last = self.rest(first)
        return first + last if self.skip else last


def _inverted(width: int, kernel: int) -> Skip:
    """Return a bottleneck that is twice as wide inside, with a depthwise convolution there."""
    wide = 2 * width
    depthwise = conv(wide, wide, groups=wide)
    return Skip(conv(width, wide, kernel), nn.ReLU(), depthwise, nn.ReLU(), conv(wide, width, kernel))


class FALSRA(Cells):
    """Is FALSR-A, the largest."""

    cells = (
        Cell(1, 4, 3, 4, True, (0,)),
        Cell(1, 3, 1, 1, True, (1,)),
        Cell(1, 4, 3, 4, True, (2,)),
        Cell(1, 4, 3, 4, True, (2, 3)),
        Cell(1, 4, 3, 4, True, (0, 2, 4)),
        Cell(1, 4, 1, 4, False, (5,)),
        Cell(1, 4, 3, 4, True, (0, 2, 5, 6)),
    )
    joined = (0, 1, 2, 3, 4, 5, 6, 7)


class FALSRB(Cells):
    """Is FALSR-B, the smallest, and the one of table 12."""

    cells = (
        Cell("inverted", 1, 3, 1, True, (0,)),
        Cell("inverted", 3, 1, 2, True, (0, 1)),
        Cell(1, 1, 1, 2, True, (0, 1, 2)),
        Cell("inverted", 2, 3, 4, False, (3,)),
        Cell(1, 4, 3, 2, False, (2, 3, 4)),
        Cell(4, 1, 3, 4, False, (2, 4, 5)),
        Cell(1, 1, 3, 1, True, (0, 1, 2, 6)),
    )
    joined = (1, 4, 6, 7)


class FALSRC(Cells):
    """Is FALSR-C."""

    cells = (
        Cell(2, 2, 1, 1, False, (0,)),
        Cell(1, 4, 1, 4, False, (0, 1)),
        Cell("inverted", 3, 3, 4, False, (2,)),
        Cell(2, 2, 1, 1, False, (1, 3)),
        Cell(4, 2, 1, 1, True, (0, 4)),
        Cell(1, 3, 1, 4, False, (0, 5)),
        Cell(1, 1, 3, 1, True, (1, 6)),
    )
    joined = (0, 2, 6, 7)
