"""Pictures in memory and folders of them: the same kind comes out as went in, and one bad file stops nothing."""

import doctest
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from made_up_runs import weights
from PIL import Image

import hinas_nb
from hinas_nb import __main__, locations
from hinas_nb.data import pictures
from hinas_nb.method import network
from hinas_nb.use import folders, networks, restore
from hinas_nb.use.networks import RestoreError

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder of small networks, named as shipped ones are."""
    folder = tmp_path_factory.mktemp("shipped")
    weights(folder / "denoise.safetensors", sigma=25.0)
    for scale in (2, 4):
        weights(folder / f"sr_x{scale}.safetensors", "sr", scale=scale)
    return folder


@pytest.fixture(autouse=True)
def only_these(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "SHIPPED", shipped)
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path / "results"))


def noise(*shape):
    return RANDOM.integers(0, 256, shape, np.uint8)


# --- in memory

KINDS = {
    "grey 8-bit": noise(20, 31),
    "grey 8-bit, one channel": noise(20, 31, 1),
    "colour 16-bit": noise(20, 31, 3).astype(np.uint16) * 257,
    "colour 16-bit, other byte order": (noise(20, 31, 3).astype(np.uint16) * 257).astype(">u2"),
    "colour and alpha": noise(20, 31, 4),
    "half floats": (noise(20, 31) / 255).astype(np.float16),
    "double floats, read only": np.broadcast_to(noise(20, 1) / 255, (20, 31)),
    "part of another": noise(40, 62, 3)[::2, ::-2],
    "tensor": torch.rand(20, 31),
    "tensor of channels": torch.rand(3, 20, 31, dtype=torch.float64),
    "tensor of images": (torch.rand(2, 3, 20, 31) * 255).byte(),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["denoise", "sr"])
def test_the_same_kind_depth_and_layout_comes_out(kind, task):
    image = KINDS[kind]
    sides = slice(-2, None) if isinstance(image, torch.Tensor) else slice(0, 2)
    found = hinas_nb.restore(image, task, **({"sigma": 25} if task == "denoise" else {"scale": 2}))
    assert type(found) is type(image) and found.dtype == image.dtype and found.ndim == image.ndim
    wanted = list(image.shape)
    wanted[sides] = [side * (1 if task == "denoise" else 2) for side in wanted[sides]]
    assert list(found.shape) == wanted


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_a_pillow_image_keeps_its_mode_and_what_is_known_of_it(mode):
    image = Image.new(mode, (31, 20))
    image.info["icc_profile"] = b"a profile"
    found = hinas_nb.restore(image, sigma=25)
    assert (found.mode, found.size, found.info) == (mode, (31, 20), image.info)


def test_all_forms_of_a_picture_are_restored_alike(shipped):
    """And as the network itself restores it, rounded; the network's own image of floats is not rounded."""
    image = noise(20, 31)
    planes = torch.from_numpy(image.copy())[None, None].float() / 255
    alone = network.load(shipped / "denoise.safetensors")(planes)[0, 0].detach().clamp(0, 1).numpy()
    assert np.abs(hinas_nb.restore(planes, sigma=25)[0, 0].numpy() - alone).max() < 1e-5
    eight = hinas_nb.restore(image, sigma=25)
    assert np.abs(eight - alone * 255).max() < 0.501
    assert np.array_equal(eight, hinas_nb.restore(image[..., None].repeat(3, 2), sigma=25)[..., 1])
    assert np.array_equal(eight, np.asarray(hinas_nb.restore(Image.fromarray(image), sigma=25)))
    deep = hinas_nb.restore(image.astype(np.uint16) * 257, sigma=25)
    assert np.abs(deep / 257 - alone * 255).max() < 0.51 / 257 + 1e-2


def test_the_input_is_left_as_it_was_and_progress_ends_at_one(monkeypatch):
    monkeypatch.setattr(restore, "TILE", 16)
    image, shares, said = noise(40, 50, 3), [], []
    before = image.copy()
    hinas_nb.restore(image, sigma=25, tell=said.append, progress=shares.append)
    assert np.array_equal(image, before)
    assert shares == sorted(set(shares)) and shares[-1] == 1 and len(shares) == 3 * 4
    assert said[0].startswith("network: denoise, shipped with hinas_nb ")


