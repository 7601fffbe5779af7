"""What all tests share: one thread, checked shapes in the data package, the user's data sets if any."""

import os
import signal
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

# A shell lets what it starts in the background ignore Ctrl-C, and our children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Before the first import of what it checks.
install_import_hook("hinas_nb.data", "shapes.checked")


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """The machine may be shared, and results depend on the number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_root():
    """`data_root("Set5")` is the folder of all data sets; without Set5 in it the test is skipped by name."""

    def require(*names: str) -> Path:
        root = os.environ.get("HINAS_DATA", "")
        for name in names:
            if not root or not (Path(root) / name).is_dir():
                pytest.skip(f"HINAS_DATA with {name} not given")
        return Path(root)

    return require
