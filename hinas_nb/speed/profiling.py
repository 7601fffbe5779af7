"""The seconds of a call are split into parts by torch's profiler: convolutions, sums, copies. Notebook `24_speed`."""

from collections import Counter
from collections.abc import Callable

import pandas as pd
from torch.autograd.profiler import profile

#: Parts of a call's time, in the order of a figure. What is in none of them is `_REST`.
_DENSE, _DEPTHWISE, _POINTWISE = "dense convolutions", "depthwise convolutions", "1x1 convolutions and products"
_NORMS, _SUMS, _COPIES = "batch norms' sums", "element by element", "copies"
_REST = "Python, calls and the rest"
_PARTS = (_DENSE, _DEPTHWISE, _POINTWISE, _NORMS, _SUMS, _COPIES, _REST)
ARITHMETIC = (_DENSE, _DEPTHWISE, _POINTWISE)

_BY_NAME = {
    _POINTWISE: "mm bmm addmm addmm_ baddbmm",
    _SUMS: "add add_ sub sub_ rsub mul mul_ div div_ addcmul addcmul_ square pow neg abs sqrt rsqrt sum mean "
    "leaky_relu leaky_relu_ leaky_relu_backward mse_loss mse_loss_backward",
    _COPIES: "copy_ cat fill_",
}
_FORWARD = ("aten::mkldnn_convolution", "aten::_slow_conv2d_forward")
_PART = {f"aten::{name}": part for part, names in _BY_NAME.items() for name in names.split()}


def seconds_by_part(call: Callable[[], object], seconds: float) -> dict[str, float]:
    """Profile a call and return its seconds by part. `seconds` is what the call takes without the profiler.

    What the other parts leave of `seconds` is the rest. Profiling lengthens many short operations; where together they
    exceed `seconds`, the rest is 0.
    """
    with profile(record_shapes=True, use_kineto=False) as profiler:
        call()
    found = Counter(dict.fromkeys(_PARTS, 0.0))
    for event in profiler.function_events:
        found[_part(event.key, event.input_shapes)] += event.self_cpu_time_total / 1e6
    found[_REST] = max(0.0, seconds - sum(found[part] for part in _PARTS if part != _REST))
    return dict(found)


def table(records: list[dict]) -> pd.DataFrame:
    """Return the seconds of a timing that tells its parts, with columns arm, part, seconds, in their order."""
    told = next(record["parts_by_arm"] for record in reversed(records) if record["parts_by_arm"])
    rows = [(arm, part, seconds) for arm, parts in told.items() for part, seconds in parts.items()]
    return pd.DataFrame(rows, columns=["arm", "part", "seconds"])


def _part(name: str, shapes: list[list[int]]) -> str:
    if "batch_norm" in name and name.startswith("aten::"):
        return _NORMS
    if name in _FORWARD:
        image, weight = shapes[:2]
    elif name == "aten::convolution_backward":
        image, weight = shapes[1:3]
    else:
        return _PART.get(name, _REST)
    if weight[2:] == [1, 1]:
        return _POINTWISE
    return _DEPTHWISE if weight[1] == 1 < image[1] else _DENSE
