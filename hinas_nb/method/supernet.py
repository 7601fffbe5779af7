"""The supernet: super-cells of several widths per layer, joined by weighted moves (section 3.2, figures 2 and 3).

Width levels 0, 1, 2, ... form a ladder; the stem stands at level 0 and a move goes to the same level or a
neighbour. Moves that would leave the ladder do not exist. Notebook `02_search_space` draws it.
"""

import itertools
from contextlib import nullcontext
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hinas_nb.method.fast import ActivatedBatchNorm2d, SuperCell, repetition
from hinas_nb.method.genotype import SLOPE, edges
from hinas_nb.method.network import CHANNELS, STEM, add_residual, folded
from hinas_nb.method.operations import activation, conv_norm, separable
from hinas_nb.method.supercell import PartialSuperCell

_HEAD_DILATION = 16
_conv_norm = partial(conv_norm, affine=False)  # batch norms here neither scale nor shift
_Move = tuple[int, int]  # (from level, to level)
WidthWeights = list[dict[_Move, Tensor]]  # per layer


class Supernet(nn.Module):
    """All networks of a search space in one; `space` is a `config.Space`.

    `architecture` owns alpha (`op_logits`) and beta (`width_logits`); every other parameter is a weight. All
    logits start equal. Images are (batch, channel, height, width) in [0, 1], of any size.
    checkpointing: keep what enters a layer only and compute the layer again in the backward pass; same numbers.
    """

    checkpointing = False
    memory_format = torch.channels_last

    def __init__(self, space):
        super().__init__()
        self.space = space
        self.scale, self.fold = space.scale or 1, space.fold or 1
        nodes, widths, channels = space.nodes, space.widths, CHANNELS[space.task]
        self.ladder = ladder(space)
        self.architecture = Architecture(space)

        self.stem1 = _activated(channels * self.fold**2, STEM, 3)
        self.stem2 = nn.Sequential(activation(), *_conv_norm(STEM, nodes * widths[0], 3))
        self.stem_input = nn.Sequential(*_conv_norm(STEM, widths[0], 3))  # layer 1's h_{l-2} at level 0
        self.layers = nn.ModuleList(
            _Layer(space, source_levels, levels) for source_levels, levels in zip(self.ladder, self.ladder[1:])
        )
        self.head = _Head(space, self.ladder[-1], channels * (self.scale * self.fold) ** 2)

    def forward(
        self,
        image: Float[Tensor, "batch channel height width"],
        op_weights: Float[Tensor, "layers edges operations"] | None = None,
        width_weights: WidthWeights | None = None,
    ) -> Float[Tensor, "batch channel height_out width_out"]:
        """Return the restored image, not clipped. Weights not given are the softmaxed logits.

        A move or an operation whose weight is exactly zero, and a cell that nothing reaches, is not computed
        (unless the weights want a gradient): one-hot weights restrict the supernet to one path, and a level the
        path does not end in sends zeros to the head.
        """
        op_weights = self.op_weights() if op_weights is None else op_weights
        width_weights = self.width_weights() if width_weights is None else width_weights
        image = image.contiguous(memory_format=self.memory_format)
        stem = self.stem1(folded(image, self.fold))
        outputs, inputs = {0: self.stem2(stem)}, {0: self.stem_input(stem)}
        for layer, alphas, betas in zip(self.layers, op_weights, width_weights):
            compute = layer.checkpointed if self.checkpointing and torch.is_grad_enabled() else layer
            outputs, inputs = compute(outputs, inputs, alphas, betas)
        # Departs: the release ends its supernet, but not the derived network, in a sigmoid; the paper has none.
        return add_residual(image, self.head(outputs), self.scale, self.space.residual, self.fold)

    def op_weights(self) -> Float[Tensor, "layers edges operations"]:
        """Return the softmaxed alphas; without layer-wise sharing the one set is repeated for every layer.

        With partial channels they are times the edges' weights, which sum to 1 over a node's inputs (PC-DARTS): an
        edge passes on, and decoding ranks, the products.
        """
        weights = torch.softmax(self.architecture.op_logits, dim=-1)
        if self.space.partial:
            inputs = [2 + node for node in range(self.space.nodes)]
            of_nodes = self.architecture.edge_logits.split(inputs, dim=-1)
            weights = weights * torch.cat([one.softmax(dim=-1) for one in of_nodes], dim=-1)[..., None]
        return weights.expand(self.space.layers, -1, -1)

    def width_weights(self) -> WidthWeights:
        """Return the softmaxed betas: per layer, the share of a level's output that goes each way; shares sum to 1."""
        result = []
        for logits, moves in zip(self.architecture.width_logits, self.moves):
            shares = [share for source in logits for share in torch.softmax(source, dim=0)]
            result.append(dict(zip(moves, shares, strict=True)))
        return result

    @property
    def moves(self) -> list[list[_Move]]:
        """Return the moves of each layer, in the order of beta."""
        return [moves(sources, levels) for sources, levels in zip(self.ladder, self.ladder[1:])]

    def network_parameters(self) -> list[nn.Parameter]:
        """Return the weights: every parameter that is not alpha or beta."""
        owned = {id(parameter) for parameter in self.architecture.parameters()}
        return [parameter for parameter in self.parameters() if id(parameter) not in owned]

    def one_hot(self, genotype) -> tuple[Tensor, WidthWeights]:
        """Return weights by which `forward` is one genotype's network. Raises ValueError for a path not in here."""
        if self.space.levels is not None and genotype.levels != self.space.levels:
            raise ValueError(f"levels must be {self.space.levels} as in this space, got {genotype.levels}")
        names, rows = list(self.space.operations), edges(self.space.nodes)
        reference = self.architecture.op_logits
        alphas = reference.new_zeros(self.space.layers, len(rows), len(names))
        for layer, cell in enumerate(genotype.cells):
            for node, inputs in enumerate(cell):
                for name, source in inputs:
                    alphas[layer, rows.index((node, source)), names.index(name)] = 1
        path = [0, *genotype.levels]
        one, zero = reference.new_ones(()), reference.new_zeros(())
        betas = [
            {move: one if move == (path[layer], path[layer + 1]) else zero for move in layer_moves}
            for layer, layer_moves in enumerate(self.moves)
        ]
        return alphas, betas


