"""The state of a loop as one flat set of tensors, for a checkpoint; and the folder of a loop that keeps nothing."""

import torch
from torch import Tensor, nn

_Part = nn.Module | torch.optim.Optimizer | dict[str, Tensor]


def pack(**parts: _Part) -> dict[str, Tensor]:
    """Return all tensors of modules, optimizers and plain dicts, under names that begin with the part's."""
    tensors = {}
    for part, content in parts.items():
        if isinstance(content, torch.optim.Optimizer):
            states = content.state_dict()["state"]
            values = {f"{index}.{key}": v for index, state in states.items() for key, v in state.items()}
            values = {name: value for name, value in values.items() if isinstance(value, Tensor)}
        else:
            values = content.state_dict() if isinstance(content, nn.Module) else content
        tensors |= {f"{part}/{name}": value for name, value in values.items()}
    return tensors


def unpack(tensors: dict[str, Tensor], **parts: _Part) -> None:
    """Put back what `pack` took; dicts are filled."""
    for part, content in parts.items():
        values = {name.removeprefix(f"{part}/"): v for name, v in tensors.items() if name.startswith(f"{part}/")}
        if isinstance(content, nn.Module):
            content.load_state_dict(values)
        elif isinstance(content, dict):
            content.update(values)
        else:
            states: dict[int, dict] = {}
            for name, value in values.items():
                index, key = name.split(".", 1)
                states.setdefault(int(index), {})[key] = value
            content.load_state_dict(content.state_dict() | {"state": states})


class Nowhere:
    """Stands in for a Run's folder, so that a loop can be tried by itself: it has nothing and keeps nothing."""

    def _nothing(self, *content) -> None:
        """Take anything and keep it nowhere."""

    load_checkpoint = append_records = save_checkpoint = write_text = write_tensors = _nothing
