"""The exported file is the network: equal, in tiles too, with all that is known of it; what is not is refused."""

import re

import numpy as np
import pytest
import torch
from made_up_runs import noted

from hinas_nb import __main__, __version__, comparators, data, files
from hinas_nb.data import pictures
from hinas_nb.method import network
from hinas_nb.method.genotype import random_genotype
from hinas_nb.scoring import evaluate
from hinas_nb.speed import export

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TASKS = ("denoise", "sr")
SIZES = [(2, 24, 32), (1, 33, 17), (3, 19, 1), (1, 1, 1)]  # batch, height, width; export saw even sizes only


def weights(path, task):
    """A small network with random statistics in its batch norms, as a training Run leaves it."""
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = network.DerivedNetwork(random_genotype(2, 2, generator), task, 4, scale=3 if task == "sr" else None)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    files.write_tensors(path, net.state_dict(), net.metadata() | ({"sigma": 25.0} if task == "denoise" else {}))
    return path


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """{task: (network, ONNX file)}, exported once; tests that ask for it are skipped without the packages."""
    for name in PACKAGES:
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("exported")
    found = {}
    for task in TASKS:
        source, target = weights(folder / f"{task}.safetensors", task), folder / f"{task}.onnx"
        assert __main__.main(["export", str(source), str(target)]) == 0
        found[task] = (network.load(source), target)
    return found


def image(task, batch, height, width):
    return torch.rand(batch, network.CHANNELS[task], height, width, generator=torch.Generator().manual_seed(width))


def error(found, expected):
    """The largest difference, relative to the largest value."""
    assert found.shape == expected.shape and found.dtype == torch.float32
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("task", TASKS)
def test_the_exported_network_equals_the_network(exported, task):
    net, path = exported[task]
    run = export.session(path)
    assert (run.task, run.scale, run.halo) == (task, net.scale, net.halo)
    for size in SIZES:
        x = image(task, *size)
        with torch.no_grad():
            assert error(run(x), net(x)) < 1e-5


@pytest.mark.parametrize("task", TASKS)
def test_in_tiles_it_equals_the_whole(exported, task):
    run = export.session(exported[task][1])
    x = image(task, 1, 47, 30)
    assert error(evaluate.restore(run, x, run.halo, tile=16), run(x)) < 1e-5


def test_one_file_holds_everything_but_paths_of_this_machine(exported):
    import onnx

    for task, (_, path) in exported.items():
        assert {found.name for found in path.parent.glob(f"*{task}*")} == {f"{task}.onnx", f"{task}.safetensors"}
        onnx.checker.check_model(path)
        assert b"/hinas_nb/" not in path.read_bytes() and b"site-packages" not in path.read_bytes()


@pytest.mark.parametrize("task", TASKS)
def test_metadata_comes_back(exported, task):
    net, path = exported[task]
    assert export.session(path).trained == net.metadata() | {
        "sigma": 25.0 if task == "denoise" else None,
        "steps": None,
        "halo": net.halo,
        "licence": "Apache-2.0",
        "hinas_nb": __version__,
    }


def test_a_picture_is_restored_by_either_engine_to_the_same_result(exported, tmp_path, monkeypatch):
    _, path = exported["denoise"]
    pixels = np.random.default_rng(0).integers(0, 2**16, (21, 34, 3)).astype(np.uint16)
    pictures.write(tmp_path / "in.png", pictures.Picture(pixels))
    model, source = path.read_bytes(), path.with_suffix(".safetensors")
    monkeypatch.setattr(export, "_model", lambda net: model)  # spares a third export
    common = ["restore", str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--task", "denoise", "--sigma", "25"]
    found = []
    for engine, given in (("torch", source), ("onnx", source), ("onnx", path)):
        assert __main__.main([*common, "--engine", engine, "--weights", str(given)]) == 0
        found.append(pictures.read(tmp_path / "out.png").pixels.astype(int))
    assert np.abs(found[1] - found[0]).max() <= 2 and np.array_equal(found[1], found[2])


def test_what_hinas_did_not_export_is_refused_in_one_line(exported, tmp_path):
    import onnx

    _, path = exported["sr"]
    foreign = onnx.load(path)
    del foreign.metadata_props[:]
    for content, reason in (
        (foreign.SerializeToString(), "no hinas_nb metadata"),
        (path.read_bytes()[:999], "[ONNXRuntimeError] "),
        (b"", "[ONNXRuntimeError] "),
    ):
        (tmp_path / "x.onnx").write_bytes(content)
        line = f"{tmp_path}/x.onnx must be a file that hinas-nb export wrote, got: {reason}"
        with pytest.raises(ValueError, match=re.escape(line)) as refused:
            export.session(tmp_path / "x.onnx")
        assert "\n" not in str(refused.value)
    for key, value in (("sigma", "1e999"), ("sigma", "1" + "0" * 400), ("halo", "Infinity"), ("halo", "-1"),
                       ("scale", "1e999"), ("task", "deblur")):  # fmt: skip
        model = onnx.load(path)
        (entry,) = (entry for entry in model.metadata_props if entry.key == key)
        entry.value = value
        (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=f"x.onnx must be a file that hinas-nb export wrote, got: .*{key}"):
            export.session(tmp_path / "x.onnx")
    with pytest.raises(OSError, match=r"cannot read .*none.onnx: No such file"):
        export.session(tmp_path / "none.onnx")
    line = "image must be of shape (batch, 3, height, width) for sr, got (1, 1, 8, 8)"
    with pytest.raises(ValueError, match=re.escape(line)):
        export.session(path)(torch.zeros(1, 1, 8, 8))


def test_a_run_is_named_by_the_start_of_its_hash(exported, tmp_path, monkeypatch, capsys):
    model = exported["sr"][1].read_bytes()
    monkeypatch.setattr(export, "_model", lambda net: model if net.task == "sr" else b"")
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path))
    for name, task in (("ab12", "denoise"), ("ac34", "sr")):
        folder = tmp_path / "smoke" / "runs" / "train" / name
        weights(folder / "weights.safetensors", task)
        noted(folder, config={"task": task, "sigma": 25, "scale": 3}, revisions={"search": 1})
    assert __main__.main(["export", "--run", "ac", str(tmp_path / "x.onnx")]) == 0
    network = r"network: Run ac34 \(sr, scale 3, smoke budget, search revision 1 \(now \d\)\)\n"
    assert re.fullmatch(network + r"wrote .*x\.onnx \(\d\.\d MiB\)\n", capsys.readouterr().out)
    assert (tmp_path / "x.onnx").read_bytes() == model


