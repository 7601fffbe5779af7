"""The user's own pictures: kept whole (depth, alpha, size), restored by the right network, or refused."""

import json
import os
import re
import warnings
from unittest import mock

import numpy as np
import pytest
import torch
from made_up_runs import noted, weights
from PIL import Image

from hinas_nb import __main__, comparators, data, files, provenance
from hinas_nb.data import pictures
from hinas_nb.data.pictures import Picture, PictureError
from hinas_nb.experiment.config import Comparator, Epoch, Perturbed, SearchConfig, TrainConfig
from hinas_nb.experiment.profile import load_profile
from hinas_nb.experiment.runs import REVISIONS, canonical
from hinas_nb.method import network
from hinas_nb.method.genotype import random_genotype
from hinas_nb.scoring import evaluate
from hinas_nb.use import networks, restore
from hinas_nb.use.networks import RestoreError, TrainedRun

RANDOM = np.random.default_rng(0)


def restored(source, target, task, results, weights=None, **asked):
    with mock.patch.dict(os.environ, HINAS_RESULTS=str(results)):
        return restore.restore_file(source, target, networks.Request(task, weights=weights, **asked))


@pytest.fixture(autouse=True)
def nothing_is_shipped(tmp_path, monkeypatch):
    monkeypatch.setattr(networks, "SHIPPED", tmp_path / "shipped")


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights") / "weights.safetensors")


@pytest.fixture(scope="module")
def upscaler(tmp_path_factory):
    return weights(tmp_path_factory.mktemp("weights") / "weights.safetensors", "sr", scale=2)


def picture(channels, bits, height=21, width=34):
    kind = np.uint8 if bits == 8 else np.uint16
    return Picture(RANDOM.integers(0, 2**bits, (height, width, channels)).astype(kind))


# --- restoring


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_denoising_treats_each_channel_as_a_grey_picture(tmp_path, denoiser, channels, bits):
    original = picture(channels, bits)
    source, target = tmp_path / "in.tif", tmp_path / "out.tif"
    pictures.write(source, original)
    said = restored(source, target, "denoise", tmp_path, weights=denoiser, sigma=50)
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
    said = restored(tmp_path / "in.png", tmp_path / "out.png", "sr", tmp_path, weights=upscaler)
    found = pictures.read(tmp_path / "out.png").pixels
    assert found.shape == (18, 30, channels) and said[-1].endswith("(30x18, 8 bits)")
    if channels == 4:
        alpha = data.bicubic(torch.from_numpy(original.pixels[None, ..., 3] / 255), 2, clip=True).clamp(0, 1)
        # Doubling gives many halves, which go the way that their last bit says.
        assert np.abs(found[..., 3] - alpha[0].numpy() * 255).max() < 0.5 + 1e-6
        assert "alpha: kept, resized bicubically" in said
    if channels == 1:
        assert said[0] == "grey: restored as three equal colour channels, then averaged"


