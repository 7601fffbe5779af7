"""The base of all comparators: the interface of `network.DerivedNetwork`, as far as scoring and training need it."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.method.network import CHANNELS, fold_norms

Image = Float[Tensor, "batch channel height width"]


class Restorer(nn.Module):
    """Maps images (batch, channel, height, width) in [0, 1] of any size to restored ones, not clipped.

    `scoring.evaluate.infer` applies it to large images in tiles.
    Denoisers take and return one grey channel. Super-resolution networks take and return three channels, the
    result `scale` times larger; one that is published for luminance works on Y and leaves the chroma to bicubic.
    halo: receptive-field radius in input pixels, the up-sampled skip included; None where it is unbounded or
        depends on the position, so that an image is never cut into tiles.
    """

    task = "denoise"
    scale = 1
    halo: int | None = None
    noise_map = False  # whether the input has a second channel, sigma / 255 at every pixel
    name, width = "", None  # as `comparators.build` was asked for it

    def __init__(self):
        super().__init__()
        self.trained: dict = {}  # of a loaded network: the metadata of its weights file

    def metadata(self) -> dict:
        """Return what a weights file says about the network, for `comparators.load` to build it again."""
        scale = self.scale if self.task == "sr" else None
        return {"comparator": self.name, "task": self.task, "scale": scale, "width": self.width}

    def folded(self) -> "Restorer":
        """Return a copy for inference, equal to 1e-5: batch norms folded into the convolutions before them."""
        twin = copy.deepcopy(self).eval()
        fold_norms(twin)
        return twin.to(memory_format=torch.channels_last)

    @property
    def channels(self) -> int:
        """The number of channels of an input image, the noise map among them."""
        return CHANNELS[self.task] + self.noise_map

    @property
    def parameters_live(self) -> int:
        """The number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())


def he_normal(module: nn.Module) -> None:
    """Draw the first weights of all convolutions inside as He et al. (2015) do; biases start at 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
