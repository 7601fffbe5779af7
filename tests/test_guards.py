"""Rules of the collection that no single module can keep: who may import what, how a notebook reads."""

import ast
import importlib
import json
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from hinas_nb import locations
from hinas_nb.batch import contract
from hinas_nb.experiment.profile import load_profile

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hinas_nb"
MODULES = sorted(PACKAGE.rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: From the ground up: a wing imports only itself and wings to its left. Files beside the wings come between `method`
#: and `data`; the documented names and the command line, on the roof, import anything.
WINGS = (
    "method", "", "data", "scoring", "figures", "comparators", "experiment", "speed", "training", "running", "use",
    "evidence", "reporting", "batch",
)  # fmt: skip
ROOF = {"__init__", "__main__", "config", "decode", "genotype", "metrics", "network", "protocol", "supernet"}
MODEL_LIBRARIES = {"torch", "jaxtyping", "safetensors"}  # safetensors: how torch's weights are kept on disk
BINARY = {".png", ".safetensors"}

notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
modules = pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())


def imported(path: Path) -> set[str]:
    """Dotted names a module imports, inside functions too, `hinas_nb.x` for the parts of the package."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path.name} imports relatively"
            whole = node.module == "hinas_nb"
            names |= {f"{node.module}.{alias.name}" for alias in node.names} if whole else {node.module}
    return names


def libraries(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)} - {"hinas_nb"}


def parts(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported(path) if name.startswith("hinas_nb.")}


# --- imports


def wing(name: str) -> str:
    """The wing of a module, by its dotted name below `hinas_nb`; "" for files beside the wings."""
    first = name.split(".")[0]
    return first if first in WINGS else ""


def part_names(path: Path) -> set[str]:
    """What a module imports of this package, as dotted names below it."""
    return {name.removeprefix("hinas_nb.") for name in imported(path) if name.startswith("hinas_nb.")}


@modules
def test_a_wing_imports_only_wings_below_it(path):
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if name not in ROOF:
        above = {part for part in part_names(path) if WINGS.index(wing(part)) > WINGS.index(wing(name))}
        assert not above and not part_names(path) & ROOF


def test_no_module_imports_in_a_circle():
    names = {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in MODULES}
    graph = {name: part_names(path) & set(names) for name, path in names.items()}
    assert list(TopologicalSorter(graph).static_order())


def test_the_method_knows_only_torch():
    for path in (PACKAGE / "method").rglob("*.py"):
        assert libraries(path) - sys.stdlib_module_names <= MODEL_LIBRARIES


@modules
def test_only_figures_draw_and_only_batch_runs_papermill(path):
    if "figures" not in path.relative_to(PACKAGE).as_posix():
        assert not libraries(path) & {"matplotlib", "seaborn", "graphviz"}
    if path.parent.name != "batch":
        assert "papermill" not in libraries(path)


@modules
def test_every_module_says_what_it_holds(path):
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_map_names_every_wing_and_only_files_that_exist():
    text = (PACKAGE / "README.md").read_text()
    paths = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:/|\.py))`", text))
    assert paths and not [path for path in paths if not (PACKAGE / path).exists()]
    assert {f"{name}/" for name in WINGS if name} <= paths


# --- settings


def test_every_profile_loads():
    assert {"smoke", "laptop", "paper"} <= set(locations.profiles())
    for name in locations.profiles():
        assert load_profile(name).name == name


# --- files


def committed() -> list[Path]:
    """Files git keeps or would keep; skips where this is no checkout."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard"]
    try:
        found = subprocess.run(command, capture_output=True, check=True, text=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in found if (ROOT / name).is_file()]