def test_a_large_picture_is_restored_in_tiles_to_the_same_result(tmp_path, denoiser, monkeypatch):
    pictures.write(tmp_path / "in.png", picture(1, 16, 90, 70))
    restored(tmp_path / "in.png", tmp_path / "whole.png", "denoise", tmp_path, weights=denoiser, sigma=50)
    monkeypatch.setattr(restore, "TILE", 24)
    restored(tmp_path / "in.png", tmp_path / "tiled.png", "denoise", tmp_path, weights=denoiser, sigma=50)
    whole, tiled = (pictures.read(tmp_path / f"{name}.png").pixels.astype(int) for name in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() <= 1


@pytest.mark.parametrize("sigma", [3, 10, 50])
def test_neither_detail_nor_clipping_is_taken_for_noise(sigma):
    """A photograph with texture, in 8 bits: within 15 % or one grey level."""
    photos = data.load("photos", "test")
    clean = photos.images[photos.names.index("camera")][None].double() / 255
    noisy = data.add_noise(clean, sigma, data.stream(0, "noise")).clamp(0, 1).mul(255).round().byte()
    assert restore.estimated_sigma(noisy) == pytest.approx(sigma, rel=0.15, abs=1)


def test_noise_is_estimated_said_and_held_against_the_training(tmp_path, denoiser):
    clean = torch.full((1, 1, 96, 96), 0.5)
    noisy = data.add_noise(clean, 20, data.stream(0, "noise"))
    assert restore.estimated_sigma(noisy) == pytest.approx(20, abs=1)
    assert restore.estimated_sigma(clean) == pytest.approx(0)
    assert restore.estimated_sigma(torch.zeros(1, 3, 8, 8)) == 0
    framed = torch.ones(1, 1, 116, 116)
    framed[..., 10:-10, 10:-10] = noisy
    assert restore.estimated_sigma(framed) == pytest.approx(20, abs=1)
    cut_out, alpha = torch.zeros(1, 1, 300, 300), torch.zeros(1, 1, 300, 300)
    cut_out[..., 100:196, 100:196], alpha[..., 100:196, 100:196] = noisy, 1
    assert restore.estimated_sigma(cut_out, alpha) == pytest.approx(20, abs=1)
    assert restore.estimated_sigma(cut_out, torch.zeros_like(alpha)) == restore.estimated_sigma(cut_out) == 0
    pictures.write(tmp_path / "in.png", Picture((noisy[0, 0] * 255).round().byte().numpy()))
    files_and_task = (tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, denoiser)
    with pytest.raises(RestoreError) as error:
        restored(*files_and_task)
    assert re.fullmatch(
        r"noise must be near sigma 50, for which the network was trained, got sigma (19|20)\.\d: it would smooth "
        r"detail away; sigma, given, corrects the estimate; force restores all the same",
        str(error.value),
    )
    assert not (tmp_path / "out.png").exists()
    said = restored(*files_and_task, force=True)
    assert re.fullmatch(r"noise: sigma (19|20)\.\d grey levels, estimated", said[0])
    assert re.fullmatch(
        r"warning: trained at sigma 50, the picture has (19|20)\.\d: the network may smooth detail away",
        said[1],
    )
    with pytest.raises(RestoreError, match=r"got sigma 70\.0: it would leave noise; "):
        restored(*files_and_task, sigma=70)
    said = restored(*files_and_task, sigma=70, force=True)
    assert said[0] == "warning: trained at sigma 50, the picture has 70.0: the network may leave noise"


@pytest.mark.parametrize("task", ["denoise", "sr"])
def test_a_network_of_the_smoke_budget_is_called_one(tmp_path, denoiser, upscaler, task):
    smoke = load_profile("smoke")
    most = max(smoke.train(task, smoke.search(task), headline=headline).steps for headline in (False, True))
    laptop = load_profile("laptop")
    least = min(
        laptop.train("denoise", laptop.search("denoise"), headline=headline).steps for headline in (False, True)
    )
    assert most <= restore.SMOKE_STEPS < least
    pictures.write(tmp_path / "in.png", picture(3, 8))
    tensors, meta = files.read_tensors(denoiser if task == "denoise" else upscaler)
    for steps in (most, least):
        files.write_tensors(tmp_path / "w.safetensors", tensors, meta | {"steps": steps})
        sigma = 50.0 if task == "denoise" else None
        arguments = (tmp_path / "in.png", tmp_path / "out.png", task, tmp_path, tmp_path / "w.safetensors")
        warned = [line for line in restored(*arguments, sigma=sigma) if line.startswith("warning: ")]
        gives = {
            "denoise": "gives far less than one of a larger budget",
            "sr": "can give less than bicubic up-sampling",
        }
        line = f"warning: the network is of the smoke budget ({most} steps, to try things out): it {gives[task]}"
        assert warned == ([line] if steps == most else [])


def test_what_is_left_out_of_a_file_is_said(tmp_path, denoiser):
    others = [Image.fromarray(picture(3, 8).pixels)]
    others[0].save(tmp_path / "in.jpg", "MPO", save_all=True, append_images=others)
    said = restored(tmp_path / "in.jpg", tmp_path / "out.png", "denoise", tmp_path, denoiser, sigma=50)
    assert said[0] == "left out: further pictures (MPF)"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 7.45 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        type("RuntimeException", (Exception,), {})("Failed to allocate memory\nfor requested buffer of size 5"),
    ],
)
def test_missing_memory_is_one_line(tmp_path, denoiser, monkeypatch, capsys, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr(evaluate, "run", fail)
    pictures.write(tmp_path / "in.png", picture(3, 8))
    command = ["restore", str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--task", "denoise", "--sigma", "50"]
    assert __main__.main([*command, "--weights", str(denoiser)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"hinas-nb: {tmp_path}/in.png must fit in memory with what restoring it needs, got: ")
    assert said.count("\n") == 1 and not (tmp_path / "out.png").exists()


def test_other_failures_are_not_called_missing_memory(tmp_path, denoiser, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(evaluate, "run", fail)
    pictures.write(tmp_path / "in.png", picture(1, 8))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        restored(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, denoiser, sigma=50)


def test_an_output_too_large_for_its_kind_is_refused_before_the_work(tmp_path, upscaler, monkeypatch):
    monkeypatch.setattr(evaluate, "run", lambda *arguments: pytest.fail("the work was begun"))
    pictures.write(tmp_path / "in.png", picture(3, 8, 2, 8192))
    with pytest.raises(PictureError, match=r"must be .tif for 16384x4: .webp holds sides of 16383"):
        restored(tmp_path / "in.png", tmp_path / "out.webp", "sr", tmp_path, upscaler)


# --- the network


def test_a_run_is_named_by_the_start_of_its_hash(tmp_path):
    known = [TrainedRun(tmp_path / name, "laptop", "denoise", (50.0, 50.0), None) for name in ("ab", "ac", "b")]
    assert networks.named(known, "b").path.name == "b"
    for start, fits in (("z", "ab ac b"), ("a", "ab ac")):
        with pytest.raises(RestoreError) as error:
            networks.named(known, start)
        assert str(error.value) == f"run must begin the hash of one finished training Run ({fits}), got {start!r}"


def test_runs_are_found_in_the_results(tmp_path):
    for profile, sigma, done in (("smoke", 50, True), ("laptop", 30, True), ("laptop", 50, False)):
        folder = tmp_path / profile / "runs" / "train" / f"{sigma:016x}"
        weights(folder / "weights.safetensors", sigma=sigma)
        if done:
            noted(folder, config={"task": "denoise", "sigma": sigma}, summary={"validation_psnr": 21.5})
    assert [str(found) for found in networks.trained_runs(tmp_path)] == [
        "000000000000001e (denoise, sigma 30, laptop budget)",
        "0000000000000032 (denoise, sigma 50, smoke budget)",
    ]
    pictures.write(tmp_path / "in.png", picture(1, 8))
    said = restored(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, sigma=31, run="000000000000001")
    assert said[0] == "network: Run 000000000000001e (denoise, sigma 30, laptop budget)"


@pytest.mark.parametrize(
    ("origin", "other"),
    [
        (SearchConfig(), ""),
        (random_genotype(3, 4, data.stream(0, "random")), "a given genotype, "),
        (Perturbed(search=SearchConfig(), kind="R1"), "a perturbed genotype, "),
        (Perturbed(search=SearchConfig(), kind="R2"), "a perturbed genotype, "),
        (Epoch(search=SearchConfig()), "another epoch's genotype, "),
        (Comparator(name="dncnn"), "dncnn, "),
    ],
)
def test_a_run_says_when_it_is_not_of_what_a_search_found(tmp_path, origin, other):
    """Notebooks train random architectures and comparators beside it."""
    folder = tmp_path / "laptop" / "runs" / "train" / "ab"
    weights(folder / "weights.safetensors", sigma=50)
    noted(folder, config=json.loads(json.dumps(canonical(TrainConfig(genotype=origin).identity()))), summary={})
    (found,) = networks.trained_runs(tmp_path)
    assert str(found).startswith(f"ab ({other}denoise, sigma 50")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"task": "deblur"}, "task must be one of denoise sr, got 'deblur'"),
        ({"engine": "tvm"}, "engine must be one of auto torch onnx, got 'tvm'"),
        (
            {"engine": "onnx", "device": "cuda"},
            "device must be auto or cpu for engine onnx, got 'cuda'",
        ),
        (
            {"weights": "x.onnx"},
            "weights must be a safetensors file unless --engine is onnx, got {folder}/x.onnx",
        ),
        ({"run": "a"}, "a network must be named by --weights or --run, got both"),
        ({"sigma": -1.0}, "sigma must be in [0, 255] and belongs to task denoise, got -1.0 for denoise"),
        (
            {"sigma": float("nan")},
            "sigma must be in [0, 255] and belongs to task denoise, got nan for denoise",
        ),
        ({"scale": 2}, "scale must be 2, 3 or 4 and belongs to task sr, got 2 for denoise"),
        ({"task": "sr", "sigma": 3.0}, "sigma must be in [0, 255] and belongs to task denoise, got 3.0 for sr"),
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
        restored(results=tmp_path, **given)
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
        restored(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, denoiser, sigma=50)
    assert (tmp_path / "out.png").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.png", "out.png"]


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 3)])
def test_a_tiny_picture_is_restored_without_a_warning(tmp_path, denoiser, size):
    pictures.write(tmp_path / "in.png", picture(3, 8, *size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sigma in (50, None):
            restored(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, denoiser, sigma=sigma, force=True)
    assert pictures.read(tmp_path / "out.png").pixels.shape == (*size, 3)


def test_damaged_weights_write_no_picture(tmp_path, denoiser):
    pictures.write(tmp_path / "in.png", picture(1, 8))
    tensors, meta = files.read_tensors(denoiser)
    tensors = {name: value * float("nan") if value.is_floating_point() else value for name, value in tensors.items()}
    files.write_tensors(tmp_path / "nan.safetensors", tensors, meta)
    arguments = (tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path)
    with pytest.raises(RestoreError, match="must return finite values, got NaN or infinity: its weights are damaged"):
        restored(*arguments, weights=tmp_path / "nan.safetensors", sigma=50)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("wrong", [{}, {"config": 3}, {"config": {}}, {"config": {"sigma": "x"}}, "weights", "text"])
def test_a_damaged_run_is_left_out_with_a_note_and_blocks_nothing(tmp_path, wrong):
    whole, damaged = (tmp_path / "smoke" / "runs" / "train" / name for name in ("ab", "cd"))
    for folder in (whole, damaged):
        weights(folder / "weights.safetensors")
        noted(folder, config={"task": "denoise", "sigma": 50}, summary={})
    if wrong == "weights":
        path = damaged / "weights.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    elif wrong == "text":
        (damaged / "run.json").write_text("[")
    else:
        noted(damaged, **(wrong or {"hash": 3}))
    notes = []
    assert [found.path for found in networks.trained_runs(tmp_path, notes.append)] == [whole]
    (note,) = notes
    assert note.startswith(f"left out: {damaged}") and "delete" in note and "\n" not in note
    pictures.write(tmp_path / "in.png", picture(1, 8))
    said = restored(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, sigma=50, run="ab")
    assert note in said and any(line.startswith("network: Run ab ") for line in said)


def test_weights_of_a_run_that_are_not_as_it_left_them_are_refused_by_name_too(tmp_path, capsys):
    folder = tmp_path / "smoke" / "runs" / "train" / "ab"
    weights(folder / "weights.safetensors")
    noted(folder)
    weights(folder / "weights.safetensors", sigma=30)
    pictures.write(tmp_path / "in.png", picture(1, 8))
    line = "weights.safetensors must be as the Run left it"
    with pytest.raises(files.FileContentError, match=line):
        restored(
            tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, folder / "weights.safetensors", sigma=50
        )
    assert __main__.main(["export", str(folder / "weights.safetensors"), str(tmp_path / "x.onnx")]) == 2
    assert line in capsys.readouterr().err and not (tmp_path / "x.onnx").exists()


def test_a_network_of_an_older_revision_serves_and_says_so(tmp_path):
    folder = tmp_path / "smoke" / "runs" / "train" / "ab"
    weights(folder / "weights.safetensors")
    noted(folder, config={"task": "denoise", "sigma": 50}, summary={}, revisions={"search": 1})
    chosen = networks.named(networks.trained_runs(tmp_path), "ab")
    assert str(chosen).endswith(f"smoke budget, search revision 1 (now {REVISIONS['search']}))")


@pytest.mark.parametrize("name", ["meta", "hpu", "cuda:99", "gpu", ""])
def test_a_device_that_is_not_there_or_computes_nothing_is_refused(name):
    with pytest.raises(ValueError, match=f"device must be auto, cpu or one that is present here, got '{name}'"):
        provenance.resolve_device(name)


# --- hostile weights


def changed_weights(path, source, change=None, **metadata):
    """A copy of a weights file with one tensor changed, or with other metadata."""
    tensors, meta = files.read_tensors(source)
    if change is not None:
        name = "stem1.0.weight"
        tensors[name] = change(tensors[name])
    files.write_tensors(path, tensors, meta | metadata)
    return path


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.bfloat16, torch.float64, torch.int32, torch.uint8, torch.complex64, torch.bool]
)
def test_weights_of_another_kind_of_number_are_refused_not_cast(tmp_path, denoiser, kind):
    path = changed_weights(tmp_path / "w.safetensors", denoiser, lambda weight: weight.to(kind))
    for read in (network.load, comparators.load):
        with pytest.raises(ValueError, match=rf"got: stem1.0.weight must be torch.float32 .*, got {kind} ") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_weights_of_another_shape_or_name_are_refused(tmp_path, denoiser):
    path = changed_weights(tmp_path / "w.safetensors", denoiser, lambda weight: weight[:3])
    with pytest.raises(
        ValueError, match=r"got: stem1.0.weight must be torch.float32 \(64, .*\), got torch.float32 \(3, "
    ):
        network.load(path)
    tensors, meta = files.read_tensors(denoiser)
    tensors["other"] = tensors.pop("output.bias")
    files.write_tensors(path, tensors, meta)
    with pytest.raises(ValueError, match="got: weights of another network, other is in one only"):
        network.load(path)


