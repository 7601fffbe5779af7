"""The walk-throughs of CONTRIBUTING.md do what they say, and are short; followed as a reader follows them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy
import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
SECTIONS = dict(re.findall(r"^## (.+?)\n\n(.*?)(?=\n\n## |\Z)", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S))
WALKS = ("Add an operation", "Add an ablation")
#: What an operation can change; the rest of the suite knows operations by the networks that hold them.
AFFECTED = "genotype supercell supernet network config decode cost"


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_through_is_short(title):
    assert len(SECTIONS[title].strip().splitlines()) <= 20


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", SECTIONS[title], re.M | re.S)


@pytest.mark.slow
def test_an_operation_is_added_as_described(tmp_path):
    """In a copy of the tree, whose tests of all that knows operations still pass."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "results", "*.egg-info")
    shutil.copytree(ROOT, tmp_path / "tree", ignore=left_out)
    (changes,) = blocks("Add an operation", "diff")
    for name, change in re.findall(r"^=== (.+)\n((?:[ +-].*\n)+)", changes, re.M):
        apply(change, tmp_path / "tree" / name)
    python(tmp_path / "tree", "-c", """if True:
        import torch
        from hinas_nb.experiment.config import Space
        from hinas_nb.figures.style import OPERATION_COLOURS
        from hinas_nb.method.genotype import CANDIDATES, OPERATIONS, Genotype
        from hinas_nb.method.network import DerivedNetwork
        from hinas_nb.method.supernet import Supernet
        assert Space().operations == OPERATIONS and "sep_7" in CANDIDATES and "sep_7" in OPERATION_COLOURS
        assert Supernet(Space(operations=(*OPERATIONS, "sep_7"))).op_weights().shape[-1] == 8
        found = Genotype((0,), [[[["sep_7", 0], ["skip", 1]]]])
        assert DerivedNetwork(found)(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)
    """)  # fmt: skip
    suite = [f"tests/test_{name}.py" for name in AFFECTED.split()]
    python(tmp_path / "tree", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *suite)


def apply(change: str, path: Path) -> None:
    """Make the change of one file; what it says is there must be there, once."""
    lines = change.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name} must hold once: {before}"
    path.write_text(text.replace(before, after))


def python(folder: Path, *arguments: str, **environment: str) -> str:
    """What a Python that finds the package in `folder` first prints; it must end well."""
    environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"} | environment
    result = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_an_ablation_is_added_as_described(tmp_path):
    """As a script, with small pictures and the smallest budget that still searches, trains and scores."""
    learned, scored = pictures(tmp_path / "learned", range(6)), pictures(tmp_path / "scored", range(6, 8))
    common = {"data": learned, "split": "all", "patch": 16, "batch": 2}
    short = {"epochs": 2, "warmup_epochs": 1, "validate_from": 1}
    task = {
        "search": common | short | {"space": {"base_width": 2, "layers": 1}},
        "train": common | {"steps": 2, "validate_every": 2, "base_width": 4},
        "evaluate": {"data": scored, "split": "all"},
    }
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "smoke.yaml").write_text(yaml.safe_dump({"seeds": [0], "denoise": task, "sr": task}))
    script = tmp_path / "ablation.py"
    script.write_text("\n".join([*blocks("Add an ablation", "python"), SHOWN]))
    where = {"HINAS_HOME": str(tmp_path), "HINAS_RESULTS": str(tmp_path / "results")}
    shown = python(ROOT, str(script), **where).splitlines()
    assert shown[-3:] == ["[{'nodes': 3, 'seed': 0}, {'nodes': 4, 'seed': 0}]", "[2, 2]", "[True]"]


SHOWN = """
print([run.labels for run in runs])
print(scores.groupby(["nodes", "seed"]).image.nunique().tolist())
print(gain.notna().tolist())
"""


def pictures(folder: Path, numbers: range) -> str:
    """A data set of smooth pictures of 40x32 pixels, other ones for other numbers."""
    folder.mkdir()
    rows, columns = numpy.mgrid[:40, :32]
    for index in numbers:
        values = 128 + 100 * numpy.sin((rows + index * columns) / (3 + index))
        Image.fromarray(values.astype(numpy.uint8)).save(folder / f"{index}.png")
    return f"folder:{folder}"