def test_what_lies_under_an_alpha_of_zero_does_not_bleed_into_what_is_seen():
    """A cut-out is enlarged alike whatever its editor stored where nothing is seen."""
    rows, columns = np.mgrid[:24, :30]
    alpha = np.where((rows - 12) ** 2 + (columns - 15) ** 2 < 81, 255, 0).astype(np.uint8)
    cut = np.dstack([np.full((24, 30, 3), 200, np.uint8), alpha])
    blackened = np.where(alpha[..., None] == 0, np.array([0, 0, 0, 0], np.uint8), cut)
    plain, found = (hinas_nb.restore(one, "sr", scale=2) for one in (cut, blackened))
    assert np.array_equal(found, plain)
    assert hinas_nb.restore(np.zeros((9, 8, 4), np.uint8), "sr", scale=2).shape == (18, 16, 4)
    assert hinas_nb.restore(blackened.astype(np.uint16) * 257, "sr", scale=2).dtype == np.uint16


@pytest.mark.parametrize("narrow", [torch.float16, torch.bfloat16])
def test_white_stays_white_in_16_bits_whatever_the_network_computes_in(shipped, narrow):
    net = network.load(shipped / "denoise.safetensors").to(narrow)
    net.forward = lambda image: image.to(narrow)
    white = np.full((16, 16), 65535, np.uint16)
    assert (hinas_nb.restore(white, sigma=25, network=net) == 65535).all()


@pytest.mark.parametrize("sigma", [np.float32(25), np.int64(25)])
def test_numbers_of_numpy_are_numbers(sigma):
    picture = noise(20, 31)
    assert np.array_equal(hinas_nb.restore(picture, sigma=sigma), hinas_nb.restore(picture, sigma=25))
    assert hinas_nb.restore(picture, "sr", scale=np.int64(2)).shape == (40, 62)


