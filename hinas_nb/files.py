"""Files that are either the old or the new whole, never half; what goes wrong is said in one line.

Tensors and their JSON meta go into one safetensors file: nothing here unpickles anything.
"""

import json
import math
import os
import re
import tempfile
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:  # takes seconds: only those who have tensors wait for it
    from torch import Tensor

_METADATA_KEY = "hinas"  # of the JSON inside a safetensors file
_MAX_YAML = 100_000  # bytes of a settings file, and its values once all aliases are written out
_STALE = 24 * 3600.0  # seconds after which no writer can still be at work on a file


class StoreError(OSError):
    """A file that cannot be read or written; the text is one line."""


class FileContentError(ValueError):
    """A file that is damaged or holds something else; the text is one line and says what to do."""


def write_atomic(path: Path, content: bytes) -> None:
    """Replace a file in one step, even if the process is killed or the disk fills up meanwhile.

    Of several writers at once the last one wins; through a link its target is written. Raises StoreError, also for
    what is no regular file, such as a device.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} must be a regular file to be written anew")
    make_folder(path.parent)
    partial = temporary(path)
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise unwritable(path, error) from None


def temporary(path: Path) -> Path:
    """Return a name beside a file that no other writer takes; cut, since a name can be too long for the system."""
    return path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}.tmp")


def sweep(folder: Path, older: float = _STALE) -> None:
    """Remove the temporary files below a folder that killed writers left, if they are so many seconds old."""
    for path in folder.rglob(".*.tmp"):
        with suppress(OSError):  # gone meanwhile, or somebody else's
            if time.time() - path.stat().st_mtime >= older:
                path.unlink()


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from None


def check_writable(path: Path) -> None:
    """Make a folder and refuse one that takes no files. Raises StoreError."""
    make_folder(path)
    try:
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"cannot write {path}: {error.strerror or error}; what was there before is untouched")


def read_bytes(path: Path) -> bytes:
    """Return what a regular file holds; devices and pipes may never end. Raises StoreError."""
    check_regular(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None


def check_regular(path: Path) -> None:
    """Refuse devices, pipes and sockets, where reading may never end. Raises StoreError."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise StoreError(f"cannot read {path}: must be a regular file")


def one_line(text: str) -> str:
    """Return a message as one line that a terminal shows and does not obey, see `printable`."""
    return printable(" ".join(text.split()))


def error_line(error: BaseException) -> str:
    """Return an exception as one line: our own errors as they are, others after the name of their type."""
    text = one_line(str(error)) or "no message"
    return text if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: {text}"


def printable(text: str) -> str:
    """Replace control characters, which foreign names may contain, by escapes such as `\\x1b`."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read settings by name. Raises StoreError, FileContentError; also for a file that aliases make endless."""
    content = read_bytes(path)
    try:
        if len(content) > _MAX_YAML:
            raise ValueError(f"{len(content)} bytes, more than {_MAX_YAML}")
        loader = _Yaml(content.decode())
        root = loader.get_single_node()
        if _size(root, {}) > _MAX_YAML:
            raise ValueError(f"aliases that stand for more than {_MAX_YAML} values")
        settings = loader.construct_document(root) if root else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise FileContentError(f"{path} must be YAML, got {one_line(str(error))}") from None
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise FileContentError(f"{path} must hold settings by name, got {str(settings)[:40]!r}")
    return settings


def yaml_value(text: str) -> Any:
    """Return what a text says in YAML. Raises yaml.YAMLError."""
    return yaml.load(text, _Yaml)


class _Yaml(yaml.SafeLoader):
    """Reads numbers as YAML 1.2 has them: 1.1 takes 010 for 8, 1:30 for 90 and 1e-3 for a text."""

    yaml_implicit_resolvers = {
        letter: [(tag, pattern) for tag, pattern in known if not tag.endswith((":int", ":float"))]
        for letter, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_WHOLE = "(0|[1-9][0-9]*)"
_FLOAT = rf"[-+]?(({_WHOLE}?\.[0-9]+|{_WHOLE}\.?)([eE][-+]?[0-9]+)?|\.inf|\.nan)$"
_Yaml.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"[-+]?{_WHOLE}$"), list("-+0123456789"))
_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(_FLOAT), list("-+.0123456789"))


def _size(node: yaml.Node | None, known: dict[int, float]) -> float:
    """Count the values of a node with every alias written out; infinite where it contains itself.

    Raises ValueError where an entry stands twice, of which the second would win in silence.
    """
    if node is None or isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in known:
        known[id(node)] = math.inf
        names = [str(key.value) for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
        if len(set(names)) < len(names):
            raise ValueError(f"an entry twice: {' '.join(names)}"[:80])
        known[id(node)] = 1 + sum(
            _size(part, known)
            for value in node.value
            for part in (value if isinstance(node, yaml.MappingNode) else [value])
        )
    return known[id(node)]


def read_json(path: Path, advice: str = "delete it") -> dict:
    """Read a JSON object; `advice` ends the error about a damaged one. Raises StoreError, FileContentError."""
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise FileContentError(f"{path} must be JSON ({error}); {advice}") from None
    if not isinstance(content, dict):
        raise FileContentError(f"{path} must be a JSON object, got {str(content)[:40]}; {advice}")
    return content


def write_tensors(path: Path, tensors: "dict[str, Tensor]", meta: dict) -> None:
    """Write one safetensors file; `meta` is JSON-able. Raises StoreError."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomic(path, save(plain, {_METADATA_KEY: json.dumps(meta)}))


def read_tensors(path: Path) -> "tuple[dict[str, Tensor], dict]":
    """Read the tensors (to the CPU) and meta that `write_tensors` wrote. Raises StoreError, FileContentError."""
    with _opened(path) as file:
        # Cloned: memory mapped from a file isn't aligned as torch's own, and a sum may then differ.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, _meta(file)  # noqa: SIM118


def read_meta(path: Path) -> dict:
    """Read the meta alone, without the tensors. Raises StoreError, FileContentError."""
    with _opened(path) as file:
        return _meta(file)


@contextmanager
def _opened(path: Path):
    check_regular(path)
    advice = "delete it if it stands in a store, the Run then starts anew"
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}") from None
    except SafetensorError as error:
        raise FileContentError(f"{path} must be a whole safetensors file, got {error}; {advice}") from None
    except (KeyError, ValueError, RecursionError):
        raise FileContentError(
            f"{path} must be a file this package wrote (meta under {_METADATA_KEY!r}); {advice}"
        ) from None


def _meta(file) -> dict:
    return json.loads((file.metadata() or {})[_METADATA_KEY])
