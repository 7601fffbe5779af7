"""The strict front door, and what happens to results when notebooks succeed, fail or are interrupted."""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from made_up_runs import Here
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, output_from_msg

from hinas_nb import __main__, locations, subprocesses
from hinas_nb.batch import contract, front_door, planning
from hinas_nb.experiment.profile import load_profile
from hinas_nb.files import temporary
from hinas_nb.reporting import pages
from hinas_nb.settings import ConfigError

FIRST = """\
# Tiny

**Question.** Is $x$ 2?

**Answer.** Yes

**Cost.** smoke 1 s,
laptop 1 s

**Reads.** no"""
PARAMETERS = """\
profile: str = "smoke"  # budget
overrides: dict = {}  # of single settings
x: float = 1.0  # mm
steps: int = 3  # number
quick: bool = False  # whether
names: list[str] = []  # of images
label: str = "a"  # on the axis
seed: int = None  # of noise
"""


def notebook(folder: Path, name: str, *cells: str, source: str = PARAMETERS, tags: dict | None = None) -> Path:
    """A notebook of the collection: contract, imports, parameters and these code cells."""
    tags = tags or {}
    code = [
        new_code_cell("import os, sys, json", metadata={"tags": ["imports"]}),
        new_code_cell(source, metadata={"tags": ["parameters"]}),
        *[new_code_cell(cell, metadata={"tags": tags.get(cell, [])}) for cell in cells],
    ]
    path = folder / f"{name}.ipynb"
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=[new_markdown_cell(FIRST), *code]), path)
    return path


