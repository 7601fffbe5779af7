"""Image sets: loading, grey values, division, and every way a folder or a file can be wrong."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hinas_nb import data, locations
from hinas_nb.data.images import to_image


@pytest.fixture
def folder(tmp_path):
    """Three small pictures: grey 8-bit, colour 8-bit, grey 16-bit."""
    values = np.arange(20 * 24, dtype=np.uint16).reshape(20, 24) * 100
    data.write_image(tmp_path / "a.png", (values >> 8).astype(np.uint8))
    data.write_image(tmp_path / "b.bmp", np.stack([values >> 8] * 3, -1).astype(np.uint8))
    data.write_image(tmp_path / "c.tif", values)
    (tmp_path / "notes.txt").write_text("not an image")
    return tmp_path


def small_set(count: int) -> data.ImageSet:
    images = tuple(torch.full((1, 2, 2), index, dtype=torch.uint8) for index in range(count))
    return data.ImageSet("made", "all", tuple(str(index) for index in range(count)), images)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_photos_are_inside_the_wheel(split):
    images = data.load("photos", split, root="/nowhere")
    assert len(images) == data.CATALOG["photos"].counts[split]
    assert all(image.dtype == torch.uint8 and image.shape[0] in (1, 3) for image in images.images)
    assert all(min(image.shape[1:]) >= 256 for image in images.images)  # a x4 crop of 64 pixels fits


def test_grey_files_stay_grey_and_colour_repeats_them():
    images = data.load("photos", "test")
    assert dict(zip(images.names, (image.shape[0] for image in images.images)))["camera"] == 1
    assert {image.shape[0] for image in images.grey().images} == {1}
    assert {image.shape[0] for image in images.colour().images} == {3}
    assert torch.equal(images.colour().images[0][2], images.images[0][0])


def test_images_decode_once_until_the_file_changes(folder):
    name = f"folder:{folder}"
    first = data.load(name, "all")
    assert data.load(name, "all").images[0] is first.images[0]
    data.write_image(folder / "a.png", np.zeros((9, 9), np.uint8))
    assert data.load(name, "all").images[0].shape == (1, 9, 9)


def test_a_folder_of_ones_own(folder):
    images = data.load(f"folder:{folder}", "all")
    assert images.names == ("a", "b", "c")
    assert [image.shape[0] for image in images.images] == [1, 3, 1]
    assert images.images[2].dtype == torch.uint8
    expected = np.floor(data.read_image(folder / "c.tif") / 257 + 0.5)
    assert np.array_equal(images.images[2][0].numpy(), expected)


def test_equal_stems_keep_their_endings(folder):
    data.write_image(folder / "a.bmp", np.zeros((9, 9), np.uint8))
    assert data.load(f"folder:{folder}", "all").names == ("a.bmp", "a.png", "b.bmp", "c.tif")


def test_sum_depends_on_names_shapes_pixels_and_order():
    images = small_set(3)
    assert images.sha256 == small_set(3).sha256
    flat = tuple(image.reshape(1, 1, 4) for image in images.images)
    others = [
        images.subset([0, 2, 1]),
        images.subset([0, 1]),
        data.ImageSet("made", "all", images.names, flat),
        data.ImageSet("made", "all", ("0", "1", "x"), images.images),
    ]
    assert len({images.sha256, *(other.sha256 for other in others)}) == 5


@given(st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_grey_has_the_weights_of_rgb2gray(colour):
    value = data.grey(torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)).item()
    exact = 0.2989 * colour[0] + 0.5870 * colour[1] + 0.1140 * colour[2]
    assert abs(value - exact) <= 0.5 + 1e-9
    pillow = Image.fromarray(np.array(colour, np.uint8).reshape(1, 1, 3)).convert("L").getpixel((0, 0))
    assert abs(value - pillow) <= 1


@given(st.integers(0, 65535))
def test_sixteen_bits_round_to_eight(value):
    reduced = to_image(np.array([[value]], np.uint16)).item()
    assert abs(reduced - value / 257) <= 0.5


@given(count=st.integers(4, 60), fraction=st.sampled_from([0, 0.02, 0.05, 0.3]), seed=st.integers(0, 9))
def test_division_is_a_partition(count, fraction, seed):
    parts = data.divide(small_set(count), fraction, seed)
    names = [name for part in parts for name in part.names]
    assert sorted(names) == sorted(small_set(count).names)
    weights, architecture, validation = map(len, parts)
    assert validation == (max(1, round(fraction * count)) if fraction else 0)
    assert weights - architecture in (0, 1)


def test_division_is_random_but_fixed():
    first, again, other = (data.divide(small_set(40), 0.1, seed)[2].names for seed in (0, 0, 1))
    assert first == again != other


def test_too_few_images_to_divide():
    with pytest.raises(data.DataError) as error:
        data.divide(small_set(2), 0.02, 0)
    assert str(error.value) == "images to divide into W, A and V must be at least 3, got 2"


def test_a_missing_set_says_where_it_looked(tmp_path):
    with pytest.raises(data.DataError) as error:
        data.load("Set5", "test", tmp_path, scale=3)
    assert str(error.value) == (
        f"Set5 test must be a folder of images at {tmp_path}/Set5/HR/x3, got none there: set HINAS_DATA or "
        "--data to the folder that holds Set5, or run `hinas-nb data fetch Set5`"
    )


def test_the_root_is_given_or_in_the_environment(tmp_path, folder, monkeypatch):
    (tmp_path / "BSDS500").mkdir()
    (tmp_path / "BSDS500" / "val").symlink_to(folder)
    assert len(data.load("BSDS500", "val", tmp_path)) == 3
    monkeypatch.setenv("HINAS_DATA", str(tmp_path))
    assert data.load("BSDS500", "val").names == ("a", "b", "c")
    assert data.load("B100", "test").names == ("a", "b", "c")  # B100 is that split


@pytest.mark.parametrize("place", ["Set5/HR/x3", "Set5/HR", "Set5"])
def test_layouts_of_the_benchmarks(tmp_path, place):
    data.write_image(tmp_path / place / "baby.png", np.zeros((6, 9), np.uint8))
    assert data.load("Set5", "test", tmp_path, scale=3).names == ("baby",)


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(data.DataError, match=f"^folder of images must exist, got {tmp_path}/x$"):
        data.load(f"folder:{tmp_path}/x", "all")
    with pytest.raises(data.DataError, match=rf"^folder of images must hold images \(.*\), got {tmp_path}$"):
        data.load(f"folder:{tmp_path}", "all")


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp"])
def test_truncated_and_foreign_files_are_named(tmp_path, ending):
    path = tmp_path / f"x{ending}"
    pixels = torch.randint(0, 256, (64, 64), generator=data.stream(0), dtype=torch.uint8).numpy()
    data.write_image(path, pixels)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(data.DataError, match=f"^{path} must be a whole picture, got [^\n]+$"):
        data.load(f"folder:{tmp_path}", "all")
    path.write_text("hello")
    with pytest.raises(
        data.DataError, match=f"^{path} must be a whole picture, got no picture of kind JPEG TIFF PNG WEBP BMP GIF PPM$"
    ):
        data.load(f"folder:{tmp_path}", "all")


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3)])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_write_and_read_round_trip(tmp_path, depth, shape, ending):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(depth).max, shape, depth, endpoint=True)
    data.write_image(tmp_path / "new" / f"x{ending}", pixels)
    assert np.array_equal(data.read_image(tmp_path / "new" / f"x{ending}"), pixels)
    assert [file.name for file in (tmp_path / "new").iterdir()] == [f"x{ending}"]


def test_known_sets(data_root):
    root = data_root("BSDS500", "Set5", "Set14")
    train = data.load("BSDS500", "train+val", root)
    assert len(train) == 300 and {image.shape[0] for image in train.images} == {3}
    assert set(data.load("BSD68", "test", root).names) < set(data.load("BSDS500", "val", root).names)
    assert len(data.load("BSD68", "test", root)) == 68
    assert [image.shape[0] for image in data.load("Set14", "test", root, scale=2).images].count(1) == 1
    assert data.load("Set5", "test", root).sha256 == data.load("Set5", "test", root, scale=2).sha256
    assert {image.shape[1] % 3 for image in data.load("Set5", "test", root, scale=3).images} == {0}


def test_a_file_name_that_is_no_text_is_refused(folder):
    os.rename(folder / "a.png", os.path.join(os.fsencode(folder), b"a\xff.png"))
    with pytest.raises(data.DataError, match=r"names of image files must be UTF-8, got 'a\\udcff.png' in"):
        data.load(f"folder:{folder}", "all")


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_an_impossible_share_for_validation_is_refused(fraction):
    with pytest.raises(data.DataError, match=rf"fraction of images for V must be in \[0, 1\), got {fraction}"):
        data.divide(small_set(9), fraction, 0)


@pytest.mark.parametrize("pixels", [np.zeros((2, 2, 7), np.uint8), np.zeros((0, 2), np.uint8), np.zeros((2, 2))])
def test_arrays_that_are_no_picture_are_not_written(tmp_path, pixels):
    with pytest.raises(ValueError, match=f"{tmp_path}/x.png must be grey or RGB with 8 or 16 bits, got {pixels.dtype}"):
        data.write_image(tmp_path / "x.png", pixels)
    assert not list(tmp_path.iterdir())


def test_data_lies_in_the_collection_wherever_one_works(tmp_path, monkeypatch):
    """JupyterLab works in `notebooks/`."""
    monkeypatch.delenv("HINAS_DATA", raising=False)
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    (tmp_path / "notebooks").mkdir()
    for folder in (tmp_path, tmp_path / "notebooks"):
        monkeypatch.chdir(folder)
        assert locations.data() == tmp_path / "data"
        with pytest.raises(data.DataError, match=f"at {tmp_path}/data/Set5/HR/x2, got none there"):
            data.load("Set5", "test")
    monkeypatch.setenv("HINAS_DATA", "mine")
    assert locations.data() == tmp_path / "notebooks" / "mine" and locations.data("x").is_absolute()