def test_a_failed_write_keeps_what_was_there(exported, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    net, path = exported["denoise"]
    model = path.read_bytes()
    monkeypatch.setattr(export, "_model", lambda net: model)
    monkeypatch.setattr(files.os, "fsync", full)
    (tmp_path / "x.onnx").write_bytes(b"precious")
    with pytest.raises(OSError, match=r"cannot write .*x.onnx: No space left on device"):
        export.to_onnx(net, tmp_path / "x.onnx")
    assert [found.name for found in tmp_path.iterdir()] == ["x.onnx"]
    assert (tmp_path / "x.onnx").read_bytes() == b"precious"


# --- without the extra


@pytest.mark.parametrize("package", PACKAGES)
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, capsys, package):
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == package else name)
    source = str(weights(tmp_path / "weights.safetensors", "denoise"))
    pictures.write(tmp_path / "in.png", pictures.Picture(np.zeros((8, 8, 1), np.uint8)))
    command = ["export", source, str(tmp_path / "out.onnx")]
    if package == "onnxruntime":
        command = ["restore", str(tmp_path / "in.png"), str(tmp_path / "out.png"), "--weights", source]
        command += ["--task", "denoise", "--sigma", "25", "--engine", "onnx"]
    assert __main__.main(command) == 2
    assert capsys.readouterr().err == f"hinas-nb: {package} is not installed: pip install 'hinas_nb[export]'\n"
    assert not list(tmp_path.glob("out.*"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("export", "the following arguments are required: FILE"),
        ("export out.onnx", "export takes WEIGHTS OUTPUT.onnx or --run HASH OUTPUT.onnx"),
        ("export w out.onnx --run a", "export takes WEIGHTS OUTPUT.onnx or --run HASH OUTPUT.onnx"),
        ("export --run zz out.onnx", "run must begin the hash of one finished training Run (none), got 'zz'"),
        ("export w out.pt", "output must be a .onnx file in an existing folder, got out.pt"),
        ("export w none/out.onnx", "output must be a .onnx file in an existing folder, got none/out.onnx"),
        ("export w w/out.onnx", "output must be a .onnx file in an existing folder, got w/out.onnx"),
        ("export other out.onnx", "other must be weights written by a hinas-nb training Run, got: "),
        ("export none out.onnx", "none must be a readable weights file, got: No such file"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path))
    weights(tmp_path / "w", "denoise")
    (tmp_path / "other").write_bytes(b"nothing")
    try:
        code = __main__.main(arguments.split())
    except SystemExit as exit:
        code = exit.code
    said = capsys.readouterr().err
    assert code == 2 and said.startswith(f"hinas-nb: {line}") and said.count("\n") == 1
    assert sorted(found.name for found in tmp_path.iterdir()) == ["other", "w"]


def test_a_comparator_that_is_told_sigma_is_told_it_by_onnx_runtime_too():
    for name in PACKAGES:
        pytest.importorskip(name)
    net = comparators.build("ffdnet", "denoise", width=8).eval()
    image = data.with_noise_map(torch.rand(1, 1, 20, 24), 50)
    with torch.no_grad():
        assert torch.allclose(export.session(net)(image), net(image), atol=1e-5)