def collection(home: Path) -> Path:
    shutil.copytree(locations.PACKAGE.parent / "params", home / "params")
    return home / "notebooks"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty collection in the place of ours."""
    for name in ("HINAS_DATA", "HINAS_RESULTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HINAS_HOME", str(tmp_path))
    collection(tmp_path)
    return tmp_path


# --- the front door: cells


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("x: float | None = 1.0", "the type of x must be made of {types}, got float | None"),
        ("x: Literal['a'] = 'a'", "the type of x must be made of {types}, got Literal['a']"),
        ("x: 'float' = 1.0", "the type of x must be made of {types}, got 'float'"),
        ("x = None", "the type of x must be made of {types}, got NoneType"),
        ("x: float = 1.0\ny: float = 2 * x", "y must be a literal, got 2 * x"),
        ("x: list = [*range(3)]", "x must be a literal, got [*range(3)]"),
        ("x: int = 1.5", "the default of x must be int, got 1.5"),
        ("x: int = True", "the default of x must be int, got True"),
        ("x: list[int] = ['a']", "the default of x must be list[int], got ['a']"),
        ("x: [int] = 1", "the default of x must be [int], got 1"),
        ("x = y = 1", "a parameter must be a line name: type = value, got 'x = y = 1'"),
        ("x, y = 1, 2", "a parameter must be a line name: type = value, got 'x, y = (1, 2)'"),
        ("import os", "a parameter must be a line name: type = value, got 'import os'"),
        ("x: float", "a parameter must be a line name: type = value, got 'x: float'"),
        ("x =", "the parameters cell must be Python, got invalid syntax"),
    ],
)
def test_a_cell_that_is_not_parameters_alone_is_refused(tmp_path, source, line):
    path = notebook(tmp_path, "n", source=f"profile: str = 's'\n{source}")
    assert refusal(path) == "n: " + line.format(types=" ".join(contract._TYPES))


def test_a_notebook_without_its_profile_is_refused(tmp_path):
    assert refusal(notebook(tmp_path, "n", source="x = 1")) == "n: the parameters must hold profile: str, got x"


def test_comments_and_long_values_of_their_own_are_fine(tmp_path):
    source = "# x = 3 is usual\nprofile: str = 's'\nx: list[float] = [\n    1.0,  # first\n    -2.5,\n]\nn = 3"
    found = contract.read(notebook(tmp_path, "n", source=source)).parameters
    assert [(p.name, p.annotation, p.default) for p in found.values()] == [
        ("profile", "str", "s"),
        ("x", "list[float]", [1.0, -2.5]),
        ("n", "int", 3),
    ]


def test_a_notebook_without_its_tag_or_with_two_is_refused(tmp_path):
    path = notebook(tmp_path, "n", "1")
    content = path.read_text()
    path.write_text(content.replace('"parameters"', '"other"'))
    assert refusal(path) == "n must have one cell tagged parameters, got 0"
    path.write_text(content.replace('"imports"', '"parameters"'))
    assert refusal(path) == "n must have one cell tagged parameters, got 2"


def test_other_wrong_notebooks_are_refused(tmp_path):
    assert (
        refusal(notebook(tmp_path, "n", "1", "x = 2"))
        == "n: x must be set in the parameters cell only, got it in cell 5"
    )
    two = notebook(tmp_path, "n", "runs = []", "runs = [1]", tags={"runs = []": ["runs"], "runs = [1]": ["runs"]})
    assert refusal(two) == "n must have at most one cell tagged runs, got more"
    executed = notebook(tmp_path, "n", "1", tags={"1": ["injected-parameters"]})
    assert refusal(executed) == "n.ipynb must be a source notebook, got an executed copy"
    for text in ("no notebook", "[]", "{}"):
        (tmp_path / "n.ipynb").write_text(text)
        assert refusal(tmp_path / "n.ipynb") == "n.ipynb must be a notebook (version 4 JSON), got something else"


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as error:
        contract.read(path)
    return str(error.value)


# --- the front door: values and names


@pytest.mark.parametrize(
    ("assignment", "value"),
    [
        ("x=1e-3", 1e-3),
        ("x=2", 2.0),
        ("steps=-4", -4),
        ("quick=true", True),
        ("quick=False", False),
        ("label=3", "3"),
        ("label=a=b # c", "a=b # c"),
        ("names=['a', 'b']", ["a", "b"]),
        ('overrides={"train.steps": 20}', {"train.steps": 20}),
        ("seed=None", None),
        ("seed=7", 7),
    ],
)
def test_values_get_the_type_of_their_parameter(tmp_path, assignment, value):
    found = contract.read(notebook(tmp_path, "n")).values([assignment], "smoke")
    name = assignment.partition("=")[0]
    assert found == {"profile": "smoke", name: value}
    assert type(found[name]) is type(value)


@pytest.mark.parametrize(
    ("assignments", "line"),
    [
        (["stpes=3"], "n: unknown parameter stpes; did you mean steps?"),
        (
            ["wavelength=3"],
            "n: unknown parameter wavelength; there are profile, overrides, x, steps, quick, names, label, seed",
        ),
        (["x=fast"], "n: x must be float, got 'fast'"),
        (["x=nan"], "n: x must be float, got 'nan'"),
        (["x=050"], "n: x must be float, got '050'"),
        (["x=1:30"], "n: x must be float, got '1:30'"),
        (["x=2001-99-99"], "n: x must be float, got '2001-99-99'"),
        (["x=None"], "n: x must be float, got 'None'"),
        (["steps=1e3"], "n: steps must be int, got '1e3'"),
        (["steps=3.0"], "n: steps must be int, got '3.0'"),
        (["quick=1"], "n: quick must be bool (true or false), got '1'"),
        (["names=a"], "n: names must be list[str] such as [30, 50], got 'a'"),
        (["names=[1]"], "n: names must be list[str] such as [30, 50], got '[1]'"),
        (["names=[a"], "n: names must be list[str] such as [30, 50], got '[a'"),
        (["overrides=[1]"], "n: overrides must be dict such as {\"train.steps\": 200}, got '[1]'"),
        (["overrides={[]: 1}"], "n: overrides must be dict such as {\"train.steps\": 200}, got '{[]: 1}'"),
        (["x"], "a parameter must be given as name=value, got 'x'"),
        (["x=1", "x=1"], "parameter x must be given once, got it twice"),
        (["profile=paper"], "profile must be given as --profile paper, got -p profile=paper"),
    ],
)
def test_a_wrong_parameter_is_refused(tmp_path, assignments, line):
    with pytest.raises(ValueError) as error:
        contract.read(notebook(tmp_path, "n")).values(assignments, "smoke")
    assert str(error.value) == line


def test_notebooks_are_found_by_number_name_and_path(tmp_path):
    paths = [notebook(tmp_path, name) for name in ("01_one", "05_five", "10_ten")]
    assert contract.find(["all"], tmp_path) == paths
    assert contract.find(["10", "5", "05_five", "1"], tmp_path) == [paths[2], paths[1], paths[0]]
    assert contract.find([str(paths[1]), "05_five.ipynb"], tmp_path) == [paths[1]]


def test_a_notebook_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no notebooks in .*; name the collection's folder in HINAS_HOME"):
        contract.find(["all"], tmp_path)
    for name in ("05_five", "05_other", "01_one"):
        notebook(tmp_path, name)
    for name, end in (
        ("05_fvie", "; did you mean 05_five?"),
        ("xyz", "; there are 01_one, 05_five, 05_other"),
        ("7", "; there are 01_one, 05_five, 05_other"),
    ):
        with pytest.raises(ValueError) as error:
            contract.find([name], tmp_path)
        assert str(error.value) == f"no notebook {name!r} in {tmp_path}{end}"
    with pytest.raises(ValueError) as error:
        contract.find(["5"], tmp_path)
    assert str(error.value) == "notebook 5 must fit one file, got 05_five.ipynb 05_other.ipynb"


def test_the_first_cell_is_read(tmp_path):
    assert contract.read(notebook(tmp_path, "n")).promises == {
        "Title": "Tiny",
        "Question": "Is $x$ 2?",
        "Answer": "Yes",
        "Cost": "smoke 1 s, laptop 1 s",
        "Reads": "no",
    }


# --- execution


GOOD = 'folder = os.environ["HINAS_PUBLISH"]'
PUBLISH = """\
for kind in ("figures", "tables"):
    os.makedirs(f"{folder}/{kind}", exist_ok=True)
    open(f"{folder}/{kind}/01_good__{label}.txt", "w").write("published")"""
REPORT = 'print(json.dumps({"x": x, "python": sys.executable, "ipython": os.environ["IPYTHONDIR"]}))'


@pytest.mark.slow
def test_good_and_bad_notebooks(home, capsys, monkeypatch):
    """One fails, its neighbour does not care; a good result survives later failures."""
    monkeypatch.setenv("JUPYTER_PATH", str(home / "foreign"))
    kernel = home / "foreign" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "not ours", "language": "python"}')
    results = home / "results" / "smoke"
    notebook(home / "notebooks", "01_good", GOOD, PUBLISH, REPORT)
    notebook(home / "notebooks", "02_bad", "1", "raise ValueError('the first line\\nand more')", "2")

    assert __main__.main(["run", "all", "--workers", "2", "-p", "x=1"]) == 1  # which it is anyway
    said = capsys.readouterr()
    assert said.err == "02_bad: cell 5: ValueError: the first line\n"
    assert said.out.endswith(f"1 of 2 notebooks executed, results in {results}\n")
    executed = nbformat.read(results / "notebooks" / "01_good.ipynb", 4)
    said = json.loads(executed.cells[6].outputs[0].text)
    assert said["x"] == 1.0 and said["python"] == sys.executable
    assert not Path(said["ipython"]).exists() and "foreign" not in said["ipython"]
    assert executed.metadata.papermill.input_path == "01_good.ipynb"
    assert files(results) == {
        "figures/01_good__a.txt",
        "tables/01_good__a.txt",
        "html/01_good.html",
        "executed/01_good.ipynb",
        "notebooks/01_good.ipynb",
        "notebooks/02_bad.failed.ipynb",
    }
    assert not processes(home)

    before = (results / "notebooks" / "01_good.ipynb").read_bytes()
    notebook(home / "notebooks", "01_good", GOOD, "label = 'b'  # here a parameter is changed", PUBLISH, "1 / 0")
    assert __main__.main(["run", "1"]) == 2  # the front door
    assert capsys.readouterr().err == (
        "hinas-nb: 01_good: label must be set in the parameters cell only, got it in cell 5\n"
    )
    notebook(home / "notebooks", "01_good", GOOD, PUBLISH, "1 / 0")
    assert __main__.main(["run", "1"]) == 1
    assert capsys.readouterr().err == "01_good: cell 6: ZeroDivisionError: division by zero\n"
    assert (results / "notebooks" / "01_good.ipynb").read_bytes() == before
    assert files(results) >= {"notebooks/01_good.failed.ipynb", "figures/01_good__a.txt"}

    notebook(home / "notebooks", "01_good", GOOD, PUBLISH, source=PARAMETERS.replace('"a"', '"b"'))
    assert __main__.main(["run", "1"]) == 0
    assert capsys.readouterr().err == ""
    assert (results / "notebooks" / "01_good.ipynb").read_bytes() != before
    assert {name for name in files(results) if "01_good" in name} == {
        "figures/01_good__b.txt",
        "tables/01_good__b.txt",
        "html/01_good.html",
        "executed/01_good.ipynb",
        "notebooks/01_good.ipynb",
    }


def files(folder: Path) -> set[str]:
    """But for the empty files of locks."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {path.relative_to(folder).as_posix() for path in found}


