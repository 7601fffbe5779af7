"""What a protocol promises: the presets' switches, and the same pair in every process."""

import hashlib
import subprocess
import sys

import pytest
import torch

from hinas_nb import data
from hinas_nb.scoring import protocol
from hinas_nb.settings import ConfigError

STANDARD = protocol.get("denoise-standard")
RELEASED = protocol.get("denoise-released")
SR = protocol.get("sr-standard", scale=3)


@pytest.fixture
def photo():
    """A colour image uint8 (3, 100, 131) without structure: only conventions are tested here."""
    return torch.randint(0, 256, (3, 100, 131), generator=data.stream(0, "photo"), dtype=torch.uint8)


def test_presets_hold_the_published_switches():
    assert (STANDARD.tile, STANDARD.noisy_range, STANDARD.round_output, STANDARD.ssim) == (
        None,
        None,
        True,
        "valid",
    )
    assert (RELEASED.tile, RELEASED.fresh_noise, RELEASED.round_output) == (64, True, False)
    assert (RELEASED.ssim, RELEASED.sigma, RELEASED.grey, STANDARD.grey) == ("zero-padded", 50, "pillow", None)
    assert (SR.colour, SR.scored_border, SR.round_output, SR.ssim) == ("y", 3, True, "valid")
    released = protocol.get("sr-released", scale=3)
    assert (released.colour, released.scored_border, released.round_output) == ("y-swapped", 0, False)
    assert released.ssim == "zero-padded"


@pytest.mark.parametrize("name", protocol.PRESETS)
def test_name_and_description_follow_the_switches(name):
    preset = protocol.get(name, scale=2 if name.startswith("sr") else None)
    assert preset.name == name
    assert (preset.describe() == "standard") == name.endswith("standard")
    changed = preset.but(ssim="uniform", seed=4)
    assert changed.name == f"{preset.task}-standard+" and "7x7" in changed.describe()
    assert preset.but(seed=4).name == name


def test_description_names_every_switch():
    """No switch can move a score without appearing in the table's line."""
    changes = {
        "grey": "pillow", "half_size": True, "noisy_range": "8-bit", "tile": 64, "tile_step": 20, "fresh_noise": True,
        "averaged": 3,
        "border": 7, "downscale": "pillow", "colour": "rgb", "round_output": False, "ssim": "uniform",
    }  # fmt: skip
    assert set(changes) == set(protocol.Protocol.model_fields) - {"task", "sigma", "scale", "seed"}
    for field, value in changes.items():
        base = SR if field in protocol.ONLY["sr"] else STANDARD
        if field in ("tile_step", "fresh_noise"):
            base = base.but(tile=32)
        assert base.but(**{field: value}).describe() != base.describe(), field


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: protocol.get("standard"), "protocol must be one of denoise-standard"),
        (lambda: protocol.get("sr-standard"), "scale must be 2, 3 or 4 for task sr, got None"),
        (lambda: protocol.get("sr-standard", scale=5), "scale: Input should be 2, 3 or 4, got 5"),
        (lambda: protocol.get("denoise-standard", scale=2), "scale belongs to task sr, got 2 for denoise"),
        (lambda: protocol.get("sr-standard", 50, 2), "sigma belongs to task denoise, got 50.0 for sr"),
        (lambda: protocol.get("denoise-standard", sigma=-1), "sigma: Input should be greater than 0, got -1"),
        (lambda: STANDARD.but(fresh_noise=True), "fresh_noise and tile_step need a tile size, got tile None"),
        (lambda: RELEASED.but(tile_step=65), "tile_step must be in [1, tile=64], got 65"),
        (lambda: RELEASED.but(averaged=2), "averaged belongs to whole images, got 2 with tiles of 64 px"),
        (lambda: SR.but(averaged=2), "averaged belongs to task denoise, got 2 for sr"),
        (lambda: STANDARD.but(averaged=1), "averaged: Input should be greater than or equal to 2, got 1"),
        (lambda: SR.but(grey="pillow"), "grey belongs to task denoise, got pillow for sr"),
        (lambda: STANDARD.but(colour="rgb"), "colour belongs to task sr, got rgb for denoise"),
        (lambda: STANDARD.but(padding=1), "unknown setting padding = 1"),
        (lambda: STANDARD.pair(torch.zeros(1, 20, 20), "a"), "image a must be uint8 of 1 or 3 channels"),
        (lambda: SR.pair(torch.zeros(1, 2, 9, dtype=torch.uint8), "a"), "image a must be at least scale=3"),
    ],
)
def test_impossible_protocols_are_refused_in_one_line(build, text):
    with pytest.raises(ConfigError) as error:
        build()
    assert text in str(error.value) and "\n" not in str(error.value)