def test_a_pillow_without_a_limit_changes_nothing():
    code = "from PIL import Image; Image.MAX_IMAGE_PIXELS = None; from hinas_nb.data import pictures"
    environment = os.environ | {"PYTHONPATH": str(locations.PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_clean_picture_is_returned_as_it_is_by_whatever_network(dtype):
    """So it cannot get worse: below an estimated sigma of 2 the network, here one that destroys all, is not asked."""

    class Destroys(torch.nn.Module):
        task, noise_map, halo, scale = "denoise", False, 0, 1

        def forward(self, image):
            return torch.zeros_like(image)

    smooth = np.add.outer(np.arange(64.0), np.arange(80.0)) + 50
    asked = []
    for sigma in (0.5, 1.5, 6.0):
        noisy = smooth + RANDOM.normal(0, sigma, smooth.shape)
        image = np.rint(noisy).astype(np.uint8) if dtype is np.uint8 else (noisy / 255).astype(dtype)
        said = []
        found = hinas_nb.restore(image, network=Destroys(), tell=said.append)
        asked.append(not np.array_equal(found, image))
        assert asked[-1] != any(line.startswith("returned as it is: noise below sigma 2 ") for line in said)
        assert not np.shares_memory(found, image)
    assert asked == [False, False, True]
    assert not hinas_nb.restore(image, network=Destroys(), sigma=0.5).any(), "a sigma that is given is taken"


@pytest.mark.parametrize(
    ("image", "asked", "line"),
    [
        ([[1]], {}, "image must be a NumPy array, a torch tensor or a Pillow image, got list"),
        (np.zeros((4, 4), np.int64), {}, "depth must be uint8 uint16 float16 float32 float64, got int64"),
        (np.zeros((4, 4), np.complex64), {}, "depth must be uint8 uint16 float16 float32 float64, got complex64"),
        (np.full((4, 4), "a"), {}, "depth must be uint8 uint16 float16 float32 float64, got <U1"),
        (np.zeros(4), {}, "an array must be (height, width) or (height, width, channel), got (4,)"),
        (np.zeros((3, 40, 50)), {}, "image must have pixels and 1 to 4 channels, got (50, 3, 40) (channel first)"),
        (np.zeros((0, 5)), {}, "image must have pixels and 1 to 4 channels, got (1, 0, 5) (channel first)"),
        (torch.zeros(5), {}, "a tensor must be (height, width), (channel, height, width) or (batch, "),
        (Image.new("P", (4, 4)), {}, "mode of a Pillow image must be one of L LA RGB RGBA I;16 (see Image.convert),"),
        (np.full((4, 4), 117.0), {}, "floats must be in [0, 1] but for their noise, got 117 to 117"),
        (np.full((4, 4), np.nan), {}, "floats must be in [0, 1] but for their noise, got nan to nan"),
        (np.tile([-0.9, 0.7], (4, 2)), {}, "floats must be in [0, 1] but for their noise, got -0.9 to 0.7"),
        (np.zeros((4, 4)), {"task": "blur"}, "task must be one of denoise sr, got 'blur'"),
        (np.zeros((4, 4)), {"sigma": "25"}, "sigma must be in [0, 255] and belongs to task denoise, got 25 for "),
        (np.zeros((4, 4)), {"task": "sr", "scale": 4.0}, "scale must be 2, 3 or 4 and belongs to task sr, got 4.0 for"),
        (np.zeros((4, 4)), {"sigma": 300}, "sigma must be in [0, 255] and belongs to task denoise, got 300 for "),
        (np.zeros((4, 4)), {"task": "sr"}, "task sr needs --scale (2, 3 or 4), --weights or --run"),
        (np.zeros((4, 4)), {"task": "sr", "scale": 3}, "sr_x3 is not shipped with hinas_nb"),
        (np.zeros((4, 4)), {"sigma": 90}, "noise must be near sigma 25, for which the network was trained, got "),
    ],
)
def test_what_is_no_picture_or_does_not_fit_is_one_line(image, asked, line):
    with pytest.raises(RestoreError) as error:
        hinas_nb.restore(image, **asked)
    assert str(error.value).startswith(line) and "\n" not in str(error.value)


def test_a_pretrained_network_is_ready_for_inference():
    net = hinas_nb.pretrained("sr", scale=4)
    assert isinstance(net, torch.nn.Module) and not net.training and net.scale == 4
    assert not any(weight.requires_grad for weight in net.parameters())
    image = torch.rand(1, 3, 9, 8)
    assert torch.allclose(net(image).clamp(0, 1), hinas_nb.restore(image, "sr", scale=4), atol=1e-5)
    with pytest.raises(RestoreError, match="sr_x3 is not shipped with hinas_nb"):
        hinas_nb.pretrained("sr", scale=3)
    with pytest.raises(RestoreError, match="scale must be 2, 3 or 4 for task sr, got None"):
        hinas_nb.pretrained("sr")


def test_the_example_of_the_docstring_runs():
    (example,) = doctest.DocTestFinder().find(restore.restore, "restore", globs={})
    outcome = doctest.DocTestRunner().run(example)
    assert outcome.attempted > 5 and not outcome.failed


def test_the_package_is_imported_without_torch():
    program = "import sys, hinas_nb; print('torch' in sys.modules, *hinas_nb.__all__); hinas_nb.nothing"
    environment = os.environ | {"PYTHONPATH": str(locations.PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.stdout == "False __version__ pretrained restore\n"
    assert done.stderr.endswith("AttributeError: module 'hinas_nb' has no attribute 'nothing'\n")


# --- folders


def run(*arguments):
    return __main__.main(["restore", *map(str, arguments)])


def noisy_file(path, channels=3, kind=np.uint8, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (24, 33) if channels == 1 else (24, 33, channels)
    pixels = np.clip(128 + RANDOM.normal(0, 25, shape), 0, 255).astype(kind) * (257 if kind is np.uint16 else 1)
    if kind is np.uint16:
        pictures.write(path, pictures.Picture(pixels))
    else:
        Image.fromarray(pixels).save(path, **options)
    return path


@pytest.fixture
def mixed(tmp_path):
    """A folder such as people have."""
    folder = tmp_path / "in"
    noisy_file(folder / "a.png")
    noisy_file(folder / "b" / "grey.jpg", 1)
    noisy_file(folder / "b" / "c" / "deep.tif", 3, np.uint16)
    noisy_file(folder / "b" / "old.gif", 1)
    noisy_file(folder / ".hidden" / "x.png")
    (folder / "broken.png").write_bytes(noisy_file(folder / "whole.PNG").read_bytes()[:200])
    (folder / "notes.txt").write_text("no picture")
    return folder


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


RESTORED = ["a.png", "b/c/deep.tif", "b/grey.jpg", "b/old.gif.png", "whole.PNG"]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_folder_keeps_its_tree_and_one_damaged_picture_stops_nothing(mixed, tmp_path, capsys, workers):
    out = tmp_path / "out"
    assert run(mixed, out, "--workers", workers, "--force") == 2
    said = capsys.readouterr()
    assert names(out) == RESTORED
    assert said.out.splitlines()[-1] == "5 restored, 1 failed; 1 file of other kinds left alone"
    lines = [line for line in said.err.splitlines() if "%" not in line]
    assert len(lines) == 1 and lines[0].startswith(f"failed: {mixed}/broken.png must be a whole picture, got ")
    assert pictures.read(out / "b" / "c" / "deep.tif").bits == 16

    before = {name: (out / name).stat().st_mtime_ns for name in RESTORED}
    (mixed / "broken.png").unlink()
    assert run(mixed, out, "--force") == 0
    told = "0 restored, 5 done before (another output folder makes them anew); 1 file of other kinds left alone\n"
    assert capsys.readouterr().out == told
    os.utime(mixed / "a.png")  # a picture that was changed is restored anew
    assert run(mixed, out, "--force") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 restored, 4 done before")
    changed = [name for name in RESTORED if (out / name).stat().st_mtime_ns != before[name]]
    assert changed == ["a.png"]


def test_what_cannot_be_read_is_named_and_stops_nothing(mixed, tmp_path, capsys):
    (mixed / "link.png").symlink_to("nowhere.png")
    os.mkfifo(mixed / "pipe.png")
    (mixed / "empty.png").touch()
    assert run(mixed, tmp_path / "out", "--force") == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]
    assert [name for name in ("broken", "empty", "link", "pipe") if any(f"{name}.png" in line for line in said)] == [
        "broken", "empty", "link", "pipe",
    ]  # fmt: skip
    assert len(said) == 4 and names(tmp_path / "out") == RESTORED


def test_an_output_within_the_input_is_not_restored_again(mixed, tmp_path):
    (mixed / "broken.png").unlink()
    for _ in range(2):
        assert run(mixed, mixed / "out", "--compare", mixed / "pairs", "--sigma", "25") == 0
    assert names(mixed / "out") == RESTORED == names(mixed / "pairs")
    before, after = (pictures.read(path / "a.png").pixels for path in (mixed, mixed / "out"))
    pair = pictures.read(mixed / "pairs" / "a.png").pixels
    assert np.array_equal(pair[:, :33], before) and np.array_equal(pair[:, -33:], after)


@pytest.mark.parametrize(
    ("output", "more", "line"),
    [
        ("in", [], "output must be another folder than the input and none around it, got "),
        (".", [], "output must be another folder than the input and none around it, got "),
        ("in/a.png", [], "output must be a folder for a folder of pictures, got "),
        ("out", ["--compare", "out"], "pairs must go into another folder than the output, got "),
    ],
)
def test_folders_that_would_overwrite_pictures_are_refused(mixed, tmp_path, monkeypatch, capsys, output, more, line):
    monkeypatch.chdir(tmp_path)
    before = names(tmp_path)
    assert run("in", output, *more) == 2
    assert capsys.readouterr().err.startswith(f"hinas-nb: {line}") and names(tmp_path) == before


def test_an_output_within_the_input_that_holds_other_pictures_is_refused(mixed, tmp_path, capsys):
    """They may be originals, which what is restored would replace."""
    noisy_file(mixed / "2023" / "other.png")
    before = (noisy_file(mixed / "2023" / "a.png")).read_bytes()
    os.utime(mixed / "2023" / "a.png", (0, 0))
    assert run(mixed, mixed / "2023", "--sigma", 25) == 2
    line = f"hinas-nb: output inside the input must hold nothing but what was restored, got {mixed}/2023/other.png\n"
    assert capsys.readouterr().err == line and (mixed / "2023" / "a.png").read_bytes() == before


def test_two_pictures_of_one_name_once_restored_are_refused(mixed, tmp_path, capsys):
    noisy_file(mixed / "b" / "old.gif.png")
    assert run(mixed, tmp_path / "out", "--sigma", 25) == 2
    assert capsys.readouterr().err.startswith("hinas-nb: pictures must have an output each, got ")
    assert not (tmp_path / "out").exists()


def test_what_is_no_file_or_an_empty_one_is_not_done(mixed, tmp_path):
    (tmp_path / "out" / "a.png").mkdir(parents=True)
    found, _ = folders.items(mixed, tmp_path / "out")
    for item in found[1:]:
        item.target.parent.mkdir(parents=True, exist_ok=True)
        item.target.touch()
    assert not any(item.is_done for item in found)


def test_a_transparent_colour_of_a_pillow_image_comes_back_as_alpha(tmp_path):
    """Of one grey level or colour: restored, other pixels would have it."""
    for mode, colour in (("L", 117), ("RGB", (1, 2, 3))):
        pixels = RANDOM.integers(0, 256, (20, 20) if mode == "L" else (20, 20, 3), np.uint8)
        pixels[3:7, 3:7] = colour
        Image.fromarray(pixels, mode).save(tmp_path / "in.png", transparency=colour)
        given = Image.open(tmp_path / "in.png")
        restored = hinas_nb.restore(given, sigma=25)
        assert np.array_equal(restored.getchannel("A"), given.convert("RGBA").getchannel("A"))
        assert "transparency" not in restored.info


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_is_one_line_and_the_same_command_goes_on(mixed, tmp_path, monkeypatch, capsys, workers):
    (mixed / "broken.png").unlink()

    def interrupt(line):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "_say", interrupt)  # as Ctrl-C does, once the first picture is there
    assert run(mixed, tmp_path / "out", "--force", "--workers", workers) == 130
    made, said = names(tmp_path / "out"), capsys.readouterr()
    assert 1 <= len(made) < len(RESTORED) and set(made) <= set(RESTORED), "whole pictures, and nothing else"
    assert said.err.splitlines()[-1] == "hinas-nb: interrupted; the same command goes on where this one stopped"
    assert run(mixed, tmp_path / "out", "--force") == 0
    assert names(tmp_path / "out") == RESTORED
    left = len(RESTORED) - len(made)
    assert f"{left} restored, {len(made)} done before" in capsys.readouterr().out


def test_exif_stays_and_a_pair_can_be_compared(tmp_path, capsys):
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 6
    noisy_file(tmp_path / "in.jpg", exif=exif)
    assert run(tmp_path / "in.jpg", tmp_path / "out.png", "--scale", 2, "--compare", tmp_path / "pair.jpg") == 0
    found = Image.open(tmp_path / "out.png")
    assert found.size == (48, 66) and dict(found.getexif()) == {271: "Maker"}
    assert Image.open(tmp_path / "pair.jpg").size == (48 * 2 + 1, 66)
    assert run(tmp_path / "in.jpg", tmp_path / "out.tif", "--sigma", 25) == 0
    assert "left out: EXIF, which .tif files get none of" in capsys.readouterr().out


def test_the_pair_cannot_replace_the_picture(tmp_path, capsys):
    noisy_file(tmp_path / "in.png")
    (tmp_path / "o").mkdir()
    for compare, line in (
        ("in.png", "output must be another file than the input"),
        ("out.png", "the pair must be"),
        ("o/../out.png", "the pair must be"),
    ):
        assert run(tmp_path / "in.png", tmp_path / "out.png", "--sigma", 25, "--compare", tmp_path / compare) == 2
        assert capsys.readouterr().err.startswith(f"hinas-nb: {line}")
    assert names(tmp_path) == ["in.png"]


def test_a_pillow_image_comes_back_upright(tmp_path):
    """What comes back may be saved without its EXIF, which said how to turn it."""
    exif = Image.Exif()
    exif[274] = 6
    noisy_file(tmp_path / "in.jpg", exif=exif)
    turned = Image.open(tmp_path / "in.jpg")
    restored = hinas_nb.restore(turned, sigma=25)
    assert restored.size == turned.size[::-1] and 274 not in restored.getexif()


def test_exif_is_kept_by_every_kind_that_holds_it(tmp_path):
    exif = Image.Exif()
    exif[271] = "Maker"
    exif.get_ifd(0x8769).update({0x9003: "2020:01:01 00:00:00", 0xA002: 33})
    exif.get_ifd(0x8825)[1] = "N"
    noisy_file(tmp_path / "in.jpg", exif=exif)
    picture = pictures.read(tmp_path / "in.jpg")
    for kind in (".png", ".jpg", ".webp"):
        pictures.write(tmp_path / f"out{kind}", picture)
        assert pictures.read(tmp_path / f"out{kind}").exif == picture.exif
        kept = Image.open(tmp_path / f"out{kind}").getexif()
        assert kept[271] == "Maker" and kept.get_ifd(0x8825)[1] == "N"
        assert dict(kept.get_ifd(0x8769)) == {0x9003: "2020:01:01 00:00:00"}, "its size goes, it may change"


def test_a_large_picture_is_held_once_as_floats_only_in_tiles(monkeypatch):
    """What goes through the network at once is a tile with its halo, of one channel, whatever the picture's size."""
    seen = []

    class Watches(torch.nn.Module):
        task, noise_map, halo, scale = "denoise", True, 4, 1

        def forward(self, image):
            seen.append(tuple(image.shape))
            return image[:, :1]

    monkeypatch.setattr(restore, "TILE", 32)
    image = noise(100, 150, 3)
    assert np.array_equal(hinas_nb.restore(image, sigma=25, network=Watches()), image)
    assert len(seen) == 3 * 4 * 5 and all(max(shape[2:]) <= 32 + 2 * 4 + 3 and shape[:2] == (1, 2) for shape in seen)
