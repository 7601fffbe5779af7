"""The structure of all comparators, which a count of parameters does not tell, and what changing it means for Runs."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn

from hinas_nb import comparators
from hinas_nb.comparators.base import Restorer
from hinas_nb.experiment.config import Comparator
from hinas_nb.experiment.runs import canonical

WIDTH = {"idn": 16, "rcan": 16, "san": 16, "edsr": 4, "rdn": 4, "fsrcnn": 4, "lapsrn": 4, "vdsr": 4}
WHERE = Path(__file__).with_name("comparators.json")


def built(name: str, width: int | None = None) -> Restorer:
    """For denoising where it can, else for x3, or the first scale that it is published for."""
    entry = comparators.TABLE[name]
    task, scale = entry.tasks[0], 3 if 3 in entry.scales else entry.scales[0]
    return comparators.build(name, task, scale if task == "sr" else None, width=width)


def structure(network: nn.Module) -> list[str]:
    """How often it has each kind of layer, in the order in which they first come."""
    kinds = Counter(text for module in network.modules() if (text := _layer(module)))
    return [f"{count} x {text}" for text, count in kinds.items()]


def _layer(module: nn.Module) -> str:
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        kind = "conv" if isinstance(module, nn.Conv2d) else "transposed"
        text = f"{kind} {module.kernel_size[0]}x{module.kernel_size[1]} {module.in_channels}-{module.out_channels}"
        said = {"stride": module.stride[0], "dilation": module.dilation[0], "groups": module.groups}
        text += "".join(f" {name} {value}" for name, value in said.items() if value != 1)
        return text if module.bias is not None else f"{text} no bias"
    if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
        return f"norm {module.num_features}"
    if isinstance(module, nn.PReLU):
        return f"PReLU {module.num_parameters}"
    return "" if list(module.children()) or not isinstance(module, _PLAIN) else str(module).replace("inplace=True", "")


_PLAIN = (nn.ReLU, nn.LeakyReLU, nn.Sigmoid, nn.PixelShuffle)


def value(name: str) -> list[float]:
    """Mean, mean square and one pixel of its output in float64, weights and input from fixed sequences."""
    network = built(name, WIDTH.get(name, 8)).double().eval()
    with torch.no_grad():
        for index, tensor in enumerate(network.state_dict().values()):
            if tensor.is_floating_point():
                wave = torch.sin(1.7 * torch.arange(tensor.numel(), dtype=torch.float64) + index).view_as(tensor)
                tensor.copy_(wave * (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.5 + 0.1 * wave)
        shape = (1, network.channels, 23, 21)
        image = torch.sin(torch.arange(shape[1] * 23 * 21, dtype=torch.float64) ** 2).view(shape)
        result = network(0.5 + 0.5 * image)
    return [float(result.mean()), float(result.square().mean()), float(result[0, 0, 5, 4])]


@pytest.mark.parametrize("name", comparators.TRAINABLE)
def test_its_layers_are_those_written_down(name):
    with torch.device("meta"):
        assert structure(built(name)) == json.loads(WHERE.read_text())[name]["layers"]


@pytest.mark.parametrize("name", comparators.TRAINABLE)
def test_its_output_is_the_one_written_down(name):
    """The skips, the order and the functions between the layers, which their list does not tell."""
    assert value(name) == pytest.approx(json.loads(WHERE.read_text())[name]["value"], rel=1e-9, abs=1e-9)


def test_a_changed_network_has_other_runs_and_an_unchanged_one_the_same():
    revised = {name for name in comparators.TRAINABLE if "revision" in Comparator(name=name).identity()}
    assert revised == {"memnet", "nlrn", "n3net", "dbsn", "ffdnet", "lapsrn", "idn", "san"}
    assert canonical(Comparator(name="dncnn", width=35).identity()) == {"name": "dncnn", "width": 35}
    assert Comparator(name="idn").identity() == {"name": "idn", "revision": 1}


def test_idn_groups_the_second_and_the_fifth_convolution_of_a_block():
    block = built("idn").features[4]
    convolutions = [layer for layer in (*block.first, *block.second) if isinstance(layer, nn.Conv2d)]
    assert [layer.groups for layer in convolutions] == [1, 4, 1, 1, 4, 1]


def test_naming_a_comparator_does_not_load_torch():
    code = "import sys, hinas_nb.comparators as it; it.check('dncnn', 'denoise'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
