"""The deformable 3x3 convolution, `def_3`, of the older HiNAS (CVPR 2020), written on `grid_sample`.

Each tap of the kernel reads the input where a 3x3 convolution would, plus an offset in pixels that a second 3x3
convolution predicts for every pixel and tap; between pixels the input is interpolated bilinearly, beyond its edges
it is zero. The paper dropped it for its time: notebook `14_cell_sharing` measures what it costs.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.method.fast import kernels
from hinas_nb.method.fast.branches import Norm, statistics
from hinas_nb.method.fast.kernels import Pixels
from hinas_nb.method.fast.layers import Normalise
from hinas_nb.method.genotype import MAX_OFFSET

_TAPS = 9


class DeformableConv2d(nn.Conv2d):
    """3x3, as many channels out as in, no bias; its offsets start at zero, where it is the plain convolution."""

    def __init__(self, width: int):
        super().__init__(width, width, 3, padding=1, bias=False)
        self.offsets = nn.Conv2d(width, 2 * _TAPS, 3, padding=1)
        nn.init.zeros_(self.offsets.weight)
        nn.init.zeros_(self.offsets.bias)

    def forward(self, input: Tensor) -> Tensor:
        result = deform(input, self.offsets(input), self.weight)
        return result if self.bias is None else result + self.bias.view(-1, 1, 1)  # a folded batch norm's


class DeformableBranch(nn.Module):
    """`def_3` on `edges` edges that read the same feature."""

    def __init__(self, edges: int, width: int):
        super().__init__()
        drawn = [nn.Conv2d(width, width, 3, bias=False).weight.detach() for _ in range(edges)]
        self.weight = nn.Parameter(torch.stack(drawn))
        self.offset_weight = nn.Parameter(torch.zeros(edges, 2 * _TAPS, width, 3, 3))
        self.offset_bias = nn.Parameter(torch.zeros(edges, 2 * _TAPS))
        self.norm = Norm(edges, width)

    def forward(self, total: Pixels, activated: Tensor, scale: Tensor, chosen: list[int]) -> Pixels:
        """Return `total` plus the normalised outputs of the chosen edges, times `scale`."""
        raw = self.raw(activated, chosen).contiguous(memory_format=torch.channels_last)
        (mean,), (inverse,) = statistics([kernels.pixels(raw.detach())], [self.norm], chosen)
        if self.training:
            normalised = Normalise.apply(raw, scale, None, mean, inverse)
        else:
            normalised = (raw - mean.view(-1, 1, 1)) * (scale * inverse).view(-1, 1, 1)
        return total + kernels.pixels(normalised).to(total.dtype)

    def raw(self, activated: Tensor, chosen: list[int]) -> Tensor:
        """Return the outputs of the chosen edges before their batch norm, stacked in the channels."""
        weight, bias = self.offset_weight[chosen].flatten(0, 1), self.offset_bias[chosen].flatten()
        offsets = F.conv2d(activated, weight, bias, padding=1).split(2 * _TAPS, dim=1)
        return torch.cat([deform(activated, by, self.weight[edge]) for by, edge in zip(offsets, chosen)], dim=1)

    @torch.no_grad()
    def copy_to(self, module: nn.Sequential, edge: int) -> None:
        """Give a single operation (activation, convolution, batch norm) the weights of one edge."""
        _, convolution, norm = module
        convolution.weight.copy_(self.weight[edge])
        convolution.offsets.weight.copy_(self.offset_weight[edge])
        convolution.offsets.bias.copy_(self.offset_bias[edge])
        norm.running_mean.copy_(self.norm.mean[edge])
        norm.running_var.copy_(self.norm.var[edge])


def deform(
    feature: Float[Tensor, "batch inputs height width"],
    offsets: Float[Tensor, "batch 18 height width"],
    weight: Float[Tensor, "outputs inputs 3 3"],
) -> Float[Tensor, "batch outputs height width"]:
    """Return the 3x3 convolution whose taps are moved by `offsets`: down and to the right, in pixels, row by row."""
    batch, inputs, height, width = feature.shape
    wide = torch.promote_types(weight.dtype, torch.float32)  # places need more digits than bfloat16 has
    offsets = offsets.to(wide).clamp(-MAX_OFFSET, MAX_OFFSET).view(batch, _TAPS, 2, height, width)
    rows, columns = (torch.arange(size, device=feature.device, dtype=wide) for size in (height, width))
    tap = torch.arange(-1, 2, device=feature.device, dtype=wide)
    y = offsets[:, :, 0] + tap.repeat_interleave(3).view(-1, 1, 1) + rows.view(-1, 1)
    x = offsets[:, :, 1] + tap.repeat(3).view(-1, 1, 1) + columns
    # grid_sample counts from -1 to 1 between the outer sides of the outer pixels.
    places = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    read = F.grid_sample(feature.to(wide), places.flatten(1, 2), padding_mode="zeros", align_corners=False)
    # Not `@`: of two and three dimensions it would copy what was read.
    result = weight.to(wide).flatten(1).expand(batch, -1, -1).bmm(read.reshape(batch, inputs * _TAPS, height * width))
    return result.reshape(batch, -1, height, width)
