"""What a picture file holds is kept, or it is refused in one line: every kind of file made here from scratch."""

import io
import os
import struct
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from hinas_nb import __main__, data
from hinas_nb.data import pictures
from hinas_nb.data.pictures import Picture, PictureError

HEIGHT, WIDTH = 24, 40
ROWS, COLUMNS = np.mgrid[:HEIGHT, :WIDTH]
DEEP = np.stack([ROWS * 2601 + COLUMNS, COLUMNS * 1511 + ROWS, (ROWS * 7919 + COLUMNS * 4001) % 65536], 2).astype(
    np.uint16
)
SHALLOW = (DEEP >> 8).astype(np.uint8)
GREY = SHALLOW[..., 2].copy()
#: Orientation: from what is stored to what is meant.
TURNS = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: np.rot90,
}


@pytest.fixture
def read(tmp_path):
    """Bytes of a file -> the picture."""

    def reader(content: bytes) -> Picture:
        (tmp_path / "x").write_bytes(content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            return pictures.read(tmp_path / "x")

    return reader


@pytest.fixture
def refusal(read):
    """Bytes of a file -> the line that refuses it, without the path."""

    def refused(content: bytes) -> str:
        with pytest.raises(PictureError) as error:
            read(content)
        assert "\n" not in str(error.value)
        return str(error.value).split(" ", 1)[1]

    return refused


def pillow(pixels, kind, mode=None, **options) -> bytes:
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(pixels, **options) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **{"metadata": None} | options)
    return buffer.getvalue()


def raw_tiff(bits, photometric, rows: bytes, samples=1, size=(HEIGHT, WIDTH), **tags) -> bytes:
    """One uncompressed strip, written by hand: libraries write no 12 bits."""
    entries = {256: (4, size[1]), 257: (4, size[0]), 258: (3, bits), 259: (3, 1), 262: (3, photometric), 273: (4, 0),
               277: (3, samples), 278: (4, size[0]), 279: (4, len(rows))}  # fmt: skip
    entries |= {int(tag[1:]): (3, value) for tag, value in tags.items()}
    entries[273] = (4, 8 + 2 + 12 * len(entries) + 4)
    directory = b"".join(
        struct.pack("<HHII", tag, *((kind, 1, value))) for tag, (kind, value) in sorted(entries.items())
    )
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4) + rows


def packed(values, bits: int) -> bytes:
    """Rows of values, high bits first, each row filled to whole bytes."""
    spread = (values[..., None] >> np.arange(bits)[::-1]) & 1
    return np.packbits(spread.reshape(len(values), -1).astype(np.uint8), axis=1).tobytes()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_chunk(png: bytes, name: bytes, body: bytes) -> bytes:
    """A PNG with one chunk more, after its head."""
    return png[:33] + chunk(name, body) + png[33:]


def jpeg_with(jpeg: bytes, segment: bytes, marker: int = 0xE2) -> bytes:
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(segment) + 2) + segment + jpeg[2:]


# --- what is written


def random_pixels(channels: int, bits: int) -> np.ndarray:
    kind = np.uint8 if bits == 8 else np.uint16
    return np.random.default_rng(0).integers(0, 2**bits, (21, 34, channels)).astype(kind)


@pytest.mark.parametrize("profile", [None, b"not a real profile, but kept"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", [".png", ".tif"])
def test_pictures_come_back_as_they_were(tmp_path, kind, channels, bits, profile):
    original = Picture(random_pixels(channels, bits), profile)
    pictures.write(tmp_path / f"x{kind}", original)
    found = pictures.read(tmp_path / f"x{kind}")
    assert found.pixels.dtype == original.pixels.dtype and np.array_equal(found.pixels, original.pixels)
    assert found.profile == profile


@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000), (40, 1)])
@pytest.mark.parametrize("bits", [8, 16])
def test_noise_of_one_column_is_written_too(tmp_path, size, bits):
    kind = np.uint8 if bits == 8 else np.uint16
    noise = np.random.default_rng(0).integers(0, 2**bits, (*size, 1)).astype(kind)
    pictures.write(tmp_path / "x.png", Picture(noise))
    assert np.array_equal(pictures.read(tmp_path / "x.png").pixels, noise)


