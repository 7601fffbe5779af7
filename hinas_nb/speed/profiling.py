"""Where the time of a call goes: seconds by kind of operation, from torch's profiler. Notebook `24_speed`."""

from collections import Counter
from collections.abc import Callable

import pandas as pd
from torch.autograd.profiler import profile

#: Kinds of operations, in the order of a figure. What is in none of them is `REST`.
DENSE, DEPTHWISE, POINTWISE = "dense convolutions", "depthwise convolutions", "1x1 convolutions and products"
NORMS, SUMS, COPIES = "batch norms' sums", "element by element", "copies"
REST = "Python, calls and the rest"
KINDS = (DENSE, DEPTHWISE, POINTWISE, NORMS, SUMS, COPIES, REST)
ARITHMETIC = (DENSE, DEPTHWISE, POINTWISE)

_BY_NAME = {
    POINTWISE: "mm bmm addmm addmm_ baddbmm",
    SUMS: "add add_ sub sub_ rsub mul mul_ div div_ addcmul addcmul_ square pow neg abs sqrt rsqrt sum mean "
    "leaky_relu leaky_relu_ leaky_relu_backward mse_loss mse_loss_backward",
    COPIES: "copy_ cat fill_",
}
_FORWARD = ("aten::mkldnn_convolution", "aten::_slow_conv2d_forward")
_KIND = {f"aten::{name}": kind for kind, names in _BY_NAME.items() for name in names.split()}


def seconds_by_kind(call: Callable[[], object], seconds: float) -> dict[str, float]:
    """Of a profiled call, beside the seconds of one that was not: what its operations leave of these is the rest.

    Profiling lengthens many short operations; where they are more than all, the rest is 0.
    """
    with profile(record_shapes=True, use_kineto=False) as profiler:
        call()
    found = Counter(dict.fromkeys(KINDS, 0.0))
    for event in profiler.function_events:
        found[_kind(event.key, event.input_shapes)] += event.self_cpu_time_total / 1e6
    found[REST] = max(0.0, seconds - sum(found[kind] for kind in KINDS if kind != REST))
    return dict(found)


def table(records: list[dict]) -> pd.DataFrame:
    """Seconds: arm, part, seconds; arms and kinds in their order."""
    told = next(record["parts_by_arm"] for record in reversed(records) if record["parts_by_arm"])
    rows = [(arm, part, seconds) for arm, parts in told.items() for part, seconds in parts.items()]
    return pd.DataFrame(rows, columns=["arm", "part", "seconds"])


def _kind(name: str, shapes: list[list[int]]) -> str:
    if "batch_norm" in name and name.startswith("aten::"):
        return NORMS
    if name in _FORWARD:
        image, weight = shapes[:2]
    elif name == "aten::convolution_backward":
        image, weight = shapes[1:3]
    else:
        return _KIND.get(name, REST)
    if weight[2:] == [1, 1]:
        return POINTWISE
    return DEPTHWISE if weight[1] == 1 < image[1] else DENSE
