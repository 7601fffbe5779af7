"""The one interface of all comparators: that of `network.DerivedNetwork`, as far as scoring and training need it."""

import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb import data
from hinas_nb.method.network import CHANNELS, fold_norms
from hinas_nb.method.operations import near_identity  # noqa: F401  (for the files beside this one)

Image = Float[Tensor, "batch channel height width"]


class Restorer(nn.Module):
    """Maps images (batch, channel, height, width) in [0, 1] of any size to restored ones, not clipped.

    Denoisers take and return one grey channel. Super-resolution networks take and return three channels, the
    result `scale` times larger; one that is published for luminance works on Y and leaves the chroma to bicubic.
    halo: receptive-field radius in input pixels, the up-sampled skip included; None where it is unbounded or
        depends on the position, so that an image is never cut into tiles.
    """

    task = "denoise"
    scale = 1
    halo: int | None = None
    noise_map = False  # whether the input has a second channel, sigma / 255 at every pixel
    sigma: float | None = None  # grey levels (0-255) a denoiser is for; None before its training
    name, width = "", None  # as `comparators.build` was asked for it

    def __init__(self):
        super().__init__()
        self.trained: dict = {}  # of a loaded network: the metadata of its weights file

    def restore(self, noisy: Image, sigma: float) -> Image:
        """A denoiser's result, in tiles where the image is large. Raises ValueError for another task or sigma."""
        if self.task != "denoise":
            raise ValueError(f"restore must be asked of a denoiser, got {self.name} for task {self.task}")
        if self.sigma not in (None, sigma):
            raise ValueError(f"sigma must be {self.sigma:g}, which {self.name} is for, got {sigma:g}")
        return self._tiled(data.with_noise_map(noisy, sigma) if self.noise_map else noisy)

    def upscale(self, low: Image, scale: int) -> Image:
        """A super-resolution network's result, in tiles. Raises ValueError for another task or scale."""
        if self.task != "sr" or self.scale != scale:
            raise ValueError(f"scale must be that of an sr network, got {scale} for {self.name} x{self.scale}")
        return self._tiled(low)

    def metadata(self) -> dict:
        """What a weights file says about the network; `comparators.rebuilt` reads it."""
        scale = self.scale if self.task == "sr" else None
        return {"comparator": self.name, "task": self.task, "scale": scale, "width": self.width}

    def folded(self) -> "Restorer":
        """A copy for inference, equal to 1e-5: batch norms folded into the convolutions before them."""
        twin = copy.deepcopy(self).eval()
        fold_norms(twin)
        return twin.to(memory_format=torch.channels_last)

    @property
    def channels(self) -> int:
        """Channels of an input image, the noise map among them."""
        return CHANNELS[self.task] + self.noise_map

    @property
    def parameters_live(self) -> int:
        """Trainable parameters."""
        return sum(parameter.numel() for parameter in self.parameters())

    def _tiled(self, image: Image) -> Image:
        from hinas_nb.scoring import evaluate

        return evaluate.restore(self, image, self.halo)


def he_normal(module: nn.Module) -> None:
    """First weights of He et al. (2015) for all convolutions inside; biases start at 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
