"""SPAN (Wan et al., "Swift parameter-free attention network for efficient super-resolution", CVPR workshops 2024).

The fastest of the NTIRE 2024 challenge on efficient super-resolution, with 28 channels. Six blocks of three 3x3
convolutions with SiLU between them; a block's result r is weighted by itself, without parameters: (r + x) (s(r) - 1/2),
s the sigmoid. The first features, those after the first block, the first layer of the last block and the last features
are joined by a 1x1; one convolution and pixel shuffle make the image. While it is trained, each 3x3 is a wider one
between two 1x1, beside a 1x1, all linear; for inference these are folded into a single one.

141,580 (x2), 145,375 (x3) and 150,688 (x4) parameters when folded, which is what its authors count: 0.151 M (x4). The
network of 52 channels in its paper's tables has 481,324 (x2) and 498,208 (x4): `width=52`.
As in the code: the inner 3x3 of a convolution is twice as wide as it; the first layer of the last block is joined after
its SiLU, which works in place there.
Chosen here: torch's first weights; images on 0-1, not 0-255, and the mean colour is put back at the end.
"""

import torch
import torch.nn.functional as F
from torch import nn

from hinas_nb.comparators.base import Image
from hinas_nb.comparators.layers import Frame, conv

GAIN = 2  # of the width inside a convolution, while it is trained


class SPAN(Frame):
    """Enlarges colour pictures; `folded` makes the network of which its size and speed are published."""

    def __init__(self, scale: int, width: int = 28, blocks: int = 6):
        super().__init__(scale, width, _Trunk(width, blocks), shallow=_Convolution(3, width), direct=True)
        self.halo = 1 + 3 * blocks + 1 + 1

    def folded(self) -> "SPAN":
        """Return a copy for inference, equal to 1e-5: one 3x3 in place of each trained group of convolutions."""
        twin = super().folded()
        for module in [*twin.modules()]:
            for name, child in module.named_children():
                if isinstance(child, _Convolution):
                    setattr(module, name, child.merged())
        return twin.to(memory_format=torch.channels_last)

    @property
    def parameters_live(self) -> int:
        """Return the number of parameters of the folded network."""
        return sum(parameter.numel() for parameter in self.folded().parameters())


class _Trunk(nn.Module):
    """Makes deep features of shallow ones: all blocks, and a 1x1 that joins what four of the layers made."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        self.blocks = nn.ModuleList(_Block(width) for _ in range(blocks))
        self.last, self.join = _Convolution(width, width), conv(4 * width, width, 1)

    def forward(self, shallow: Image) -> Image:
        known = [shallow]
        for block in self.blocks:
            features, inner = block(known[-1])
            known.append(features)
        return self.join(torch.cat([shallow, self.last(features), known[1], inner], dim=1))


class _Block(nn.Module):
    """Weights features by themselves; returns also what its first layer makes of them."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second, self.third = (_Convolution(width, width) for _ in range(3))

    def forward(self, features: Image) -> tuple[Image, Image]:
        first = F.silu(self.first(features))
        result = self.third(F.silu(self.second(first)))
        return (result + features) * (torch.sigmoid(result) - 0.5), first


class _Convolution(nn.Module):
    """Is a 3x3 convolution, written as a sum of linear layers that train better than it."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.beside, self.before = conv(inputs, outputs, 1), conv(inputs, GAIN * inputs, 1)
        self.middle = nn.Conv2d(GAIN * inputs, GAIN * outputs, 3)
        self.after = conv(GAIN * outputs, outputs, 1)

    def forward(self, features: Image) -> Image:
        padded = F.pad(features, (1, 1, 1, 1))  # before the biases, so that one convolution can do the same
        return self.after(self.middle(self.before(padded))) + self.beside(features)

    def merged(self) -> nn.Conv2d:
        """Return the one convolution that does the same."""
        before, middle, after, beside = self.before, self.middle, self.after, self.beside
        kernel = torch.einsum("om,mnyx,ni->oiyx", after.weight[..., 0, 0], middle.weight, before.weight[..., 0, 0])
        inner = middle.weight.sum((2, 3)) @ before.bias + middle.bias
        bias = after.weight[..., 0, 0] @ inner + after.bias + beside.bias
        single = conv(before.in_channels, after.out_channels).to(kernel)
        single.weight.data.copy_(kernel + F.pad(beside.weight, (1, 1, 1, 1)))
        single.bias.data.copy_(bias)
        return single
