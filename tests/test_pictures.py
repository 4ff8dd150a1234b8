"""One picture: what is sound is read whatever hangs on it, values are scaled by what they are."""

import ast
import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin, features

from cifar_lab import data, files
from cifar_lab.data import containers, pictures
from cifar_lab.errors import InputError
from support import ROOT, bomb_header, command_env

SHAPE = (16, 16, 3)


def upright():
    """uint8 (16, 16, 3): red above, blue at the left below; no turn leaves it as it is."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8, :, 0] = 255
    pixels[8:, :8, 2] = 255
    return pixels


def stored(orientation=6):
    """`upright` as a camera stores it that is held so."""
    turned = {1: 0, 3: 2, 6: 1, 8: 3}[orientation]
    return Image.fromarray(np.ascontiguousarray(np.rot90(upright(), turned)))


def saved(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def read(raw, shape=SHAPE, name="x"):
    return data.read_image(io.BytesIO(raw), shape, name)


def refused(raw, words, shape=SHAPE):
    with pytest.raises(InputError, match=words) as error:
        read(raw, shape)
    assert "\n" not in str(error.value) and str(error.value).startswith("x: ")
    return str(error.value)


def assert_upright(pixels, tolerance=0):
    """tolerance: the share of pixels that compression may change, at the borders of colours."""
    wrong = (np.abs(pixels.astype(int) - upright()) > 60).any(-1).mean()
    assert wrong <= tolerance, pixels[:, :, 0]


def exif(*entries, order="<", prefix=b"Exif\0\0"):
    """EXIF with these entries of 12 bytes: (tag, type, count, value bytes)."""
    body = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        body += struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return prefix + mark + struct.pack(order + "I", 8) + body + bytes(4)


TURN = (0x0112, 3, 1, struct.pack("<H", 6))
ODD_TAGS = {
    "resolution unit as text": [TURN, (0x0128, 7, 1, b"\2")],
    "resolution that points nowhere": [TURN, (0x011A, 5, 1, b"\xff\xff\xff\x7f")],
    "text as number": [(0x010F, 3, 1, b"\1"), TURN],
    "unknown type": [(0x0100, 99, 7, b"abcd"), TURN],
    "a count of 4 billion": [(0x010E, 2, 2**32 - 1, b"\1\1\1\1"), TURN],
    "EXIF directory nowhere": [TURN, (0x8769, 4, 1, b"\xff\xff\xff\xff")],
    "orientation as long": [(0x0112, 4, 1, struct.pack("<I", 6))],
    "orientation as byte": [(0x0112, 1, 1, b"\6")],
    "orientation as text": [(0x0112, 2, 2, b"6\0")],
    "orientation of an odd type": [(0x0112, 77, 1, struct.pack("<H", 6))],
}


@pytest.mark.parametrize("kind", ODD_TAGS)
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_an_odd_exif_tag_does_not_make_a_picture_damaged(kind, format):
    raw = exif(*ODD_TAGS[kind])
    if format == "JPEG":
        file = saved(stored(), "JPEG", exif=raw, quality=95, subsampling=0)
    elif format == "PNG":
        file = with_chunks(saved(stored(), "PNG"), (b"eXIf", raw[6:]))
    else:
        file = saved(stored(), "WEBP", exif=raw, lossless=True)
    assert_upright(read(file), 0.1 if format == "JPEG" else 0)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"Exif\0\0",
        b"Exif\0\0II*\0",
        exif(TURN)[:15],
        b"nonsense" * 9,
        exif((0x0112, 3, 1, b"\x63")),
    ],
)
def test_damaged_exif_is_upright(raw):
    assert_upright(read(saved(Image.fromarray(upright()), "JPEG", exif=raw, quality=95)), 0.1)
    assert_upright(read(with_chunks(saved(Image.fromarray(upright()), "PNG"), (b"eXIf", raw))))


def with_chunks(png, *chunks, before=b"IDAT"):
    """A PNG with more chunks, (kind, body), before the first of a kind."""
    at = png.index(before) - 4
    more = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return png[:at] + more + png[at:]


def icc(length):
    return (b"iCCP", b"odd\0\0" + zlib.compress(bytes(length)))


XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/>'
LONG = zlib.compress(bytes(3_000_000))
PNG_EXTRAS = {
    "long zTXt": [(b"zTXt", b"Comment\0\0" + LONG)],
    "long iTXt": [(b"iTXt", b"Comment\0\1\0\0\0" + LONG)],
    "many long texts": [(b"zTXt", b"a\0\0" + LONG)] * 30,
    "zTXt of an unknown method": [(b"zTXt", b"Comment\0\7nonsense")],
    "text that is no text": [(b"iTXt", b"\xff"), (b"tEXt", b""), (b"zTXt", b"")],
    "large profile": [icc(3_000_000)],
    "broken profile": [(b"iCCP", b"odd\0\0nonsense")],
    "empty profile": [(b"iCCP", b"")],
    "short pHYs, gAMA, cHRM": [(b"pHYs", b""), (b"gAMA", b"1"), (b"cHRM", b"")],
    "broken animation": [(b"acTL", b""), (b"fcTL", bytes(26))],
    "unknown": [(b"abCd", bytes(99))],
}


@pytest.mark.parametrize("kind", PNG_EXTRAS)
def test_what_hangs_on_a_png(kind):
    turned = exif(TURN)[6:]
    before = (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    for where in (b"IDAT", b"IEND"):
        raw = with_chunks(
            saved(stored(), "PNG"), *PNG_EXTRAS[kind], (b"eXIf", turned), before=where
        )
        assert_upright(read(raw))
    raw = with_chunks(saved(stored(), "PNG"), (b"eXIf", turned), *PNG_EXTRAS[kind])
    at = raw.index(PNG_EXTRAS[kind][0][0])
    broken = raw[: at + 4] + b"\1\2\3\4" + raw[at + 8 :]
    assert_upright(read(broken))  # a checksum, or a byte of the text
    assert before == (PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY)
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_orientation_in_xmp_and_in_a_raw_profile():
    png = saved(stored(), "PNG")
    hexadecimal = exif(TURN).hex().encode()
    profile = b"\nexif\n%8d\n" % (len(hexadecimal) // 2) + hexadecimal
    for chunk in (
        (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(XMP)),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(profile)),
        (b"tEXt", b"Raw profile type exif\0" + profile),
    ):
        assert_upright(read(with_chunks(png, chunk)))
    assert_upright(read(saved(stored(), "JPEG", xmp=XMP, quality=95, subsampling=0)), 0.1)
    assert_upright(read(saved(stored(), "WEBP", xmp=XMP, lossless=True)))


def jpeg_with(*segments):
    raw = saved(stored(), "JPEG", exif=exif(TURN), quality=95, subsampling=0)
    more = b"".join(
        bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body for marker, body in segments
    )
    return raw[:2] + more + raw[2:]


@pytest.mark.parametrize(
    "segments",
    [
        [(0xE2, b"ICC_PROFILE\0\1\2odd")],
        [(0xE2, b"ICC_PROFILE\0")] * 3,
        [(0xE2, b"MPF\0nonsense")],
        [(0xED, b"Photoshop 3.0\x008BIM\x03\xed\x00\x00\x00\x00\x00\x04\x00\x00")],
        [(0xED, b"Photoshop 3.0\x008BIM\x04")],
        [(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><trunc")],
        [(0xFE, b"\xff\xd8 a comment"), (0xEF, b"odd")],
    ],
)
def test_what_hangs_on_a_jpeg(segments):
    assert_upright(read(jpeg_with(*segments)), 0.1)


def test_metadata_cut_off_at_the_end_of_a_webp():
    raw = saved(stored(), "WEBP", exif=exif(TURN), xmp=XMP * 50, lossless=True)
    assert_upright(read(raw[:-1000]))
    refused(saved(stored(), "WEBP", lossless=True)[:-20], "damaged image")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_file_that_is_cut_off_is_damaged(kind):
    rng = np.random.default_rng(0)
    raw = saved(Image.fromarray(rng.integers(0, 256, (64, 64, 3)).astype(np.uint8)), kind)
    for share in (0.3, 0.6, 0.9):
        refused(raw[: int(len(raw) * share)], "damaged image")


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg"])
def test_tiff_with_odd_tags_and_turned(compression):
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    tags = ImageFileDirectory_v2()
    tags[274] = 6
    tags[270] = "words"
    tags[34675] = b"a broken profile"
    tags[700] = b"<x:xmpmeta><trunc"
    raw = bytearray(saved(stored(), "TIFF", compression=compression, tiffinfo=tags))
    assert_upright(read(bytes(raw)), 0.2 if compression == "jpeg" else 0)
    (start,) = struct.unpack_from("<I", raw, 4)
    for i in range(struct.unpack_from("<H", raw, start)[0]):  # types that no tag has
        at = start + 2 + 12 * i
        if struct.unpack_from("<H", raw, at)[0] in (270, 34675, 700):
            struct.pack_into("<HI", raw, at + 2, 99, 2**32 - 1)
    assert_upright(read(bytes(raw)), 0.2 if compression == "jpeg" else 0)


# --- which formats ---


def test_only_formats_of_pixels_are_read(tmp_path):
    known = data.layout.endings()
    for ending in (
        *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif"),
        *(".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".ico", ".jp2"),
    ):
        assert ending in known
    assert (".avif" in known) == features.check("avif")
    others = "mpg mpeg h5 hdf eps ps emf wmf fits fit grib bufr pdf palm fli flc dcx txt csv"
    assert not {f".{name}" for name in others.split()} & known


def test_a_postscript_file_starts_no_program(tmp_path):
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "gs").chmod(0o755)
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    for name in ("a.jpg", "a.eps", "a"):
        (tmp_path / name).write_bytes(eps)
        code = (
            "import sys; from cifar_lab import data\n"
            "try: data.read_image(sys.argv[1], (8, 8, 3))\n"
            "except ValueError as error: print(error)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / name)],
            cwd=ROOT,
            env=command_env(PATH=f"{tmp_path}:{os.environ['PATH']}"),
            capture_output=True,
            text=True,
        )
        assert "is not an image" in done.stdout, done
    assert not (tmp_path / "ran").exists()


# --- values ---


def ramp(low, high, dtype, size=16):
    return np.linspace(low, high, size * size).reshape(size, size).astype(dtype)


def grey_levels(raw, shape=(16, 16, 1)):
    """uint8 of a grey ramp: it must go from black to white evenly."""
    values = read(raw, shape)[..., 0].reshape(-1).astype(int)
    return values


def assert_ramp(raw, most=255):
    values = grey_levels(raw)
    np.testing.assert_allclose(values, np.linspace(0, most, 256), atol=1.01)


def tiff(values, tags=(), **options):
    """An uncompressed TIFF of grey values with more tags: (tag, type letter, value)."""
    kinds = {"u": 1, "i": 2, "f": 3}
    letters = {"H": 3, "I": 4, "h": 8, "i": 9, "f": 11}
    order = options.get("order", "<")
    values = values.astype(values.dtype.newbyteorder(order))
    samples = 1 if values.ndim == 2 else values.shape[2]
    bits = options.get("bits", values.dtype.itemsize * 8)
    entries = {
        256: ("I", values.shape[1]),
        257: ("I", values.shape[0]),
        258: ("H", bits),
        259: ("H", 1),
        262: ("H", options.get("photometric", 1 if samples == 1 else 2)),
        273: ("I", 8),
        277: ("H", samples),
        278: ("I", values.shape[0]),
        279: ("I", values.nbytes),
        339: ("H", kinds[values.dtype.kind]),
        **{tag: (letter, value) for tag, letter, value in tags},
    }
    body = struct.pack(order + "H", len(entries))
    for tag, (letter, value) in sorted(entries.items()):
        packed = struct.pack(order + letter, value).ljust(4, b"\0")
        body += struct.pack(order + "HHI", tag, letters[letter], 1) + packed
    header = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8 + values.nbytes)
    return header + values.tobytes() + body + bytes(4)


def test_sixteen_bit_grey():
    assert_ramp(saved(Image.fromarray(ramp(0, 65535, np.uint16)), "PNG"))
    assert_ramp(saved(Image.fromarray(ramp(0, 65535, np.uint16)), "JPEG2000"))
    for order in "<>":
        assert_ramp(tiff(ramp(0, 65535, np.uint16), order=order))
        assert_ramp(tiff(ramp(0, 4095, np.uint16), [(341, "H", 4095)], order=order))
    assert_ramp(tiff(ramp(0, 4095, np.uint16), [(281, "H", 4095)]))
    assert_ramp(tiff(ramp(0, 1023, np.uint16), [(281, "H", 1023)]))
    assert_ramp(tiff(ramp(500, 1500, np.uint16), [(340, "H", 500), (341, "H", 1500)]))
    # a statistic
    assert_ramp(tiff(ramp(0, 65535 // 2, np.uint16), [(281, "H", 65535 // 2 - 5)]), most=127)
    inverted = tiff(ramp(65535, 0, np.uint16), photometric=0)
    assert_ramp(inverted)
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        image = Image.fromarray(ramp(0, 65535, np.uint16))
        assert_ramp(saved(image, "TIFF", compression=compression))
    pgm = b"P5 16 16 1023\n" + ramp(0, 1023, np.uint16).astype(">u2").tobytes()
    assert_ramp(pgm)
    assert_ramp(
        saved(Image.fromarray(ramp(0, 4096, np.uint16)), "PNG"), most=16
    )  # dark, not nearly black
    for high in (126, 255, 1023, 4095):
        few = ramp(0, high, np.uint16)
        for raw in (
            saved(Image.fromarray(few), "PNG"),
            tiff(few),
            b"P5 16 16 65535\n" + few.astype(">u2").tobytes(),
        ):
            with pytest.raises(pictures.Unreadable, match=f"16-bit values up to {high} only"):
                pictures.decode(raw, (16, 16, 1))
    assert_ramp(saved(Image.fromarray(np.zeros((16, 16), np.uint16)), "PNG"), most=0)


def test_twelve_packed_bits():
    values = ramp(0, 4095, np.uint16).reshape(-1, 2).astype(np.uint32)
    packed = np.stack([values[:, 0] >> 4, values[:, 0] << 4 | values[:, 1] >> 8, values[:, 1]], 1)
    raw = (packed & 255).astype(np.uint8)
    assert_ramp(tiff(raw.reshape(16, 24), bits=12).replace(*swapped_width(24, 16)))


def swapped_width(old, new):
    entry = struct.pack("<HHI", 256, 4, 1)
    return entry + struct.pack("<I", old), entry + struct.pack("<I", new)


def test_sixteen_bit_colour():
    colour = np.stack([ramp(0, 65535, np.uint16)] * 3, -1)
    for raw in (tiff(colour), tiff(colour, order=">"), png16(colour)):
        assert_ramp(raw)
    refused(tiff(colour >> 4, [(341, "H", 4095)]), "16-bit colours up to 4095")


def png16(values):
    """A PNG of 16-bit colour; Pillow writes none."""
    height, width, samples = values.shape
    kind = {2: 4, 3: 2, 4: 6}[samples]
    rows = values.astype(">u2").reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    whole = b"\x89PNG\r\n\x1a\n"
    for name, part in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)),
        (b"IDAT", zlib.compress(body)),
        (b"IEND", b""),
    ):
        whole += struct.pack(">I", len(part)) + name + part
        whole += struct.pack(">I", zlib.crc32(name + part))
    return whole


def test_floats():
    for high in (1, 255):
        assert_ramp(tiff(ramp(0, high, np.float32)))
        assert_ramp(saved(Image.fromarray(ramp(0, high, np.float32)), "TIFF"))
    assert_ramp(tiff(ramp(-3, 5, np.float32), [(340, "f", -3.0), (341, "f", 5.0)]))
    assert_ramp(tiff(ramp(0, 65535, np.float32), [(340, "f", 0.0), (341, "f", 65535.0)]))
    for low, high in ((0, 3), (0, 65535), (-1, 1), (-100, 100)):
        refused(tiff(ramp(low, high, np.float32)), "holds numbers from .* to ")
    for odd in (np.nan, np.inf):
        values = ramp(0, 1, np.float32)
        values[3, 3] = odd
        refused(tiff(values), "not finite")
    np.testing.assert_array_equal(grey_levels(tiff(np.zeros((16, 16), np.float32))), 0)


def test_whole_numbers_whose_range_nothing_tells():
    refused(tiff(ramp(0, 255, np.int32)), "signed numbers of 32 bits.*SMinSampleValue")
    refused(tiff(ramp(0, 1, np.int32)), "signed numbers of 32 bits")
    refused(tiff(ramp(0, 255, np.uint32)), "whole numbers of 32 bits")
    refused(tiff(ramp(-5, 255, np.int16)), "signed numbers of 16 bits")
    assert_ramp(tiff(ramp(-32768, 32767, np.int16), [(340, "h", -32768), (341, "h", 32767)]))
    assert_ramp(tiff(ramp(0, 255, np.int32), [(341, "i", 255)]))
    assert_ramp(tiff(ramp(0, 2**32 - 1, np.uint32), [(341, "I", 2**32 - 1)]))
    refused(tiff(ramp(0, 255, np.int32), [(340, "i", 255), (341, "i", 255)]), "from 255 to 255")


def test_transparency_of_every_kind():
    """Left half transparent, on white; right half red, or grey where there is no colour."""
    red, clear = (200, 0, 0), np.zeros((16, 16), np.uint8)
    clear[:, 8:] = 255
    base = Image.new("RGB", (16, 16), red)
    alpha = Image.fromarray(clear)

    def assert_half(raw, right):
        pixels = read(raw)
        np.testing.assert_array_equal(pixels[:, :8], 255)
        np.testing.assert_allclose(pixels[:, 8:], np.broadcast_to(right, (16, 8, 3)), atol=5)

    rgba = base.copy()
    rgba.putalpha(alpha)
    assert_half(saved(rgba, "PNG"), red)
    assert_half(saved(rgba, "WEBP", lossless=True), red)
    assert_half(saved(rgba, "TIFF"), red)
    grey = Image.new("L", (16, 16), 100)
    grey.putalpha(alpha)
    assert_half(saved(grey, "PNG"), (100, 100, 100))
    assert_half(saved(grey, "TIFF"), (100, 100, 100))
    sixteen = np.stack([np.full((16, 16), 25700), clear.astype(int) * 257], -1)
    assert_half(png16(sixteen), (100, 100, 100))
    colours = Image.new("P", (16, 16), 1)
    colours.putpalette([9, 9, 9, *red])
    colours.paste(0, (0, 0, 8, 16))
    assert_half(saved(colours, "PNG", transparency=0), red)
    assert_half(saved(colours, "GIF", transparency=0), red)
    assert_half(saved(colours, "PNG", transparency=bytes([0, 255])), red)
    one = np.full((16, 16), 100, np.uint8)
    one[:, :8] = 7
    assert_half(saved(Image.fromarray(one), "PNG", transparency=7), (100, 100, 100))
    deep = one.astype(np.uint16) * 257
    raw = saved(Image.fromarray(deep), "PNG")
    assert_half(with_chunks(raw, (b"tRNS", struct.pack(">H", 7 * 257))), (100, 100, 100))
    coloured = np.stack([deep] * 3, -1)
    keyed = with_chunks(png16(coloured), (b"tRNS", struct.pack(">3H", *[7 * 257] * 3)))
    assert_half(keyed, (100, 100, 100))


def test_colour_spaces(tmp_path):
    red = Image.new("RGB", (16, 16), (200, 0, 0))
    for raw in (
        saved(red.convert("CMYK"), "JPEG", quality=100),  # Adobe's, inverted
        saved(red.convert("CMYK"), "TIFF"),
        saved(red.convert("YCbCr"), "TIFF"),
        saved(red, "JPEG", quality=100),
    ):
        for shape, expected in (((16, 16, 3), (200, 0, 0)), ((16, 16, 1), (60,))):
            np.testing.assert_allclose(read(raw, shape)[5, 5], expected, atol=3)
    lab = saved(Image.new("LAB", (16, 16), (200, 128, 128)), "TIFF")
    assert read(lab).shape == SHAPE and read(lab, (16, 16, 1)).shape == (16, 16, 1)
    one = Image.new("1", (16, 16), 1)
    for kind in ("PNG", "TIFF", "BMP", "PPM"):
        assert (read(saved(one, kind)) == 255).all()


# --- size ---


def test_a_jpeg_is_decoded_small_and_looks_the_same():
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    large = small.resize((800, 600), Image.Resampling.BICUBIC)
    png = saved(large, "PNG")
    for turn, picture in ((1, large), (6, large.transpose(Image.Transpose.ROTATE_90))):
        raw = exif((0x0112, 3, 1, struct.pack("<H", turn)))
        jpeg = saved(picture, "JPEG", quality=95, exif=raw)
        for shape in ((24, 24, 3), (20, 40, 3), (40, 20, 3)):
            exact = read(png, shape).astype(int)
            difference = np.abs(read(jpeg, shape) - exact)
            assert difference.mean() < 6 and np.percentile(difference, 99) < 30
            assert read(jpeg, shape).shape == shape


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "I;16", "F"])
@pytest.mark.parametrize("turn", [1, 6])
def test_a_large_picture_is_shrunk_band_by_band(monkeypatch, mode, turn):
    """Much the same pixels come out, with the sizes at which it happens made small."""
    rng = np.random.default_rng(1)
    values = np.asarray(
        Image.fromarray(rng.integers(0, 256, (6, 9)).astype(np.uint8)).resize((450, 300))
    )
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    elif mode == "F":
        image = Image.fromarray(values.astype(np.float32) / 255)
    else:
        image = Image.fromarray(values).convert(mode)
    raw = saved(image, "TIFF", tiffinfo={274: turn})
    whole = read(raw, (8, 12, 3)).astype(int)
    monkeypatch.setattr(pictures, "LARGE", 1000)
    monkeypatch.setattr(pictures, "_BAND", 5000)
    shrunk = read(raw, (8, 12, 3))
    assert np.abs(shrunk - whole).max() <= 12
    monkeypatch.setattr(pictures, "_BAND", 7)
    assert np.abs(read(raw, (8, 12, 3)) - whole).max() <= 12
    for shape in ((1, 1, 1), (400, 500, 3), (300, 2, 3)):
        assert read(raw, shape).shape == shape


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="of Linux")
def test_a_bomb_of_sixteen_bits_needs_little_memory(tmp_path):
    """169 million pixels from a small file: the decoded picture, 340 MB, and little more."""
    side = 13_000
    line = zlib.compressobj(1)
    row = b"\0" + bytes(2 * side)
    body = b"".join(line.compress(row) for _ in range(side)) + line.flush()
    png = b"\x89PNG\r\n\x1a\n"
    for name, part in (
        (b"IHDR", struct.pack(">IIBBBBB", side, side, 16, 0, 0, 0, 0)),
        (b"IDAT", body),
        (b"IEND", b""),
    ):
        png += (
            struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part))
        )
    (tmp_path / "x.png").write_bytes(png)
    code = (
        "import re, sys; from cifar_lab import data\n"
        "data.read_image(sys.argv[1], (32, 32, 3))\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x.png")],
        cwd=ROOT,
        env=command_env(),
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) < 600_000, done  # KB


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "JPEG2000"])
def test_formats_whose_decoders_take_much_may_have_fewer_pixels(kind):
    side = {"GIF": 9_000, "WEBP": 8_000, "JPEG2000": 5_100}[kind]
    image = Image.new("L", (2, 2)) if kind == "JPEG2000" else Image.new("L", (side, side))
    options = {"lossless": True, "method": 0} if kind == "WEBP" else {}
    raw = saved(image, kind, **options)
    if kind == "JPEG2000":  # drawing a large one takes gigabytes: the sizes of a small one, changed
        two, many = struct.pack(">I", 2), struct.pack(">I", side)
        ihdr, siz = raw.index(b"ihdr") + 4, raw.index(b"\xff\x51") + 6
        raw = raw[:ihdr] + many * 2 + raw[ihdr + 8 :]
        raw = raw[:siz] + many * 2 + raw[siz + 8 :]
        assert raw.count(two) < 9
    refused(raw, "million pixels: refused as a decompression bomb")


def test_threads_leave_the_warnings_as_they_were():
    """Pillow's warnings are silenced while it reads, in any number of threads."""
    before = list(warnings.filters)
    raw = saved(stored(), "PNG")
    threads = [threading.Thread(target=lambda: [read(raw) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_an_endless_or_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read .No such file"):
        data.read_image(tmp_path / "nothing.png", SHAPE)
    with pytest.raises(InputError, match="cannot be read .Is a directory"):
        data.read_image(tmp_path, SHAPE)
    if os.path.exists("/dev/zero"):
        with pytest.raises(
            InputError, match="/dev/zero: cannot be read .is a device, must be a file"
        ):
            data.read_image("/dev/zero", SHAPE)

    class Endless:
        def read(self, count):
            return bytes(min(count, 1 << 24))

    with pytest.raises(InputError, match="stdin: has over 256 MB"):
        data.read_image(Endless(), SHAPE, "stdin")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="of POSIX")
def test_a_pipe_is_read_and_a_silent_one_refused(tmp_path, monkeypatch):
    pipe, raw = tmp_path / "pipe.png", saved(stored(), "PNG")
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(raw))
    writer.start()
    assert data.read_image(pipe, SHAPE).shape == SHAPE
    writer.join()
    monkeypatch.setattr(files, "PIPE_SECONDS", 0.05)
    with pytest.raises(InputError, match="pipe.png: cannot be read .is a pipe that nothing came"):
        data.read_image(pipe, SHAPE)


def test_a_sparse_file_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "x.png", "wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(InputError, match="x.png: cannot be read .has 5,368,709,120 bytes, may"):
        data.read_image(tmp_path / "x.png", SHAPE)


# --- what is small and asks for much ---


def icon(picture):
    """An icon whose list says 32 x 32, of what may be another size."""
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 32, 32, 0, 0, 1, 32, len(picture), 22) + picture