def test_a_deep_png_is_a_png_to_others(tmp_path):
    original = Picture(random_pixels(3, 16))
    pictures.write(tmp_path / "x.png", original)
    with Image.open(tmp_path / "x.png") as image:
        assert image.mode == "RGB" and np.array_equal(np.array(image), original.pixels >> 8)
    assert np.array_equal(data.read_image(tmp_path / "x.png"), original.pixels)


def test_a_palette_of_a_png_is_looked_up(tmp_path):
    colours = Image.fromarray(SHALLOW).quantize(8)
    colours.save(tmp_path / "x.png")
    assert np.array_equal(pictures.read(tmp_path / "x.png").pixels, np.array(colours.convert("RGB")))


@pytest.mark.parametrize(
    ("name", "channels", "bits", "line"),
    [
        ("x.gif", 3, 8, "output must end in one of .png .tif .tiff .webp .jpg .jpeg .bmp, got x.gif"),
        ("x.jpg", 3, 16, "output must be .png or .tif for 16 bits: .jpg holds 8 bits without alpha"),
        ("x.JPG", 4, 8, "output must be .png or .tif for 8 bits with alpha: .jpg holds 8 bits without alpha"),
        ("x.webp", 4, 16, "output must be .png or .tif for 16 bits with alpha: .webp holds 8 bits"),
    ],
)
def test_a_file_that_cannot_hold_the_result_is_refused(tmp_path, name, channels, bits, line):
    with pytest.raises(PictureError) as error:
        pictures.write(tmp_path / name, Picture(random_pixels(channels, bits)))
    assert str(error.value) == line
    assert not list(tmp_path.iterdir())


# --- depth


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize(
    "options", [{}, {"bigtiff": True}, {"byteorder": ">"}, {"tile": (16, 16)}, {"rowsperstrip": 5}]
)
@pytest.mark.parametrize("pixels", [SHALLOW, DEEP, GREY, DEEP[..., 1]], ids=["rgb8", "rgb16", "grey8", "grey16"])
def test_a_tiff_is_the_same_under_every_compression_and_layout(read, pixels, options, compression):
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    predictor = {"predictor": 2} if compression in ("lzw", "zlib") else {}
    found = read(tiff(pixels, photometric=kind, compression=compression, **predictor, **options)).pixels
    assert found.dtype == pixels.dtype and np.array_equal(found, pixels.reshape(found.shape))


def test_planes_apart_are_the_channels(read):
    planes = np.ascontiguousarray(DEEP.transpose(2, 0, 1))
    assert np.array_equal(read(tiff(planes, photometric="rgb", planarconfig="separate")).pixels, DEEP)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 9, 10, 12, 14])
def test_packed_bits_are_spread_over_the_full_range(read, bits):
    values = (ROWS * WIDTH + COLUMNS) * 7 % 2**bits
    top = 255 if bits <= 8 else 65535
    found = read(raw_tiff(bits, 1, packed(values, bits))).pixels[..., 0]
    assert np.array_equal(found, np.rint(values * top / (2**bits - 1)))
    assert found.dtype == (np.uint8 if bits <= 8 else np.uint16)
    white_is_zero = read(raw_tiff(bits, 0, packed(values, bits))).pixels[..., 0]
    assert np.array_equal(white_is_zero, top - found)


@pytest.mark.parametrize("compression", [None, "lzw"])
def test_palettes_of_tiff_are_looked_up(read, compression):
    generator = np.random.default_rng(0)
    for spread, kind in ((257, np.uint8), (256, np.uint8), (1, np.uint16)):
        colours = generator.integers(0, 256 if spread > 1 else 65536, (3, 256)) * spread
        found = read(tiff(GREY, photometric="palette", colormap=colours.astype(np.uint16), compression=compression))
        meant = colours.T[GREY] // (1 if kind == np.uint16 else spread)
        assert found.pixels.dtype == kind and np.array_equal(found.pixels, meant)


