"""HiNAS: memory-efficient hierarchical neural architecture search for image restoration, as notebooks.

`restore` restores a picture in memory, `pretrained` returns the network that does it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hinas_nb.use.networks import pretrained
    from hinas_nb.use.restore import restore

__version__ = "0.1.0"
__all__ = ["__version__", "pretrained", "restore"]


def __getattr__(name: str) -> Any:
    """Import `restore` and `pretrained` where they are asked for: torch takes seconds."""
    if name == "restore":
        from hinas_nb.use.restore import restore as found
    elif name == "pretrained":
        from hinas_nb.use.networks import pretrained as found
    else:
        raise AttributeError(f"module 'hinas_nb' has no attribute {name!r}")
    return found
