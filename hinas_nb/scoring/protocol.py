"""All that turns a photograph into a degraded/clean pair, and a restored image into numbers (section 4.1).

A PSNR means nothing without it: which noise, whole image or tiles, which colour channel, which border, which
SSIM. The fields' defaults are the field's standards; notebook `01_data_and_protocols` shows them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from pydantic import Field
from torch import Tensor

from hinas_nb import data
from hinas_nb.settings import Config, ConfigError

_Natural = Annotated[int, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Image = Float[Tensor, "1 channel height width"]
_Degraded = Float[Tensor, "1 in_channel in_height in_width"]
_Clean = Float[Tensor, "1 file_channel out_height out_width"]

#: What the presets change from the standard of their task (facts and their sources: notebook 01).
PRESETS = {
    "denoise-standard": {"task": "denoise"},
    # As released: the inference settings are missing; 64 px are inferred, the code's default is 128.
    "denoise-released": {
        "task": "denoise", "tile": 64, "fresh_noise": True, "round_output": False, "ssim": "zero-padded",
        "grey": "pillow",
    },
    "sr-standard": {"task": "sr"},
    # As released: the weights of red and blue are swapped.
    "sr-released": {
        "task": "sr", "colour": "y-swapped", "border": 0, "round_output": False, "ssim": "zero-padded"
    },
}  # fmt: skip
#: Switches that only one task has.
ONLY = {
    "denoise": ("sigma", "grey", "half_size", "noisy_range", "tile", "tile_step", "fresh_noise", "averaged"),
    "sr": ("scale", "downscale", "colour"),
}


def get(name: str, sigma: float | None = None, scale: int | None = None) -> Protocol:
    """Return a preset by name, for sigma (0-255 grey levels, 50 unless given) or a scale. Raises ConfigError."""
    if name not in PRESETS:
        raise ConfigError(f"protocol must be one of {' '.join(PRESETS)}, got {name!r}")
    preset = PRESETS[name]
    if sigma is None and preset["task"] == "denoise":
        sigma = 50.0
    return Protocol(**preset, **{k: v for k, v in (("sigma", sigma), ("scale", scale)) if v is not None})


class Protocol(Config):
    """Says how images are degraded and scored; `describe()` says what departs from the standard of the task."""

    task: Literal["denoise", "sr"]
    sigma: _Positive | None = None  # denoise: standard deviation of the noise, 0-255 grey levels
    scale: Literal[2, 3, 4] | None = None  # sr
    seed: _Natural = 0  # of the noise
    grey: Literal["pillow"] | None = None  # denoise: None is MATLAB's rgb2gray, pillow its mode L (some pixels by 1)
    half_size: bool = False  # denoise: shrink the photograph by 2 first, as RED did with BSD200
    noisy_range: Literal["clipped", "8-bit"] | None = None  # denoise: None leaves the noisy image as floats
    tile: Annotated[int, Field(ge=8)] | None = None  # denoise: pixels; None restores the whole image at once
    tile_step: Annotated[int, Field(ge=1)] | None = None  # pixels from tile to tile; None: 3/4 of the tile
    fresh_noise: bool = False  # each tile draws its own noise; off: tiles are cut from one noisy image
    averaged: Annotated[int, Field(ge=2)] | None = None  # denoise: mean of so many whole restorations, own noise each
    downscale: Literal["matlab", "pillow", "torch", "torch-aliased"] = "matlab"  # sr: bicubic, 8-bit result
    colour: Literal["y", "y-swapped", "rgb"] = "y"  # sr: what is scored; BT.601 Y of 16-235
    border: _Natural | None = None  # pixels not scored at each edge; None: scale (sr) or 0 (denoise)
    round_output: bool = True  # score 8-bit images (and 8-bit Y); off: floats, clipped only
    ssim: Literal["valid", "zero-padded", "uniform"] = "valid"  # 11x11 Gaussian; uniform: 7x7, valid

    def _rules(self):
        for task, fields in ONLY.items():
            for field in fields if task != self.task else ():
                value = getattr(self, field)
                usual = value == type(self).model_fields[field].default
                yield usual, f"{field} belongs to task {task}", f"{value} for {self.task}"
        yield self.task != "denoise" or self.sigma, "sigma must be above 0 (grey levels) for task denoise", self.sigma
        yield self.task != "sr" or self.scale, "scale must be 2, 3 or 4 for task sr", self.scale
        tiled = self.tile or not (self.fresh_noise or self.tile_step)
        yield tiled, "fresh_noise and tile_step need a tile size", "tile None"
        if self.tile:
            yield (self.tile_step or 1) <= self.tile, f"tile_step must be in [1, tile={self.tile}]", self.tile_step
            given = f"{self.averaged} with tiles of {self.tile} px"
            yield not self.averaged, "averaged belongs to whole images", given

    @property
    def name(self) -> str:
        """Return the preset's name (whatever its sigma, scale and seed), else the standard's with `+`."""
        for name, preset in PRESETS.items():
            if preset["task"] == self.task and self._switches() == get(name, self.sigma, self.scale)._switches():
                return name
        return f"{self.task}-standard+"

    @property
    def scored_border(self) -> int:
        """Return the pixels left out at each edge."""
        return self.border if self.border is not None else (self.scale or 0)

    def describe(self) -> str:
        """Return one line for tables: all that departs from the standard of the task, or `standard`."""
        departures = [
            (self.grey, "grey by Pillow"),
            (self.half_size, "photographs at half size"),
            (self.noisy_range, f"noisy image {self.noisy_range}"),
            (self.tile, f"tiles of {self.tile} px every {self._step} px, overlaps averaged"),
            (self.fresh_noise, "fresh noise for each tile"),
            (self.tile and not self.fresh_noise, "tiles cut from one noisy image"),
            (self.averaged, f"mean of {self.averaged} restorations, each of its own noise"),
            (self.downscale != "matlab", f"low resolution by {self.downscale} bicubic"),
            (self.colour == "y-swapped", "Y with the weights of red and blue swapped"),
            (self.colour == "rgb", "scored on RGB"),
            (self.border not in (None, self.scale or 0), f"border of {self.border} px left out"),
            (not self.round_output, "output not rounded"),
            (self.ssim == "zero-padded", "SSIM zero-padded"),
            (self.ssim == "uniform", "SSIM with a 7x7 uniform window"),
        ]
        return ", ".join(text for departs, text in departures if departs) or "standard"

    def pair(self, image: UInt8[Tensor, "channel height width"], name: str) -> tuple[_Degraded, _Clean]:
        """Return the degraded and the clean image, float32 on 0-1, as the network and the metrics take them.

        Denoising: both one grey channel; the same noise in every process and run, drawn from the seed, `name`
        and sigma. Super-resolution: the degraded image has 3 channels (a grey file: three equal ones); the
        clean one, cut to a multiple of the scale, keeps the channels of its file: metrics score a
        single-channel file on its grey values, but a grey page stored as RGB (Manga109) on Y, as published.
        """
        if image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] not in (1, 3):
            raise ConfigError(f"image {name} must be uint8 of 1 or 3 channels, got {image.dtype} {tuple(image.shape)}")
        if self.task == "denoise":
            grey = _pillow_grey(image) if self.grey == "pillow" else data.grey(image)
            clean = (data.bicubic(grey, 0.5) if self.half_size else grey)[None].float() / 255
            return self.noisy(clean, name), clean
        if min(image.shape[-2:]) < self.scale:
            size = tuple(image.shape[-2:])
            raise ConfigError(f"image {name} must be at least scale={self.scale} pixels a side, got {size}")
        clean = data.modcrop(image, self.scale)
        return self._shrunk(clean).expand(3, -1, -1)[None].contiguous(), clean[None].float() / 255

    def noisy(self, clean: _Image, name: str, tile: int | None = None, look: int = 0) -> _Image:
        """Return `clean` with the noise of image `name`: of its tile with index `tile`, or of another draw `look`."""
        key = (name, f"{self.sigma:g}") if tile is None else (name, f"{self.sigma:g}", tile)
        key += ("look", look) if look else ()
        noisy = data.add_noise(clean, self.sigma, data.stream(self.seed, "protocol-noise", *key))
        if self.noisy_range is None:
            return noisy
        return noisy.clamp(0, 1) if self.noisy_range == "clipped" else round8(noisy)

    def tiles(self, height: int, width: int) -> list[tuple[slice, slice]]:
        """Return rows and columns of every tile, in reading order; the last ones end at the image's edge."""
        return [(rows, columns) for rows in self._starts(height) for columns in self._starts(width)]

    def looks(self, height: int, width: int) -> Int[Tensor, "height width"]:
        """Count the tiles that cover each pixel."""
        count = torch.zeros(height, width, dtype=torch.int64)
        for rows, columns in self.tiles(height, width):
            count[rows, columns] += 1
        return count

    @property
    def _step(self) -> int | None:
        return self.tile and (self.tile_step or max(1, self.tile * 3 // 4))

    def _starts(self, size: int) -> list[slice]:
        if self.tile is None or size <= self.tile:
            return [slice(0, size)]
        last = size - self.tile
        return [slice(start, start + self.tile) for start in (*range(0, last, self._step), last)]

    def _switches(self) -> dict:
        values = self.model_dump(exclude={"sigma", "scale", "seed"})
        return values | {"border": self.scored_border, "tile_step": self._step}

    def _shrunk(self, clean: UInt8[Tensor, "channel height width"]) -> Float[Tensor, "channel low_h low_w"]:
        size = [side // self.scale for side in clean.shape[-2:]]
        if self.downscale == "matlab":
            return data.bicubic(clean, 1 / self.scale).float() / 255
        if self.downscale == "pillow":
            return torch.stack([_pillow(channel, *size) for channel in clean])
        antialias = self.downscale == "torch"
        small = F.interpolate(clean[None].double() / 255, size, mode="bicubic", antialias=antialias)
        return round8(small[0]).float()


def round8(image: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Clip to 0-1 and round to 256 levels, halves upwards as MATLAB and image files do."""
    return (image.clamp(0, 1) * 255 + 0.5).floor() / 255


def _pillow_grey(image: UInt8[Tensor, "channel height width"]) -> UInt8[Tensor, "1 height width"]:
    """Return Pillow's grey, luma in 16-bit fixed point, as released; one channel passes through."""
    if image.shape[0] == 1:
        return image
    picture = PIL.Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    return torch.from_numpy(np.array(picture.convert("L")))[None]


def _pillow(channel: UInt8[Tensor, "height width"], height: int, width: int) -> Float[Tensor, "low_h low_w"]:
    small = PIL.Image.fromarray(channel.numpy()).resize((width, height), PIL.Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small)).float() / 255
