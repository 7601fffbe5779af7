"""The command line: wrong input is one line on stderr and exit code 2; what needs no torch imports none."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_runs import noted
from PIL import Image

from hinas_nb import __main__, __version__, locations
from hinas_nb.batch import front_door
from hinas_nb.experiment.config import EvaluateConfig
from hinas_nb.experiment.runs import Run
from hinas_nb.scoring import protocol


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """No results, no data, and our own notebooks and budgets."""
    monkeypatch.setenv("HINAS_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("HINAS_DATA", raising=False)
    monkeypatch.delenv("HINAS_HOME", raising=False)
    monkeypatch.chdir(tmp_path)


def code(*arguments: str) -> int:
    """Exit code; argparse leaves by SystemExit."""
    try:
        return __main__.main(list(arguments))
    except SystemExit as exit:
        return exit.code


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("bake", "argument COMMAND: invalid choice: 'bake' (choose from "),
        ("list extra", "unrecognized arguments: extra"),
        ("run", "the following arguments are required: NOTEBOOK"),
        ("run nothing_like_it", "no notebook 'nothing_like_it' in "),
        ("run all --workers 0", "argument --workers: must be a whole number of at least 1, got '0'"),
        ("run all --workers two", "argument --workers: must be a whole number of at least 1, got 'two'"),
        ("run all --engine slurm", "argument --engine: invalid choice: 'slurm' (choose from "),
        ("run all --frobnicate", "unrecognized arguments: --frobnicate"),
        ("status", "no Runs in {tmp}/results; hinas-nb run all --profile smoke makes some"),
        (
            "report",
            "{tmp}/results/smoke must hold results to report, got none: hinas-nb run all --profile smoke",
        ),
        ("data", "the following arguments are required: fetch|check"),
        ("data fetch Nope", "data set to fetch must be one of "),
        ("data check Nope", "data set must be one of photos, BSDS500, "),
        ("restore in.png", "the following arguments are required: OUTPUT"),
        ("restore in.png out.png --workers 0", "argument --workers: must be a whole number of at least 1, got '0'"),
        ("restore in.png out.png --task blur", "argument --task: invalid choice: 'blur' (choose from "),
        ("restore in.png out.png --task sr --scale 5", "argument --scale: invalid choice: 5 (choose from "),
        (
            "restore in.png out.png --task denoise --sigma loud",
            "argument --sigma: invalid float value: 'loud'",
        ),
        (["restore", "", "out.png"], "argument INPUT: must be a path, got ''"),
        ("restore none.png out.png --task denoise", "cannot read none.png: No such file or directory"),
        ("restore in.png in.png --task denoise", "output must be another file than the input, got in.png"),
        ("restore in.png out.png --task sr", "task sr needs --scale (2, 3 or 4), --weights or --run"),
        (
            "restore in.png out.png --sigma 50",
            f"denoise is not shipped with hinas_nb {__version__}, name a network by weights or run",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, capsys, monkeypatch, arguments, line):
    monkeypatch.setattr("hinas_nb.use.networks.SHIPPED", tmp_path)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "in.png")
    assert code(*(arguments.split() if isinstance(arguments, str) else arguments)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("hinas-nb: " + line.format(tmp=tmp_path))
    assert said.err.count("\n") == 1 and said.err.endswith("\n")


def test_a_profile_nobody_wrote_is_refused_before_anything_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "smoke.yaml").write_text("typo: 3")
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "profile = 'smoke'"}
    (tmp_path / "01.ipynb").write_text(json.dumps({"cells": [cell]}))
    assert code("run", "01.ipynb", "--profile", "lavish") == 2
    assert capsys.readouterr().err == "hinas-nb: profile must be one of smoke or a YAML file, got 'lavish'\n"
    assert code("run", "01.ipynb") == 2
    assert "unknown setting typo" in capsys.readouterr().err
    assert code("plan", "01.ipynb", "-p", "overrides={}") == 2
    assert capsys.readouterr().err == "hinas-nb: 01: unknown parameter overrides; there are profile\n"


def test_data_and_results_may_be_named_before_or_after_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HINAS_DATA", "nowhere")  # put back afterwards
    for arguments in (["--data", "d", "data", "check", "photos"], ["data", "check", "photos", "--data", "d"]):
        assert code(*arguments) == 0
        assert os.environ["HINAS_DATA"] == str(tmp_path / "d")
        first = capsys.readouterr().out.splitlines()[0]
        assert first.split()[:4] == ["photos", "train", "present", "8"]
    assert code("status", "--results", "r") == 2
    assert capsys.readouterr().err.startswith(f"hinas-nb: no Runs in {tmp_path / 'r'};")


def test_interrupted_it_says_so(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "_status", interrupted)
    assert code("status") == 130
    assert capsys.readouterr().err == "hinas-nb: interrupted; the same command goes on where this one stopped\n"


def test_module_and_help_work_without_torch():
    program = "import sys; from hinas_nb.__main__ import main; print(main(['list'])); print('torch' in sys.modules)"
    environment = os.environ | {
        "PYTHONPATH": str(locations.PACKAGE.parent),
        "HINAS_HOME": str(locations.PACKAGE.parent),
    }

    def output(*command: str) -> str:
        done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
        return done.stdout

    assert output("-c", program).endswith("False\n")
    assert output("-m", "hinas_nb", "--version") == f"hinas-nb {__version__}\n"
    assert "restore" in output("-m", "hinas_nb", "--help")


def test_status_of_a_run_without_cost_and_of_a_profile_without_runs(tmp_path, capsys):
    for name in ("done", "other"):
        folder = tmp_path / "results" / "mine" / "runs" / "search" / name
        noted(folder, seconds=3.5)
    (folder / "run.json").unlink()
    assert code("status", "--profile", "params/mine.yaml") == 0
    said = capsys.readouterr()
    assert said.out.startswith("mine: 1 done, 1 interrupted\n") and "nan" not in said.out.lower() and said.err == ""
    for wanted in ("nope", "/absolute/nope", "../nope"):
        assert code("status", "--profile", wanted) == 2
        line = f"hinas-nb: no Runs in {tmp_path}/results/nope; hinas-nb run all --profile nope makes some\n"
        assert capsys.readouterr().err == line


def test_results_that_cannot_be_written_are_refused_before_anything_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    shutil.copytree(locations.PACKAGE.parent / "params", tmp_path / "params")
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "profile = 'smoke'"}
    (tmp_path / "01.ipynb").write_text(json.dumps({"cells": [cell]}))
    (tmp_path / "results").write_text("a file")
    assert code("run", "01.ipynb") == 2
    line = f"cannot write {tmp_path}/results/smoke: Not a directory; what was there before is untouched"
    assert capsys.readouterr().err == f"hinas-nb: {line}\n"


@pytest.mark.parametrize("command", ["run", "plan"])
def test_missing_data_is_one_line_before_anything_starts(tmp_path, capsys, monkeypatch, command):
    """The budget names BSDS500, which is not here; nothing is computed, executed or made."""
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    shutil.copytree(locations.PACKAGE.parent / "params", tmp_path / "params")
    sources = {
        "imports": "from hinas_nb.experiment.profile import load_profile\nfrom hinas_nb.experiment.runs import Run",
        "parameters": "profile = 'smoke'",
        "runs": "budget = load_profile(profile)\n"
        "trained = [budget.train(task, budget.search(task)) for task in ('denoise', 'sr')]\n"
        "runs = [Run(budget.evaluate(model)) for model in trained]",
    }
    cells = [{"cell_type": "code", "metadata": {"tags": [tag]}, "source": text} for tag, text in sources.items()]
    (tmp_path / "01.ipynb").write_text(json.dumps({"cells": cells}))
    assert code(command, "01.ipynb", "--profile", "paper") == 2
    said = capsys.readouterr()
    line = f"BSDS500 train must be a folder of images at {tmp_path}/data/BSDS500/train, got none there: set HINAS_DATA"
    assert said.err.startswith(f"hinas-nb: {line}") and said.err.count("\n") == 1 and said.out == ""
    assert command == "plan" or said.err.endswith("; also missing: DIV2K, B100\n")
    assert not (tmp_path / "results").exists()


def test_a_set_that_lacks_images_is_told_of_before_anything_starts(tmp_path):
    folder = tmp_path / "Set5" / "HR" / "x2"
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(folder / "img_001.png")
    rule = protocol.get("sr-standard", scale=2)
    plan = SimpleNamespace(runs=[Run(EvaluateConfig(model="input", data="Set5", split="test", protocol=rule))])
    settings = front_door.Settings("smoke", tmp_path / "results", tmp_path)
    told = front_door.check_data([plan], settings)
    assert told == ["Set5 test has 1 of its 5 images: results speak of these alone"]


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError()])
def test_input_beyond_all_measure_is_one_line(monkeypatch, capsys, error):
    def drown(options):
        raise error

    monkeypatch.setattr(__main__, "_status", drown)
    assert code("status") == 2
    line = f"input must be nested less deeply and fit in memory, got {type(error).__name__}"
    assert capsys.readouterr().err == f"hinas-nb: {line}\n"


def test_an_unknown_home_and_an_ascii_terminal(tmp_path, monkeypatch):
    environment = os.environ | {"PYTHONPATH": str(locations.PACKAGE.parent), "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "hinas_nb", "data", "check", "Set5", "--data", "~nobody_we_know/ü"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"no images under {tmp_path}/~nobody_we_know/\\xfc" in done.stdout