CHANGED = """\
assert os.environ["HINAS_CHANGED"] == {changed!r}
assert (os.path.basename(os.path.dirname(os.environ["HINAS_PLACE"])) == "variants") == bool({changed!r})
os.makedirs(f"{{folder}}/answers", exist_ok=True)
open(f"{{folder}}/answers/01_good.json", "w").write(json.dumps({{"answer": label, "changed": {changed!r}}}))"""


def test_the_scorecard_starts_when_all_others_have_ended(home, monkeypatch):
    """It gathers what they leave behind."""
    for name in ("00_scorecard", "10_first", "11_second"):
        notebook(home / "notebooks", name)
    events = []
    monkeypatch.setattr(front_door, "Local", Here)
    monkeypatch.setattr(front_door, "_executed", lambda settings, folder, job: events.append(job.notebook.name))
    monkeypatch.setattr(front_door, "_keep", lambda job, *_: events.append("kept"))
    settings = front_door.Settings("smoke", home / "results")
    outcomes = list(front_door.execute(front_door.prepare(["all"], [], settings), settings))
    assert events == ["10_first", "kept", "11_second", "kept", "00_scorecard", "kept"]
    assert [(name, error) for name, _, error in outcomes[-1:]] == [("00_scorecard", None)]


@pytest.mark.slow
def test_other_settings_never_touch_the_results_of_the_profile(home, capsys, tmp_path, monkeypatch):
    """Also where paths hold braces, which papermill would fill in."""
    braces = tmp_path / "{x} {0} {"
    braces.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(braces))
    results = home / "results" / "smoke"
    notebook(home / "notebooks", "01_good", GOOD, CHANGED.format(changed=""), PUBLISH)
    assert __main__.main(["run", "1"]) == 0, capsys.readouterr().err
    before = {name: (results / name).read_bytes() for name in files(results)}
    assert "answers/01_good.json" in before

    changed = "label=b, sr.train.steps=7"
    other = notebook(braces, "01_good", GOOD, CHANGED.format(changed=changed), PUBLISH)
    given = ["-p", "label=b", "-p", 'overrides={"sr.train.steps": 7, "sr.train.validate_every": 7}']
    assert __main__.main(["run", str(other), *given]) == 1
    assert "AssertionError" in capsys.readouterr().err, "all that was changed is named"
    notebook(braces, "01_good", GOOD, CHANGED.format(changed=f"{changed}, sr.train.validate_every=7"), PUBLISH)
    assert __main__.main(["run", str(other), *given]) == 0
    place = results / "variants" / "label-b-sr.train.steps-7-sr.train.validate_every-7-"
    (found,) = (results / "variants").iterdir()
    assert str(found).startswith(str(place)) and capsys.readouterr().out.endswith(f"results in {found}\n")
    assert files(found) == {name.replace("__a", "__b") for name in before}
    assert __main__.main(["report"]) == 0
    assert "sr.train.validate_every=7" in (results / "index.html").read_text()

    notebook(braces, "01_good", GOOD, CHANGED.format(changed="nothing"), PUBLISH)
    assert __main__.main(["run", str(other), "--name", "mine"]) == 0
    assert files(results / "variants" / "mine") == set(before)
    assert {name: (results / name).read_bytes() for name in before} == before
    assert not list(braces.glob("hinas-nb-*"))


