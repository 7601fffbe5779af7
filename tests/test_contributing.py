"""The walk-throughs of CONTRIBUTING.md do what they say, and are short."""

import functools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
from PIL import Image

from hinas_nb import profile, runs

ROOT = Path(__file__).parents[1]
SECTIONS = dict(re.findall(r"^## (.+?)\n\n(.*?)(?=\n\n## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S))
WALKS = ("Add an operation", "Add an ablation")


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_through_is_short(title):
    assert len(SECTIONS[title].strip().splitlines()) <= 20


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[title], re.M | re.S)


def test_an_operation_is_added_as_described(tmp_path):
    shutil.copytree(ROOT / "hinas_nb", tmp_path / "hinas_nb", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    for name in ("reference.py", "test_supercell.py"):
        shutil.copy(ROOT / "tests" / name, tmp_path / "tests")
    (changes,) = blocks("Add an operation", "diff")
    for name, change in re.findall(r"^=== (.+)\n((?:[ +-].*\n)+)", changes, re.M):
        apply(change, tmp_path / name)

    program = """if True:
        import torch
        from hinas_nb.config import Space
        from hinas_nb.figures.style import OPERATION_COLOURS
        from hinas_nb.genotype import OPERATIONS, Genotype
        from hinas_nb.network import DerivedNetwork
        from hinas_nb.supernet import Supernet
        assert "sep_7" not in Space().operations and "sep_7" in OPERATION_COLOURS
        assert Supernet(Space(operations=OPERATIONS)).op_weights().shape[-1] == 8
        found = Genotype((0,), [[[["sep_7", 0], ["skip", 1]]]])
        assert DerivedNetwork(found)(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)
    """
    python(tmp_path, "-c", program)
    python(
        tmp_path,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/test_supercell.py",
        "-k",
        "one_by_one",
    )


def apply(change: str, path: Path) -> None:
    """Make the change of one file; what it says is there must be there, once."""
    lines = change.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} must hold once: {before}"
    path.write_text(text.replace(before, after))


def python(folder: Path, *arguments: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    result = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_ablation_is_added_as_described(tmp_path, monkeypatch):
    """With small pictures and the smallest budget that still searches, trains and scores, in this process."""
    trained, scored = pictures(tmp_path / "trained", 6), pictures(tmp_path / "scored", 2)
    tiny = {"seeds": [0], "denoise.evaluate": {"data": scored, "split": "all"}}
    for kind, budget in {
        "search": {"batch": 2, "epochs": 2, "warmup_epochs": 1, "space": {"base_width": 2, "layers": 1}},
        "train": {"batch": 2, "steps": 2, "validate_every": 2, "base_width": 4},
    }.items():
        tiny[f"denoise.{kind}"] = budget | {"data": trained, "split": "all", "patch": 16}
    tiny["denoise.search.validate_from"] = 1
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path))
    monkeypatch.setattr(profile, "load_profile", functools.partial(profile.load_profile, overrides=tiny))
    monkeypatch.setattr(runs, "collect", functools.partial(runs.collect, in_process=True, progress=False))

    names: dict = {}
    for block in blocks("Add an ablation", "python"):
        exec(block, names)
    assert [run.labels for run in names["runs"]] == [{"nodes": 3, "seed": 0}, {"nodes": 4, "seed": 0}]
    assert names["scores"].groupby(["nodes", "seed"]).image.nunique().tolist() == [2, 2]
    assert names["gain"].notna().all()


def pictures(folder: Path, count: int) -> str:
    """A data set of smooth pictures of 40x32 pixels."""
    folder.mkdir()
    rows, columns = numpy.mgrid[:40, :32]
    for index in range(count):
        values = 128 + 100 * numpy.sin((rows + index * columns) / (3 + index))
        Image.fromarray(values.astype(numpy.uint8)).save(folder / f"{index}.png")
    return f"folder:{folder}"
