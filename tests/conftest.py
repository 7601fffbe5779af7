"""What all tests share: one thread, checked shapes in the data package, the user's data sets if any."""

import os
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

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
