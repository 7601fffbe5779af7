"""The method as numbers: what each part of it gives for inputs and weights drawn from seeds, in double precision.

They were equal to independent code when they were frozen; here they show that a later change moved the method. Where
that is meant, freeze them anew by `python tests/test_frozen_numbers.py` and say so in the changelog, with the
revision raised that it concerns. That super-cells equal the plain sum over edges is tested elsewhere.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import torch

from hinas_nb import data
from hinas_nb.experiment.config import Space
from hinas_nb.method.decode import decide
from hinas_nb.method.fast import SuperCell
from hinas_nb.method.genotype import Genotype, edges, width_paths
from hinas_nb.method.losses import restoration_loss
from hinas_nb.method.network import DerivedNetwork
from hinas_nb.method.supernet import Supernet, moves
from hinas_nb.scoring import metrics, protocol
from hinas_nb.scoring.evaluate import evaluate

FROZEN = Path(__file__).parent / "data" / "frozen_numbers.json"
#: Relative. Rounding in float64 is 1e-16; sums of some thousand terms in another order, as on another processor, and a
#: dozen batch norms carry it to about 1e-13. A change of the method is far larger.
TOLERANCE = 1e-10
#: Every operation and every source; levels come from the path.
CELL = (
    (("conv_3", 0), ("sep_3", 1)),
    (("dil_3", 0), ("skip", 2)),
    (("sep_5", 1), ("dil_5", 3)),
    (("skip", 2), ("conv_3", 4)),
)


def draws(name: str, *shape: int) -> torch.Tensor:
    """Normal draws of this name alone: neither the order in which modules are built nor another one moves them."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:6], "big")
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def picture(name: str, *shape: int) -> torch.Tensor:
    """Smooth values in [0, 1] with some noise."""
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float64) for side in shape[-2:]), indexing="ij")
    return (0.5 + 0.3 * torch.sin(rows / 5 + columns / 7) + 0.1 * draws(name, *shape)).clamp(0, 1)


@torch.no_grad()
def filled(net: torch.nn.Module) -> torch.nn.Module:
    """In float64, each parameter and running statistic drawn by its name; a scale or a variance lies near 1."""
    net = net.double()
    for name, values in [*net.named_parameters(), *net.named_buffers()]:
        if not values.is_floating_point():
            continue
        drawn = draws(name, *values.shape)
        if name.endswith("running_var"):
            values.copy_(torch.exp(0.2 * drawn))
        elif values.ndim == 1 and name.endswith("weight"):
            values.copy_(1 + 0.2 * drawn)
        elif values.ndim > 1:  # kernels, so that features keep their size from layer to layer
            values.copy_(drawn * math.sqrt(2 / values[0].numel()))
        else:
            values.copy_(0.2 * drawn)
    return net


def told(values: torch.Tensor) -> list[float]:
    """Sums of magnitudes and of squares, and seven values from everywhere."""
    flat = values.detach().flatten()
    places = [round(step * (len(flat) - 1) / 6) for step in range(7)]
    return [float(flat.abs().sum()), float(flat.square().sum()), *flat[places].tolist()]


def norm(gradients) -> float:
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None))


def supernet(**space) -> list[float]:
    """What it restores; norms of the gradients of a mean square by alphas, by betas and by all weights."""
    net = filled(Supernet(Space(base_width=3, **space)))
    output = net(picture("image", 2, 3 if net.space.task == "sr" else 1, 13, 10))
    output.square().mean().backward()
    owners = net.architecture.op_logits, net.architecture.width_logits.parameters(), net.network_parameters()
    gradients = [[one.grad for one in ([owner] if isinstance(owner, torch.Tensor) else owner)] for owner in owners]
    return told(output) + [norm(some) for some in gradients]


def derived(task: str, levels: tuple[int, ...], scale: int | None = None) -> list[float]:
    """What it restores, by running statistics and by those of the batch."""
    nodes = {"denoise": 4, "sr": 3}[task]
    genotype = Genotype(levels, (CELL[:nodes],) * len(levels))
    net = filled(DerivedNetwork(genotype, task, 6, scale=scale))
    image = picture("image", 2, 3 if task == "sr" else 1, 11, 12)
    with torch.no_grad():
        return told(net.eval()(image)) + told(net.train()(image))


def super_cell(*operations: str) -> list[float]:
    """Its output; norms of the gradients by both inputs, the alphas and all kernels."""
    cell = filled(SuperCell(3, 5, operations))
    features = [draws(name, 2, 5, 9, 8).requires_grad_() for name in ("previous", "before")]
    alphas = torch.softmax(draws("alphas", len(edges(3)), len(operations)), dim=1).requires_grad_()
    output = cell(*features, alphas)
    output.square().mean().backward()
    return told(output) + [norm([one.grad]) for one in (*features, alphas)] + [norm(p.grad for p in cell.parameters())]


