"""`hinas-nb repeat`: a Run once more, apart from the first; equal bits here, and what differs is told."""

import json
import shutil

import numpy as np
import pytest
import torch
from made_up_runs import Here, execute_here, rewritten

from hinas_nb.data import write_image
from hinas_nb.experiment.config import EvaluateConfig, SearchConfig, TrainConfig
from hinas_nb.experiment.runs import Run
from hinas_nb.method.genotype import Genotype, random_in
from hinas_nb.reporting.repeat import repeat
from hinas_nb.running import pool
from hinas_nb.running.store import Store
from hinas_nb.scoring.protocol import get
from hinas_nb.settings import ConfigError

GENOTYPE = Genotype((0,), (((("conv_3", 0), ("skip", 1)),),))


@pytest.fixture
def evaluation(tmp_path):
    """The evaluation of a training of two steps, on small random images."""
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        for index in range(3):
            pixels = rng.integers(0, 256, (24, 24), dtype=np.uint8)
            write_image(tmp_path / name / f"{index}.png", pixels)
    small = {"base_width": 2, "patch": 16, "batch": 2, "steps": 2, "validate_every": 1, "validation_fraction": 0.3}
    training = TrainConfig(genotype=GENOTYPE, data=f"folder:{tmp_path / 'train'}", split="all", **small)
    tested = {"data": f"folder:{tmp_path / 'test'}", "split": "all"}
    return EvaluateConfig(model=training, protocol=get("denoise-standard"), **tested)


@pytest.fixture
def stored(tmp_path, monkeypatch, evaluation):
    """A training and its evaluation, done; repeating happens in this process."""
    store = Store(tmp_path / "smoke" / "runs")
    assert not execute_here([Run(evaluation)], store)
    monkeypatch.setattr(pool, "Local", Here)
    return store


@pytest.mark.parametrize("kind", ["train", "evaluate"])
def test_the_same_machine_comes_to_the_same_bits(stored, tmp_path, evaluation, kind):
    folder = stored.folder(evaluation if kind == "evaluate" else evaluation.model)
    lines, as_before = repeat(folder.hash[:10], tmp_path)
    assert as_before and lines[0].startswith(f"{folder.path.parent.name} {folder.hash[:16]}")
    assert lines[-1] == "  as it must be: all records are equal to the last bit"
    again = tmp_path / "smoke" / "repeated" / folder.path.name / folder.path.parent.name / folder.path.name
    assert (again / "run.json").is_file() and again.resolve() == again, "computed, not linked"
    repeat(stored.folder(evaluation.model).hash, tmp_path)
    assert repeat(folder.hash, tmp_path)[1], "whatever else was repeated before"


def test_it_is_computed_once(stored, tmp_path, evaluation):
    said = []
    first, _ = repeat(stored.folder(evaluation).hash, tmp_path, say=said.append)
    assert len(said) == 1 and said[0].startswith("computing once more what took 0.0 min on 1 thread of ")
    name = stored.folder(evaluation).path.name
    made = tmp_path / "smoke" / "repeated" / name / "evaluate" / name / "run.json"
    before = made.stat().st_mtime_ns
    assert repeat(stored.folder(evaluation).hash, tmp_path, say=said.append)[0] == first and len(said) == 1
    assert made.stat().st_mtime_ns == before


def test_other_numbers_are_told_and_excused_on_another_processor_where_they_are_near(stored, tmp_path, evaluation):
    folder = stored.folder(evaluation)
    rows = [row | {"psnr": row["psnr"] + 1} for row in folder.records()]
    (folder.path / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = json.loads((folder.path / "run.json").read_text())["summary"]
    rewritten(folder.path, summary=summary | {"psnr": summary["psnr"] - 0.5})
    lines, as_before = repeat(folder.hash, tmp_path)
    assert not as_before and lines[-1].startswith("  NOT as it must be: records differ from number 1 on")
    assert any(line.startswith("  psnr: ") and line.endswith("+0.5 dB") for line in lines)
    for moved, excused in ((2e-3, False), (5e-4, True)):
        rewritten(folder.path, summary=summary | {"psnr": summary["psnr"] - moved}, machine={"processor": "A CPU"})
        lines, as_before = repeat(folder.hash, tmp_path)
        assert (
            as_before == excused
            and "with another machine means may move, psnr by 0.001 and ssim by 0.00001" in lines[-1]
            and "A CPU" in lines[1]
        )
        assert lines[-1].startswith("  as it must be" if excused else "  NOT as it must be")


def test_searches_are_compared_by_what_they_found(stored, tmp_path):
    search = SearchConfig(data="photos", split="train", validation="validation")
    first, other = stored.folder(search), Store(tmp_path / "smoke" / "repeated" / stored.folder(search).path.name)
    found = random_in(search.space, torch.Generator().manual_seed(0))
    cell, *cells = found.cells
    (operation, source), other_input = cell[0]
    node = (("skip" if operation == "dil_5" else "dil_5", source), other_input)
    changed = Genotype(found.levels, ((node, *cell[1:]), *cells))
    for folder, genotype in ((first, found), (other.folder(search), changed)):
        with folder.lock():
            folder.begin("cpu", 1)
            folder.write_text("genotype.json", genotype.to_json())
            folder.append_records([{"epoch": 1}])
            folder.finish({"validation_psnr": 20.0})
    lines, as_before = repeat(first.hash, tmp_path)
    assert as_before and "  inputs and width levels of the genotype that differ: 1" in lines


@pytest.mark.parametrize("word", ["", "zebra", "*", "../..", "0" * 64])
def test_what_is_not_one_run_is_refused(stored, tmp_path, word):
    with pytest.raises(ValueError, match="hash must begin that of one finished Run") as error:
        repeat(word, tmp_path)
    assert "\n" not in str(error.value)


def test_what_cannot_be_repeated_says_why(stored, tmp_path, evaluation):
    folder = stored.folder(evaluation).path
    stored.folder(evaluation.model).path.joinpath("weights.safetensors").unlink()
    with pytest.raises(ValueError, match=r"weights\.safetensors"):
        repeat(folder.name, tmp_path)
    rewritten(folder, config={"model": "unknown"})
    with pytest.raises(ConfigError):
        repeat(folder.name, tmp_path)
    timing = folder.parents[1] / "timing" / ("f" * 16)
    timing.mkdir(parents=True)
    timing.joinpath("run.json").write_text((folder / "run.json").read_text())
    rewritten(timing, hash="f" * 64)
    with pytest.raises(ValueError, match="seconds are never equal"):
        repeat("f" * 16, tmp_path)


def test_a_run_of_before_is_refused(stored, tmp_path, evaluation):
    folder = stored.folder(evaluation).path
    config = json.loads((folder / "run.json").read_text())["config"]
    rewritten(folder, config=config | {"every": 4}, revisions={"train": 0})
    with pytest.raises(ValueError, match=r"that this code still makes, got one of before \(train revision 0"):
        repeat(folder.name, tmp_path)


def test_results_may_be_moved(stored, tmp_path, evaluation):
    """What a repeated Run rests on is linked, and links lead nowhere then."""
    folder = stored.folder(evaluation)
    repeat(folder.hash, tmp_path)
    (tmp_path / "smoke").rename(tmp_path / "laptop")
    again = tmp_path / "laptop" / "repeated" / folder.path.name
    shutil.rmtree(again / "evaluate")
    assert repeat(folder.hash, tmp_path)[1]
