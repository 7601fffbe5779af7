"""Apply a trained network to one's own pictures: in memory (`hinas_nb.restore`), or a file (`hinas-nb restore`).

Denoising networks are grey: each colour channel is restored as a grey picture. Super-resolution networks take
colour: a grey picture goes in as three equal channels, and the mean of the three results comes out. Alpha is
kept (resized bicubically where the picture grows), and so are bit depth and size. Only one tile is ever held as
floats: a picture costs the memory of its pixels, before and after, and that of a tile's way through the network.
"""

import os
import re
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from hinas_nb import data
from hinas_nb.data import pictures
from hinas_nb.scoring import evaluate
from hinas_nb.use import forms, networks
from hinas_nb.use.forms import Planes
from hinas_nb.use.networks import Request, RestoreError

TILE = 512  # pixels a side, without halo
BLOCK = 16  # pixels a side: where noise is looked for
FLAT = 1e-9  # power of a block without any noise: frames and drawings have such
QUIET = 0.895  # of sigma: what the tenth of the quietest blocks shows of noise alone
CLEAN = 2.0  # grey levels: noise that nobody sees, where a network could only take fine detail for it
SMOKE_STEPS = 300  # at most, of a training of the smoke budget


def _ignore(said) -> None: ...


def restore(
    image,
    task: str = "denoise",
    sigma: float | None = None,
    scale: int | None = None,
    network=None,
    force: bool = False,
    tell: Callable[[str], None] = _ignore,
    progress: Callable[[float], None] = _ignore,
):
    """Return a picture restored, of the same kind, depth and layout; for task "sr" `scale` (2, 3, 4) times larger.

    >>> import hinas_nb, numpy as np
    >>> from skimage import data
    >>> clean = data.camera()[:96, :128]
    >>> noisy = np.clip(clean + np.random.default_rng(0).normal(0, 25, clean.shape), 0, 255).astype(np.uint8)
    >>> restored = hinas_nb.restore(noisy)  # how noisy it is, is estimated
    >>> restored.shape, restored.dtype
    ((96, 128), dtype('uint8'))
    >>> hinas_nb.restore(data.astronaut()[:50, :60], "sr", scale=4).shape
    (200, 240, 3)

    image: a NumPy array (height, width) or (height, width, channel), a torch tensor (height, width), (channel, height,
        width) or (batch, channel, height, width), or a Pillow image; grey or colour, of 8 or 16 bits or floats in
        [0, 1]. Of 2 and 4 channels the last is alpha.
    sigma: noise in grey levels (0-255), None: estimated; a picture where it is below 2 is returned as it is.
    network: another one than is shipped: from `pretrained`, `hinas_nb.network.load` or `speed.export.session`.
    force: restore even where the noise lies far from what the network was trained for.
    tell: called with what there is to say, a line each. progress: called with the share that is done, up to 1.
    Raises RestoreError, a ValueError of one line.
    """
    request = Request(task, sigma, scale, force=force)
    planes, pack = forms.unpacked(image)
    pieces = planes.split(1)  # each has its own noise
    restored = []
    for index, piece in enumerate(pieces):
        share = lambda done, index=index: progress((index + done) / len(pieces))  # noqa: E731
        restored.append(_restored(piece, request, network, tell, share))
    return pack(torch.cat(restored))


def restore_file(
    source: Path,
    target: Path,
    request: Request,
    compare: Path | None = None,
    progress: Callable[[float], None] = _ignore,
    threads: int | None = None,
) -> list[str]:
    """Restore one picture and return what there is to say about it, a line each.

    compare: where the pair, before (for "sr" enlarged bicubically) and after, is written side by side.
    threads: of ONNX Runtime, None: as many as torch has.
    Raises RestoreError, PictureError, ValueError, FileContentError, OSError.
    """
    targets = [path for path in (target, compare) if path is not None]
    _check_places(source, targets)
    said = []
    with _memory_of(source):
        picture = pictures.read(source)
        for path in targets:
            pictures.check_target(path, picture, request.scale or 1)
        said += [f"left out: {what}" for what in picture.left_out]
        if picture.exif and not pictures.KINDS[target.suffix.lower()].exif:
            said.append(f"left out: EXIF, which {target.suffix} files get none of")
        planes, pack = forms.unpacked(picture.pixels)

        def ready(network) -> None:
            for path in targets:
                pictures.check_target(path, picture, network.scale)

        planes = _restored(planes, request, None, said.append, progress, threads, ready)
        result = replace(picture, pixels=pack(planes))
        pictures.write(target, result)
        if compare is not None:
            pictures.write(compare, _side_by_side(picture, result))
    height, width = result.pixels.shape[:2]
    return [*said, f"wrote {target} ({width}x{height}, {result.bits} bits)"]