def decoding(task: str) -> list[float]:
    """200 random draws decoded: a checksum of the genotypes (48 bits), and the sums of their margins."""
    space, text, margins = Space(task=task), "", [0.0, 0.0, 0.0]
    levels = [[0], *(sorted({path[layer] for path in width_paths(space.layers)}) for layer in range(space.layers))]
    for number in range(200):
        shape = space.layers, len(edges(space.nodes)), len(space.operations)
        alphas = torch.softmax(draws(f"alphas {number}", *shape), dim=-1).tolist()
        betas = []
        for layer, (sources, targets) in enumerate(itertools.pairwise(levels)):
            ways = moves(sources, targets)
            shares = torch.softmax(draws(f"betas {number} {layer}", len(ways)), dim=0).tolist()
            betas.append([[*way, share] for way, share in zip(ways, shares)])
        found = decide(alphas, betas, space)
        text += found.genotype.to_json()
        ours = sum(found.op_margins), sum(found.input_margins), found.width_margin
        margins = [before + more for before, more in zip(margins, ours)]
    return [float(int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)), *margins]


def loss(fidelity: str, ssim_weight: float) -> list[float]:
    estimate = (picture("estimate", 2, 3, 24, 21) + 0.01).requires_grad_()
    value = restoration_loss(estimate, picture("truth", 2, 3, 24, 21), fidelity, ssim_weight)
    value.backward()
    return [value.item(), *(1000 * number for number in told(estimate.grad))]


def scores(name: str, channels: int) -> list[float]:
    """PSNR (dB) and SSIM of two images under a preset."""
    scale = {"scale": 3} if name.startswith("sr") else {}
    shape = 2, channels, 41, 38
    pair = picture("estimate", *shape) * 1.1 - 0.05, picture("truth", *shape)
    chosen = protocol.get(name, **scale)
    return [*metrics.psnr(*pair, chosen).tolist(), *metrics.ssim(*pair, chosen).tolist()]


def tiles_and_averaging() -> list[float]:
    """The released scoring of what a network that only clips leaves of the noise: PSNR (dB), SSIM, the restoration.

    The noise is drawn in float64 and rounded: float32 draws differ in the last bit between processors, and the
    mean over tiles, of at most four float32 numbers in a fixed order, does not.
    """
    drawn = lambda clean, sigma, generator: (  # noqa: E731
        clean.double() + torch.randn(clean.shape, generator=generator, dtype=torch.float64) * (sigma / 255)
    ).float()
    grey = (picture("photograph", 1, 100, 150) * 255).round().to(torch.uint8)
    with mock.patch.object(data, "add_noise", drawn):
        images = data.ImageSet("made up", "all", ("one",), (grey,))
        (score,) = evaluate(lambda noisy: noisy.clamp(0, 1), images, protocol.get("denoise-released", sigma=50))
    return [score.psnr, score.ssim, *told(score.restored.double())]


def bicubic(scale: float) -> list[float]:
    return told(data.bicubic(picture("image", 3, 13, 17), scale, clip=True))  # as baselines have it


QUANTITIES: dict[str, Callable[[], list[float]]] = {
    "supernet, denoise": lambda: supernet(nodes=3),
    "supernet, denoise, no sharing": lambda: supernet(nodes=2, sharing=False),
    "supernet, denoise, no LWAS, no residual": lambda: supernet(nodes=2, layerwise=False, residual=False),
    "supernet, sr": lambda: supernet(task="sr"),
    "supernet, sr x2, no sharing": lambda: supernet(task="sr", scale=2, nodes=2, sharing=False),
    **{
        f"derived, denoise {levels}": lambda levels=levels: derived("denoise", levels)
        for levels in ((0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 2), (1, 1, 2), (1, 2, 2))
    },
    **{
        f"derived, sr x{scale} {levels}": lambda levels=levels, scale=scale: derived("sr", levels, scale)
        for levels, scale in (((0, 1), 2), ((0, 0), 3), ((1, 2), 4))
    },
    "super-cell": lambda: super_cell("conv_3", "sep_3", "sep_5", "dil_3", "dil_5", "skip", "none"),
    "super-cell, CVPR 2020": lambda: super_cell("conv_3", "sep_3", "dil_3", "def_3", "skip", "none"),
    "decoding, denoise": lambda: decoding("denoise"),
    "decoding, sr": lambda: decoding("sr"),
    "loss, MSE": lambda: loss("mse", 0.0),
    "loss, MSE + 0.6 log-SSIM": lambda: loss("mse", 0.6),
    "loss, L1 + 0.6 log-SSIM": lambda: loss("l1", 0.6),
    "scores, denoise-standard": lambda: scores("denoise-standard", 1),
    "scores, denoise-released": lambda: scores("denoise-released", 1),
    "scores, sr-standard": lambda: scores("sr-standard", 3),
    "scores, sr-standard, grey": lambda: scores("sr-standard", 1),
    "scores, sr-released": lambda: scores("sr-released", 3),
    "tiles and averaging": tiles_and_averaging,
    **{f"bicubic x{scale:.3g}": lambda scale=scale: bicubic(scale) for scale in (2, 3, 4, 1 / 2, 1 / 3, 1 / 4)},
}


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_quantity_is_the_frozen_one(name):
    frozen, now = json.loads(FROZEN.read_text())[name], QUANTITIES[name]()
    assert now == pytest.approx(frozen, rel=TOLERANCE, abs=1e-12)


def test_nothing_else_is_frozen():
    assert list(json.loads(FROZEN.read_text())) == list(QUANTITIES)


def freeze() -> None:
    """Write the numbers as they are now."""
    torch.set_num_threads(1)
    lines = [f" {json.dumps(name)}: {json.dumps(quantity())}" for name, quantity in QUANTITIES.items()]
    FROZEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    freeze()
