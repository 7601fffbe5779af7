"""A search tells of each epoch the network it would decode now, by what margins, and what that network costs."""

import math
from collections import Counter
from dataclasses import dataclass

import torch

from hinas_nb.method import decode
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.method.supernet import Supernet
from hinas_nb.speed import cost, latency


@dataclass(frozen=True)
class SearchRecord:
    """Holds the record of one epoch. Losses are means over its steps; what is decoded has the published base width."""

    epoch: int
    step: int
    weight_loss: float
    architecture_loss: float | None
    validation_psnr: float | None  # dB
    validation_ssim: float | None
    best: bool
    op_entropy: float  # nats, as the next
    width_entropy: float
    op_margin: float  # best minus second best operation weight, mean over the decoded edges
    op_margin_min: float
    input_margin_min: float | None  # the narrowest choice of a node's inputs
    width_margin: float | None  # log-probability, best to second path
    operation_counts: dict[str, int]
    skip_count: int
    latency_ms: float | None  # of the decoded cells and moves, by the table of latencies if there is one
    receptive_radius: int  # pixels that the decoded network sees to each side
    searched_share: float  # of its multiply-adds, those of cells and moves; stem and head are fixed
    genotype: str
    op_weights: list  # [layer][edge][operation]
    width_weights: list  # per layer [from, to, share]
    seconds: float
    peak_memory_mib: float


def decoded_now(net: Supernet, latencies: latency.Table | None) -> dict:
    """Return the fields of a `SearchRecord` that follow from the present alphas and betas."""
    alphas, betas = decode.tables(net)
    decision, space = decode.decide(alphas, betas, net.space), net.space
    genotype = decision.genotype
    with torch.device("meta"):
        derived = DerivedNetwork(
            genotype, space.task, None, space.width_factors, space.scale, space.residual, space.fold
        )
    operations = Counter(name for cell in genotype.cells for node in cell for name, _ in node)
    shares = [[share for a, _, share in layer if a == s] for layer in betas for s in {a for a, *_ in layer}]
    return dict(
        op_entropy=mean([_entropy(edge) for layer in alphas for edge in layer]),
        width_entropy=mean([_entropy(source) for source in shares]),
        op_margin=mean(decision.op_margins),
        op_margin_min=min(decision.op_margins),
        input_margin_min=min(decision.input_margins, default=None),
        width_margin=decision.width_margin if math.isfinite(decision.width_margin) else None,
        operation_counts=dict(sorted(operations.items())),
        skip_count=operations["skip"],
        latency_ms=latencies and latency.of_genotype(latencies, genotype),
        receptive_radius=derived.halo,
        searched_share=cost.searched_share(derived),
        genotype=genotype.to_json(),
        op_weights=alphas,
        width_weights=betas,
    )


def mean(values) -> float:
    return sum(values) / len(values)


def _entropy(shares: list[float]) -> float:
    return -sum(share * math.log(share) for share in shares if share > 0)
