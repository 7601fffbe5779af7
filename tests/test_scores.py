"""Restored pictures of anybody are scored as evaluation Runs score; the protocol is shown as values."""

import numpy as np
import pandas
import pytest
import torch
from PIL import Image

from hinas_nb import __main__, data
from hinas_nb.scoring import evaluate, metrics, protocol


def score(*arguments):
    return __main__.main(["score", *map(str, arguments)])


def save(path, image):
    """A float image (1, channel, height, width) as an 8-bit file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = (protocol.round8(image)[0] * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(path)


@pytest.fixture(scope="module")
def photos():
    return data.load("photos", "test")


@pytest.mark.parametrize("name", ["denoise-standard", "sr-standard"])
def test_files_get_the_numbers_of_an_evaluation(tmp_path, photos, name):
    """What `evaluate` scores, written as files, gets its PSNR and SSIM; under the standard, which rounds to 8 bits."""
    kind = protocol.get(name, scale=3 if name.startswith("sr") else None)
    scored = list(evaluate.evaluate(evaluate.baseline(kind), photos.subset([0, 1]), kind))
    for one, image in zip(scored, photos.images):
        save(tmp_path / "ours" / "in" / f"{one.image}.png", one.restored)
        save(tmp_path / "true" / "in" / f"{one.image}.tif", image[None].float() / 255)
    more = ["--scale", 3] if name.startswith("sr") else []
    assert score(tmp_path / "ours", tmp_path / "true", "--protocol", name, *more, "--csv", tmp_path / "x.csv") == 0
    table = pandas.read_csv(tmp_path / "x.csv")
    assert list(table["image"]) == [f"in/{one.image}" for one in scored]
    assert np.allclose(table["psnr"], [one.psnr for one in scored], atol=1e-6)
    assert np.allclose(table["ssim"], [one.ssim for one in scored], atol=1e-6)
    assert table["protocol"][0].startswith(f"{name}: ")


def test_the_released_protocols_score_otherwise(tmp_path, photos, capsys):
    """SSIM zero-padded and, for sr, no border and red and blue swapped: the numbers of `metrics` on the 8-bit files."""
    truth = photos.images[1][None].float() / 255  # in colour
    noisy = protocol.round8(data.add_noise(truth, 25, data.stream(0, "noise")))
    save(tmp_path / "ours.png", noisy)
    save(tmp_path / "true.png", truth)
    kind = protocol.get("sr-released", scale=2)
    wanted = metrics.psnr(*(data.modcrop(image, 2) for image in (noisy, truth)), kind).item()
    assert score(tmp_path / "ours.png", tmp_path / "true.png", "--protocol", "sr-released", "--scale", 2) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "sr-released: scale=2 colour=y-swapped border=0 round_output=False ssim=zero-padded"
    assert said[1].split() == ["image", "PSNR", "(dB)", "SSIM"] and said[2].split()[1] == f"{wanted:.2f}"
    assert score(tmp_path / "ours.png", tmp_path / "true.png", "--protocol", "denoise-released") == 0
    assert capsys.readouterr().out.startswith("denoise-released: grey=pillow border=0 round_output=False ssim=zero-")


def test_pictures_without_their_pair_or_of_another_size_are_named_and_the_rest_scored(tmp_path, capsys):
    image = torch.rand(1, 1, 30, 30)
    for name in ("a", "b", "c"):
        save(tmp_path / "ours" / f"{name}.png", image)
    for name, size in (("a", 30), ("b", 29), ("d", 30)):
        save(tmp_path / "true" / f"{name}.png", image[..., :size])
    assert score(tmp_path / "ours", tmp_path / "true", "--protocol", "denoise-standard") == 2
    said = capsys.readouterr()
    assert [line.split() for line in said.out.splitlines()[2:]] == [["a", "inf", "1.0000"], ["mean", "inf", "1.0000"]]
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["not scored"] * 3
    for part in ("c.png has no picture of its name in", "d.png has no picture of its name in", "b: estimate must have"):
        assert part in said.err


def test_where_nothing_could_be_scored_there_is_no_mean(tmp_path, capsys):
    for name, width in (("ours.png", 30), ("true.png", 29)):
        save(tmp_path / name, torch.rand(1, 1, 30, width))
    assert score(tmp_path / "ours.png", tmp_path / "true.png", "--protocol", "denoise-standard") == 2
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 2 and said.err.startswith("not scored: ours: estimate must have")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("a.png a.png --protocol sr-standard", "scale must be 2, 3 or 4 for task sr, got None"),
        ("a.png a.png --protocol denoise-standard --scale 2", "scale belongs to task sr, got 2 for denoise"),
        ("a.png . --protocol denoise-standard", "restored and true must be two pictures or two folders, got the "),
        ("empty . --protocol denoise-standard", "restored and true pictures must have equal names, got none in empty"),
        ("a.png a.png --protocol denoise-standard --csv a.png", "csv must be a file named .csv, got a.png"),
        ("a.png a.png --protocol loud", "argument --protocol: invalid choice: 'loud' (choose from "),
        (". . --protocol denoise-standard", "pictures must have different names without their ending, got two like "),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, monkeypatch, capsys, arguments, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("a.png", "a.jpg") if arguments.startswith(". ") else ("a.png",):
        Image.new("L", (20, 20)).save(tmp_path / name)
    try:
        assert score(*arguments.split()) == 2
    except SystemExit as left:
        assert left.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"hinas-nb: {line}") and said.count("\n") == 1


def test_what_restore_wrote_beside_a_name_that_is_only_read_is_paired_and_hidden_files_are_not(tmp_path, capsys):
    for folder, names in (("ours", ["a.pgm.png", "b.png"]), ("true", ["a.pgm", "b.png"])):
        (tmp_path / folder).mkdir()
        for name in names:
            Image.fromarray(np.full((16, 16), 90, np.uint8)).save(tmp_path / folder / name)
    (tmp_path / "true" / "._b.png").write_bytes(b"of a Mac")
    assert score(tmp_path / "ours", tmp_path / "true", "--protocol", "denoise-standard") == 0
    said = capsys.readouterr()
    assert said.err == "" and [line.split()[0] for line in said.out.splitlines()[2:]] == ["a", "b", "mean"]