class Architecture(nn.Module):
    """Holds alpha and beta as logits, and with partial channels those of the edges; all zero at the start."""

    def __init__(self, space):
        super().__init__()
        layers = space.layers if space.layerwise else 1
        self.op_logits = nn.Parameter(torch.zeros(layers, len(edges(space.nodes)), len(space.operations)))
        if space.partial:
            self.edge_logits = nn.Parameter(torch.zeros(layers, len(edges(space.nodes))))
        steps = ladder(space)
        self.width_logits = nn.ModuleList(
            nn.ParameterList(
                nn.Parameter(torch.zeros(sum(move[0] == source for move in moves(sources, levels))))
                for source in sources
            )
            for sources, levels in itertools.pairwise(steps)
        )


def ladder(space) -> list[list[int]]:
    """Return the levels at the stem (always [0]) and at each layer."""
    if space.levels is not None:
        return [[0], *([level] for level in space.levels)]
    count = len(space.width_factors)
    return [[0], *(list(range(min(layer + 1, count))) for layer in range(1, space.layers + 1))]


def moves(sources: list[int], levels: list[int]) -> list[_Move]:
    """Return every existing move between two layers, source by source."""
    return [(source, level) for source in sources for level in levels if abs(source - level) <= 1]


class _Layer(nn.Module):
    """One layer: the moves that arrive and one cell per level (eq. 5) or per move (eq. 6)."""

    def __init__(self, space, sources: list[int], levels: list[int]):
        super().__init__()
        nodes, widths = space.nodes, space.widths
        self.levels, self.sharing, self.nodes, self.widths = levels, space.sharing, nodes, widths
        self.moves = moves(sources, levels)
        self.adapters = nn.ModuleDict(
            {_key(a, b): nn.Sequential(*_conv_norm(nodes * widths[a], widths[b], 1)) for a, b in self.moves}
        )
        # Where the previous layer has no such level, h_{l-2} comes from its nearest one (for a ladder: i - 1).
        self.nearest = {level: min(sources, key=lambda s: abs(s - level)) for level in levels if level not in sources}
        self.lifts = nn.ModuleDict(
            {
                str(level): nn.Sequential(*_conv_norm(widths[near], widths[level], 1))
                for level, near in self.nearest.items()
            }
        )
        keys = [str(level) for level in levels] if space.sharing else [_key(*move) for move in self.moves]
        # `supercell.SuperCell` takes the same arguments and gives the same numbers, more slowly.
        made = partial(PartialSuperCell, parts=space.partial) if space.partial else SuperCell
        self.cells = nn.ModuleDict(
            {key: made(nodes, widths[int(key.split("_")[-1])], space.operations) for key in keys}
        )

    def forward(self, outputs: dict, inputs: dict, alphas: Tensor, betas: dict) -> tuple[dict, dict]:
        """Return this layer's cell outputs and summed inputs per level; outputs, inputs: the previous layer's."""
        results, sums = {}, {}
        for level in self.levels:
            arriving = [move for move in self.moves if move[1] == level and move[0] in outputs and _used(betas[move])]
            if not arriving:
                continue
            features = {move: self.adapters[_key(*move)](outputs[move[0]]) for move in arriving}
            summed = sum(betas[move] * feature for move, feature in features.items())
            before = self._before(level, inputs, summed)
            if self.sharing:
                results[level] = self.cells[str(level)](summed, before, alphas)
            else:
                results[level] = sum(
                    betas[move] * self.cells[_key(*move)](feature, before, alphas) for move, feature in features.items()
                )
            sums[level] = summed
        return results, sums

    def checkpointed(self, *given) -> tuple[dict, dict]:
        """Return what `forward` does; kept is what enters, and the backward pass computes the rest again."""
        around = lambda: (nullcontext(), repetition(self))  # the first time, and the second  # noqa: E731
        return checkpoint(self, *given, use_reentrant=False, context_fn=around, preserve_rng_state=False)

    def _before(self, level: int, inputs: dict, like: Tensor) -> Tensor:
        """Return h_{l-2} at this level; zeros where a one-hot path left the previous layer's level empty."""
        if level not in self.nearest:
            return inputs[level] if level in inputs else torch.zeros_like(like)
        near = self.nearest[level]
        return self.lifts[str(level)](inputs[near]) if near in inputs else torch.zeros_like(like)


