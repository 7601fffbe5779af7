"""The user's own pictures: read and written with their bit depth, transparency and colour profile.

Data sets are read by `hinas_nb.data`; this is the boundary for files nobody prepared.
"""

import io
import logging
import struct
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps

from hinas_nb import files

#: What each kind of file can hold: largest bit depth, and whether it knows transparency.
KINDS = {
    ".png": (16, True),
    ".tif": (16, True),
    ".tiff": (16, True),
    ".webp": (8, True),
    ".jpg": (8, False),
    ".jpeg": (8, False),
    ".bmp": (8, False),
}
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR = {1: 0, 2: 4, 3: 2, 4: 6}  # channels: colour type
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs what we say in one line of our own

MODES = {"1": "L", "L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "I;16": "I;16"}
CLEAR = {"P": "RGBA", "RGB": "RGBA", "L": "LA"}  # where one colour or palette entry is transparent


class PictureError(ValueError):
    """A file that is no picture we can keep whole; the text is one line."""


@dataclass(frozen=True)
class Picture:
    """pixels: (height, width, channels) uint8 or uint16; grey or red, green, blue, then alpha if any."""

    pixels: np.ndarray
    profile: bytes | None = None

    @property
    def bits(self) -> int:
        return self.pixels.dtype.itemsize * 8

    @property
    def has_alpha(self) -> bool:
        return self.pixels.shape[2] in (2, 4)

    def split(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Colour (or grey) and alpha as float64 in [0, 1], (height, width, channels)."""
        values = self.pixels / np.iinfo(self.pixels.dtype).max
        return (values[..., :-1], values[..., -1:]) if self.has_alpha else (values, None)

    def like(self, colour: np.ndarray, alpha: np.ndarray | None) -> "Picture":
        """A picture of this depth and profile from values in [0, 1]; what lies outside is clipped."""
        values = colour if alpha is None else np.concatenate([colour, alpha], axis=2)
        top = np.iinfo(self.pixels.dtype).max
        return replace(self, pixels=np.rint(np.clip(values, 0, 1) * top).astype(self.pixels.dtype))


def read(path: Path) -> Picture:
    """Raises PictureError, OSError."""
    content = files.read_bytes(path)
    try:
        if content[:4] in (b"II*\0", b"MM\0*"):
            return _checked(_read_tiff(content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _checked(_read_pillow(content))
    except PictureError as error:
        raise PictureError(f"{path} {error}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"{path} must have fewer pixels than {2 * Image.MAX_IMAGE_PIXELS:,}") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error) as error:
        reason = "no picture" if isinstance(error, Image.UnidentifiedImageError) else str(error).splitlines()[0][:80]
        raise PictureError(f"{path} must be a whole picture, got {reason}") from None


def check_target(path: Path, picture: Picture) -> None:
    """Refuse, before the work, a file that could not hold the result. Raises PictureError."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise PictureError(f"output must end in one of {' '.join(KINDS)}, got {path.name}")
    bits, alpha = KINDS[kind]
    if picture.bits > bits or (picture.has_alpha and not alpha):
        holds = f"{bits} bits{'' if alpha else ' without alpha'}"
        got = f"{picture.bits} bits{' with alpha' if picture.has_alpha else ''}"
        raise PictureError(f"output must be .png or .tif for {got}: {kind} holds {holds}")


def write(path: Path, picture: Picture) -> None:
    """Whole or not at all. Raises PictureError, OSError."""
    try:
        picture = _checked(picture)
    except PictureError as error:
        raise PictureError(f"{path} {error}") from None
    check_target(path, picture)
    files.write_atomic(path, _encoded(path.suffix.lower(), picture))


def _encoded(kind: str, picture: Picture) -> bytes:
    buffer = io.BytesIO()
    channels = picture.pixels.shape[2]
    if kind in (".tif", ".tiff"):
        alpha = {"extrasamples": ["unassalpha"]} if picture.has_alpha else {}
        photometric = "rgb" if channels > 2 else "minisblack"
        pixels = picture.pixels[..., 0] if channels == 1 else picture.pixels
        tifffile.imwrite(
            buffer, pixels, photometric=photometric, planarconfig="contig" if channels > 1 else None,
            compression="zlib", iccprofile=picture.profile, metadata=None, **alpha,
        )  # fmt: skip
        return buffer.getvalue()
    if picture.bits == 16:
        return _png16(picture)
    image = Image.fromarray(picture.pixels[..., 0] if channels == 1 else picture.pixels)
    options = {".jpg": {"quality": 95}, ".jpeg": {"quality": 95}, ".webp": {"lossless": True}}.get(kind, {})
    names = {".jpg": "JPEG", ".jpeg": "JPEG"}
    profile = {"icc_profile": picture.profile} if picture.profile and kind != ".bmp" else {}
    image.save(buffer, names.get(kind, kind[1:].upper()), **options, **profile)
    return buffer.getvalue()


def _read_tiff(content: bytes) -> Picture:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        if len(file.pages) > 1:
            raise PictureError(f"must hold one picture, got {len(file.pages)} pages")
        page = file.pages[0]
        profile = page.tags[34675].value if 34675 in page.tags else None
        if page.dtype == np.uint8 and page.compression not in (1, 8, 32946):
            return _read_pillow(content)  # tifffile itself decodes deflate only
        grey_or_rgb = page.photometric in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB)
        orientation = page.tags[274].value if 274 in page.tags else 1
        if orientation != 1:
            raise PictureError(f"must be stored upright (orientation 1), got orientation {orientation}")
        if not grey_or_rgb or page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
            raise PictureError(f"must be grey or RGB, channels together, got TIFF kind {page.photometric!r}")
        return Picture(page.asarray(), profile)


def _read_pillow(content: bytes) -> Picture:
    with Image.open(io.BytesIO(content)) as image:
        frames = getattr(image, "n_frames", 1)
        if frames != 1:
            raise PictureError(f"must hold one picture, got {frames} frames")
        profile = image.info.get("icc_profile")
        deep = image.format == "PNG" and str(image.tile[0].args) in ("RGB;16B", "RGBA;16B")
        if image.format == "PNG" and str(image.tile[0].args) == "LA;16B":
            raise PictureError("must not be 16-bit grey with alpha, save it as RGBA; got that")
        if deep:
            return Picture(_both_bytes(content), profile)
        if "transparency" in image.info and image.mode in CLEAR:
            image = image.convert(CLEAR[image.mode])
        elif image.mode == "P":
            image = image.convert("RGB")
        if image.mode not in MODES:
            raise PictureError(f"must be grey or RGB with 8 or 16 bits, got mode {image.mode}")
        return Picture(np.array(ImageOps.exif_transpose(image).convert(MODES[image.mode])), profile)


def _both_bytes(content: bytes) -> np.ndarray:
    """A 16-bit colour PNG: Pillow keeps high bytes only, so it decodes again as if they were the low ones."""
    halves = []
    for order in ("16B", "16L"):
        with Image.open(io.BytesIO(content)) as image:
            tile = image.tile[0]
            image.tile = [tile._replace(args=tile.args.replace("16B", order))]
            halves.append(np.array(image).astype(np.uint16))
    return (halves[0] << 8) | halves[1]


def _png16(picture: Picture) -> bytes:
    """A 16-bit PNG, each row as its difference to the one above; Pillow writes such only in grey."""
    height, width, channels = picture.pixels.shape
    rows = picture.pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    above = np.concatenate([np.zeros_like(rows[:1]), rows[:-1]])
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), rows - above], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR[channels], 0, 0, 0)
    profile = b"profile\0\0" + zlib.compress(picture.profile) if picture.profile else None
    chunks = [
        (b"IHDR", head),
        (b"iCCP", profile),
        (b"IDAT", zlib.compress(filtered.tobytes())),
        (b"IEND", b""),
    ]
    return PNG_SIGNATURE + b"".join(_chunk(name, body) for name, body in chunks if body is not None)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _checked(picture: Picture) -> Picture:
    pixels = picture.pixels[..., None] if picture.pixels.ndim == 2 else picture.pixels
    if pixels.ndim != 3 or pixels.shape[2] > 4 or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"must be grey or RGB with 8 or 16 bits, got {pixels.dtype} of shape {pixels.shape}")
    return replace(picture, pixels=pixels)