@pytest.mark.parametrize("compression", [1, 5])
def test_palettes_of_two_colours_are_looked_up(read, compression):
    values, colours = (ROWS + COLUMNS) % 2, np.array([[1, 60000], [300, 7], [9, 65535]], "<u2")
    rows = packed(values, 1)
    rows = imagecodecs.lzw_encode(rows) if compression == 5 else rows
    plain = raw_tiff(1, 3, rows, t259=compression, t320=0)
    at = plain.index(struct.pack("<HHII", 320, 3, 1, 0))
    tag = struct.pack("<HHII", 320, 3, colours.size, len(plain))
    assert np.array_equal(read(plain[:at] + tag + plain[at + 12 :] + colours.tobytes()).pixels, colours.T[values])


def test_deep_colour_of_other_kinds_is_refused_not_cut(read, refusal):
    ppm = b"P6\n40 24\n65535\n" + DEEP.astype(">u2").tobytes()
    assert refusal(ppm) == "must have 8 bits as PPM, got more: save it as PNG or TIFF"
    plain = b"P3\n1 1\n1023\n1 2 3\n"
    assert refusal(plain) == "must have 8 bits as PPM, got more: save it as PNG or TIFF"
    assert np.array_equal(read(pillow(SHALLOW, "PPM")).pixels, SHALLOW)
    others = [pillow(SHALLOW, kind) for kind in ("SGI", "TGA", "JPEG2000", "PCX")]
    for content in others:
        assert refusal(content) == "must be a whole picture, got no picture of kind JPEG TIFF PNG WEBP BMP GIF PPM"


@pytest.mark.parametrize("pixels", [DEEP.astype(np.float32), DEEP.astype(np.uint32), DEEP.astype(np.int16)])
def test_numbers_that_are_no_grey_levels_are_refused(refusal, pixels):
    line = refusal(tiff(pixels, photometric="rgb"))
    assert line.startswith(f"must be grey or RGB with up to 16 bits, got {pixels.dtype}")


def test_colours_that_are_not_rgb_are_refused(refusal):
    cmyk = np.dstack([SHALLOW, GREY])
    for compression in (None, "lzw"):
        line = refusal(tiff(cmyk, photometric="separated", compression=compression))
        assert line == "must be grey or RGB, got TIFF kind <PHOTOMETRIC.SEPARATED: 5>"
    assert refusal(pillow(SHALLOW, "JPEG", "CMYK")) == "must be grey or RGB with 8 or 16 bits, got mode CMYK"


# --- alpha


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_premultiplied_alpha_is_divided_out(read, refusal, channels, bits):
    top, kind = 2**bits - 1, np.uint8 if bits == 8 else np.uint16
    alpha = ((ROWS * WIDTH + COLUMNS) * 37 % (top + 1))[..., None]
    straight = (np.dstack([DEEP, DEEP])[..., :channels] >> (16 - bits)).astype(np.int64)
    stored = np.rint(straight * alpha / top)
    options = {"photometric": "rgb" if channels == 3 else "minisblack", "planarconfig": "contig"}
    content = tiff(np.dstack([stored, alpha]).astype(kind), extrasamples=["assocalpha"], **options)
    found = read(content).pixels.astype(np.int64)
    assert np.array_equal(found[..., -1:], alpha)
    assert np.array_equal(np.rint(found[..., :-1] * found[..., -1:] / top), stored)  # nothing stored is lost
    error = np.abs(found[..., :-1] - straight)
    assert (error <= np.ceil(top / np.maximum(alpha, 1) / 2)).all() or (error[alpha[..., 0] > 0] <= top).all()
    too_bright = np.dstack([stored * 0 + top, alpha]).astype(kind)
    line = refusal(tiff(too_bright, extrasamples=["assocalpha"], **options))
    assert line == "must have premultiplied colours of at most their alpha, got larger ones"


@pytest.mark.parametrize("kind", ["unspecified", "unassalpha"])
@pytest.mark.parametrize("channels", [1, 3])
def test_only_what_is_called_alpha_is_alpha(read, refusal, channels, kind):
    pixels = np.dstack([DEEP, DEEP])[..., : channels + 1]
    options = {"photometric": "rgb" if channels == 3 else "minisblack", "planarconfig": "contig"}
    content = tiff(pixels, extrasamples=[kind], **options)
    if kind == "unassalpha":
        assert np.array_equal(read(content).pixels, pixels)
    else:
        line = "must hold nothing beside its colours but one alpha, got 1 more channels (unspecified)"
        assert refusal(content) == line