class _Head(nn.Module):
    """Restores from all levels: two branches each, then two convolutions (as released; the paper: "two layers").

    The branches take a cell's output as it is: no activation stands in front of them.
    """

    def __init__(self, space, levels: list[int], outputs: int):
        super().__init__()
        width = space.nodes * space.widths[0]
        self.width, self.levels = width, levels
        sizes = {level: space.nodes * space.widths[level] for level in levels}
        self.wide = nn.ModuleDict({str(i): separable(size, width, _HEAD_DILATION) for i, size in sizes.items()})
        self.point = nn.ModuleDict({str(i): _activated(size, width, 1) for i, size in sizes.items()})
        self.merge = nn.ModuleDict({str(i): _activated(2 * width, width, 1) for i in sizes})
        total = width * len(levels)
        self.refine = _activated(total, total, 3)
        self.output = nn.Conv2d(total, outputs, 3, padding=1)

    def forward(self, features: dict[int, Tensor]) -> Tensor:
        merged = {level: self._level(str(level), feature) for level, feature in features.items()}
        empty = torch.zeros_like(next(iter(merged.values())))
        return self.output(self.refine(torch.cat([merged.get(level, empty) for level in self.levels], dim=1)))

    def _level(self, key: str, feature: Tensor) -> Tensor:
        convolution, norm = self.merge[key]
        # Each half of the kernel by itself: their inputs need not be copied into one tensor.
        wide, point = (half.contiguous() for half in convolution.weight.split(self.width, dim=1))
        return norm(F.conv2d(self.wide[key](feature), wide) + F.conv2d(self.point[key](feature), point))


def _activated(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(_conv_norm(inputs, outputs, kernel)[0], ActivatedBatchNorm2d(outputs, SLOPE))


def _key(source: int, level: int) -> str:
    return f"{source}_{level}"


def _used(weight: Tensor) -> bool:
    return weight.requires_grad or float(weight) != 0