def texts() -> list[tuple[str, str]]:
    """(path, text) of every committed file that people read."""
    paths = [path for path in committed() if path.suffix not in BINARY]
    return [(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def test_no_committed_file_is_large():
    large = {path.relative_to(ROOT).as_posix(): path.stat().st_size for path in committed()}
    assert not {name: size for name, size in large.items() if size > 3 * 2**20}  # the weights of IMDN


def test_no_photographs_are_committed():
    for path in committed():
        name = path.relative_to(ROOT).as_posix()
        assert path.suffix.lower() not in {
            ".jpg",
            ".jpeg",
            ".bmp",
            ".tif",
            ".tiff",
            ".webp",
            ".npy",
            ".npz",
        }, name
        assert path.suffix.lower() != ".png" or re.match(r"results/\w+/figures/|docs/", name), name


def test_no_file_names_a_folder_of_one_machine():
    for name, text in texts():
        found = re.search(r"(?<![\w.~/-])/(?:home|Users|root|work|workspace|mnt|opt|scratch)/\w+", text)
        assert not found, f"{name} names {found[0]}"


def test_only_ci_looks_outside_the_repository():
    for name, text in texts():
        found = re.search(r"(?:\.\.|\bshared)/(?:shared|data|main)\b", text)
        assert not found or name == ".ci/run", f"{name} names {found[0]}"


def test_every_document_mentioned_exists():
    documents = {path.name for path in committed() if path.suffix == ".md"}
    for name, text in texts():
        missing = set(re.findall(r"\b[\w-]+\.md\b", text)) - documents
        assert not missing, f"{name} mentions {sorted(missing)}"


# --- notebooks


def code_cells(path: Path) -> list[str]:
    return ["".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code"]


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text())["cells"]


def test_notebooks_are_numbered_once():
    numbers = [re.fullmatch(r"(\d\d)_[a-z0-9_]+", path.stem)[1] for path in NOTEBOOKS]
    assert numbers and len(numbers) == len(set(numbers))


@notebooks
def test_a_notebook_is_valid_and_stripped(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        assert "papermill" not in cell.metadata
        assert cell.cell_type != "code" or (not cell.outputs and cell.execution_count is None)


@notebooks
def test_a_notebook_opens_with_its_contract(path):
    promises = contract.read(path).promises
    assert {"Title", *contract._PROMISES} <= promises.keys()
    assert all(promises.values())


@notebooks
def test_tags_stand_once_and_in_order(path):
    tags = [tag for _, tags, _ in contract.read(path).cells for tag in sorted(tags)]
    order = [tag for tag in tags if tag in ("imports", "parameters", "runs")]
    assert order in (["imports", "parameters"], ["imports", "parameters", "runs"])


@notebooks
def test_parameters_say_their_meaning(path):
    (source,) = [source for _, tags, source in contract.read(path).cells if "parameters" in tags]
    for line in source.splitlines():
        assert re.fullmatch(r"\w+: [\w\[\], ]+ = .+  # \S.*", line), line


@notebooks
def test_cells_are_short_and_define_next_to_nothing(path):
    for source in code_cells(path):
        assert len(source.splitlines()) <= 20, source
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                assert node.end_lineno - node.lineno <= 2, f"{node.name} belongs in the package"


@notebooks
def test_a_notebook_needs_no_shell_network_or_working_folder(path):
    for source in code_cells(path):  # magics and shell lines do not parse
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.match(r"\.{1,2}/|(https?|ftp)://", node.value), node.value
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                banned = {"subprocess", "requests", "urllib", "http", "socket", "pip", "shutil"}
                assert not {name.split(".")[0] for name in names} & banned, source
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "open",
                "Path",
                "os.system",
                "os.chdir",
            ):
                assert not any(isinstance(argument, ast.Constant) for argument in node.args), ast.unparse(node)


@notebooks
def test_claims_are_asserted_and_the_last_cell_prints_provenance(path):
    assert any(isinstance(node, ast.Assert) for source in code_cells(path) for node in ast.walk(ast.parse(source)))
    assert cells(path)[-1]["cell_type"] == "code"
    assert "provenance" in code_cells(path)[-1]


@notebooks
def test_a_notebook_asks_modules_only_for_what_they_have(path):
    """Names that moved are found here, not after an hour of Runs."""
    nodes, modules = [node for source in code_cells(path) for node in ast.walk(ast.parse(source))], {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hinas_nb":
            whole = importlib.import_module(node.module)
            for alias in node.names:
                found = getattr(whole, alias.name, None) or importlib.import_module(f"{node.module}.{alias.name}")
                modules[alias.asname or alias.name] = found
    again = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    modules = {name: one for name, one in modules.items() if isinstance(one, ModuleType) and name not in again}
    attributes = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)]
    asked = [(node.value.id, node.attr) for node in attributes if node.value.id in modules]
    assert asked and not [one for one in asked if not hasattr(modules[one[0]], one[1])]
