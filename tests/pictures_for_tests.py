"""Small synthetic photographs: smooth shapes with some texture, different for each seed."""

from dataclasses import dataclass

import torch

from hinas_nb.data import ImageSet, Pairs
from hinas_nb.data.degrade import stream


def image_set(count: int, seed: int = 0, size: tuple[int, int] = (48, 48), channels: int = 3) -> ImageSet:
    """`count` 8-bit images; equal arguments give equal pixels."""
    generator = stream(seed, "pictures for tests")
    rows, columns = torch.meshgrid(*(torch.linspace(0, 6, side) for side in size), indexing="ij")
    images = []
    for _ in range(count):
        a, b, c = torch.rand(3, generator=generator).tolist()
        shape = (torch.sin(a * 3 * rows + c) * torch.cos(b * 3 * columns) + 1) * 100
        texture = 20 * torch.rand(channels, *size, generator=generator)
        images.append((shape + texture).to(torch.uint8))
    return ImageSet("pictures", "all", tuple(f"picture{index}" for index in range(count)), tuple(images))


@dataclass(frozen=True)
class DoublePairs:
    """The same batches in float64, for golden numbers that hold on every processor.

    Adam's first steps follow the signs of gradients, and in float32 the sign of a tiny one depends on the processor.
    """

    pairs: Pairs

    @property
    def steps_per_epoch(self) -> int:
        return self.pairs.steps_per_epoch

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        degraded, clean = self.pairs.batch(step)
        return degraded.double(), clean.double()
