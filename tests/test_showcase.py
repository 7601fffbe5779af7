"""Pictures side by side: what is shown is what was scored."""

import pytest
import torch

from hinas_nb.data import DataError, ImageSet
from hinas_nb.scoring import metrics, protocol, showcase


def images() -> ImageSet:
    """Two images, 40 x 64; the second is flat but for one corner of noise."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randint(0, 256, (3, 40, 64), generator=generator, dtype=torch.uint8)
    second = torch.full((1, 40, 64), 90, dtype=torch.uint8)
    second[:, 24:, 40:56] = first[:1, 24:, 40:56]
    return ImageSet("set", "test", ("a", "b"), (first, second))


@pytest.mark.parametrize("name, preset", [("a", "denoise-standard"), ("a", "sr-standard")])
def test_columns_show_what_was_scored(name, preset):
    rule = protocol.get(preset, scale=2 if preset.startswith("sr") else None)
    size = (2 * 20, 2 * 32)

    def grey_picture(degraded):
        return torch.full((1, degraded.shape[1], *size), 0.5)

    shown = showcase.compare(grey_picture, images(), name, rule)
    (_, clean), (_, degraded), (_, restored) = shown.columns
    assert clean.shape == degraded.shape == restored.shape
    assert shown.restored.psnr == metrics.psnr(restored, clean, rule).item()
    assert shown.lines[2].startswith(f"{shown.restored.psnr:.2f} dB")
    assert shown.lines[1].startswith(f"{metrics.psnr(degraded, clean, rule).item():.2f} dB")


def test_a_square_is_scored_alone():
    shown = showcase.compare(lambda noisy: noisy, images(), "b", protocol.get("denoise-standard"), (24, 40, 16))
    assert shown.columns[2][1].shape[-2:] == (16, 16)


def test_a_cut_is_the_square_moved_inside():
    (piece,) = showcase.cut(images(), "a", 30, 60, 16).images
    assert torch.equal(piece, images().images[0][:, 24:40, 48:64])
    assert showcase.cut(images(), "a", 0, 0, 999).images[0].shape == (3, 40, 64)


def test_the_busiest_square_has_the_detail():
    assert showcase.busiest_square(images(), "b", 16) == (24, 40, 16, 16)
    assert showcase.busiest_square(images(), "b", 999)[2:] == (40, 40)


def test_unknown_images_are_refused():
    with pytest.raises(DataError, match=r"image must be one of set test, got 'c'"):
        showcase.cut(images(), "c", 0, 0, 8)
