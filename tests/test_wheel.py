"""What is built of this package works outside of the checkout: notebooks and budgets come along."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from hinas_nb import __main__, collection, locations

ROOT = Path(__file__).parents[1]
PARTS = ("notebooks", "params")
SHELLS = {"bash": "complete ", "zsh": "#compdef "}


def wanted() -> set[str]:
    paths = (path for part, pattern in collection.PARTS.items() for path in (ROOT / part).rglob(pattern))
    return {path.relative_to(ROOT).as_posix() for path in paths if ".ipynb_checkpoints" not in path.parts}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of a copy, built without the network."""
    pytest.importorskip("setuptools")
    copy, dist = tmp_path_factory.mktemp("copy") / "hinas", tmp_path_factory.mktemp("dist")
    ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("hinas_nb", *PARTS):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    program = "from setuptools import build_meta as b; b.build_wheel({0!r}); b.build_sdist({0!r})".format(str(dist))
    done = subprocess.run([sys.executable, "-c", program], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return dist


def test_wheel_and_sdist_hold_the_collection(built):
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        names = wheel.namelist()
    held = {name.split("/share/hinas_nb/")[1] for name in names if "/share/hinas_nb/" in name}
    assert held == wanted()
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hinas_nb").rglob("*.py")}
    shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / "hinas_nb" / "use" / "weights").glob("*.*")}
    others = {"hinas_nb/py.typed", "hinas_nb/reporting/card.j2", "hinas_nb/data/pinned.json"}
    assert modules | shipped | others <= set(names)
    with tarfile.open(next(built.glob("*.tar.gz"))) as sdist:
        inside = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert modules | shipped | others | wanted() <= inside


def test_an_installed_wheel_lays_out_the_collection(built, tmp_path):
    """Installed as an installer does: the package in one folder, `share` in the environment's; run from elsewhere."""
    site = tmp_path / "env" / "lib" / "site-packages"
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    (data,) = site.glob("hinas_nb-*.data")
    shutil.move(data / "data" / "share", tmp_path / "env" / "share")
    record = next(site.glob("hinas_nb-*.dist-info")) / "RECORD"
    record.write_text(record.read_text().replace(f"{data.name}/data/share", "../../share"))
    environment = os.environ | {"PYTHONPATH": str(site)}
    for name in ("HINAS_HOME", "HINAS_RESULTS"):
        environment.pop(name, None)

    def run(*arguments: str, folder: Path = tmp_path) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "hinas_nb", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    assert run("list").stdout.startswith("00  scorecard")
    assert run("start", "mine").returncode == 0
    mine = tmp_path / "mine"
    assert {path.relative_to(mine).as_posix() for path in mine.rglob("*") if path.is_file()} == wanted()
    where = run("status", folder=mine / "notebooks")  # as a kernel in JupyterLab: a folder below
    assert where.stderr == f"hinas-nb: no Runs in {mine}/results; hinas-nb run all --profile smoke makes some\n"


def test_what_was_changed_in_a_laid_out_collection_stays(tmp_path):
    collection.lay_out(tmp_path / "mine")
    changed = tmp_path / "mine" / "params" / "smoke.yaml"
    changed.write_text("my own")
    (tmp_path / "mine" / "notebooks" / "00_scorecard.ipynb").unlink()
    assert collection.lay_out(tmp_path / "mine") == [
        f"kept as it was: {changed}",
        f"1 files in {tmp_path / 'mine'}; there: hinas-nb list, hinas-nb run all, jupyter lab notebooks",
    ]
    assert changed.read_text() == "my own"


def test_the_collection_upwards_of_the_working_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.delenv("HINAS_HOME", raising=False)
    monkeypatch.setattr(locations, "PACKAGE", tmp_path / "site-packages" / "hinas_nb")
    for part in PARTS:
        (tmp_path / "mine" / part / "deeper").mkdir(parents=True)
    for inside in ("mine", "mine/notebooks/deeper"):
        monkeypatch.chdir(tmp_path / inside)
        assert locations.home() == tmp_path / "mine"
    monkeypatch.chdir(tmp_path)
    assert locations.home() == tmp_path


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_get_a_script_that_completes_commands(shell, capsys):
    with pytest.raises(SystemExit) as left:
        __main__.main(["--print-completion", shell])
    said = capsys.readouterr().out
    assert not left.value.code and SHELLS[shell] in said and "restore" in said and "--compare" in said
