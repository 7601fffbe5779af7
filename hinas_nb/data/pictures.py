"""Picture files, read and written with their bit depth, transparency, colour profile and EXIF.

One rule: what a file holds is kept, or the file is refused with the reason. All pictures pass here, those of data
sets (`images`) and the user's own (`use.restore`).
"""

import io
import logging
import math
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import tifffile
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import putchunk
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC

from hinas_nb import files
from hinas_nb.data.catalog import DataError


class Kind(NamedTuple):
    """Says what a kind of file can hold; side: its largest height and width in pixels."""

    bits: int
    alpha: bool = False
    profile: bool = True
    exif: bool = True
    side: int = 2**31 - 1


KINDS = {
    ".png": Kind(16, alpha=True, side=1_000_000),  # libpng's own limit
    ".tif": Kind(16, alpha=True, exif=False),
    ".tiff": Kind(16, alpha=True, exif=False),
    ".webp": Kind(8, alpha=True, side=16383),
    ".jpg": Kind(8, side=65500),
    ".jpeg": Kind(8, side=65500),
    ".bmp": Kind(8, profile=False, exif=False),
}
READABLE = (*KINDS, ".gif", ".ppm", ".pgm")  # how files are called that `read` can be tried on
#: What Pillow reads, besides JPEG; of others (SGI, JPEG 2000, AVIF) it keeps 8 bits and does not tell of more.
_FORMATS = ("PNG", "WEBP", "BMP", "GIF", "PPM")
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two: BigTIFF
_ICC_PROFILE, _ORIENTATION, _PHOTOMETRIC_TAG = 34675, 274, 262  # tags of TIFF and EXIF
_EXIF, _EXIF_IFD, _EXIF_SIDES = b"Exif\0\0", 0x8769, (0xA002, 0xA003)  # how EXIF begins in a JPEG; tags in it
_MODES = {"1": "L", "L": "L", "RGB": "RGB", "RGBA": "RGBA", "P": "RGB"}
#: What a PNG file may say of its colours, as Pillow names it: sRGB's gamma; its white, red, green and blue.
_SRGB = {"gamma": 0.45455, "chromaticity": (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)}
_CLEAR = {"P": "RGBA", "RGB": "RGBA", "L": "LA"}  # where one colour or palette entry is transparent
_LONGEST_EXIF = 65_000  # bytes that a JPEG surely holds
MAX_PIXELS = 178_956_970  # of any file: where Pillow stops by itself, unless told otherwise
for _library in ("tifffile", "imagecodecs"):
    logging.getLogger(_library).setLevel(logging.CRITICAL)  # they log what we say in one line of our own


class PictureError(DataError):
    """Tells of a file that is no picture we can keep whole; the text is one line."""


@dataclass(frozen=True)
class Picture:
    """Holds what a picture file does."""

    pixels: np.ndarray  # (height, width, channels) uint8 or uint16: grey or red, green, blue; straight alpha if any
    profile: bytes | None = None  # ICC colour profile
    exif: bytes | None = None  # as in a PNG file, of a picture that stands upright; its size is left out
    left_out: tuple[str, ...] = ()  # what else its file held, a few words each

    @property
    def bits(self) -> int:
        return self.pixels.dtype.itemsize * 8

    @property
    def has_alpha(self) -> bool:
        return self.pixels.shape[2] in (2, 4)