@pytest.mark.parametrize("wide", [{"base_width": 100_000}, {"base_width": 10**9}, {"width_factors": [1, 1e5, 2e6]}])
def test_a_network_that_fits_nowhere_takes_no_memory(tmp_path, denoiser, wide, monkeypatch):
    built = []
    whole = network.rebuilt
    monkeypatch.setattr(network, "rebuilt", lambda metadata: built.append(torch.empty(0).is_meta) or whole(metadata))
    path = changed_weights(tmp_path / "w.safetensors", denoiser, **wide)
    with pytest.raises(ValueError, match="must be weights written by a hinas-nb training Run, got: ") as error:
        network.load(path)
    assert built == [True] and "\n" not in str(error.value)


@pytest.mark.parametrize("name", comparators.TRAINABLE)
def test_every_network_can_be_compared_with_its_file_before_it_takes_memory(tmp_path, name):
    task = comparators.TABLE[name].tasks[0]
    scale = comparators.TABLE[name].scales[0] if task == "sr" else None
    width = comparators.TABLE[name].multiple * 16
    net = comparators.build(name, task, scale, width=width)
    path = tmp_path / "w.safetensors"
    files.write_tensors(path, net.state_dict(), net.metadata())
    found = comparators.load(path).state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in net.state_dict().items())
    files.write_tensors(path, net.state_dict(), net.metadata() | {"width": width * 4096})
    with pytest.raises(ValueError, match="must be weights written by a hinas-nb training Run, got: "):
        comparators.load(path)