def test_pairs_have_the_promised_form(photo):
    noisy, clean = STANDARD.pair(photo, "a")
    assert noisy.shape == clean.shape == (1, 1, 100, 131) and noisy.dtype == clean.dtype == torch.float32
    assert torch.equal((clean[0] * 255).round().byte(), data.grey(photo))
    low, high = SR.pair(photo, "a")
    assert low.shape == (1, 3, 33, 43) and high.shape == (1, 3, 99, 129) and low.dtype == torch.float32
    assert torch.equal((high[0] * 255).round().byte(), photo[:, :99, :129])
    assert torch.equal((low[0] * 255).round().byte(), data.bicubic(photo[:, :99, :129], 1 / 3))


def test_the_released_protocol_takes_pillows_grey(photo):
    """In fixed point, (19595 R + 38470 G + 7471 B) / 65536: some pixels differ from rgb2gray, by one level."""
    _, clean = RELEASED.pair(photo, "a")
    red, green, blue = photo.int()
    wanted = (19595 * red + 38470 * green + 7471 * blue + 32768) // 65536
    assert torch.equal((clean[0, 0] * 255).round().int(), wanted)
    apart = (wanted - data.grey(photo)[0].int()).abs()
    assert 0 < (apart > 0).float().mean() < 0.02 and apart.max() == 1
    assert torch.equal(RELEASED.pair(photo[:1], "a")[1], STANDARD.pair(photo[:1], "a")[1]), "grey files stay"


def test_only_runs_of_the_released_protocol_have_another_hash():
    assert "grey" not in STANDARD.identity() and "grey" not in SR.identity()
    assert RELEASED.identity() == {**RELEASED.but(grey=None).identity(), "grey": "pillow"}


def test_grey_file_enters_the_network_as_three_channels_and_stays_one_in_the_truth(photo):
    low, high = SR.pair(photo[:1], "a")
    assert low.shape == (1, 3, 33, 43) and high.shape == (1, 1, 99, 129)
    assert torch.equal(low[:, 0], low[:, 1]) and torch.equal(low[:, 0], low[:, 2])


def test_noise_is_the_same_in_every_process(photo):
    """The pair depends on seed, image name and sigma alone: not on threads, order or the global generator."""
    script = """
import hashlib, torch
torch.set_num_threads(2); torch.manual_seed(7)
from hinas_nb import data
from hinas_nb.scoring import protocol
photo = torch.randint(0, 256, (3, 100, 131), generator=data.stream(0, "photo"), dtype=torch.uint8)
p = protocol.get("denoise-released")
noisy, clean = p.pair(photo, "a")
print(hashlib.sha256(noisy.numpy().tobytes() + p.noisy(clean, "a", 3).numpy().tobytes()).hexdigest())
"""
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    noisy, clean = RELEASED.pair(photo, "a")
    here = noisy.numpy().tobytes() + RELEASED.noisy(clean, "a", 3).numpy().tobytes()
    assert hashlib.sha256(here).hexdigest() == other


