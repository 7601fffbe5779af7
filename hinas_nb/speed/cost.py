"""Costs that are known before anything runs: the multiply-adds of a network, the memory of a search.

A multiply-add is one product and its addition; convolutions and matrix products are counted, all else is not. Any
network is counted by sending an image through it on torch's meta device, where shapes are known and nothing is
computed; for the derived network a formula says the same, and why. Seconds are measured in `training.benchmark`.
Notebook `24_speed`.
"""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hinas_nb import comparators
from hinas_nb.experiment.config import Comparator, SearchConfig, Space
from hinas_nb.method.genotype import Genotype
from hinas_nb.method.network import CHANNELS, DerivedNetwork
from hinas_nb.method.operations import frozen
from hinas_nb.method.supernet import Supernet, ladder
from hinas_nb.provenance import free_memory_mib

_PROBE = 32  # pixels: side of the small crop whose memory is counted
#: A step needs more than autograd keeps for its backward half: tensors that live for one operation only. Measured.
_OVERHEAD = 1.15


def multiply_adds(module: nn.Module, channels: int, height: int, width: int) -> int:
    """Count the multiply-adds that a network spends on one image of so many channels and pixels."""
    with torch.device("meta"):
        image = torch.empty(1, channels, height, width)
    module = copy.deepcopy(module).to("meta").eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(image)
    return counter.get_total_flops() // 2


def network(
    what: Genotype | Comparator,
    task: str,
    base_width: int | None = None,
    scale: int | None = None,
    fold: int | None = None,
) -> nn.Module:
    """Build the network of a genotype or a comparator, with first weights; a filter is told sigma 50."""
    if isinstance(what, Comparator):
        sigma = 50.0 if what.name in comparators.TRAINING_FREE else None
        return comparators.build(what.name, task, scale, sigma, what.width)
    return DerivedNetwork(what, task, base_width, scale=scale, fold=fold)


def searched_share(net: DerivedNetwork) -> float:
    """Return the share of a derived network's multiply-adds that the search decides: those of its moves and cells."""
    return (_kernels(net.adapters) + _kernels(net.cells)) / closed_form(net, net.fold, net.fold)


def closed_form(net: DerivedNetwork, height: int, width: int) -> int:
    """Return the multiply-adds on an image of these sides: all convolutions see all its pixels, or folded ones."""
    bicubic = 25 * CHANNELS[net.task] * net.scale**2 if net.task == "sr" and net.residual else 0  # a kernel per phase
    return (_kernels(net) + bicubic) * -(-height // net.fold) * -(-width // net.fold)


def search_memory_mib(config: SearchConfig, halved: bool = False) -> dict[str, float]:
    """Foretell the peak memory, in MiB, of a step of the warm-up and of one of the alpha phase; halved: in bfloat16.

    Autograd keeps tensors between the two halves of a step, and their size grows with the pixels of a batch. So they
    are counted on one small crop and scaled; weights, gradients and momenta are added.
    """
    found = {}
    for phase in ("warm-up", "alpha phase"):
        kept, weights = _kept_bytes(config.space, phase == "alpha phase", config.checkpointing, halved)
        if config.checkpointing:  # and one layer at a time in full
            kept += _largest_layer(config.space) * _kept_bytes(config.space, phase == "alpha phase", False, halved)[0]
        pixels = config.batch * config.patch**2 / _PROBE**2
        # Weights with gradient and momentum.
        found[phase] = (_OVERHEAD * kept * pixels + 3 * weights) / 2**20
    # The alpha phase alternates the two kinds of step; memory stays at the higher one.
    found["alpha phase"] = max(found.values())
    return found


def memory_warning(config: SearchConfig, device: str = "cpu", halved: bool = False) -> str | None:
    """Return a line of warning where the foretold peak does not fit into what is free on the device now.

    halved: the search computes in bfloat16.
    """
    free, needed = free_memory_mib(device), search_memory_mib(config, halved)
    phase = max(needed, key=lambda name: (needed[name], name == "warm-up"))
    if free is None or needed[phase] <= free:
        return None
    remedy = "lower batch or patch" if config.checkpointing else "lower batch or patch, or set checkpointing"
    return f"the {phase} needs about {needed[phase] / 1024:.1f} GiB and {free / 1024:.1f} GiB are free: {remedy}"


def _kept_bytes(space: Space, architecture: bool, checkpointing: bool, halved: bool) -> tuple[int, int]:
    """Count the bytes that autograd keeps for one `_PROBE` x `_PROBE` crop, and those of the weights.

    halved: in bfloat16.
    """
    net = Supernet(space).train()
    net.checkpointing = checkpointing
    others = net.network_parameters() if architecture else list(net.architecture.parameters())
    own = {parameter.untyped_storage().data_ptr() for parameter in net.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    image = torch.zeros(1, CHANNELS[space.task], _PROBE, _PROBE)
    kept_of = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with frozen(others), kept_of, torch.autocast("cpu", torch.bfloat16, enabled=halved):
        output = net(image)
    del output
    return sum(kept.values()), sum(p.numel() * p.element_size() for p in net.parameters())


def _largest_layer(space: Space) -> float:
    """Return the share of the widest layer in what all cells keep."""
    widths = [sum(space.widths[level] for level in levels) for levels in ladder(space)[1:]]
    return max(widths) / sum(widths)


def _kernels(module: nn.Module) -> int:
    """Count the weights of all convolutions inside, without biases."""
    return sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Conv2d))