def tiff_of(*entries):
    """A TIFF of 8 x 8 grey pixels, packed by deflate, with other entries too: (tag, number)."""
    values = {256: 8, 257: 8, 258: 8, 259: 8, 262: 1, 277: 1, 273: 8, 279: 8} | dict(entries)
    body = struct.pack("<H", len(values))
    for tag, value in sorted(values.items()):
        count, number = value if isinstance(value, tuple) else (1, value)
        body += struct.pack("<HHII", tag, 4, count, number)
    return b"II*\0\x08\0\0\0" + body + bytes(200)


def jpeg_of(size, scans):
    """A JPEG whose last scan is there so often, with another size in its header."""
    raw = bytearray(saved(stored(), "JPEG", progressive=True))
    at, last = raw.index(b"\xff\xc2"), raw.rindex(b"\xff\xda")
    raw[at + 5 : at + 9] = struct.pack(">HH", *size)
    raw[-2:] = raw[last:-2] * scans + b"\xff\xd9"
    return bytes(raw)


def rle(width, height):
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 4, 0, 0, 1, 0)
    return b"BM" + struct.pack("<IHHI", 66, 0, 0, 58) + info + bytes(4) + b"\0\2\xff\xff"


GREEDY = {
    "tall": (bomb_header(1, 1 << 27), "has 134,217,728 pixels on a side, may have 1,048,576"),
    "a picture in an icon": (icon(bomb_header(13_000, 13_000)), "claims over 17 million"),
    "a bitmap in an icon": (icon(struct.pack("<IiiHH", 40, 1 << 30, 2, 1, 32)), "over 17 million"),
    "tiles": (tiff_of((322, 40_000), (323, 40_000)), "takes 1.6 GB to decode, may take 1.0 GB"),
    "offsets": (tiff_of((273, (1 << 24, 8))), "takes 8.4 GB to decode"),
    "one tag often": (tiff_of((325, (1 << 30, 8))), "takes 536.9 GB to decode"),
    "a progressive JPEG": (jpeg_of((14_000, 14_000), 1), "takes 1.2 GB to decode"),
    "scans": (jpeg_of((9_000, 9_000), 200), "is drawn in 2.. passes: refused"),
    "runs of BMP": (rle(30_000, 3_000), "claims over 17 million"),
    "a wide BMP": (rle(1 << 27, 1), "has 134,217,728 pixels on a side"),
    "QOI": (b"qoif" + struct.pack(">II", 9_000, 9_000) + b"\3\0" + bytes(99), "over 17 million"),
    "text": (b"P2 9000 9000 255 1 2 3", "claims over 17 million"),
    "odd PPM": (b"P5 9000 9000 254 1 2 3", "claims over 17 million"),
}


