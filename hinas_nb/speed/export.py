"""Export of the derived network to an ONNX file, and ONNX Runtime as the engine that runs it (extra `export`).

`to_onnx` writes one file for images of any size; what the weights file says of the network goes along in the
model's metadata. `session` stands wherever inference takes a network, tiles included.
"""

import json
import logging
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from hinas_nb import __version__, files
from hinas_nb.method.network import CHANNELS, DerivedNetwork, check_trained

LICENCE = "Apache-2.0"  # of the network; the images it was trained on have their own
MARK = "hinas_nb"  # the metadata entry that tells our files, with the version that wrote it
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TEXTS = {MARK, "task", "licence"}  # entries kept as they are; the others are JSON


def to_onnx(network: DerivedNetwork, path: Path) -> None:
    """Write a file that infers as the network does, to 1e-5, for any batch and size. Raises ValueError, StoreError."""
    if path.suffix != ".onnx" or path.is_dir() or not path.absolute().parent.is_dir():
        raise ValueError(f"output must be a .onnx file in an existing folder, got {path}")
    files.write_atomic(path, _model(network))


def session(source: Path | DerivedNetwork, threads: int = 1) -> "Session":
    """Return ONNX Runtime, on the CPU, with a file of `to_onnx` or a network. Raises ValueError, StoreError."""
    _require("onnxruntime")
    import onnxruntime

    content = files.read_bytes(source) if isinstance(source, Path) else _model(source)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3  # errors, which are raised as well
    try:
        engine = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        entries = engine.get_modelmeta().custom_metadata_map
        entries[MARK]
        return Session(engine, {key: value if key in TEXTS else json.loads(value) for key, value in entries.items()})
    except Exception as error:  # ONNX Runtime's have no base class of their own
        reason = f"no {MARK} metadata" if isinstance(error, KeyError) else " ".join(str(error).split())[:80]
        raise ValueError(f"{source} must be a file that hinas-nb export wrote, got: {reason}") from None


class Session:
    """Stands for an exported network, is called like it and has its `task`, `scale`, `halo`; trained: the metadata."""

    def __init__(self, engine, trained: dict):
        check_trained(trained)
        if trained["task"] not in CHANNELS or not isinstance(trained["halo"], int) or not 0 <= trained["halo"] < 2**16:
            raise ValueError(f"task {str(trained['task'])[:20]} and halo {str(trained['halo'])[:20]}")
        self.engine, self.trained = engine, trained
        self.task, self.halo, self.scale = trained["task"], trained["halo"], trained["scale"] or 1
        self.noise_map = trained.get("noise_map", False)
        self.channels = CHANNELS[self.task] + self.noise_map

    def __call__(
        self, image: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height_out width_out"]:
        """Return the restored image, not clipped, on the device the image came from. Raises ValueError."""
        if image.dim() != 4 or image.shape[1] != self.channels:
            rule = f"(batch, {self.channels}, height, width) for {self.task}"
            raise ValueError(f"image must be of shape {rule}, got {tuple(image.shape)}")
        given = np.ascontiguousarray(image.detach().cpu().float().numpy())
        return torch.from_numpy(self.engine.run(None, {"degraded": given})[0]).to(image.device)


def _model(network: DerivedNetwork) -> bytes:
    """Return the content of an ONNX file: batch norms folded, with what is known of the network."""
    _require("onnx", "onnxscript")
    folded = network.folded().cpu()
    example = torch.zeros(2, network.channels, 16, 24)  # sizes of 1 would be taken for constants
    dimensions = {0: torch.export.Dim("batch"), 2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
    with _quiet(), torch.no_grad():
        model = torch.onnx.export(
            folded,
            (example,),
            dynamo=True,
            dynamic_shapes=(dimensions,),
            input_names=["degraded"],
            output_names=["restored"],
            verbose=False,
        ).model_proto
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")  # stack traces with the paths of this machine
    learned = {key: network.trained[key] for key in ("sigma", "steps", "sigma_range") if key in network.trained}
    about = {MARK: __version__, "sigma": None, "steps": None, "halo": network.halo, "licence": LICENCE}
    about |= {"noise_map": True} if network.noise_map else {}
    for key, value in (network.metadata() | about | learned).items():
        model.metadata_props.add(key=key, value=value if key in TEXTS else json.dumps(value))
    return model.SerializeToString()


def is_installed() -> bool:
    """Tell whether networks can be exported and run here."""
    return all(find_spec(name) for name in PACKAGES)


def _require(*packages: str) -> None:
    """Raise ValueError for a package of the extra that is not installed."""
    for name in packages:
        if find_spec(name) is None:
            raise ValueError(f"{name} is not installed: pip install 'hinas_nb[export]'")


@contextmanager
def _quiet():
    """Silence the exporter's warnings about its own deprecations and about torchvision, which nobody needs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
