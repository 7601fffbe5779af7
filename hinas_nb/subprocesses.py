"""Processes of ours start with a kernel that is surely ours, and with no traces of whoever started them.

Nobody's Jupyter or IPython settings reach in. The folder that the processes of a batch share is removed with it; one
that a kill of the batch left is swept away at the next start.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import sys
import tempfile
import types
from collections.abc import Generator, Mapping
from pathlib import Path

from hinas_nb import locations

#: glibc returns large blocks to the system and fetches them anew, page by page: with these a training step of
#: the derived network takes half the time. Read by malloc at process start, so only children can be given it.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**33)}

_MALLOPT = {-3: 2**30, -1: 2**31 - 1, -8: 1}  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD; M_ARENA_MAX: also in threads

#: Say how many threads the libraries below torch start; read when they are loaded.
LIBRARY_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_PREFIX = "hinas-nb-"  # of our folders among the temporary ones


@contextlib.contextmanager
def workplace() -> Generator[Path]:
    """Make a folder that goes with the block; remove those of batches that were killed."""
    for lock in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/held"):
        with contextlib.suppress(OSError), _held(lock):  # somebody else's can't even be opened
            shutil.rmtree(lock.parent, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name, _held(Path(name) / "held"):
        yield Path(name)


def keep_memory() -> None:
    """Give this process what `ALLOCATOR` gives to children, where the C library is glibc."""
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for parameter, value in _MALLOPT.items():
            library.mallopt(parameter, value)


def isolate(folder: Path, threads: int) -> None:
    """Give this process, and the kernel that it starts, a fresh Jupyter below `folder` and a fixed number of threads.

    What it prints goes to `folder/said`. The rest of its environment stays as the user has it.
    """
    kernel = folder / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    content = {"argv": command, "display_name": "Python 3 (ipykernel)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(content))
    path = [str(locations.PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ |= {
        "PYTHONPATH": os.pathsep.join(path),
        "JUPYTER_PATH": str(folder / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
    } | dict.fromkeys(LIBRARY_THREADS, str(threads))
    for name in ("PYTHONSTARTUP", "MPLBACKEND"):
        os.environ.pop(name, None)
    with open(folder / "said", "ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)


@contextlib.contextmanager
def environment(values: Mapping[str, str | None]) -> Generator[None]:
    """Let processes that are started here find these variables; None takes one away."""
    before = {name: os.environ.get(name) for name in values}
    _set_variables(values)
    try:
        yield
    finally:
        _set_variables(before)


@contextlib.contextmanager
def caller_left_out():
    """Processes started here do not import the caller's script again, as `spawn` does.

    They need this package only; a script without `if __name__ == "__main__"` would ask for its Runs in each of
    them, and one that was piped in has no file to import.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _set_variables(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@contextlib.contextmanager
def _held(lock: Path) -> Generator[None]:
    """Lock a file; the system frees it when we die, however that comes. Raises OSError if it is held."""
    with open(lock, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
