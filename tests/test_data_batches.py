"""Training pairs: what a batch holds, that it depends on nothing but its step."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hinas_nb import data
from hinas_nb.data.batches import turned

DENOISE = dict(task="denoise", patch=16, batch=4, seed=0, stream="W", sigmas=(30.0, 50.0, 70.0))
SR = dict(task="sr", patch=8, batch=4, seed=0, stream="W", scale=3)


def numbered(count: int = 5, height: int = 40, width: int = 52, channels: int = 3) -> data.ImageSet:
    """Images whose every pixel tells its place: red the row, green the column, blue the image."""
    rows = torch.arange(height, dtype=torch.uint8).view(1, -1, 1).expand(1, height, width)
    columns = torch.arange(width, dtype=torch.uint8).view(1, 1, -1).expand(1, height, width)
    images = tuple(torch.cat([rows, columns, torch.full_like(rows, k)])[:channels] for k in range(count))
    return data.ImageSet("made", "all", tuple(f"image{k}" for k in range(count)), images)


def test_shapes_and_ranges():
    degraded, clean = data.Pairs(numbered(), **DENOISE).batch(0)
    assert degraded.shape == clean.shape == (4, 1, 16, 16)
    assert degraded.dtype == clean.dtype == torch.float32
    degraded, clean = data.Pairs(numbered(), **SR).batch(0)
    assert degraded.shape == (4, 3, 8, 8) and clean.shape == (4, 3, 24, 24)
    assert degraded.min() >= 0 and clean.max() <= 1


@pytest.mark.parametrize("arguments", [DENOISE, DENOISE | {"rescale": True}, SR])
def test_a_batch_depends_on_its_step_only(arguments):
    pairs = data.Pairs(numbered(), **arguments)
    forward = [pairs.batch(step) for step in range(6)]
    for step in (5, 0, 3):
        for ours, theirs in zip(data.Pairs(numbered(), **arguments).batch(step), forward[step]):
            assert torch.equal(ours, theirs)
    assert not torch.equal(forward[0][1], forward[1][1])


@pytest.mark.parametrize("change", [{"seed": 1}, {"stream": "A"}])
def test_seeds_and_streams_give_other_batches(change):
    ours, theirs = data.Pairs(numbered(), **DENOISE), data.Pairs(numbered(), **DENOISE | change)
    assert all(not torch.equal(a, b) for a, b in zip(ours.batch(0), theirs.batch(0)))


def test_every_image_once_per_turn():
    pairs = data.Pairs(numbered(5), **SR | {"batch": 3})
    images = [int(crop[2, 0, 0] * 255 + 0.5) for step in range(5) for crop in pairs.batch(step)[1]]
    turns = [images[k : k + 5] for k in range(0, 15, 5)]
    assert all(sorted(turn) == [0, 1, 2, 3, 4] for turn in turns)
    assert len({tuple(turn) for turn in turns}) > 1


@pytest.mark.parametrize(("crops", "batch", "steps"), [(1, 4, 2), (1, 5, 1), (3, 4, 4), (4, 8, 3)])
def test_steps_per_epoch(crops, batch, steps):
    pairs = data.Pairs(numbered(5), **DENOISE | {"crops_per_image": crops, "batch": batch})
    assert pairs.steps_per_epoch == steps


def test_crops_reach_every_border_and_symmetry():
    pairs = data.Pairs(numbered(), **SR | {"batch": 400})
    clean = (pairs.batch(0)[1] * 255).round().long()
    rows, columns = clean[:, 0], clean[:, 1]
    assert rows.min() == 0 and columns.min() == 0
    assert rows.max() == 38 and columns.max() == 50  # cut to multiples of 3: 39x51
    corners = {(int(r[0, 0] < r[-1, -1]), int(c[0, 0] < c[-1, -1]), int(r[0, 0] == r[0, -1]))
               for r, c in zip(rows, columns)}  # fmt: skip
    assert len(corners) == 8
    plain = data.Pairs(numbered(), **SR | {"batch": 50, "augment": False}).batch(0)[1]
    assert (plain[:, 0].diff(dim=1) > 0).all() and (plain[:, 1].diff(dim=2) > 0).all()


def test_low_and_high_resolution_crops_are_of_one_place():
    """Down-sampling the clean crop gives the degraded one, away from the crop's border."""
    photos = data.load("photos", "test")
    degraded, clean = data.Pairs(photos, **SR | {"patch": 24, "batch": 6}).batch(0)
    small = data.bicubic((clean * 255).round().to(torch.uint8), 1 / 3) / 255
    inner = (..., slice(3, -3), slice(3, -3))
    assert (small[inner] - degraded[inner]).abs().max() <= 1.01 / 255