def test_bands_beside_the_colours_are_refused(refusal):
    five = np.dstack([DEEP, DEEP[..., :2]])
    line = refusal(tiff(five, photometric="rgb", planarconfig="contig", extrasamples=["unassalpha", "unspecified"]))
    assert line == "must hold nothing beside its colours but one alpha, got 2 more channels (unassalpha unspecified)"


@pytest.mark.parametrize("pixels", [DEEP, DEEP[..., 0], SHALLOW, GREY], ids=["rgb16", "grey16", "rgb8", "grey8"])
def test_one_transparent_colour_of_a_png_becomes_alpha(read, pixels):
    colour = np.atleast_1d(pixels[3, 3])
    png = with_chunk(imagecodecs.png_encode(np.ascontiguousarray(pixels)), b"tRNS", colour.astype(">u2").tobytes())
    found = read(png).pixels
    planes = pixels.reshape(HEIGHT, WIDTH, -1)
    top = np.iinfo(pixels.dtype).max
    assert found.dtype == pixels.dtype and np.array_equal(found[..., :-1], planes)
    assert np.array_equal(found[..., -1], np.where((planes == colour).all(axis=2), 0, top))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_of_a_png_are_spread_and_keep_their_transparent_grey(read, bits):
    values = (ROWS + COLUMNS) % 2**bits
    rows = packed(values, bits)
    length = len(rows) // HEIGHT
    lines = b"".join(b"\0" + rows[start : start + length] for start in range(0, len(rows), length))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, 0, 0, 0, 0))
    body = chunk(b"tRNS", struct.pack(">H", 1)) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    found = read(b"\x89PNG\r\n\x1a\n" + head + body).pixels
    assert np.array_equal(found[..., 0], values * 255 // (2**bits - 1))
    assert np.array_equal(found[..., 1], np.where(values == 1, 0, 255))


def test_colours_under_full_transparency_are_kept(tmp_path):
    pixels = np.dstack([SHALLOW, GREY * 0])
    for name in ("x.png", "x.tif", "x.webp"):
        pictures.write(tmp_path / name, Picture(pixels))
        assert np.array_equal(pictures.read(tmp_path / name).pixels, pixels), name


# --- orientation


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("pixels", [SHALLOW, DEEP, GREY, DEEP[..., 0]], ids=["rgb8", "rgb16", "grey8", "grey16"])
def test_every_orientation_is_turned_upright_at_every_depth(read, pixels, turn):
    exif = Image.Exif()
    exif[274] = turn
    png = with_chunk(imagecodecs.png_encode(np.ascontiguousarray(pixels)), b"eXIf", exif.tobytes()[6:])
    kind = "rgb" if pixels.ndim == 3 else "minisblack"
    for compression in (None, "lzw"):
        content = tiff(pixels, photometric=kind, compression=compression, extratags=[(274, "H", 1, turn, True)])
        for found in (read(content).pixels, read(png).pixels):
            assert np.array_equal(found, TURNS[turn](pixels).reshape(found.shape))


@pytest.mark.parametrize("turn", range(1, 9))
def test_jpeg_and_webp_are_turned_too(read, turn):
    exif = Image.Exif()
    exif[274] = turn
    for kind, options in (("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})):
        plain = read(pillow(SHALLOW, kind, **options)).pixels
        assert np.array_equal(read(pillow(SHALLOW, kind, exif=exif, **options)).pixels, TURNS[turn](plain))


def test_broken_exif_is_left_out_and_said(read):
    for broken in (b"garbage!", b"II*\0" + b"\xff" * 8, b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\xff\xff\xff\xff\0\0"):
        found = read(with_chunk(imagecodecs.png_encode(SHALLOW), b"eXIf", broken))
        assert np.array_equal(found.pixels, SHALLOW)
        jpeg = pillow(SHALLOW, "JPEG")
        found = read(jpeg_with(jpeg, b"Exif\0\0" + broken, 0xE1))
        assert np.array_equal(found.pixels, read(jpeg).pixels)
    assert read(with_chunk(imagecodecs.png_encode(SHALLOW), b"eXIf", b"garbage!")).left_out == ("damaged EXIF",)


@pytest.mark.parametrize("gamma, said", [(45455, ()), (100_000, ("a gamma unlike sRGB's",))])
def test_a_gamma_that_is_not_kept_is_told(read, gamma, said):
    found = read(with_chunk(imagecodecs.png_encode(SHALLOW), b"gAMA", gamma.to_bytes(4, "big")))
    assert found.left_out == said and np.array_equal(found.pixels, SHALLOW)


def test_primaries_that_are_too_many_are_told_and_stop_nothing(read):
    found = read(with_chunk(imagecodecs.png_encode(SHALLOW), b"cHRM", bytes(36)))
    assert found.left_out == ("a chromaticity unlike sRGB's",) and np.array_equal(found.pixels, SHALLOW)


# --- several pictures in a file


def test_the_main_picture_of_a_jpeg_with_more_is_taken(read):
    others = [Image.fromarray(SHALLOW[::-1]), Image.fromarray(SHALLOW[::2])]
    phone = pillow(SHALLOW, "MPO", save_all=True, append_images=others)
    found = read(phone)
    assert np.array_equal(found.pixels, np.array(Image.open(io.BytesIO(pillow(SHALLOW, "JPEG")))))
    assert found.left_out == ("further pictures (MPF)",)
    jpeg = pillow(SHALLOW, "JPEG")
    for damaged in (b"MPF\0", b"MPF\0garbage", b"MPF\0II*\0\xff\xff\xff\xff", b"MPF\0MM\0*\0\0\0\x08\xff\xff"):
        assert np.array_equal(read(jpeg_with(jpeg, damaged)).pixels, read(jpeg).pixels)


def test_thumbnails_are_left_out_and_pages_refused(read, refusal):
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as file:
        file.write(DEEP, photometric="rgb", metadata=None)
        file.write(DEEP[::2, ::2], photometric="rgb", metadata=None, subfiletype=1)
    found = read(buffer.getvalue())
    assert np.array_equal(found.pixels, DEEP) and found.left_out == ("a thumbnail",)
    assert refusal(tiff(np.stack([GREY] * 3), photometric="minisblack")) == "must hold one picture, got 3 pages"
    volume = tiff(np.stack([GREY] * 16), photometric="minisblack", volumetric=True, tile=(16, 16, 16))
    assert refusal(volume) == "must hold one picture, got a volume of 16"
    stack = tiff(GREY, photometric="minisblack", description="ImageJ=1.54f\nimages=5\nslices=5\n")
    assert refusal(stack) == "must hold one picture, got 5 pages"
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1])]
    for kind in ("GIF", "WEBP", "PNG"):
        content = pillow(frames[0], kind, save_all=True, append_images=frames[1:])
        assert refusal(content) == "must hold one picture, got 2 frames"


# --- damage


def whole_files() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(SHALLOW)
    rgb = {"photometric": "rgb", "rowsperstrip": 5}
    return {
        "png": pillow(image, "PNG", exif=exif),
        "deep png": imagecodecs.png_encode(DEEP),
        "palette png": pillow(image.quantize(16), "PNG"),
        "jpeg": pillow(image, "JPEG", exif=exif),
        "progressive jpeg": pillow(image, "JPEG", progressive=True),
        "webp": pillow(image, "WEBP"),
        "lossless webp": pillow(image, "WEBP", lossless=True),
        "bmp": pillow(image, "BMP"),
        "gif": pillow(image, "GIF"),
        "ppm": pillow(image, "PPM"),
        "tiff": tiff(SHALLOW, **rgb),
        "bigtiff": tiff(DEEP, bigtiff=True, **rgb),
        "lzw tiff": tiff(DEEP, compression="lzw", predictor=2, **rgb),
        "jpeg tiff": tiff(SHALLOW, photometric="ycbcr", compression="jpeg", rowsperstrip=8),
        "tiled tiff": tiff(SHALLOW, photometric="rgb", compression="packbits", tile=(16, 16)),
        "fax tiff": pillow(image.convert("1"), "TIFF", compression="group4"),
        "12-bit tiff": raw_tiff(12, 1, packed(DEEP[..., 0] >> 4, 12)),
    }


FILES = whole_files()


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_is_refused_or_read_whole(read, name):
    """Never with rows of black or grey where pixels are missing."""
    whole = read(FILES[name]).pixels
    for length in range(0, len(FILES[name]), max(1, len(FILES[name]) // 60)):
        try:
            found = read(FILES[name][:length]).pixels
        except PictureError as error:
            assert "\n" not in str(error)
        else:
            assert np.array_equal(found, whole), length


@pytest.mark.parametrize("name", FILES)
def test_damage_is_one_line_whatever_the_decoder_does(read, name):
    generator = np.random.default_rng(list(name.encode()))
    for _ in range(60):
        content = np.frombuffer(FILES[name], np.uint8).copy()
        places = generator.integers(min(len(content), 200), size=generator.integers(1, 8))
        content[places] = generator.choice([0, 255, *generator.integers(0, 256, 2)], len(places))
        try:
            read(content.tobytes())
        except PictureError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("kind", [TypeError, NotImplementedError, OverflowError, ZeroDivisionError, RuntimeError,
                                  MemoryError, RecursionError, AssertionError, KeyError, struct.error])  # fmt: skip
@pytest.mark.parametrize("content", [imagecodecs.png_encode(GREY), tiff(GREY)], ids=["png", "tiff"])
def test_any_exception_of_a_decoder_is_one_line(refusal, monkeypatch, content, kind):
    def fail(*arguments, **options):
        raise kind("it\nwent wrong")

    monkeypatch.setattr(imagecodecs, "png_decode", fail)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", fail)
    memory = " that fits in memory" if kind is MemoryError else ""
    assert refusal(content).startswith(f"must be a whole picture{memory}, got ")


def test_rows_that_are_missing_are_not_black(refusal):
    png = imagecodecs.png_encode(SHALLOW)
    lines = np.concatenate([np.zeros((HEIGHT, 1), np.uint8), SHALLOW.reshape(HEIGHT, -1)], axis=1).tobytes()
    for body in (zlib.compress(lines[: len(lines) // 2]), zlib.compress(lines)[:200]):
        line = refusal(png[:33] + chunk(b"IDAT", body) + chunk(b"IEND", b""))
        assert line.startswith("must be a whole picture, got ")
    with tifffile.TiffFile(io.BytesIO(FILES["lzw tiff"])) as file:
        tag = file.pages[0].tags[279]  # bytes of each strip
    damaged = bytearray(FILES["lzw tiff"])
    damaged[tag.valueoffset : tag.valueoffset + struct.calcsize(tag.dataformat)] = bytes(
        struct.calcsize(tag.dataformat)
    )
    assert refusal(bytes(damaged)) == "must be a whole picture, got strips or tiles that are missing"


def test_pages_in_a_circle_are_refused(refusal):
    content = bytearray(tiff(SHALLOW, photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(bytes(content))) as file:
        page = file.pages[0]
        following = page.offset + 2 + 12 * len(page.tags)
        content[following : following + 4] = struct.pack("<I", page.offset)
    assert refusal(bytes(content)) == "must be a whole picture, got pages that lead in a circle"


def test_a_tiff_of_thumbnails_alone_is_refused(refusal):
    line = refusal(tiff(SHALLOW, photometric="rgb", subfiletype=1))
    assert line == "must be a whole picture, got a TIFF without a page of full size"


def test_a_gif_that_fills_a_part_of_its_canvas_is_refused(refusal):
    gif = FILES["gif"]
    line = refusal(gif[:6] + struct.pack("<HH", 60, 50) + gif[10:])
    assert line == "must be a whole picture, got a GIF whose frame leaves a part of it empty"


def test_a_damaged_colour_profile_is_left_out_and_said(read):
    png = with_chunk(imagecodecs.png_encode(SHALLOW), b"iCCP", b"profile\0\0garbage")
    jpeg = jpeg_with(FILES["progressive jpeg"], b"ICC_PROFILE\0\x01\x02the first of two")
    tags = [("s", 0, "text"), ("H", 3, (1, 2, 3)), ("I", 1, 7), ("d", 1, 2.0)]
    tiffs = [tiff(SHALLOW, photometric="rgb", extratags=[(34675, *tag, True)]) for tag in tags]
    for content in (png, jpeg, *tiffs):
        found = read(content)
        assert found.profile is None and found.left_out == ("damaged colour profile",)


# --- size


def test_no_file_asks_for_more_pixels_than_the_limit(refusal):
    line = f"must have at most {pictures.MAX_PIXELS:,} pixels"
    side, bmp = 30_000, FILES["bmp"]
    huge = [raw_tiff(8, 1, b"", size=(side, side)), raw_tiff(1, 1, b"", size=(2**32 - 1, 2**32 - 1))]
    huge += [
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0))
        + chunk(b"IDAT", b"x")
        + chunk(b"IEND", b"")
    ]
    huge += [b"P5\n30000 30000\n255\n", bmp[:18] + struct.pack("<ii", side, side) + bmp[26:]]
    frame = FILES["jpeg"].index(b"\xff\xc0") + 5
    huge += [FILES["jpeg"][:frame] + struct.pack(">HH", side, side) + FILES["jpeg"][frame + 4 :]]
    for content in huge:
        assert refusal(content) == line


@pytest.mark.parametrize(
    ("name", "size", "scale", "line"),
    [
        ("x.webp", (1, 4096), 4, "output must be .tif for 16384x4: .webp holds sides of 16383"),
        ("x.webp", (16384, 1), 1, "output must be .tif for 1x16384: .webp holds sides of 16383"),
        ("x.png", (1, 500_001), 2, "output must be .tif for 1000002x2: .png holds sides of 1000000"),
        ("x.jpg", (1, 21834), 3, "output must be .tif for 65502x3: .jpg holds sides of 65500"),
    ],
)
def test_sides_that_a_kind_cannot_hold_are_refused_before_the_work(name, size, scale, line, tmp_path):
    picture = Picture(np.zeros((*size, 1), np.uint8))
    with pytest.raises(PictureError) as error:
        pictures.check_target(tmp_path / name, picture, scale)
    assert str(error.value) == line
    pictures.check_target(tmp_path / name, Picture(np.zeros((1, pictures.KINDS[name[1:]].side, 1), np.uint8)))


def test_a_colour_profile_is_kept_or_refused(tmp_path):
    picture = Picture(SHALLOW, b"a profile")
    with pytest.raises(PictureError, match=r"for a picture with a colour profile: \.bmp holds none"):
        pictures.write(tmp_path / "x.bmp", picture)
    for name in ("x.png", "x.tif", "x.webp", "x.jpg"):
        pictures.write(tmp_path / name, picture)
        assert pictures.read(tmp_path / name).profile == b"a profile", name


# --- not a picture's place


def test_what_is_no_regular_file_is_not_read(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", "/dev/zero"):
        command = ["restore", str(path), str(tmp_path / "out.png"), "--task", "denoise", "--weights", str(path)]
        assert __main__.main(command) == 2
        assert capsys.readouterr().err == f"hinas-nb: cannot read {path}: must be a regular file\n"
    with pytest.raises(OSError, match=r"cannot read /dev/zero: must be a regular file"):
        data.read_image("/dev/zero")


# --- sets of images


def test_a_transparent_image_is_refused_in_a_set_and_an_opaque_alpha_left_out(tmp_path):
    pictures.write(tmp_path / "x.png", Picture(np.dstack([DEEP, DEEP[..., 0] | 65535])))
    assert data.load(f"folder:{tmp_path}", "all").images[0].shape == (3, HEIGHT, WIDTH)
    pictures.write(tmp_path / "x.png", Picture(np.dstack([DEEP, DEEP[..., 0]])))
    with pytest.raises(data.DataError, match=r"x.png must be opaque as an image of a data set, got transparent pixels"):
        data.load(f"folder:{tmp_path}", "all")


@pytest.mark.parametrize("name", FILES)
def test_one_damaged_file_of_a_folder_is_one_line(tmp_path, name):
    suffix = ".tif" if name.endswith("tiff") else ".png"
    pictures.write(tmp_path / "whole.png", Picture(SHALLOW))
    (tmp_path / f"damaged{suffix}").write_bytes(FILES[name][: len(FILES[name]) // 2])
    with pytest.raises(data.DataError, match=f"^{tmp_path}/damaged{suffix} must be a whole picture, got [^\n]+$"):
        data.load(f"folder:{tmp_path}", "all")