def estimated_sigma(planes: Planes, alpha: Planes | None = None) -> float:
    """Estimate sigma in grey levels (0-255) of a picture, the mean over its planes, where alpha is not 0."""
    hidden = torch.zeros(1, 1, *planes.shape[-2:]) if alpha is None else (forms.values(alpha[:1]) == 0).float().cpu()
    planes = [forms.values(plane[None, None]).cpu() for plane in planes.flatten(0, 1)]
    return 255 * float(np.mean([_noise(plane, hidden) for plane in planes]))


def _noise(plane: Float[Tensor, "1 1 height width"], hidden: Float[Tensor, "1 1 height width"]) -> float:
    """Estimate sigma of a plane, white at 1, where there is least detail; 0 where most of it is flat, as in drawings.

    hidden: 1 where a pixel is not seen, else 0.
    Immerkaer's kernel (1996) leaves nothing of a ramp. What it leaves of blocks is averaged, and the tenth of the
    quietest taken; of a quarter of the blocks at least, those with the fewest pixels that black or white cut off.
    """
    side = min(BLOCK, min(plane.shape[-2:]) - 2)
    if side < 1:
        return 0.0
    slope = plane.new_tensor([1, -2, 1]) / 6**0.5  # the kernel's squares sum to 1: white noise keeps its sigma
    power = F.avg_pool2d(F.conv2d(plane, torch.outer(slope, slope)[None, None]) ** 2, side).flatten()
    shown = F.avg_pool2d(F.max_pool2d(hidden, 3, 1), side).flatten() == 0
    seen = shown & (power > FLAT)
    if seen.sum() < max(1, 0.5 * shown.sum()):
        return 0.0
    cut = F.avg_pool2d(((plane <= 0) | (plane >= 1)).float()[..., 1:-1, 1:-1], side).flatten()
    return float(power[seen & (cut <= cut[seen].quantile(0.25))].quantile(0.1)) ** 0.5 / QUIET


def _restored(
    planes: Planes,
    request: Request,
    network,
    tell: Callable,
    progress: Callable,
    threads: int | None = None,
    ready: Callable = _ignore,
) -> Planes:
    """Return one picture restored; network: None where the request says which; ready: told it before the work."""
    colour, alpha = (planes[:, :-1], planes[:, -1:]) if planes.shape[1] in (2, 4) else (planes, None)
    sigma = request.sigma
    if request.task == "denoise" and sigma is None:
        sigma = estimated_sigma(colour, alpha)
        tell(f"noise: sigma {sigma:.1f} grey levels, estimated")
        if sigma < CLEAN:
            tell(f"returned as it is: noise below sigma {CLEAN:g} is not seen; with sigma given it is restored")
            progress(1)
            return planes.clone()
    network = network or request.network(colour.numel(), tell, threads or torch.get_num_threads())
    if network.task != request.task:
        raise RestoreError(f"network must be one for {request.task}, got one for {network.task}")
    ready(network)
    trained = getattr(network, "trained", {})
    for line in (*_budget(trained, request.task), *networks.doubts(trained, sigma, request.force)):
        tell(line)
    for line in _treatment(request.task, colour.shape[1], alpha is not None):
        tell(line)
    if alpha is not None and request.task == "sr":
        colour = _with_hidden_filled(colour, alpha)
    tile = None if network.halo is None else max(TILE, network.halo)
    colour = evaluate.restore(partial(_run, network, sigma=sigma), colour, network.halo, tile, progress)
    if alpha is not None and request.task == "sr":
        alpha = forms.stored(data.bicubic(forms.values(alpha).double(), network.scale, clip=True), alpha.dtype)
    return colour if alpha is None else torch.cat([colour, alpha], dim=1)


