"""A search can be told what its network will take: milliseconds of every part, measured on this machine.

The parts are the operations of a cell and the moves between layers (activation, 1x1 convolution), each at every width
that a layer can have. They are timed one call at a time, in turns, in the form that they have in inference: batch
norms folded into the convolutions, channels last, no gradients. Stem and head are the same for all networks and left
out. `measure` is the loop of a latency Run; `expected` is the mean over all networks that alpha and beta stand for,
differentiable in both. That is not part of HiNAS; notebook `16_latency_aware_search` shows what it is worth.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from hinas_nb.experiment.config import LatencyConfig, Space
from hinas_nb.method.genotype import INPUTS_PER_NODE, KINDS, Genotype, edges, widths
from hinas_nb.method.network import fold_norms
from hinas_nb.method.operations import activation, conv_norm, operation
from hinas_nb.method.supernet import WidthWeights
from hinas_nb.provenance import peak_memory_mib

Table = dict[str, float]  # milliseconds by `operation_key` and `move_key`


@dataclass(frozen=True)
class LatencyRecord:
    """Holds one round: milliseconds of one call of every part, and what the round took."""

    round: int
    milliseconds: Table
    seconds: float
    peak_memory_mib: float


def operation_key(name: str, level: int) -> str:
    return f"{name} at level {level}"


def move_key(source: int, level: int) -> str:
    return f"move from level {source} to {level}"


@torch.inference_mode()
def measure(config: LatencyConfig, first: int = 0) -> Iterator[LatencyRecord]:
    """Time every part once a round, from round `first` on; a call that is not timed goes before each."""
    calls = _calls(config)
    for number in range(first, config.rounds):
        began, found = time.perf_counter(), {}
        for key, (part, image) in calls.items():
            part(image)  # the first of a turn finds the caches full of another part's data
            start = time.perf_counter()
            part(image)
            found[key] = 1000 * (time.perf_counter() - start)
        yield LatencyRecord(number + 1, found, time.perf_counter() - began, peak_memory_mib())


def table(records: list[dict]) -> Table:
    """Return the median of the rounds for every part, in milliseconds."""
    return {key: median(record["milliseconds"][key] for record in records) for key in records[0]["milliseconds"]}


def expected(table: Table, op_weights: Tensor, width_weights: WidthWeights, space: Space) -> Tensor:
    """Return the mean milliseconds of cells and moves over the networks that softmaxed alphas and betas stand for.

    A network is drawn thus: its path follows beta; every node takes two inputs, each pair with equal chance, and on
    each input one operation other than `none`, in proportion to alpha. A layer has two inputs, and each has a move of
    its own, which are taken to last equally long.
    op_weights: (layers, edges, operations); width_weights: per layer by move. Differentiable in both.
    """
    names = [name for name in space.operations if name != "none"]
    kept = [space.operations.index(name) for name in names]
    by_level = [
        op_weights.new_tensor([table.get(operation_key(name, level), 0.0) for name in names])  # a skip costs nothing
        for level in range(len(space.width_factors))
    ]
    chance = op_weights.new_tensor([INPUTS_PER_NODE / (2 + node) for node, _ in edges(space.nodes)])
    reached, total = {0: op_weights.new_ones(())}, op_weights.new_zeros(())
    for alphas, betas in zip(op_weights, width_weights):
        arriving: dict[int, Tensor] = {}
        for (source, level), share in betas.items():
            if source in reached:
                flow = reached[source] * share
                arriving[level] = arriving.get(level, 0) + flow
                total = total + flow * 2 * table[move_key(source, level)]
        chosen = alphas[:, kept] / alphas[:, kept].sum(dim=1, keepdim=True)
        mix = chance @ chosen  # how many of each operation a cell is expected to have
        total = total + sum(share * (mix @ by_level[level]) for level, share in arriving.items())
        reached = arriving
    return total


def of_genotype(table: Table, genotype: Genotype) -> float:
    """Return the milliseconds of a genotype's cells and moves, by the table."""
    path = (0, *genotype.levels)
    moves = sum(2 * table[move_key(source, level)] for source, level in itertools.pairwise(path))
    parts = [(name, level) for level, cell in zip(genotype.levels, genotype.cells) for node in cell for name, _ in node]
    return moves + sum(table.get(operation_key(name, level), 0.0) for name, level in parts)


def _calls(config: LatencyConfig) -> dict[str, tuple[nn.Module, Tensor]]:
    """Return the parts in the form they have in inference, each with the image it is called on."""
    space, channels = config.space, widths(config.base_width, config.space.width_factors)
    size = (-(-config.height // (space.fold or 1)), -(-config.width_px // (space.fold or 1)))
    calls = {}
    for level, width in enumerate(channels):
        for name in space.operations:
            if name in KINDS:
                calls[operation_key(name, level)] = _ready(operation(name, width), width, size)
        for source in range(max(0, level - 1), min(len(channels), level + 2)):
            inputs = space.nodes * channels[source]
            move = nn.Sequential(activation(), *conv_norm(inputs, width, 1))
            calls[move_key(source, level)] = _ready(move, inputs, size)
    return calls


def _ready(part: nn.Module, channels: int, size: tuple[int, int]) -> tuple[nn.Module, Tensor]:
    whole = nn.Sequential(part).eval()
    fold_norms(whole)
    image = torch.rand(1, channels, *size).contiguous(memory_format=torch.channels_last)
    return whole.to(memory_format=torch.channels_last), image
