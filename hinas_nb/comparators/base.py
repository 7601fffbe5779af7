"""The base of all comparators, with the interface of the derived network as far as scoring and training need it."""

from jaxtyping import Float
from torch import Tensor, nn

from hinas_nb.method.network import ImageNetwork

Image = Float[Tensor, "batch channel height width"]
Grey = Float[Tensor, "batch 1 height width"]
Low = Float[Tensor, "batch 3 h w"]
Large = Float[Tensor, "batch 3 height width"]


class Restorer(ImageNetwork):
    """Is a comparator: denoisers take and return one grey channel, super-resolution networks three channels.

    `scoring.evaluate.infer` applies it to large images in tiles. One that is published for luminance works on Y and
    leaves the chroma to bicubic. scale: None where the network denoises.
    """

    #: Receptive-field radius in input pixels, the skip included; None where unbounded or by position: never in tiles.
    halo: int | None = None
    name, width = "", None  # as `comparators.build` was asked for it

    def __init__(self, scale: int | None = None):
        super().__init__()
        self.task, self.scale = ("sr" if scale else "denoise"), scale or 1

    def metadata(self) -> dict:
        """Return what a weights file says about the network, for `comparators.load` to build it again."""
        scale = self.scale if self.task == "sr" else None
        return {"comparator": self.name, "task": self.task, "scale": scale, "width": self.width}


def he_normal(module: nn.Module) -> None:
    """Draw the first weights of all convolutions inside as He et al. (2015) do; biases start at 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
