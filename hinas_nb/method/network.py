"""The derived network: what a genotype becomes once it is trained from scratch (figures 2 and 4).

One class for both tasks; the task is its head. Layers follow the released implementation, whose parameter counts
are those the paper publishes. Notebook `05_train_and_restore` trains one.
"""

import copy
import functools
import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Self

import safetensors
import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from hinas_nb.method.genotype import KINDS, CellPlan, Genotype, widths
from hinas_nb.method.operations import activation, conv_norm, operation, pointwise, separable

STEM, HEAD, LOW_LEVEL = 64, 128, 48  # channels, as released
_BASE_WIDTH = {"denoise": 20, "sr": 16}
CHANNELS = {"denoise": 1, "sr": 3}
SR_DILATIONS = (2, 4, 6)
_SWITCHES = {"fold": 1, "noise_map": False, "norms": True}  # as published; a weights file names the others only

_Images = Float[Tensor, "batch channel height width"]
_Restored = Float[Tensor, "batch channel height_out width_out"]


class Cell(nn.Module):
    """One decoded cell: every node adds two operations, the output stacks the nodes."""

    def __init__(self, plan: CellPlan, width: int):
        super().__init__()
        self.plan = plan
        self.operations = nn.ModuleList(nn.ModuleList(operation(name, width) for name, _ in node) for node in plan)

    def forward(self, previous: Tensor, before: Tensor) -> Float[Tensor, "batch nodes*width height width_px"]:
        """Return the nodes, stacked; previous, before: h_{l-1} and h_{l-2} at the cell's width."""
        features = [previous, before]
        for node, (first, second) in zip(self.plan, self.operations):
            features.append(first(features[node[0][1]]) + second(features[node[1][1]]))
        return torch.cat(features[2:], dim=1)

    def radius(self, previous: int, before: int) -> int:
        """Return the receptive-field radius of the output, given those of the inputs."""
        radii = [previous, before]
        for node in self.plan:
            radii.append(max(radii[source] + (KINDS[name].radius if name in KINDS else 0) for name, source in node))
        return max(radii[2:])


class ImageNetwork(nn.Module):
    """Restores images (batch, channel, height, width) in [0, 1] of any size, for sr `scale` times larger; not clipped.

    noise_map: images have a second channel, sigma / 255 at every pixel (see `data.with_noise_map`).
    trained: of a loaded network, the metadata of its weights file.
    """

    task, scale, noise_map = "denoise", 1, False

    def __init__(self):
        super().__init__()
        self.trained: dict = {}

    def folded(self) -> Self:
        """Return a copy for inference, equal to 1e-5: batch norms folded into convolutions, channels-last."""
        twin = copy.deepcopy(self).eval()
        fold_norms(twin)
        return twin.to(memory_format=torch.channels_last)

    @property
    def channels(self) -> int:
        """Return the channels of an input image, the noise map among them."""
        return CHANNELS[self.task] + self.noise_map

    @property
    def parameters_live(self) -> int:
        """Count the trainable parameters of everything that is used."""
        return sum(parameter.numel() for parameter in self.parameters())