@pytest.mark.parametrize(
    "said",
    [
        {"sigma": float("inf")},
        {"sigma": float("nan")},
        {"sigma": 10**400},
        {"sigma": -1},
        {"sigma": "50"},
        {"sigma": [50]},
        *({"sigma_range": given} for given in ([None, 5], [5, None], [50], [50, 5], [[5], [6]], "5", {"low": 5})),
        {"residual": 0},
        {"residual": "x"},
        {"scale": float("inf")},
        {"scale": 10**400},
        {"base_width": 10**400},
        {"base_width": float("inf")},
        {"width_factors": [1, float("inf"), 2]},
        {"width_factors": [1, 10**400, 2]},
        {"width_factors": 3},
        {"genotype": None},
        {"task": None},
        {"residual": None, "genotype": {"levels": [0]}},
    ],
)
def test_impossible_numbers_in_a_file_s_metadata_are_one_line(tmp_path, denoiser, said, capsys):
    path = changed_weights(tmp_path / "w.safetensors", denoiser, **said)
    pictures.write(tmp_path / "in.png", picture(1, 8))
    common = ["--task", "denoise", "--sigma", "50", "--weights", str(path)]
    assert __main__.main(["restore", str(tmp_path / "in.png"), str(tmp_path / "out.png"), *common]) == 2
    line = capsys.readouterr().err
    assert line.startswith(f"hinas-nb: {path} must be weights written by a hinas-nb training Run, got: ")
    assert line.count("\n") == 1 and len(line) < 300


