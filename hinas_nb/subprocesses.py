"""A process and a folder of its own for each notebook, and a kernel that is surely ours.

Nobody's Jupyter or IPython settings reach in, and nothing outlives the batch: not after Ctrl-C, not after a
kill of the batch itself; a folder that such a kill left is swept away at the next start.
"""

import contextlib
import fcntl
import importlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import types
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import Any

from hinas_nb import locations

#: glibc returns large blocks to the system and fetches them anew, page by page: with these a training step of
#: the derived network takes half the time. Read by malloc at process start, so only children can be given it.
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**33)}

LIBRARIES = ("OMP", "MKL", "OPENBLAS")  # whose threads are fixed
PREFIX = "hinas-nb-"  # of our folders among the temporary ones


@dataclass
class Child:
    """A process of ours; its folder holds `task` and, once it has ended well, `answer`, both pickled."""

    process: subprocess.Popen
    folder: Path
    started: float

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> Any:
        """The answer. Raises ChildProcessError with a line that says how the process died."""
        code = self.process.wait()
        try:
            return pickle.loads((self.folder / "answer").read_bytes())
        except OSError:
            said = (self.folder / "stderr").read_text(errors="replace").strip().splitlines()
            died = f"killed by signal {-code}" if code < 0 else f"ended with code {code}"
            raise ChildProcessError(f"its process was {died}" + (f": {said[-1]}" if said else "")) from None


@contextlib.contextmanager
def child(answer: FunctionType, task: Any, environment: dict[str, str], threads: int) -> Generator[Child]:
    """Start a process that computes `answer(task, its folder)`; it and its kernel end with the block.

    answer: a function of a module of this package, called by its name there.
    """
    _sweep()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name, _held(Path(name)):
        folder = Path(name)
        (folder / "task").write_bytes(pickle.dumps(task))
        called = [answer.__module__, answer.__qualname__, str(folder), str(os.getpid())]
        with open(folder / "stderr", "wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, *called],
                env=_environment(folder, threads) | environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C reaches the parent only; it ends its children in order
            )
        try:
            yield Child(process, folder, time.monotonic())
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)  # lets papermill end its kernel
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _serve(module: str, name: str, folder: Path, parent: int) -> None:
    """In the child: compute the answer and leave it whole. The parent may die before anything is imported."""
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    answer = getattr(importlib.import_module(module), name)
    content = pickle.dumps(answer(pickle.loads((folder / "task").read_bytes()), folder))
    (folder / "partial").write_bytes(content)
    (folder / "partial").rename(folder / "answer")


@contextlib.contextmanager
def _held(folder: Path) -> Generator[None]:
    """Lock a folder; the system frees it when we die, however that comes. Raises OSError if it is held."""
    with open(folder / "held", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _sweep() -> None:
    """Remove folders that nobody holds any more; one without its task is being made."""
    for task in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/task"):
        with contextlib.suppress(OSError), _held(task.parent):  # somebody else's can't even be opened
            shutil.rmtree(task.parent, ignore_errors=True)


def _environment(folder: Path, threads: int) -> dict[str, str]:
    """This package, a fixed number of threads, a fresh Jupyter; the rest as the user has it."""

    kernel = folder / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    content = {"argv": command, "display_name": "Python 3 (ipykernel)", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(content))
    dropped = ("PYTHONSTARTUP", "MPLBACKEND")
    theirs = {name: value for name, value in os.environ.items() if name not in dropped}
    path = [str(locations.PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    ours = {
        "PYTHONPATH": os.pathsep.join(path),
        "JUPYTER_PATH": str(folder / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "IPYTHONDIR": str(folder / "ipython"),
    }
    return ALLOCATOR | theirs | ours | {f"{library}_NUM_THREADS": str(threads) for library in LIBRARIES}


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


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


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
