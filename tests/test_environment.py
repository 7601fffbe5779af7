"""One environment, said in four places: pyproject.toml, requirements.lock, constraints.txt, environment.yml.

CITATION.cff and CHANGELOG.md name the same version.
"""

import ast
import itertools
import json
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hinas_nb

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
DECLARED = [*CORE, *itertools.chain.from_iterable(EXTRAS.values())]
UNLOCKED = ("classical", "site")  # a licence not everybody can accept; what only `make site` needs
LOCKED = CORE + [requirement for name, lines in EXTRAS.items() if name not in UNLOCKED for requirement in lines]


def lines(name: str) -> list[str]:
    """The lines of a requirements file without comments."""
    text = (ROOT / name).read_text()
    return [line for raw in text.splitlines() if (line := raw.split("#")[0].strip())]


LOCK = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines("requirements.lock")}


def test_the_lock_holds_exact_versions_and_nothing_else():
    for line in lines("requirements.lock"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
    assert len(lines("requirements.lock")) == len(LOCK), "a package stands in the lock twice"


@pytest.mark.parametrize("requirement", LOCKED, ids=lambda requirement: requirement.name)
def test_every_direct_dependency_is_locked_within_its_bound(requirement):
    assert requirement.specifier.contains(LOCK[canonicalize_name(requirement.name)])


def test_bounds_are_lower_bounds():
    for requirement in DECLARED:
        assert [part.operator for part in requirement.specifier] == [">="], requirement


@pytest.mark.parametrize("extra", UNLOCKED)
def test_unlocked_extras_stay_out_of_the_lock(extra):
    assert not {canonicalize_name(requirement.name) for requirement in EXTRAS[extra]} & LOCK.keys()


def test_torchvision_is_guarded_out():
    assert "torchvision<0" in lines("constraints.txt")
    assert "torchvision" not in LOCK
    assert f"torch=={LOCK['torch']}" in lines("constraints.txt")


def test_conda_takes_everything_else_from_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *packages, last = environment["dependencies"]
    assert [package.split("=")[0] for package in packages] == ["python", "graphviz", "pip"]
    assert last == {"pip": ["-c constraints.txt", "-r requirements.lock", "-e ."]}
    assert all(
        "#" in line
        for line in (ROOT / "environment.yml").read_text().splitlines()
        if "- " in line[:6] and not line.endswith("pip:")
    ), "every line says why"


def test_python_versions_agree():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    (locked,) = re.findall(r"resolved on Python (\d+\.\d+)", (ROOT / "requirements.lock").read_text())
    assert f"python={locked}" in environment["dependencies"]
    assert PROJECT["requires-python"] == f">={locked}"
    assert f"({locked.replace('.', ', ')})" in (ROOT / "Makefile").read_text()
    assert sys.version_info >= tuple(map(int, locked.split(".")))


def test_make_installs_the_lock_under_the_constraints():
    assert "install --quiet -c constraints.txt -r requirements.lock" in (ROOT / "Makefile").read_text()


def test_a_dev_container_is_made_as_everywhere():
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())
    program, target, *_ = container["postCreateCommand"].split()
    makefile = (ROOT / "Makefile").read_text()
    assert program == "make" and f"INSTALLED := {target}\n" in makefile.replace("$(BIN)", ".venv")


def test_every_import_is_a_declared_dependency():
    declared = {canonicalize_name(requirement.name) for requirement in DECLARED}
    distributions = packages_distributions()
    local = {path.stem for path in (ROOT / "tests").glob("*.py")} | {"hinas_nb", "tests"}
    undeclared = {
        f"{path} imports {module}"
        for path, module in imports()
        if module not in sys.stdlib_module_names | local
        and not declared & {canonicalize_name(name) for name in distributions.get(module, [module])}
    }
    assert not undeclared, "name it in pyproject.toml"


def imports() -> list[tuple[str, str]]:
    """(file, top-level module) of every import in the package, the tests and the notebooks."""
    sources = [
        (path.relative_to(ROOT).as_posix(), path.read_text())
        for folder in ("hinas_nb", "tests")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        sources += [(path.name, "".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]
    found = set()
    for name, source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {(name, alias.name.split(".")[0]) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add((name, node.module.split(".")[0]))
    return sorted(found)


def test_one_version_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == hinas_nb.__version__
    assert f"## {citation['version']}" in (ROOT / "CHANGELOG.md").read_text()