def test_noise_differs_between_names_sigmas_seeds_and_tiles(photo):
    def noise(settings=STANDARD, name="a", tile=None):
        _, clean = settings.pair(photo, name)
        return (settings.noisy(clean, name, tile) - clean) / settings.sigma

    draws = [
        noise(),
        noise(name="b"),
        noise(STANDARD.but(seed=1)),
        noise(STANDARD.but(sigma=30)),
        noise(tile=0),
    ]
    draws.append(noise(tile=1))
    correlation = torch.corrcoef(torch.stack([draw.flatten() for draw in draws]))
    assert (correlation - torch.eye(len(draws))).abs().max() < 0.05  # 13,100 pixels: 4 deviations are 0.035
    assert torch.equal(noise(), noise())
    assert torch.equal(noise(RELEASED.but(grey=None)), noise())  # the same whole image, whatever is done with it


def test_noise_statistics():
    """N(0, (50/255)^2), outside 0-1 where it falls there; each margin is five standard errors."""
    grey = torch.full((1, 400, 400), 20, dtype=torch.uint8)
    noisy, clean = STANDARD.pair(grey, "flat")
    noise, sigma, count = (noisy - clean).double(), 50 / 255, 400 * 400
    assert abs(noise.mean()) < 5 * sigma / count**0.5
    assert abs(noise.std() - sigma) < 5 * sigma / (2 * count) ** 0.5
    assert abs((noise**4).mean() / sigma**4 - 3) < 5 * (96 / count) ** 0.5
    assert noisy.min() < 0


def test_noisy_ranges(photo):
    noisy, _ = STANDARD.pair(photo, "a")
    clipped, _ = STANDARD.but(noisy_range="clipped").pair(photo, "a")
    quantised, _ = STANDARD.but(noisy_range="8-bit").pair(photo, "a")
    assert noisy.min() < 0 and torch.equal(clipped, noisy.clamp(0, 1))
    assert (quantised - clipped).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal((quantised * 255).round() / 255, quantised)


def test_half_size_shrinks_the_photograph_before_the_noise(photo):
    noisy, clean = STANDARD.but(half_size=True).pair(photo, "a")
    assert clean.shape == noisy.shape == (1, 1, 50, 66)
    assert torch.equal((clean * 255).round() / 255, clean)


@pytest.mark.parametrize("downscale", ["pillow", "torch", "torch-aliased"])
def test_other_bicubics_are_8_bit_and_differ_little_inside_if_they_filter(downscale):
    rows = torch.linspace(0, 255, 120).round()
    smooth = (rows[:, None] * 0.5 + rows[None, :] * 0.5).byte().expand(3, -1, -1)
    matlab, _ = SR.pair(smooth, "a")
    other, _ = SR.but(downscale=downscale).pair(smooth, "a")
    assert other.shape == matlab.shape
    assert torch.allclose((other * 255).round(), other * 255, atol=1e-4)
    assert (other - matlab)[..., 2:-2, 2:-2].abs().max() <= 1.01 / 255


def test_only_the_aliased_bicubic_keeps_a_checkerboard():
    board = ((torch.arange(120)[:, None] + torch.arange(120)) % 2 * 255).byte().expand(3, -1, -1)
    contrast = {
        down: SR.but(downscale=down).pair(board, "a")[0].std().item()
        for down in ("matlab", "pillow", "torch", "torch-aliased")
    }
    assert contrast["torch-aliased"] > 0.4 and max(v for k, v in contrast.items() if k != "torch-aliased") < 0.1


@pytest.mark.parametrize("size", [(321, 481), (64, 64), (40, 200), (65, 113), (160, 64)])
def test_tiles_cover_the_image_and_stay_inside(size):
    height, width = size
    for rows, columns in RELEASED.tiles(*size):
        assert rows.start >= 0 and rows.stop <= height and columns.start >= 0 and columns.stop <= width
        assert (rows.stop - rows.start, columns.stop - columns.start) == (min(64, height), min(64, width))
    assert RELEASED.looks(*size).min() >= 1


def test_released_tiles_look_more_than_once_at_60_percent_of_a_bsd_image():
    assert RELEASED.looks(321, 481).gt(1).float().mean().item() == pytest.approx(0.60, abs=0.01)
    assert STANDARD.looks(321, 481).unique().tolist() == [1]
    assert len(STANDARD.tiles(321, 481)) == 1
