"""Anybody's restored pictures are scored against the true ones under a protocol (`hinas-nb score`).

Pictures are taken as 8-bit images; for denoising colour ones are made grey, for super-resolution the true one is cut
to a multiple of the scale, both as the protocol says.
"""

import os
from pathlib import Path

import pandas

from hinas_nb import data, files
from hinas_nb.data import pictures
from hinas_nb.scoring import metrics
from hinas_nb.scoring.protocol import Protocol
from hinas_nb.scoring.units import METRICS
from hinas_nb.use import folders


def described(protocol: Protocol) -> str:
    """Return one line with the values of a protocol that decide what is scored."""
    values = {
        "scale": protocol.scale,
        "grey": (protocol.grey or "matlab") if protocol.task == "denoise" else None,
        "colour": protocol.colour if protocol.task == "sr" else None,
        "border": protocol.scored_border,
        "round_output": protocol.round_output,
        "ssim": protocol.ssim,
    }
    return f"{protocol.name}: " + " ".join(f"{name}={value}" for name, value in values.items() if value is not None)


def pairs(restored: Path, truth: Path) -> tuple[dict[str, tuple[Path, Path]], list[str]]:
    """Return (restored, true) files by name, and a line for each picture without its pair.

    In folders the names must be equal, that of the folder within included, but for their ending. Raises ValueError.
    """
    if not restored.is_dir() and not truth.is_dir():
        return {restored.stem: (restored, truth)}, []
    ours, theirs = _named(restored), _named(truth)
    common = [name for name in ours if name in theirs]
    if not common:
        raise ValueError(f"restored and true pictures must have equal names, got none in {restored} and {truth}")
    lonely = [f"{ours[name]} has no picture of its name in {truth}" for name in ours if name not in theirs]
    lonely += [f"{theirs[name]} has no picture of its name in {restored}" for name in theirs if name not in ours]
    return {name: (ours[name], theirs[name]) for name in common}, lonely


def table(found: dict[str, tuple[Path, Path]], protocol: Protocol) -> tuple[pandas.DataFrame, list[str]]:
    """Return a row per pair with image, psnr (dB) and ssim, and a line for each that could not be scored."""
    rows, failed = [], []
    for name, (restored, truth) in found.items():
        try:
            rows.append((name, *_score(restored, truth, protocol)))
        except (ValueError, OSError) as error:
            failed.append(f"{name}: {error}")
    return pandas.DataFrame(rows, columns=["image", "psnr", "ssim"]), failed


def lines(table: pandas.DataFrame) -> list[str]:
    """Return the table for a terminal, the mean over images last."""
    psnr, ssim = METRICS["psnr"], METRICS["ssim"]
    rows = [("image", psnr.header, ssim.header)]
    means = [("mean", table["psnr"].mean(), table["ssim"].mean())] if len(table) else []
    for name, decibels, similarity in [*table.itertuples(index=False), *means]:
        rows.append((files.printable(name), psnr.number(decibels), ssim.number(similarity)))
    wide = max(len(name) for name, *_ in rows)
    return [f"{name:{wide}}  {decibels:>9}  {similarity:>6}" for name, decibels, similarity in rows]


def write(path: Path, table: pandas.DataFrame, protocol: Protocol) -> None:
    """Write the table with its protocol as CSV. Raises StoreError."""
    text = table.assign(protocol=described(protocol)).to_csv(index=False, lineterminator="\n")
    files.write_atomic(path, text.encode(errors="backslashreplace"))  # a file's name may be no text


def _named(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise ValueError(f"restored and true must be two pictures or two folders, got the picture {folder}")
    below = (Path(top, name) for top, _, names in os.walk(folder, onerror=folders.refuse) for name in names)
    seen = (path for path in sorted(below) if path.name[0] != "." and path.is_file())
    paths = [path for path in seen if path.suffix.lower() in pictures.READABLE]
    named = {_without_ending(path.relative_to(folder)).as_posix(): path for path in paths}
    if len(named) < len(paths):
        twice = next(path for path in paths if path not in named.values())
        raise ValueError(f"pictures must have different names without their ending, got two like {twice}")
    return named


def _without_ending(path: Path) -> Path:
    """Return `a` for `a.pgm` and for `a.pgm.png`, as `folders` names what is restored of a file that is only read."""
    plain = path.with_suffix("")
    only_read = plain.suffix.lower() in pictures.READABLE and plain.suffix.lower() not in pictures.KINDS
    return plain.with_suffix("") if only_read else plain


def _score(restored: Path, truth: Path, protocol: Protocol) -> tuple[float, float]:
    estimate, true = (data.to_image(data.read_image(path)) for path in (restored, truth))
    _, clean = protocol.pair(true, truth.stem)
    if protocol.task == "denoise":
        _, estimate = protocol.pair(estimate, restored.stem)
    else:
        estimate = data.modcrop(estimate, protocol.scale)[None].float() / 255
    return metrics.psnr(estimate, clean, protocol).item(), metrics.ssim(estimate, clean, protocol).item()