def test_each_sample_draws_one_of_the_sigmas():
    flat = data.ImageSet("made", "all", ("grey",), (torch.full((1, 64, 64), 128, dtype=torch.uint8),))
    pairs = data.Pairs(flat, **DENOISE | {"patch": 64, "batch": 60})
    degraded, clean = pairs.batch(0)
    spread = ((degraded - clean) * 255).flatten(1).std(1)
    nearest = torch.tensor([30.0, 50.0, 70.0])[(spread[:, None] - torch.tensor([30.0, 50, 70])).abs().argmin(1)]
    assert ((spread - nearest).abs() < 4).all()
    assert all((nearest == sigma).sum() > 8 for sigma in (30, 50, 70))


def test_rescaling_changes_sizes_but_not_the_patch():
    rows = numbered(1, 120, 120, channels=1)
    pairs = data.Pairs(rows, **DENOISE | {"patch": 40, "batch": 100, "augment": False, "rescale": True})
    clean = pairs.batch(0)[1] * 255
    slope = (clean[:, 0, 30, 20] - clean[:, 0, 10, 20]) / 20  # source pixels per pixel
    assert 0.79 < 1 / slope.max() < 0.9 and 1.1 < 1 / slope.min() < 1.25
    assert 30 < ((slope - 1).abs() < 1e-3).sum() < 70


@given(symmetry=st.integers(0, 7), height=st.integers(1, 5), width=st.integers(1, 5))
def test_the_eight_symmetries_are_a_group(symmetry, height, width):
    image = torch.arange(height * width, dtype=torch.uint8).view(1, height, width)
    inverse = symmetry if symmetry >= 4 else -symmetry % 4
    assert torch.equal(turned(turned(image, symmetry), inverse), image)


def test_the_eight_symmetries_differ():
    image = torch.arange(4, dtype=torch.uint8).view(1, 2, 2)
    assert len({tuple(turned(image, symmetry).flatten().tolist()) for symmetry in range(8)}) == 8


def test_validation_patches_are_all_adjacent_ones_with_fixed_noise():
    images = numbered(2, 40, 52)
    arguments = dict(task="denoise", patch=16, sigmas=(30.0, 50.0), seed=3)
    degraded, clean = data.validation_patches(images, **arguments)
    assert degraded.shape == clean.shape == (2 * 2 * 3, 1, 16, 16)
    assert torch.equal(clean[4] * 255, images.grey().images[0][:, 16:32, 16:32].float())
    assert torch.equal(degraded, data.validation_patches(images, **arguments)[0])
    spread = ((degraded - clean) * 255).flatten(1).std(1)
    assert (spread[::2] < 40).all() and (spread[1::2] > 40).all()
    degraded, clean = data.validation_patches(images, task="sr", patch=5, scale=3, seed=3)
    assert degraded.shape == (2 * 2 * 3, 3, 5, 5) and clean.shape == (2 * 2 * 3, 3, 15, 15)
    whole = data.bicubic(data.modcrop(images.images[1], 3), 1 / 3)
    assert torch.equal(degraded[11] * 255, whole[:, 5:10, 10:15].float())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"patch": 41}, "image must be at least the crop's 41x41 pixels, got made image0 of 40x52"),
        ({"sigmas": None}, "task denoise needs sigmas and sr a scale, got denoise with None and None"),
        ({"task": "deblur"}, "task must be denoise or sr, got 'deblur'"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(change, text):
    with pytest.raises(data.DataError) as error:
        data.Pairs(numbered(), **DENOISE | change)
    assert str(error.value) == text


def test_other_refusals():
    with pytest.raises(data.DataError, match=r"^image must be at least the crop's 42x42 pixels, got made image0"):
        data.Pairs(numbered(), **SR | {"patch": 14})
    with pytest.raises(data.DataError, match=r"^rescale must be off for task sr, got True$"):
        data.Pairs(numbered(), **SR | {"rescale": True})
    with pytest.raises(data.DataError, match=r"^images must be at least 1, got 0 of made all$"):
        data.Pairs(numbered().subset([]), **DENOISE)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"batch": 0}, "batch must be a whole number of at least 1, got 0"),
        ({"patch": -3}, "patch must be a whole number of at least 1, got -3"),
        ({"crops_per_image": 0}, "crops_per_image must be a whole number of at least 1, got 0"),
        ({"sigmas": (float("nan"),)}, r"sigmas must be at least 0 and finite, got \(nan,\)"),
        ({"sigmas": (5.0, -5.0)}, "sigmas must be at least 0 and finite, got"),
    ],
)
def test_impossible_batches_are_refused(change, line):
    with pytest.raises(data.DataError, match=line):
        data.Pairs(numbered(), **(DENOISE | change))