def changes(path: Path, *assignments: str, **settings) -> list[tuple[str, str]]:
    jobs = front_door.prepare([str(path)], list(assignments), front_door.Settings("smoke", path.parent, **settings))
    return [(job.variant, job.changed) for job in jobs]


def test_what_is_no_change_makes_no_variant(home):
    path = notebook(home / "notebooks", "01_good")
    assert changes(path) == changes(path, "x=1", "label=a", "overrides={}") == [("", "")]
    same = load_profile("smoke").seeds
    assert changes(path, f'overrides={{"seeds": {list(same)}}}') == [("", "")]
    assert changes(path, variant="mine") == [("mine", "nothing")]


def test_names_of_variants_differ_where_changes_do(home):
    path = notebook(home / "notebooks", "01_good")
    given = [
        "label=a b",
        "label=a-b",
        "label=é",
        "label=" + "long" * 100,
        "x=-1",
        "x=2",
        'names=["a"]',
        "label=../../a",
    ]
    names = [changes(path, one)[0][0] for one in given]
    assert len(set(names)) == len(names) and all(locations.is_name(name) and len(name) < 100 for name in names)
    for wrong in ("", "..", "a/b", "a b", "a" * 250):
        with pytest.raises(ValueError, match="name of a variant must be letters and digits"):
            changes(path, variant=wrong)