def test_a_network_for_a_range_of_sigmas_is_told_the_one_it_meets(tmp_path):
    """With a noise map a picture comes out otherwise at another sigma; far outside of the range it is refused."""
    net = network.DerivedNetwork(random_genotype(2, 2, data.stream(0, "range")), base_width=4, fold=2, noise_map=True)
    net.output.weight.data.mul_(50)  # so that what it is told shows in 8 bits
    files.write_tensors(tmp_path / "w.safetensors", net.state_dict(), net.metadata() | {"sigma_range": [5, 50]})
    Image.fromarray(RANDOM.integers(0, 256, (25, 31, 3), np.uint8)).save(tmp_path / "in.png")
    found = {}
    for sigma in (10.0, 40.0):
        target = tmp_path / f"{sigma}.png"
        said = restored(tmp_path / "in.png", target, "denoise", tmp_path, tmp_path / "w.safetensors", sigma=sigma)
        assert not any("warning" in line for line in said)
        found[sigma] = target.read_bytes()
    assert Image.open(target).size == (31, 25) and found[10.0] != found[40.0]
    with pytest.raises(RestoreError, match="noise must be near sigma 5 to 50, for which the network was trained, got"):
        restored(tmp_path / "in.png", tmp_path / "out.png", "denoise", tmp_path, tmp_path / "w.safetensors", sigma=90.0)
