"""The user's own pictures: kept whole (depth, alpha, size), restored by the right network, or refused."""

import re
import warnings

import numpy as np
import pytest
import tifffile
import torch
from made_up_runs import noted
from PIL import Image

from hinas_nb import __main__, data, evaluate, files, loops, network, pictures, provenance, restore
from hinas_nb.genotype import random_genotype
from hinas_nb.identity import REVISIONS
from hinas_nb.pictures import Picture, PictureError
from hinas_nb.restore import Candidate, RestoreError

RANDOM = np.random.default_rng(0)


def weights(path, task="denoise", sigma=50.0, scale=None):
    """A small untrained network as a training Run leaves it."""
    generator = torch.Generator().manual_seed(3)
    genotype = random_genotype(2, 2, generator, operations=("conv_3", "sep_3", "skip"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = network.DerivedNetwork(genotype, task, 4, scale=scale)
    with torch.no_grad():
        net.output.weight *= 0.2
    metadata = net.metadata() | ({"sigma": sigma} if task == "denoise" else {})
    files.write_tensors(path, net.state_dict(), metadata)
    return path


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights") / "weights.safetensors")


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights") / "weights.safetensors", "sr", scale=2)


def picture(channels, bits, height=21, width=34):
    kind = np.uint8 if bits == 8 else np.uint16
    return Picture(RANDOM.integers(0, 2**bits, (height, width, channels)).astype(kind))


# --- files


@pytest.mark.parametrize("profile", [None, b"not a real profile, but kept"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [".png", ".tif"])
def test_pictures_come_back_as_they_were(tmp_path, kind, channels, bits, profile):
    if (kind, channels, bits) == (".png", 2, 16):
        pytest.skip("Pillow cannot read 16-bit grey PNG with alpha; refused below")
    original = Picture(picture(channels, bits).pixels, profile)
    pictures.write(tmp_path / f"x{kind}", original)
    found = pictures.read(tmp_path / f"x{kind}")
    assert found.pixels.dtype == original.pixels.dtype and np.array_equal(found.pixels, original.pixels)
    if kind == ".tif" or (bits == 16 and channels > 2):
        assert found.profile == profile


def test_a_deep_png_is_a_png_to_others(tmp_path):
    original = picture(3, 16)
    pictures.write(tmp_path / "x.png", original)
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == "RGB" and np.array_equal(np.array(image), original.pixels >> 8)
    assert np.array_equal(data.read_image(tmp_path / "x.png"), original.pixels)


def test_palettes_and_rotated_photographs_are_shown_as_meant(tmp_path):
    colours = Image.fromarray(picture(3, 8).pixels).quantize(8)
    colours.save(tmp_path / "x.png")
    assert np.array_equal(pictures.read(tmp_path / "x.png").pixels, np.array(colours.convert("RGB")))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(3, 8, 20, 40).pixels).save(tmp_path / "x.jpg", exif=exif)
    assert pictures.read(tmp_path / "x.jpg").pixels.shape == (40, 20, 3)


def test_what_is_no_picture_is_refused(tmp_path):
    path = tmp_path / "x.png"
    pictures.write(path, picture(3, 8))
    whole = path.read_bytes()
    for content in (b"", b"no picture", whole[: len(whole) // 2], b"II*\0" + whole):
        path.write_bytes(content)
        with pytest.raises(PictureError, match=re.escape(f"{path} must be a whole picture, got ")) as error:
            pictures.read(path)
        assert "\n" not in str(error.value)
    frames = [Image.fromarray(picture(1, 8).pixels[..., 0]) for _ in range(2)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="must hold one picture, got 2 frames"):
        pictures.read(tmp_path / "x.gif")
    Image.fromarray(RANDOM.integers(0, 256, (4, 4, 4)).astype(np.uint8), "CMYK").save(tmp_path / "x.jpg")
    with pytest.raises(PictureError, match="must be grey or RGB with 8 or 16 bits, got mode CMYK"):
        pictures.read(tmp_path / "x.jpg")
    pictures.write(path, picture(2, 16))
    with pytest.raises(PictureError, match="must not be 16-bit grey with alpha, save it as RGBA"):
        pictures.read(path)


@pytest.mark.parametrize(
    ("name", "channels", "bits", "line"),
    [
        ("x.gif", 3, 8, "output must end in one of .png .tif .tiff .webp .jpg .jpeg .bmp, got x.gif"),
        ("x.jpg", 3, 16, "output must be .png or .tif for 16 bits: .jpg holds 8 bits without alpha"),
        ("x.JPG", 4, 8, "output must be .png or .tif for 8 bits with alpha: .jpg holds 8 bits without alpha"),
        ("x.webp", 4, 16, "output must be .png or .tif for 16 bits with alpha: .webp holds 8 bits"),
    ],
)
def test_a_file_that_cannot_hold_the_result_is_refused(tmp_path, name, channels, bits, line):
    with pytest.raises(PictureError) as error:
        pictures.write(tmp_path / name, picture(channels, bits))
    assert str(error.value) == line
    assert not list(tmp_path.iterdir())


# --- restoring


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_denoising_treats_each_channel_as_a_grey_picture(tmp_path, denoiser, channels, bits):
    original = picture(channels, bits)
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    pictures.write(source, original)
    said = restore.restore(source, target, "denoise", tmp_path, weights=denoiser, sigma=50)
    found = pictures.read(target).pixels
    assert found.dtype == original.pixels.dtype and found.shape == original.pixels.shape

    net = network.load(denoiser)
    top = 2**bits - 1
    planes = torch.from_numpy(original.pixels.astype(np.float32) / np.float32(top))
    for channel in range(channels):
        if channel == 2 or (channel == 0 and channels < 3) or (channels > 2 and channel < 2):
            with torch.no_grad():
                alone = net(planes[None, None, ..., channel])[0, 0].clamp(0, 1).numpy()
            assert np.abs(found[..., channel] - alone * top).max() <= 0.51 + top * 1e-6
    if channels in (2, 4):
        assert np.array_equal(found[..., -1], original.pixels[..., -1])
    expected = ["colour: red, green and blue are each restored as a grey picture"] if channels > 2 else []
    expected += ["alpha: kept"] if channels in (2, 4) else []
    assert said == [*expected, f"wrote {target} (34x21, {bits} bits)"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_super_resolution_enlarges_picture_and_alpha(tmp_path, upscaler, channels):
    original = picture(channels, 8, 9, 15)
    pictures.write(tmp_path / "in.png", original)
    said = restore.restore(tmp_path / "in.png", tmp_path / "out.png", "sr", tmp_path, weights=upscaler)
    found = pictures.read(tmp_path / "out.png").pixels
    assert found.shape == (18, 30, channels) and said[-1].endswith("(30x18, 8 bits)")
    if channels == 4:
        alpha = data.bicubic(torch.from_numpy(original.pixels[None, ..., 3] / 255), 2).clamp(0, 1)
        assert np.array_equal(found[..., 3], np.rint(alpha[0].numpy() * 255))
        assert "alpha: kept, resized bicubically" in said
    if channels == 1:
        assert said[0] == "grey: restored as three equal colour channels, then averaged"


def test_a_large_picture_is_restored_in_tiles_to_the_same_result(tmp_path, denoiser, monkeypatch):
    pictures.write(tmp_path / "in.png", picture(1, 16, 90, 70))
    restore.restore(tmp_path / "in.png", tmp_path / "whole.png", "denoise", tmp_path, weights=denoiser, sigma=50)
    monkeypatch.setattr(evaluate, "PIXEL_BUDGET", 50**2)
    restore.restore(tmp_path / "in.png", tmp_path / "tiled.png", "denoise", tmp_path, weights=denoiser, sigma=50)
    whole, tiled = (pictures.read(tmp_path / f"{name}.png").pixels.astype(int) for name in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() <= 1


def test_the_compiled_engine_compiles_for_every_size_and_restores_alike(tmp_path, denoiser, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda net, dynamic: asked.append(dynamic) or net)
    monkeypatch.setattr(loops, "has_compiler", lambda: True)
    pictures.write(tmp_path / "in.png", picture(1, 8))
    for engine in ("torch", "compiled"):
        target = tmp_path / f"{engine}.png"
        restore.restore(tmp_path / "in.png", target, "denoise", tmp_path, weights=denoiser, sigma=50, engine=engine)
    assert asked == [True] and (tmp_path / "torch.png").read_bytes() == (tmp_path / "compiled.png").read_bytes()


def test_noise_is_estimated_said_and_held_against_the_training(tmp_path, denoiser):
    clean = np.full((96, 96, 1), 0.5)
    noisy = clean + RANDOM.normal(0, 20 / 255, clean.shape)
    assert restore.estimated_sigma(noisy) == pytest.approx(20, abs=1)
    assert restore.estimated_sigma(clean) == pytest.approx(0)
    assert restore.estimated_sigma(np.zeros((8, 8, 3))) == 0
    pictures.write(tmp_path / "in.png", Picture(np.rint(noisy * 255).astype(np.uint8)))
    said = restore.restore(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, weights=denoiser)
    assert re.fullmatch(r"noise: sigma (19|20)\.\d grey levels, estimated", said[0])
    assert re.fullmatch(
        r"warning: trained at sigma 50, the picture has (19|20)\.\d: the network may smooth detail away",
        said[1],
    )
    said = restore.restore(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, denoiser, sigma=70)
    assert said[0] == "warning: trained at sigma 50, the picture has 70.0: the network may leave noise"


# --- the network


def test_the_best_fitting_run_is_chosen(tmp_path):
    def candidate(name, profile, sigma=50.0, psnr=20.0, task="denoise", scale=None):
        return Candidate(tmp_path / name, profile, task, sigma, scale, psnr)

    known = [
        candidate("a", "smoke", 30.0),
        candidate("b", "laptop", 50.0, 25.0),
        candidate("c", "laptop", 50.0, 26.0),
        candidate("d", "paper", 70.0),
        candidate("e", "mine", 45.0),
        candidate("f", "paper", None, task="sr", scale=4),
    ]

    def chosen(*arguments, **more):
        return restore.choose(known, *arguments, **more).path.name

    assert chosen("denoise", 48, None) == "c"  # the larger budget before the nearer sigma, the better of two
    assert chosen("denoise", 28, None) == "a"  # but not far away from what it was trained for
    assert chosen("denoise", 66, None) == "d"
    assert chosen("denoise", 200, None) == "d"  # all far: the largest budget, with a warning
    assert chosen("sr", None, 4) == "f"
    assert chosen("denoise", 50, None, run="e") == "e"
    for task, scale, line in (
        (
            "sr",
            2,
            f"no finished training Run for sr at scale 2 in {tmp_path}; make one: hinas-nb run 05 -p task=sr ",
        ),
        (
            "denoise",
            3,
            f"no finished training Run for denoising in {tmp_path}; make one: hinas-nb run 05 --profile smoke",
        ),
    ):
        with pytest.raises(RestoreError, match=re.escape(line)):
            restore.choose(known, task, 50, scale, results=tmp_path)
    with pytest.raises(RestoreError) as error:
        restore.choose(known, "denoise", 50, None, run="z")
    assert str(error.value) == "run must begin the hash of one finished training Run (a b c d e f), got 'z'"


def test_runs_are_found_in_the_results(tmp_path):
    for profile, sigma, done in (("smoke", 50, True), ("laptop", 30, True), ("laptop", 50, False)):
        folder = tmp_path / profile / "runs" / "train" / f"{sigma:016x}"
        weights(folder / "weights.safetensors", sigma=sigma)
        if done:
            noted(folder, config={"task": "denoise", "sigma": sigma}, summary={"validation_psnr": 21.5})
    assert [str(found) for found in restore.candidates(tmp_path)] == [
        "000000000000001e (denoise, sigma 30, laptop budget)",
        "0000000000000032 (denoise, sigma 50, smoke budget)",
    ]
    pictures.write(tmp_path / "in.png", picture(1, 8))
    said = restore.restore(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, sigma=31)
    assert said[0] == "network: Run 000000000000001e (denoise, sigma 30, laptop budget)"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"task": "deblur"}, "task must be one of denoise sr, got 'deblur'"),
        ({"engine": "tvm"}, "engine must be one of torch compiled onnx, got 'tvm'"),
        (
            {"engine": "onnx", "device": "cuda"},
            "device must be auto or cpu for engine onnx, got 'cuda'",
        ),
        (
            {"weights": "x.onnx"},
            "weights must be a safetensors file unless --engine is onnx, got {folder}/x.onnx",
        ),
        ({"run": "a"}, "a network must be named by --weights or --run, got both"),
        ({"sigma": -1.0}, "sigma must be in [0, 255] and belongs to task denoise, got -1 for denoise"),
        (
            {"sigma": float("nan")},
            "sigma must be in [0, 255] and belongs to task denoise, got nan for denoise",
        ),
        ({"scale": 2}, "scale must be 2, 3 or 4 and belongs to task sr, got 2 for denoise"),
        ({"task": "sr", "sigma": 3.0}, "sigma must be in [0, 255] and belongs to task denoise, got 3 for sr"),
        ({"task": "sr", "weights": None}, "task sr needs --scale (2, 3 or 4), --weights or --run"),
        ({"task": "sr"}, "{weights} must be of a network for sr, got one for denoise"),
        ({"target": "in.png"}, "output must be another file than the input, got {folder}/in.png"),
        (
            {"target": "none/out.png"},
            "output must be a file in an existing folder, got {folder}/none/out.png",
        ),
        (
            {"target": "out.gif"},
            "output must end in one of .png .tif .tiff .webp .jpg .jpeg .bmp, got out.gif",
        ),
        ({"weights": "none"}, "weights must be a safetensors file, got {folder}/none"),
        ({"weights": "in.png"}, "{folder}/in.png must be weights written by a hinas-nb training Run, got: "),
        ({"source": "none.png"}, "cannot read {folder}/none.png: No such file or directory"),
        ({"device": "tpu"}, "device must be auto, cpu or one that is present here, got 'tpu'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(tmp_path, denoiser, arguments, line):
    pictures.write(tmp_path / "in.png", picture(3, 8))
    given = {"source": "in.png", "target": "out.png", "task": "denoise", "weights": denoiser, "sigma": 50.0}
    if arguments.get("task") == "sr":
        del given["sigma"]
    given |= arguments
    for name in ("source", "target", "weights"):
        given[name] = tmp_path / given[name] if given[name] else None
    with pytest.raises((ValueError, OSError)) as error, warnings.catch_warnings():
        restore.restore(results=tmp_path, **given)
    assert str(error.value).startswith(line.format(folder=tmp_path, weights=denoiser))
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


def test_a_failed_write_keeps_what_was_there(tmp_path, denoiser, monkeypatch):
    pictures.write(tmp_path / "in.png", picture(1, 8))
    (tmp_path / "out.png").write_bytes(b"precious")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot write .*out.png: No space left on device"):
        restore.restore(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, denoiser, sigma=50)
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.png"]


def test_one_transparent_colour_is_kept_as_alpha(tmp_path):
    pixels = picture(3, 8).pixels
    clear = np.all(pixels == pixels[0, 0], axis=2)
    Image.fromarray(pixels).save(tmp_path / "x.png", transparency=tuple(int(value) for value in pixels[0, 0]))
    found = pictures.read(tmp_path / "x.png").pixels
    assert np.array_equal(found[..., :3], pixels) and np.array_equal(found[..., 3] == 0, clear)
    grey = pixels[..., 0]
    Image.fromarray(grey).save(tmp_path / "x.png", transparency=int(grey[0, 0]))
    found = pictures.read(tmp_path / "x.png").pixels
    assert np.array_equal(found[..., 0], grey) and np.array_equal(found[..., 1] == 0, grey == grey[0, 0])


def test_a_tiff_stored_on_its_side_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", picture(3, 8).pixels, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    with pytest.raises(PictureError, match=r"must be stored upright \(orientation 1\), got orientation 6"):
        pictures.read(tmp_path / "x.tif")


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3)])
def test_a_tiny_picture_is_restored_without_a_warning(tmp_path, denoiser, size):
    pictures.write(tmp_path / "in.png", picture(3, 8, *size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restore.restore(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, weights=denoiser)
    assert pictures.read(tmp_path / "out.png").pixels.shape == (*size, 3)


def test_damaged_weights_write_no_picture(tmp_path, denoiser):
    pictures.write(tmp_path / "in.png", picture(1, 8))
    tensors, meta = files.read_tensors(denoiser)
    tensors = {name: value * float("nan") if value.is_floating_point() else value for name, value in tensors.items()}
    files.write_tensors(tmp_path / "nan.safetensors", tensors, meta)
    arguments = (tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path)
    with pytest.raises(RestoreError, match="must return finite values, got NaN or infinity: its weights are damaged"):
        restore.restore(*arguments, weights=tmp_path / "nan.safetensors", sigma=50)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("wrong", [{}, {"config": 3}, {"config": {}}, {"config": {"sigma": "x"}}, "weights", "text"])
def test_a_damaged_run_is_left_out_with_a_note_and_blocks_nothing(tmp_path, wrong):
    whole, damaged = (tmp_path / "smoke" / "runs" / "train" / name for name in ("ab", "cd"))
    for folder in (whole, damaged):
        weights(folder / "weights.safetensors")
        noted(folder, config={"task": "denoise", "sigma": 50}, summary={"validation_psnr": 20.0 + (folder == damaged)})
    if wrong == "weights":
        path = damaged / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    elif wrong == "text":
        (damaged / "run.json").write_text("[")
    else:
        noted(damaged, **(wrong or {"hash": 3}))
    notes = []
    assert [found.path for found in restore.candidates(tmp_path, notes.append)] == [whole]
    (note,) = notes
    assert note.startswith(f"left out: {damaged}") and "delete" in note and "\n" not in note
    pictures.write(tmp_path / "in.png", picture(1, 8))
    said = restore.restore(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, sigma=50)
    assert note in said and any(line.startswith("network: Run ab ") for line in said)


def test_weights_of_a_run_that_are_not_as_it_left_them_are_refused_by_name_too(tmp_path, capsys):
    folder = tmp_path / "smoke" / "runs" / "train" / "ab"
    weights(folder / "weights.safetensors")
    noted(folder)
    weights(folder / "weights.safetensors", sigma=30)
    pictures.write(tmp_path / "in.png", picture(1, 8))
    line = "weights.safetensors must be as the Run left it"
    with pytest.raises(files.FileContentError, match=line):
        restore.restore(
            tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, folder / "weights.safetensors", sigma=50
        )
    assert __main__.main(["export", str(folder / "weights.safetensors"), str(tmp_path / "x.onnx")]) == 2
    assert line in capsys.readouterr().err and not (tmp_path / "x.onnx").exists()


def test_a_network_of_an_older_revision_serves_and_says_so(tmp_path):
    old, new = (tmp_path / "smoke" / "runs" / "train" / name for name in ("ab", "cd"))
    for folder, revision, psnr in ((old, 1, 30.0), (new, REVISIONS["search"], 20.0)):
        weights(folder / "weights.safetensors")
        noted(
            folder,
            config={"task": "denoise", "sigma": 50},
            summary={"validation_psnr": psnr},
            revisions={"search": revision},
        )
    known = restore.candidates(tmp_path)
    assert restore.choose(known, "denoise", 50, None).path == new, "their PSNR are not compared"
    chosen = restore.choose(known, "denoise", 50, None, run="ab")
    assert str(chosen).endswith(f"smoke budget, search revision 1 (now {REVISIONS['search']}))")


def test_a_device_that_computes_nothing_is_refused():
    with pytest.raises(ValueError, match="device must be auto, cpu or one that is present here, got 'meta'"):
        provenance.resolve_device("meta")