def test_another_file_of_a_profiles_name_is_refused(home, tmp_path):
    """Its results would take the place of the profile's."""
    path = notebook(home / "notebooks", "01_good")
    other = tmp_path / "elsewhere" / "smoke.yaml"
    other.parent.mkdir()
    shutil.copyfile(home / "params" / "smoke.yaml", other)
    with pytest.raises(ConfigError, match="name must be another one than that of a profile of the collection"):
        front_door.prepare([str(path)], [], front_door.Settings(str(other), tmp_path))
    assert front_door.prepare([str(path)], [], front_door.Settings(str(home / "params" / "smoke.yaml"), tmp_path))


RUNS = """\
budget = load_profile(profile, overrides)
bare = budget.evaluate("input", protocol=protocol.get("denoise-standard", sigma=50), every=3)
runs = grid(bare, sigma=[25, 50])"""
COLLECT = """\
assert all(Store.of(budget).folder(run.config).done for run in runs)
print(len(collect(runs, Store.of(budget))))"""


@pytest.mark.slow
def test_runs_are_planned_computed_once_and_then_found(home, capsys):
    source = "from hinas_nb import protocol\nfrom hinas_nb.experiment.runs import grid\n"
    source += "from hinas_nb.running.collect import collect\nfrom hinas_nb.running.store import Store\n"
    source += "from hinas_nb.experiment.profile import load_profile\n" + RUNS
    notebook(home / "notebooks", "01_runs", source, COLLECT, tags={source: ["runs"]})
    other = source.replace("[25, 50]", "[50]")
    notebook(home / "notebooks", "02_also", other, COLLECT, tags={other: ["runs"]})
    wrong = "runs = 3"
    notebook(home / "notebooks", "03_wrong", wrong, tags={wrong: ["runs"]})

    assert __main__.main(["plan", "all"]) == 1
    said = capsys.readouterr()
    assert said.err == "03_wrong: cell 4: runs must be a list of Run, got int\n"
    kinds, notebooks, claimed = said.out.split("\n\n")
    assert [line.split()[:3] for line in kinds.splitlines()[1:]] == [["evaluate", "photos", "denoise-standard,"]]
    assert [line.split()[:5] for line in notebooks.splitlines()] == [
        ["notebook", "Runs", "done", "to", "do"],
        ["01_runs", "2", "0", "2", "1"],
        ["02_also", "1", "0", "1", "1"],
        ["03_wrong", "0", "0", "0", "0"],
        ["all", "2", "0", "2", "1"],
        ["All", "Runs", "to", "do,", "one"],
    ]
    assert "last-layer-widest: " in claimed, "the claim of notebook 03"
    assert __main__.main(["plan", "3", "-p", "overrides={'seeds': [7]}"]) == 2, "asked for, and not planned"
    assert capsys.readouterr().err == "hinas-nb: 03_wrong: cell 4: runs must be a list of Run, got int\n"
    assert __main__.main(["run", "1", "--workers", "2"]) == 0
    assert "1 notebook, 2 Runs asked for\n" in capsys.readouterr().out
    executed = nbformat.read(home / "results" / "smoke" / "notebooks" / "01_runs.ipynb", 4)
    assert executed.cells[-1].outputs[0].text == "2\n"
    assert __main__.main(["status"]) == 0
    assert capsys.readouterr().out.startswith("smoke: 2 done\n")
    assert __main__.main(["plan", "1"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["01_runs", "2", "2", "0", "0"], ["all", "2", "2", "0", "0"]]


def test_a_hang_up_is_taken_as_a_termination_unless_it_is_ignored(home, monkeypatch, capsys):
    now = {signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}
    monkeypatch.setattr(signal, "getsignal", now.get)
    monkeypatch.setattr(signal, "signal", now.__setitem__)
    __main__.main(["list"])
    assert now[signal.SIGHUP] == now[signal.SIGTERM] != signal.SIG_DFL
    now[signal.SIGHUP] = signal.SIG_IGN
    __main__.main(["list"])
    assert now[signal.SIGHUP] == signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_it_leaves_nothing_behind(home, number, monkeypatch):
    if number != signal.SIGKILL and signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("whoever runs the tests has this signal ignored, as nohup does, and so do processes started here")
    mark, temporary_ones = home / "started", home / "tmp"
    temporary_ones.mkdir()
    notebook(home / "notebooks", "01_slow", f"open({str(mark)!r}, 'w').close()", "import time; time.sleep(60)")
    command = [sys.executable, "-m", "hinas_nb", "run", "1"]
    environment = os.environ | {"PYTHONPATH": str(locations.PACKAGE.parent), "TMPDIR": str(temporary_ones)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 300
    while not mark.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert mark.exists() and Path(f"/proc/{process.pid}/environ").read_text().count(str(home))
    assert list(temporary_ones.glob("hinas-nb-*"))
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == (-9 if number == signal.SIGKILL else 128 + number)
    assert number != signal.SIGINT or said == "hinas-nb: interrupted; the same command goes on where this one stopped\n"
    assert not (home / "results").exists() or not files(home / "results")
    assert not processes(home)
    if number == signal.SIGKILL:  # the next batch removes what this one could not
        monkeypatch.setattr(tempfile, "tempdir", str(temporary_ones))
        with subprocesses.workplace() as living, subprocesses.workplace() as other:
            assert {*temporary_ones.glob("hinas-nb-*")} == {living, other}
    assert not list(temporary_ones.glob("hinas-nb-*"))


def processes(home: Path) -> list[str]:
    """Processes started for this collection (kernels too) that are still there after a moment's grace."""
    for _ in range(300):
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"HINAS_HOME={home}\0" in (path / "environ").read_text(errors="replace"):
                    found.append((path / "cmdline").read_text().replace("\0", " "))
        found = [one for one in found if "resource_tracker" not in one]  # of this process, and ends with it
        if not found:
            break
        time.sleep(0.1)
    return found


# --- pages


def test_a_page_loads_nothing(tmp_path):
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "m"}, "text/plain": "interactive()"}
    shown = output_from_msg(
        {"header": {"msg_type": "display_data"}, "content": {"data": widget, "metadata": {}, "transient": {}}}
    )
    cells = [
        new_markdown_cell("# T\n\n$x^2$, [a link](https://example.org)"),
        new_code_cell("1", outputs=[shown]),
    ]
    page = pages.html(new_notebook(cells=cells, metadata={"widgets": {"state": {}}}), "n")
    assert "<script src" not in page and "cdnjs" not in page and "unpkg" not in page and "jsdelivr" not in page
    assert 'href="https://example.org"' in page
    assert "interactive()" not in page and "<title>n</title>" in page
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in page