def read(path: Path) -> Picture:
    """Return the one picture of a file, upright and with full range of values. Raises PictureError, StoreError."""
    content = files.read_bytes(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _checked(_read_tiff(content) if content[:4] in _TIFF_SIGNATURES else _read_pillow(content))
    except PictureError as error:
        raise PictureError(f"{path} {error}") from None
    except Image.DecompressionBombError:
        raise PictureError(f"{path} {_TOO_LARGE}") from None
    except Image.UnidentifiedImageError:
        raise PictureError(
            f"{path} must be a whole picture, got no picture of kind JPEG TIFF {' '.join(_FORMATS)}"
        ) from None
    except Exception as error:  # a damaged file leads decoders anywhere
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        rule = "a whole picture that fits in memory" if isinstance(error, MemoryError) else "a whole picture"
        raise PictureError(f"{path} must be {rule}, got {reason}") from None


def check_target(path: Path, picture: Picture, scale: int = 1) -> None:
    """Refuse, before the work, a file that could not hold the picture `scale` times larger. Raises PictureError."""
    kind = path.suffix.lower()
    if kind not in KINDS:
        raise PictureError(f"output must end in one of {' '.join(KINDS)}, got {path.name}")
    holds = KINDS[kind]
    if picture.bits > holds.bits or (picture.has_alpha and not holds.alpha):
        held = f"{holds.bits} bits{'' if holds.alpha else ' without alpha'}"
        got = f"{picture.bits} bits{' with alpha' if picture.has_alpha else ''}"
        raise PictureError(f"output must be .png or .tif for {got}: {kind} holds {held}")
    if picture.profile and not holds.profile:
        raise PictureError(f"output must be .png or .tif for a picture with a colour profile: {kind} holds none")
    height, width = (scale * side for side in picture.pixels.shape[:2])
    if max(height, width) > holds.side:
        raise PictureError(f"output must be .tif for {width}x{height}: {kind} holds sides of {holds.side}")


def write(path: Path, picture: Picture) -> None:
    """Write a file, whole or not at all; missing folders are made. Raises PictureError, OSError."""
    try:
        picture = _checked(picture)
    except PictureError as error:
        raise PictureError(f"{path} {error}") from None
    check_target(path, picture)
    files.write_atomic(path, _encoded(path.suffix.lower(), picture))


_TOO_LARGE = f"must have at most {MAX_PIXELS:,} pixels"


def _encoded(kind: str, picture: Picture) -> bytes:
    buffer = io.BytesIO()
    channels = picture.pixels.shape[2]
    pixels = picture.pixels[..., 0] if channels == 1 else picture.pixels
    if kind == ".png":
        room = pixels.nbytes * 9 // 8 + 2 * len(pixels) + 4096  # of itself it leaves too little for one column
        content = imagecodecs.png_encode(np.ascontiguousarray(pixels), out=room)
        buffer.write(content[:_PNG_HEAD])
        if picture.profile:
            putchunk(buffer, b"iCCP", b"profile\0\0", zlib.compress(picture.profile))
        if picture.exif:
            putchunk(buffer, b"eXIf", picture.exif)
        buffer.write(content[_PNG_HEAD:])
    elif kind in (".tif", ".tiff"):
        tifffile.imwrite(
            buffer, pixels, photometric="rgb" if channels > 2 else "minisblack", compression="zlib", metadata=None,
            planarconfig="contig" if channels > 1 else None, iccprofile=picture.profile,
            extrasamples=["unassalpha"] if picture.has_alpha else None, bigtiff=pixels.nbytes > _CLASSIC_TIFF,
        )  # fmt: skip
    else:
        webp = {"lossless": True, "exact": True}  # exact: colours where alpha is 0 too
        options = {"quality": 95, "icc_profile": picture.profile} | (webp if kind == ".webp" else {})
        options |= {"exif": _EXIF + picture.exif} if picture.exif and KINDS[kind].exif else {}
        Image.fromarray(pixels).save(buffer, Image.registered_extensions()[kind], **options)
    return buffer.getvalue()


_PNG_HEAD = 33  # bytes of signature and IHDR; colour profile and EXIF, which png_encode does not write, come next
_CLASSIC_TIFF = 2**32 - 2**25  # bytes that surely fit, whatever the compression makes of them


def _read_tiff(content: bytes) -> Picture:
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        found = _tiff_pages(file)
        pages = [page for page in found if not page.is_reduced]  # others are thumbnails of the main one
        stacked = (file.imagej_metadata or {}).get("images", 1)  # ImageJ puts large stacks on one page
        if not pages:
            raise PictureError("must be a whole picture, got a TIFF without a page of full size")
        if len(pages) != 1 or stacked != 1:
            raise PictureError(f"must hold one picture, got {max(len(pages), stacked)} pages")
        page, tags = pages[0], pages[0].tags
        if page.imagewidth * page.imagelength > MAX_PIXELS:
            raise PictureError(_TOO_LARGE)
        alpha = _tiff_alpha(page)
        pieces = list(zip(page.dataoffsets, page.databytecounts))  # of strips or tiles; missing ones are read as black
        if len(pieces) < math.prod(page.chunked) or not all(o and n and o + n <= len(content) for o, n in pieces):
            raise PictureError("must be a whole picture, got strips or tiles that are missing")
        separate = page.asarray(squeeze=False)[:, 0]  # (separate sample, height, width, sample)
        pixels = np.moveaxis(separate, 0, 2).reshape(page.imagelength, page.imagewidth, -1)
        if page.photometric == PHOTOMETRIC.PALETTE:
            pixels = _from_palette(page.colormap, pixels[..., 0])
        else:
            pixels = _full_range(pixels, page.bitspersample)
        if page.photometric == PHOTOMETRIC.MINISWHITE:
            pixels[..., 0] = np.iinfo(pixels.dtype).max - pixels[..., 0]
        if alpha == EXTRASAMPLE.ASSOCALPHA:
            pixels = _straight(pixels)
        orientation = tags[_ORIENTATION].value if _ORIENTATION in tags else 1
        left_out = ["a thumbnail"] if len(found) > 1 else []
        left_out += ["EXIF"] if _EXIF_IFD in tags else []
        profile = _profile(tags[_ICC_PROFILE].value, left_out) if _ICC_PROFILE in tags else None
        return Picture(_upright(pixels, orientation), profile, left_out=tuple(left_out))


def _tiff_pages(file: tifffile.TiffFile) -> list[tifffile.TiffPage]:
    """Return all pages; damage can lead from a page back to one before, which tifffile follows for ever."""
    found = {}
    for page in file.pages:
        if page.offset in found:
            raise PictureError("must be a whole picture, got pages that lead in a circle")
        found[page.offset] = page
    return list(found.values())


def _profile(stored: object, left_out: list[str]) -> bytes | None:
    """Return a colour profile as decoders give it; what is none is left out, and `left_out` says so."""
    if isinstance(stored, bytes) and stored:
        return stored
    left_out.append("damaged colour profile")
    return None


def _tiff_alpha(page: tifffile.TiffPage) -> EXTRASAMPLE | None:
    """Return which alpha a TIFF holds; refuse, before anything is decoded, what is not grey or RGB."""
    channels = {PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.PALETTE: 1, PHOTOMETRIC.RGB: 3}
    if page.compression in (COMPRESSION.OJPEG, COMPRESSION.JPEG):
        channels[PHOTOMETRIC.YCBCR] = 3  # the decoder makes it RGB
    if _PHOTOMETRIC_TAG not in page.tags or page.photometric not in channels:
        raise PictureError(f"must be grey or RGB, got TIFF kind {page.tags.valueof(_PHOTOMETRIC_TAG)!r}")
    if page.imagedepth != 1:
        raise PictureError(f"must hold one picture, got a volume of {page.imagedepth}")
    if page.dtype is None or page.dtype.kind not in "bu" or page.bitspersample not in range(1, 17):
        raise PictureError(f"must be grey or RGB with up to 16 bits, got {page.dtype} of {page.bitspersample} bits")
    more = page.samplesperpixel - channels[page.photometric]
    if more == 0:
        return None
    kinds = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA) if page.photometric != PHOTOMETRIC.PALETTE else ()
    if more != 1 or len(page.extrasamples) != 1 or page.extrasamples[0] not in kinds:
        named = " ".join(getattr(kind, "name", str(kind)).lower() for kind in page.extrasamples) or "without a name"
        raise PictureError(f"must hold nothing beside its colours but one alpha, got {more} more channels ({named})")
    return page.extrasamples[0]