class DerivedNetwork(ImageNetwork):
    """Is the network of a genotype.

    task: "denoise" (1 channel) or "sr" (3 channels, output `scale` times larger).
    base_width: channels of a node at level 0; 20 for denoising, 16 for super-resolution unless given.
    width_factors: width of level i is `base_width * width_factors[i]`, rounded half up.
    residual: the network's output is added to the (bicubically up-sampled) input (section 3.2).
    fold: denoising only; so many x so many pixels enter as the channels of one, and the output is unfolded again:
        everything between costs fold^2 times less. None: none, as published.
    noise_map: denoising only.
    norms: off, convolutions have biases and no batch norms follow them, which trains faster. Raises ValueError.
    """

    def __init__(
        self,
        genotype: Genotype,
        task: str = "denoise",
        base_width: int | None = None,
        width_factors: tuple[float, ...] = (1, 1.5, 2),
        scale: int | None = None,
        residual: bool = True,
        fold: int | None = None,
        noise_map: bool = False,
        norms: bool = True,
    ):
        super().__init__()
        if task not in CHANNELS:
            raise ValueError(f"task must be one of {' '.join(CHANNELS)}, got {task!r}")
        if scale not in ((2, 3, 4) if task == "sr" else (None,)) or isinstance(scale, float):
            raise ValueError(f"scale must be 2, 3 or 4 for sr and None for denoise, got {scale!r} for {task}")
        if task != "denoise" and (fold is not None or noise_map):
            raise ValueError(f"fold and noise_map belong to denoise, got {fold} and {noise_map} for {task}")
        if fold not in (None, 2, 4):
            raise ValueError(f"fold must be 2, 4 or None, got {fold!r}")
        if max(genotype.levels) >= len(width_factors):
            raise ValueError(f"levels must be below {len(width_factors)}, got {genotype.levels}")
        if base_width is not None and (type(base_width) is not int or base_width < 1):
            raise ValueError(f"base_width must be a whole number of at least 1, got {base_width!r}")
        self.genotype, self.task, self.residual = genotype, task, residual
        self.scale, self.fold, self.noise_map, self.norms = scale or 1, fold or 1, noise_map, norms
        self.base_width = _BASE_WIDTH[task] if base_width is None else base_width
        self.width_factors = tuple(width_factors)
        self.level_widths = widths(self.base_width, self.width_factors)
        layer_widths = [self.level_widths[level] for level in genotype.levels]
        if min(self.level_widths) < 1:
            raise ValueError(f"width_factors must leave at least 1 channel of {self.base_width}, got {width_factors}")
        nodes, channels = genotype.nodes, CHANNELS[task]

        entering = channels * self.fold**2 + noise_map
        self.stem1 = nn.Sequential(*conv_norm(entering, STEM, 3), activation(in_place=True))
        self.stem2 = nn.Sequential(activation(), *conv_norm(STEM, STEM, 3))
        outputs = [STEM, STEM, *(nodes * width for width in layer_widths)]  # channels: stem 1, stem 2, layers
        self.adapters = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(activation(), *conv_norm(source, width, 1))
                for source in (outputs[layer + 1], outputs[layer])
            )
            for layer, width in enumerate(layer_widths)
        )
        self.cells = nn.ModuleList(Cell(plan, width) for plan, width in zip(genotype.cells, layer_widths))

        self.low_layer = _low_level_layer(genotype.levels)
        if self.low_layer is None:
            low = nodes * self.level_widths[0]
            self.reduce = nn.Sequential(*conv_norm(STEM, low, 3, affine=False))
        else:
            low = outputs[self.low_layer + 2]
        self.low = pointwise(low, LOW_LEVEL)
        self.high_act = activation()
        if task == "denoise":
            self.high = nn.ModuleList([pointwise(outputs[-1], HEAD)])
            self.merge = nn.Identity()
        else:
            self.high = nn.ModuleList(
                [*(separable(outputs[-1], HEAD, d) for d in SR_DILATIONS), pointwise(outputs[-1], HEAD)]
            )
            self.merge = pointwise(4 * HEAD, HEAD)
        self.refine = nn.Sequential(separable(LOW_LEVEL + HEAD, HEAD), separable(HEAD, HEAD))
        self.output = nn.Conv2d(HEAD, channels * (self.scale * self.fold) ** 2, 3, padding=1)
        if not norms:
            fold_norms(self.eval())
            self.train()

    def forward(self, image: Float[Tensor, "batch entering height width"]) -> _Restored:
        """Return the restored image, not clipped. Raises ValueError for another number of channels."""
        if image.shape[1] != self.channels:
            raise ValueError(f"image must have {self.channels} channels for {self.task}, got {image.shape[1]}")
        picture = image[:, : CHANNELS[self.task]]
        entering = folded(picture, self.fold)
        if self.noise_map:
            entering = torch.cat([entering, image[:, -1:, :: self.fold, :: self.fold]], dim=1)
        stem1 = self.stem1(entering)
        features = [stem1, self.stem2(stem1)]
        for (adapt_previous, adapt_before), cell in zip(self.adapters, self.cells):
            features.append(cell(adapt_previous(features[-1]), adapt_before(features[-2])))
        low = self.reduce(features[1]) if self.low_layer is None else features[self.low_layer + 2]
        high = self.high_act(features[-1])
        high = self.merge(torch.cat([branch(high) for branch in self.high], dim=1))
        result = self.output(self.refine(torch.cat([self.low(low), high], dim=1)))
        return add_residual(picture, result, self.scale, self.residual, self.fold)

    @property
    def halo(self) -> int:
        """Return the receptive-field radius in input pixels: what a tile must see beyond its own."""
        radii = [1, 2]
        for cell in self.cells:
            radii.append(cell.radius(radii[-1], radii[-2]))
        low = radii[1] + 1 if self.low_layer is None else radii[self.low_layer + 2]
        high = radii[-1] + (max(SR_DILATIONS) if self.task == "sr" else 0)
        bicubic = 2 if self.task == "sr" else 0
        radius = max(max(low, high) + 3, bicubic)  # two separable 3x3 and the last convolution
        return radius * self.fold + self.fold - 1

    @property
    def parameters_released(self) -> int:
        """Count as the released network does, which keeps the reduce convolution where it is dead."""
        low = self.genotype.nodes * self.level_widths[0]
        return self.parameters_live + (0 if self.low_layer is None else STEM * low * 9)

    def metadata(self) -> dict:
        """Return all that `load` needs to build this network again, JSON-able; switches only where not as published."""
        switches = {name: getattr(self, name) for name in _SWITCHES}
        published = {
            "task": self.task,
            "genotype": json.loads(self.genotype.to_json(self.task)),
            "base_width": self.base_width,
            "width_factors": list(self.width_factors),
            "scale": self.scale if self.task == "sr" else None,
            "residual": self.residual,
        }
        return published | {name: value for name, value in switches.items() if value != _SWITCHES[name]}