TABLE, PLOT, GRID = (
    new_code_cell(source, metadata={"tags": tags}, outputs=[new_output("display_data", data={kind: "x"})])
    for source, tags, kind in (
        ("a_table", [], "text/html"), ("a_figure", [], "image/svg+xml"), ("the_runs", ["runs"], "text/html"))
)  # fmt: skip


def test_the_executed_copy_begins_with_its_answer_and_folds_what_draws(tmp_path):
    printed = new_code_cell("a_print", outputs=[new_output("stream", text="x")])
    first = new_markdown_cell("**Question.** Is it?\n\n**Answer.** Computed in\nthe end.\n\n**Cost.** 1 s")
    nbformat.write(new_notebook(cells=[first, TABLE, PLOT, GRID, printed]), tmp_path / "executed.ipynb")
    (tmp_path / "answers").mkdir()
    (tmp_path / "answers" / "n.json").write_text(json.dumps({"answer": r"By 0.3 dB, \1 of $\sigma$."}))
    pages.finish(tmp_path / "executed.ipynb", tmp_path / "n.html", "n", tmp_path)
    kept = nbformat.read(tmp_path / "executed.ipynb", 4)
    assert kept.cells[0].source == "**Question.** Is it?\n\n**Answer.** By 0.3 dB, \\1 of $\\sigma$.\n\n**Cost.** 1 s"
    hidden = [cell.metadata.get("jupyter", {}).get("source_hidden", False) for cell in kept.cells]
    assert hidden == [False, True, True, False, False]
    page = BeautifulSoup((tmp_path / "n.html").read_text(), "html.parser")
    assert [fold.pre.get_text().strip() for fold in page.find_all("details")] == ["a_table", "a_figure"]
    assert "Computed in" not in page.get_text() and "the_runs" in page.get_text() and "a_print" in page.get_text()