def _from_palette(colours: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Look colours up, (3, count) of 16 bits; of 8 where they are such, which writers spread in two ways."""
    for shallow, spread in ((colours >> 8, 257), (colours >> 8, 256)):
        if np.array_equal(shallow * spread, colours):
            colours = shallow.astype(np.uint8)
            break
    return colours.T[indices.astype(np.uint16)]  # of 1 bit they come as truth values


def _full_range(pixels: np.ndarray, bits: int) -> np.ndarray:
    """Spread values of `bits` bits over 8, or over 16 where there are more than 8; different ones stay different."""
    kind = np.uint8 if bits <= 8 else np.uint16
    if bits in (8, 16):
        return pixels.astype(kind)
    top, full = np.iinfo(kind).max, 2**bits - 1
    return ((pixels.astype(np.uint32) * top + full // 2) // full).astype(kind)


def _straight(pixels: np.ndarray) -> np.ndarray:
    """Divide colours by the alpha they are stored multiplied with; multiplied again they round to what was stored."""
    colour, alpha = pixels[..., :-1].astype(np.uint64), pixels[..., -1:].astype(np.uint64)
    if (colour > alpha).any():
        raise PictureError("must have premultiplied colours of at most their alpha, got larger ones")
    divided = (colour * np.iinfo(pixels.dtype).max + alpha // 2) // np.maximum(alpha, 1)
    return np.concatenate([divided, alpha], axis=2).astype(pixels.dtype)


def _read_pillow(content: bytes) -> Picture:
    file = io.BytesIO(content)
    # Image.open would take further pictures in a JPEG (MPF), as phones add them, for frames; the first is the main one.
    is_jpeg = content.startswith(_JPEG_SIGNATURE)
    with JpegImageFile(file) if is_jpeg else Image.open(file, formats=_FORMATS) as image:
        left_out = ["further pictures (MPF)"] if "mp" in image.info else []
        if image.width * image.height > MAX_PIXELS:
            raise PictureError(_TOO_LARGE)
        frames = getattr(image, "n_frames", 1)
        if frames != 1:
            raise PictureError(f"must hold one picture, got {frames} frames")
        if image.format == "GIF" and image.tile[0].extents != (0, 0, *image.size):
            raise PictureError("must be a whole picture, got a GIF whose frame leaves a part of it empty")
        arguments = image.tile[0].args if image.format == "PPM" else None  # of a decoder: mode and largest value
        if isinstance(arguments, tuple) and arguments[1] > 255:
            raise PictureError("must have 8 bits as PPM, got more: save it as PNG or TIFF")
        image.load()
        if image.format == "PNG":
            pixels = imagecodecs.png_decode(content)  # Pillow keeps neither 16 bits nor tRNS beside them
        else:
            pixels = _pixels(image)
        try:
            orientation, exif = _exif(image.getexif(), left_out)
        except Exception:  # as for damaged files
            orientation, exif = 1, None
            left_out.append("damaged EXIF")
        profile = _profile(image.info["icc_profile"], left_out) if "icc_profile" in image.info else None
        left_out += _colours_told(image.info) if profile is None else []  # which a profile stands above
        return Picture(_upright(pixels, orientation), profile, exif, tuple(left_out))


def _colours_told(info: dict) -> list[str]:
    """Return what a PNG file says of its colours and is not kept, where that is not what sRGB has."""
    told = [(name, np.array(info[name]), np.array(usual)) for name, usual in _SRGB.items() if name in info]
    alike = {name: ours.shape == usual.shape and np.allclose(ours, usual, atol=0.01) for name, ours, usual in told}
    return [f"a {name} unlike sRGB's" for name, same in alike.items() if not same]


def _exif(found: Image.Exif, left_out: list[str]) -> tuple[int, bytes | None]:
    """Return the orientation that EXIF tells, and the EXIF of the upright picture of any size, without a thumbnail."""
    orientation = found.pop(_ORIENTATION, 1)
    for tag in _EXIF_SIDES if _EXIF_IFD in found else ():
        found.get_ifd(_EXIF_IFD).pop(tag, None)
    kept = found.tobytes().removeprefix(_EXIF) if found else None
    if kept and len(kept) > _LONGEST_EXIF:
        left_out.append(f"EXIF of {len(kept):,} bytes")
        kept = None
    return orientation, kept


def _pixels(image: Image.Image) -> np.ndarray:
    """Return the values of a picture that Pillow decoded, a transparent colour as alpha."""
    if image.mode not in _MODES:
        raise PictureError(f"must be grey or RGB with 8 or 16 bits, got mode {image.mode}")
    modes = _MODES | _CLEAR if "transparency" in image.info else _MODES
    return np.array(image.convert(modes[image.mode]))


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn and mirror as the tag Orientation (1 to 8) of TIFF and EXIF asks; other values mean nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _checked(picture: Picture) -> Picture:
    """Return the picture with its axis of channels; refuse what is none."""
    pixels = picture.pixels[..., None] if picture.pixels.ndim == 2 else picture.pixels
    if pixels.ndim != 3 or pixels.shape[2] > 4 or not pixels.size or pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"must be grey or RGB with 8 or 16 bits, got {pixels.dtype} of shape {pixels.shape}")
    return replace(picture, pixels=pixels)
