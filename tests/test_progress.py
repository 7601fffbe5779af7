"""Long work says how far it is, what it will cost, and asks before hours."""

import json
from types import SimpleNamespace

import pytest

from hinas_nb import __main__
from hinas_nb.batch import forecast, front_door
from hinas_nb.running.progress import progress


def run_folder(root, kind: str, config: dict, *records: dict):
    folder = root / kind / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "start.json").write_text(json.dumps({"config": config}))
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.mark.parametrize(
    ("kind", "config", "records", "told"),
    [
        ("search", {"epochs": 20}, [{"epoch": 1}, {"epoch": 2, "seconds": 10}], "epoch 2 of 20, 3 min left"),
        ("train", {"steps": 3000}, [{"step": 250, "seconds": 60}], "step 250 of 3,000, 11 min left"),
        ("timing", {"rounds": 3}, [{"round": 1}], "round 1 of 3, ? left"),
        ("evaluate", {}, [{"image": "a"}, {"image": "b"}], "2 images"),
        ("search", {"epochs": 20}, [], ""),
        ("search", {}, [{"epoch": 2, "seconds": 10}], ""),
        ("train", {"steps": 9}, [{"step": 0, "seconds": 1}], ""),
    ],
)  # fmt: skip
def test_how_far_a_run_is(tmp_path, kind, config, records, told):
    """180 s by the last record: 18 epochs of 10 s; 660 s: 11 intervals of 60 s."""
    assert progress(run_folder(tmp_path, kind, config, *records)) == told


def test_what_has_not_begun_says_nothing(tmp_path):
    assert progress(tmp_path / "search" / "0") == ""


@pytest.fixture
def hours(monkeypatch, tmp_path):
    """A batch of four hours that only notes that it was begun."""
    begun = []
    job = SimpleNamespace(notebook=SimpleNamespace(name="03_search"))
    settings = SimpleNamespace(folder=tmp_path, place=lambda job: tmp_path)
    monkeypatch.setattr(__main__, "_prepared", lambda options: (settings, [job]))
    for name, does in {"plan": lambda *_: [], "check_data": lambda *_: [], "execute": lambda *_: []}.items():
        monkeypatch.setattr(front_door, name, does)
    monkeypatch.setattr(front_door, "compute", lambda *_: begun.append(True) or ([], []))
    monkeypatch.setattr(forecast, "until_done", lambda *_: ("All Runs to do: 4.0 h", 4 * 3600.0))
    return begun


def test_hours_are_begun_only_when_asked_for(hours, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: False))
    assert __main__.main(["run", "03"]) == 2 and not hours
    said = capsys.readouterr()
    assert "All Runs to do: 4.0 h" in said.out
    assert said.err == "hinas-nb: this takes hours (4.0 h): --yes begins it\n"
    assert __main__.main(["run", "03", "--yes"]) == 0 and hours


def test_what_needs_a_failed_run_is_not_executed(hours, capsys, monkeypatch):
    executed = []
    monkeypatch.setattr(front_door, "execute", lambda jobs, _: executed.extend(jobs) or [])
    monkeypatch.setattr(front_door, "compute", lambda *_: (["search denoise seed 0: no"], ["03_search"]))
    assert __main__.main(["run", "03", "--yes"]) == 1 and not executed
    assert "03_search: not executed: a Run that it needs failed\n" in capsys.readouterr().err


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("", 2), ("no", 2)])
def test_at_a_terminal_it_asks(hours, monkeypatch, answer, code):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr("builtins.input", lambda asked: answer)
    assert __main__.main(["run", "03"]) == code and bool(hours) == (code == 0)