def test_a_notebook_that_answered_nothing_keeps_its_first_cell(tmp_path):
    nbformat.write(new_notebook(cells=[new_markdown_cell(FIRST)]), tmp_path / "executed.ipynb")
    pages.finish(tmp_path / "executed.ipynb", tmp_path / "n.html", "n", tmp_path)
    assert nbformat.read(tmp_path / "executed.ipynb", 4).cells[0].source == FIRST


REMOTE = "//evil.example/x"


@pytest.mark.parametrize(
    "markup",
    [
        f'<img src="https:{REMOTE}.png">',
        f'<img src="data:image/png;base64,AA" srcset="data:image/png;base64,AA 1x, https:{REMOTE} 2x">',
        '<img src="file:///etc/x.png">',
        f'<picture><source srcset="{REMOTE}.png"></picture>',
        f'<iframe src="{REMOTE}"></iframe><iframe srcdoc="<img src=https:{REMOTE}>"></iframe>',
        f'<video src="{REMOTE}" poster="{REMOTE}"><source src="{REMOTE}"><track src="{REMOTE}"></video>',
        f'<audio src="{REMOTE}"></audio><embed src="{REMOTE}"><object data="{REMOTE}"></object>',
        f'<link rel="stylesheet" href="{REMOTE}.css"><base href="https:{REMOTE}">',
        f'<meta http-equiv="refresh" content="0; url=https:{REMOTE}">',
        f"<style>@import '{REMOTE}'; p {{ background: URL( '{REMOTE}' ) }}</style>",
        f'<p style="background: url({REMOTE})">x</p><table background="{REMOTE}"><tr><td>1</td></tr></table>',
        f'<svg><image href="{REMOTE}"/><image xlink:href="{REMOTE}"/><rect fill="url({REMOTE}#a)"/></svg>',
        f'<svg><use href="{REMOTE}#a"/><style>@import url({REMOTE});</style></svg>',
        f'<input type="image" src="{REMOTE}"><form action="{REMOTE}"><button formaction="{REMOTE}">x</button></form>',
        f"<img src=x onerror=\"fetch('https:{REMOTE}')\"><script>fetch('ht'+'tps:{REMOTE}')</script>",
        f'<a href="#here" ping="{REMOTE}">x</a>',
    ],
)
@pytest.mark.parametrize("place", ["markdown", "output", "svg"])
def test_a_foreign_notebooks_page_loads_nothing(markup, place):
    kind = {"output": "text/html", "svg": "image/svg+xml"}.get(place)
    shown = (
        new_output("display_data", data={kind: f"<svg>{markup}</svg>" if place == "svg" else markup}) if kind else None
    )
    cell = new_code_cell("1", outputs=[shown]) if kind else new_markdown_cell(f"text\n\n{markup}\n\ntext")
    page = pages.html(new_notebook(cells=[cell]), "n")
    assert page.index("default-src 'none'") < page.index("<title>"), "before anything that could load"
    assert "evil.example" not in page and "file:///" not in page and "<script" not in page