@pytest.mark.parametrize("kind", GREEDY)
def test_what_is_small_and_asks_for_much_is_refused(kind):
    raw, words = GREEDY[kind]
    refused(raw, words)


def test_what_a_phone_appends_to_a_jpeg_is_no_scan_of_it():
    plain = saved(stored(), "JPEG")
    for appended in (plain, b"\xff\xda" * 1_000):  # another picture, a film
        found = containers.unpack(plain + appended)
        assert (found.passes, found.memory) == (1, 0)


@pytest.mark.parametrize(
    "between",
    [b"\xff\xfe\0\6\xff\xd9\xff\xd9", b"\xff\x02\xff\xff", b"\xff" * 99],
    ids=["a comment", "no segment", "padding"],
)
def test_no_scan_of_a_jpeg_hides(between):
    raw = saved(stored(), "JPEG", progressive=True)
    scans = raw.count(b"\xff\xda")
    at = raw.rindex(b"\xff\xda")
    assert scans > 5 and containers.unpack(raw).passes == scans
    assert containers.unpack(raw[:at] + between + raw[at:]).passes == scans


def test_chunks_without_number_are_not_kept():
    raw = saved(stored(), "PNG")
    empty = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    refused(raw[:33] + empty * 300_000 + raw[33:], "damaged")
    assert read(raw[:33] + empty + raw[33:]).shape == SHAPE


@pytest.mark.parametrize(
    "kind, start",
    [
        (b"zTXt", b"Raw profile type exif\0\0"),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0"),
    ],
)
def test_texts_without_number_are_not_unpacked(kind, start):
    body = kind + start + zlib.compress(bytes([10]) * (1 << 20), 9)
    text = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    raw = saved(stored(), "PNG")
    begun = time.process_time()
    assert read(raw[:33] + text * 2_000 + raw[33:]).shape == SHAPE
    assert time.process_time() - begun < 2  # 4 to 130 where each is unpacked


def test_every_picture_is_opened_with_a_list_of_formats():
    """Image.open() alone tries every format of Pillow, of which some start other programs."""
    opened = []
    for file in sorted((ROOT / "cifar_lab").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Image.open":
                opened.append(f"{file.name}:{node.lineno}")
                assert "formats" in [k.arg for k in node.keywords], opened[-1]
    assert len(opened) >= 4
    assert not {"EPS", "PDF", "WMF", "FITS", "HDF5", "GRIB", "BUFR", "MPEG"} & set(pictures.FORMATS)