def _with_hidden_filled(colour: Planes, alpha: Planes) -> Planes:
    """Return the colours, under an alpha of 0 those of the nearest pixel that is seen: enlarged, they bleed over."""
    hidden = (alpha[0, 0] == 0).cpu().numpy()
    if hidden.all() or not hidden.any():
        return colour
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    return torch.from_numpy(colour.cpu().numpy()[:, :, rows, columns]).to(colour.device)


def _run(network, planes: Planes, sigma: float | None) -> Planes:
    """Return planes of any depth restored, brought back to their depth at once."""
    image = forms.values(planes)
    if network.task == "denoise":
        restored = torch.cat([evaluate.run(network, plane, sigma) for plane in image.split(1, dim=1)], dim=1)
    else:
        restored = evaluate.run(network, image.expand(-1, 3, -1, -1))
        restored = restored.mean(dim=1, keepdim=True) if image.shape[1] == 1 else restored
    if not restored.isfinite().all():
        raise RestoreError("the network must return finite values, got NaN or infinity: its weights are damaged")
    return forms.stored(restored, planes.dtype)


def _side_by_side(before: pictures.Picture, after: pictures.Picture) -> pictures.Picture:
    """Return the pair as one picture, with a gap of one percent of its width."""
    scale = after.pixels.shape[0] // before.pixels.shape[0]
    planes, pack = forms.unpacked(before.pixels)
    if scale > 1:
        planes = forms.stored(data.bicubic(forms.values(planes).double(), scale, clip=True), planes.dtype)
    height, width, channels = after.pixels.shape
    gap = np.full((height, max(1, width // 50), channels), forms.WHITE[planes.dtype], after.pixels.dtype)
    return replace(after, pixels=np.concatenate([pack(planes), gap, after.pixels], axis=1))


def _check_places(source: Path, targets: list[Path]) -> None:
    """Refuse, before the work, what cannot be written or would overwrite the input. Raises RestoreError."""
    for target in targets:
        if target.exists() and source.exists() and target.samefile(source):
            raise RestoreError(f"output must be another file than the input, got {target}")
        if target.is_dir() or not target.absolute().parent.is_dir():
            raise RestoreError(f"output must be a file in an existing folder, got {target}")
    if len({os.path.realpath(path) for path in targets}) < len(targets):
        raise RestoreError(f"the pair must be written into another file than the output, got {targets[0]} for both")


def _budget(trained: dict, task: str) -> list[str]:
    """Say where a network was trained too little to be of use."""
    steps = trained.get("steps")
    if not isinstance(steps, int) or steps > SMOKE_STEPS:
        return []
    gives = "can give less than bicubic up-sampling" if task == "sr" else "gives far less than one of a larger budget"
    return [f"warning: the network is of the smoke budget ({steps} steps, to try things out): it {gives}"]


def _treatment(task: str, channels: int, alpha: bool) -> list[str]:
    """Say how a picture's channels are fitted to the network's."""
    said = []
    if task == "denoise" and channels == 3:
        said.append("colour: red, green and blue are each restored as a grey picture")
    if task == "sr" and channels == 1:
        said.append("grey: restored as three equal colour channels, then averaged")
    if alpha:
        said.append("alpha: kept" + (", resized bicubically" if task == "sr" else ""))
    return said


@contextmanager
def _memory_of(source: Path):
    """Say in one line that memory was missing: NumPy, torch on each device and ONNX Runtime have their own ways."""
    try:
        yield
    except Exception as error:
        missing = r"out of memory|not enough memory|can't allocate|failed to allocate|alloc_failed|bad.?alloc"
        if not isinstance(error, MemoryError) and (
            isinstance(error, (ValueError, OSError)) or not re.search(missing, str(error), re.IGNORECASE)
        ):
            raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise RestoreError(f"{source} must fit in memory with what restoring it needs, got: {reason}") from None