def load(path: Path, device: torch.device | str = "cpu") -> DerivedNetwork:
    """Read the network of a weights file (safetensors with a `hinas` entry in its metadata), in evaluation mode.

    Raises ValueError with one line when the file is corrupt or not ours. `network.trained` holds the file's
    metadata (task, sigma, scale, ...). `comparators.load` reads those of other networks, too.
    """
    return load_as(rebuilt, path, device)


def load_as(rebuild: Callable[[dict], Any], path: Path, device: torch.device | str = "cpu") -> Any:
    """Return `rebuild(metadata)` with the weights of the file; see `load`.

    It is first built without memory: a small file can declare a network that fits nowhere.
    """
    if path.exists() and not path.is_file():
        raise ValueError(f"{path} must be a readable weights file, got: no regular file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["hinas"])
        check_trained(metadata)
        weights = load_file(path)
        with torch.device("meta"):
            _check_fits(weights, rebuild(metadata).state_dict())
        network = rebuild(metadata)
        network.load_state_dict(weights)
    except OSError as error:
        raise ValueError(f"{path} must be a readable weights file, got: {error.strerror or error}") from None
    except Exception as error:  # what a file declares may go wrong anywhere while a network is built from it
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise ValueError(f"{path} must be weights written by a hinas-nb training Run, got: {reason}") from None
    network.trained = metadata
    return network.to(device).eval()


def check_trained(metadata: dict) -> None:
    """Raise ValueError where a file says it was trained for a noise or a scale that does not exist."""
    bounds, sigma, scale = metadata.get("sigma_range"), metadata.get("sigma"), metadata.get("scale")
    if bounds:
        sigmas = bounds if isinstance(bounds, list) and len(bounds) == 2 else [math.nan]
    else:
        sigmas = [] if sigma is None else [sigma]
    for sigma in sigmas:
        if not (isinstance(sigma, (int, float)) and 0 <= sigma <= 255):
            raise ValueError(f"sigma must be in [0, 255], got {str(sigma)[:20]}")
    if sigmas != sorted(sigmas):
        raise ValueError(f"sigma_range must be from the lowest to the highest, got {sigmas}")
    if not isinstance(metadata.get("residual", True), bool):
        raise ValueError(f"residual must be true or false, got {str(metadata['residual'])[:20]}")
    if scale not in (None, 2, 3, 4):
        raise ValueError(f"scale must be 2, 3 or 4, got {str(scale)[:20]}")


def _check_fits(weights: dict[str, Tensor], network: dict[str, Tensor]) -> None:
    """Raise ValueError unless names, shapes and kinds of numbers are those of the network; nothing is cast."""
    if weights.keys() != network.keys():
        raise ValueError(f"weights of another network, {sorted(weights.keys() ^ network.keys())[0]} is in one only")
    for name, tensor in network.items():
        found = weights[name]
        if (found.dtype, found.shape) != (tensor.dtype, tensor.shape):
            raise ValueError(
                f"{name} must be {tensor.dtype} {tuple(tensor.shape)}, got {found.dtype} {tuple(found.shape)}"
            )


def rebuilt(metadata: dict) -> DerivedNetwork:
    """Build the derived network that `metadata()` describes, untrained. Raises ValueError, KeyError, TypeError."""
    if "comparator" in metadata:
        raise ValueError(f"{metadata['comparator']}, which has no genotype")
    genotype = Genotype.from_json(json.dumps(metadata["genotype"]), metadata["task"])
    published = {name: metadata[name] for name in ("task", "base_width", "width_factors", "scale", "residual")}
    switches = {name: metadata[name] for name in _SWITCHES if name in metadata}
    return DerivedNetwork(genotype, **published, **switches)


def fold_norms(network: nn.Module) -> None:
    """Fold every batch norm that follows a convolution in a `Sequential` into it, in evaluation mode."""
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            if isinstance(sequence[index], nn.Conv2d) and isinstance(sequence[index + 1], nn.BatchNorm2d):
                sequence[index] = fuse_conv_bn_eval(sequence[index], sequence[index + 1])
                sequence[index + 1] = nn.Identity()


def folded(image: _Images, fold: int) -> Float[Tensor, "batch folded rows columns"]:
    """Return every fold x fold pixels as channels of one; the last row and column repeat where needed."""
    if fold == 1:
        return image
    padded = F.pad(image, (0, fold - 1, 0, fold - 1), mode="replicate")
    windows = padded.unfold(2, fold, fold).unfold(3, fold, fold)  # (batch, channel, rows, columns, fold, fold)
    return windows.permute(0, 1, 4, 5, 2, 3).flatten(1, 3)


def add_residual(image: Tensor, result: Tensor, scale: int, residual: bool, fold: int = 1) -> Tensor:
    """Return figure 4's f_net(x) = f_res(x) + f_skip(x); pixel shuffle enlarges `result` and undoes `folded`."""
    if scale * fold > 1:
        result = F.pixel_shuffle(result, scale * fold)[..., : image.shape[-2] * scale, : image.shape[-1] * scale]
    if not residual:
        return result
    return (upsample(image, scale) if scale > 1 else image) + result


def upsample(image: _Images, scale: int) -> _Restored:
    """Return torch's bicubic up-sampling (a = -0.75, edge pixels repeat), computed as one small kernel per phase.

    `interpolate` computes its coordinates in float32: at scale 3 they drift with the distance from the corner, so
    tiles of a large image would not match the whole.
    """
    kernels = image.new_tensor(_phase_kernels(scale)).view(-1, 1, 5, 5).repeat(image.shape[1], 1, 1, 1)
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")
    with full_precision(image):  # the skip keeps its precision
        return F.pixel_shuffle(F.conv2d(padded, kernels, groups=image.shape[1]), scale)


def full_precision(image: Tensor) -> AbstractContextManager:
    """Return a context with autocast off; the meta device, on which operations are counted, has none to switch."""
    return nullcontext() if image.is_meta else torch.autocast(image.device.type, enabled=False)


@functools.cache
def _phase_kernels(scale: int) -> list[float]:
    """Return the weights of the 5 x 5 input pixels around, for each of scale x scale output pixels, row by row."""
    taps = []
    for phase in range(scale):
        position = (phase + 0.5) / scale - 0.5  # of the output pixel, from the centre of its input pixel
        taps.append([cubic(abs(tap - 2 - position)) for tap in range(5)])
    return [a * b for row in taps for column in taps for a in row for b in column]


def cubic(distance: float, a: float = -0.75) -> float:
    """Return the weight of bicubic interpolation at a distance in pixels."""
    if distance >= 2:
        return 0.0
    if distance > 1:
        return a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return (a + 2) * distance**3 - (a + 3) * distance**2 + 1


def _low_level_layer(levels: tuple[int, ...]) -> int | None:
    """Return the 0-based last layer at level 0, or None if that is the final layer or there is none."""
    at_zero = [layer for layer, level in enumerate(levels) if level == 0]
    return at_zero[-1] if at_zero and at_zero[-1] != len(levels) - 1 else None