def test_pictures_of_markdown_are_not_loaded():
    page = pages.html(
        new_notebook(cells=[new_markdown_cell(f"![a](https:{REMOTE}.png) ![b][c]\n\n[c]: {REMOTE}")]), "n"
    )
    assert "evil.example" not in page and 'alt="a"' in page and 'alt="b"' in page


def test_what_a_page_holds_and_links_to_stays():
    dot = "data:image/png;base64,iVBORw0KGgo="
    text = f'<img src="{dot}"> <p style="background: url({dot})">x</p> <a href="https://example.org/a">a</a> [b](#T)'
    page = pages.html(new_notebook(cells=[new_markdown_cell(text)]), "n")
    assert page.count(dot) == 2 and 'href="https://example.org/a"' in page and 'href="#T"' in page


@pytest.mark.parametrize(
    ("cell", "sets"),
    [
        ("a, (x, b) = 1, (2, 3)", True),
        ("if True:\n    x = 2", True),
        ("for a in []:\n    with open('f') as x:\n        pass", True),
        ("print(x := 2)", True),
        ("x += 1", True),
        ("y = [x for x in range(3)]", False),
        ("def f():\n    x = 2", False),
        ("a.x = a['x'] = x", False),
    ],
)
def test_a_parameter_set_later_is_refused_however_deep(tmp_path, cell, sets):
    path = notebook(tmp_path, "n", cell)
    if sets:
        assert refusal(path) == "n: x must be set in the parameters cell only, got it in cell 4"
    else:
        assert contract.read(path).name == "n"


def test_a_notebook_that_leaves_while_it_is_planned_is_one_that_fails(tmp_path):
    wrong = "runs = exit(3)"
    read = contract.read(notebook(tmp_path, "n", wrong, tags={wrong: ["runs"]}))
    assert planning.plan(planning.Job(read, {})).error == "cell 4: SystemExit: 3"


def test_on_a_full_disk_old_results_stay_together(tmp_path, monkeypatch):
    for number in range(3):
        (tmp_path / f"new{number}").write_text("new")
        (tmp_path / f"old{number}").write_text("old")
    copy = shutil.copyfile

    def full(source, target):
        if source.name == "new2":
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return copy(source, target)

    targets = {tmp_path / f"new{number}": tmp_path / f"old{number}" for number in range(3)}
    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        front_door._place(targets)
    assert [(tmp_path / f"old{number}").read_text() for number in range(3)] == ["old"] * 3
    assert len(list(tmp_path.iterdir())) == 6
    monkeypatch.undo()
    assert len({temporary(tmp_path / "n") for _ in range(9)}) == 9, "two batches never share one"
    front_door._place(targets)
    assert [(tmp_path / f"old{number}").read_text() for number in range(3)] == ["new"] * 3
