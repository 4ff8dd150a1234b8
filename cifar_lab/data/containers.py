"""A picture's file without its metadata, and the little of them that matters.

Pillow gives a sound picture up for one odd EXIF tag, a long text or a broken colour profile. So
these go before Pillow sees the file. Orientation and the range of values are read here, tolerantly:
EXIF 2.32 (CIPA DC-008), TIFF 6.0, PNG (W3C, third edition), the WebP container (RFC 9649).
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

ORIENTATION = 0x0112
MAX_TEXT = 1 << 20  # bytes of a compressed text that are looked at
MOST_PARTS = 1 << 18  # of a file; of a longer one the rest is not looked at
MOST_TEXTS = 16  # of a PNG that may say how it is turned
_BROKEN = (struct.error, IndexError, ValueError, OverflowError)  # what damaged numbers raise
_TIFF_HEADERS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Container:
    """What a file holds.

    Fields:
        data: the file, reduced to what decides its pixels.
        kind: Pillow's name of the format, "" where its beginning does not tell.
        orientation: as EXIF counts, 1 (upright) to 8.
        bits: of a sample of PNG or TIFF, 0 where unknown.
        samples: of a pixel of a TIFF.
        signed: whether a TIFF says that its samples are signed.
        low, high: the values of black and white that a TIFF's tags name, or None.
        inverted: whether a TIFF says that 0 is white.
        pixels: of a JPEG, WebP, JPEG 2000 or icon, whose decoders may take memory before they tell;
            0 where unknown. An icon counts as a square.
        passes: of a JPEG's scans over its pixels.
        memory: bytes that the decoder takes, of a TIFF and of a JPEG of several passes.
    """

    data: bytes
    kind: str = ""
    orientation: int = 1
    bits: int = 0
    samples: int = 1
    signed: bool = False
    low: float | None = None
    high: float | None = None
    inverted: bool = False
    pixels: int = 0
    passes: int = 1
    memory: int = 0


def unpack(data: bytes) -> Container:
    """Take a picture's file apart. Never raises: what is damaged is left for Pillow to judge."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _webp(data)
    if data.startswith(_TIFF_HEADERS):
        try:
            return _tiff(data)
        except _BROKEN:
            return Container(b"", "TIFF")
    if data[4:12] in (b"ftypavif", b"ftypavis"):
        return _avif(data)
    if data.startswith(b"\xff\x4f\xff\x51") or data[4:8] == b"jP  ":
        return Container(data, "JPEG2000", pixels=_jpeg2000_pixels(data))
    if data.startswith(b"\0\0\1\0"):
        return Container(data, "ICO", pixels=_largest_side(data) ** 2)
    return Container(data)


# --- formats --------------------------------------------------------------------------------------


def _png(data: bytes) -> Container:
    """The chunks that decide pixels. An APNG's IDAT is its first frame, or its still picture."""
    kept: list[bytes | memoryview] = [data[:8]]
    exif, xmp, bits, texts = b"", b"", 0, 0
    view, position = memoryview(data), 8
    for _ in range(MOST_PARTS):
        if position + 8 > len(data):
            break
        length = int.from_bytes(view[position : position + 4], "big")
        kind, start = bytes(view[position + 4 : position + 8]), position + 8
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            kept.append(view[position : start + length + 4])
        elif kind == b"eXIf":
            exif = bytes(view[start : start + length])
        elif kind in (b"iTXt", b"zTXt", b"tEXt") and texts < MOST_TEXTS:
            name, _, text = bytes(view[start : start + min(length, MAX_TEXT)]).partition(b"\0")
            if name == b"XML:com.adobe.xmp":
                xmp, texts = _international(text), texts + 1
            elif name.startswith(b"Raw profile type ") and not exif:
                texts += 1
                exif = _raw_profile(_inflated(text[1:]) if kind == b"zTXt" else text)
        if kind == b"IHDR":
            bits = data[start + 8] if start + 8 < len(data) else 0
        if kind == b"IEND":
            break
        position = start + length + 4
    return Container(b"".join(kept), "PNG", _orientation(exif, xmp), bits)


def _international(text: bytes) -> bytes:
    """The text of an iTXt chunk, after its name."""
    parts = text[2:].split(b"\0", 2)
    return b"" if len(parts) < 3 else _inflated(parts[2]) if text[:1] == b"\1" else parts[2]


def _raw_profile(text: bytes) -> bytes:
    """EXIF as ImageMagick writes it: a line break, a name, a length, and hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(text.split(b"\n", 3)[3:]).decode("ascii"))
    except ValueError:
        return b""


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompressobj().decompress(data, MAX_TEXT)
    except zlib.error:
        return b""


def _jpeg(data: bytes) -> Container:
    """The segments that decide pixels: all but APP1 to APP13, APP15 and comments."""
    kept: list[bytes | memoryview] = [data[:2]]
    exif, xmp, pixels, parts, is_progressive = b"", b"", 0, 0, False
    view, position = memoryview(data), 2
    for _ in range(MOST_PARTS):
        if position + 4 > len(data) or data[position] != 0xFF:
            break
        marker = data[position + 1]
        if marker == 0xFF:  # padding
            position += 1
            continue
        if marker in (0x01, *range(0xD0, 0xD8)):  # without a length
            position += 2
            continue
        length = int.from_bytes(view[position + 2 : position + 4], "big")
        if marker == 0xDA or length < 2:  # pixels
            break
        body = view[position + 4 : position + 2 + length]
        if marker == 0xE1:
            if body[:4] == b"Exif" and not exif:
                exif = bytes(body[6:])
            elif body[:28] == b"http://ns.adobe.com/xap/1.0/" and not xmp:
                xmp = bytes(body[29:])
        elif not (0xE2 <= marker <= 0xED or marker in (0xEF, 0xFE)):
            kept.append(view[position : position + 2 + length])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            height, width, channels = struct.unpack_from(">HHB", body, 1)
            pixels, parts = max(pixels, width * height), max(parts, channels)
            is_progressive |= marker % 4 == 2
        position += 2 + length
    kept.append(view[position:])
    passes = _passes(data, position)
    return Container(
        b"".join(kept),
        "JPEG",
        _orientation(exif, xmp),
        pixels=pixels,
        passes=passes,
        # what several passes draw is kept whole, two bytes a value
        memory=2 * parts * pixels if is_progressive or passes > 1 else 0,
    )


_SEGMENT = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # the beginning of one, in or after pixels


def _passes(data: bytes, position: int) -> int:
    """The scans of a JPEG, from the first one's place on. What a phone appends to the picture, such
    as another picture or a film, is not counted."""
    most = max(1, data.count(b"\xff\xda", position))
    found = 0
    for _ in range(MOST_PARTS if most > 1 else 0):
        segment = _SEGMENT.search(data, position)
        if segment is None or segment[0] == b"\xff\xd9":
            return max(1, found)
        found += segment[0] == b"\xff\xda"
        position = segment.end() + int.from_bytes(data[segment.end() : segment.end() + 2], "big")
    return most


def _webp(data: bytes) -> Container:
    """The chunks that decide pixels; VP8X no longer claims the others."""
    kept: list[bytes | memoryview] = []
    exif, xmp = b"", b""
    view, position = memoryview(data), 12
    for _ in range(MOST_PARTS):
        if position + 8 > len(data):
            break
        kind = bytes(view[position : position + 4])
        length = int.from_bytes(view[position + 4 : position + 8], "little")
        end = position + 8 + length + length % 2
        if kind in (b"EXIF", b"XMP "):
            body = bytes(view[position + 8 : position + 8 + length])
            exif, xmp = (body, xmp) if kind == b"EXIF" else (exif, body)
        elif kind == b"VP8X" and length >= 10:
            flags = data[position + 8] & ~0x2C if position + 8 < len(data) else 0
            kept += [view[position : position + 8], bytes([flags]), view[position + 9 : end]]
        elif kind in (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"):
            kept.append(view[position:end])
        position = end
    body = b"".join(kept)
    whole = b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body
    return Container(whole, "WEBP", _orientation(exif, xmp), pixels=_webp_pixels(whole))


def _webp_pixels(data: bytes) -> int:
    """Width times height, by the first chunk."""
    kind, body = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return (1 + int.from_bytes(body[4:7], "little")) * (1 + int.from_bytes(body[7:], "little"))
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (1 + (bits & 0x3FFF)) * (1 + (bits >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", body, 6)
    return (width & 0x3FFF) * (height & 0x3FFF)


_SIZ = re.compile(rb"\xff\x4f\xff\x51(.{38})", re.DOTALL)


def _jpeg2000_pixels(data: bytes) -> int:
    """Of the largest codestream that the file seems to have; a picture of more than three channels
    counts as more pixels."""
    most = 0
    for found in _SIZ.finditer(data):
        length, _, x1, y1, x0, y0, *_, channels = struct.unpack(">HHIIIIIIIIH", found[1])
        if length == 38 + 3 * channels:
            most = max(most, max(0, x1 - x0) * max(0, y1 - y0) * max(3, channels) // 3)
    return most


def _largest_side(data: bytes) -> int:
    """Of the pictures in an icon, which are PNG or BMP: what they say themselves, which may be more
    than the icon's list of them says."""
    most = 0
    for i in range(int.from_bytes(data[4:6], "little")):
        at = int.from_bytes(data[18 + 16 * i : 22 + 16 * i], "little")
        head = data[at : at + 24]
        if head.startswith(b"\x89PNG"):
            sides = struct.unpack(">II", head[16:24].ljust(8, b"\0"))
        else:
            sides = struct.unpack("<ii", head[4:12].ljust(8, b"\0"))
        most = max(most, *map(abs, sides))
    return most


def _avif(data: bytes) -> Container:
    """EXIF and XMP are items of the first box `meta`; how a picture is turned is not in them."""
    head = re.sub(
        rb"(infe\x02.{7}|infe\x03.{9})(?:Exif|mime)", rb"\1free", data[:MAX_TEXT], flags=re.DOTALL
    )
    return Container(head + data[MAX_TEXT:], "AVIF")


# Tags that decide pixels: size, samples, strips, tiles, compression, its tables, colours
_TIFF_TAGS = {
    *range(256, 260),
    *(262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320),
    *range(322, 326),
    *(332, 338, 339, 347),
    *range(512, 522),
    *range(529, 533),
}


def _tiff(data: bytes) -> Container:
    """The first page, with only the tags that decide pixels, over its former directory."""
    directory = _Directory(data)
    found = {entry.tag: entry for entry in directory.entries()}  # of one tag the last
    kept = [entry for entry in found.values() if entry.tag in _TIFF_TAGS]
    values = sum(entry.count for entry in kept)  # an offset is a part of the picture, 500 bytes

    def first(tag, default):
        try:
            return found[tag].numbers()[0] if tag in found else default
        except _BROKEN:
            return default

    bits = int(first(258, 1))
    low, high = first(340, None), first(341, None)
    if high is None:  # MaxSampleValue is a statistic, unless it is what so many bits can hold
        most = first(281, None)
        if bits == 16 and most in (2**n - 1 for n in range(9, 16)):
            high = most
    order, wide = directory.order, directory.wide
    count = struct.pack(order + ("Q" if wide else "H"), len(kept))
    body = count + b"".join(entry.raw for entry in kept) + bytes(8 if wide else 4)
    start = directory.start
    return Container(
        b"".join((data[:start], body, memoryview(data)[start + len(body) :])),
        "TIFF",
        _upright(first(ORIENTATION, 1)),
        bits,
        int(first(277, 1)),
        first(339, 1) == 2,
        None if high is None else float(low or 0),
        None if high is None else float(high),
        first(262, 1) == 0,
        memory=500 * values + _decoded_bytes(first),
    )


def _decoded_bytes(first: Callable[[int, int], float]) -> int:
    """Of a TIFF's picture as Pillow holds it, and of one of its tiles, which is decoded whole.

    first: gives the first value of a tag, or a default.
    """
    samples = max(1, first(258, 1) / 8) * first(277, 1)
    return int(4 * first(256, 0) * first(257, 0) + first(322, 0) * first(323, 0) * samples)


# --- orientation ----------------------------------------------------------------------------------


def exif_orientation(exif: bytes) -> int:
    """The orientation that EXIF names, 1 to 8; 1 where it names none, or is damaged."""
    return _orientation(exif, b"")


def _orientation(exif: bytes, xmp: bytes) -> int:
    """EXIF's orientation, else XMP's, else 1."""
    start = exif.find(b"Exif\0\0", 0, 16)
    try:
        for entry in _Directory(exif[start + 6 :] if start >= 0 else exif).entries():
            if entry.tag == ORIENTATION:
                return _upright(entry.numbers()[0])
    except _BROKEN:
        pass
    named = re.search(rb"tiff:Orientation\s*(?:=\s*[\"']|>)\s*([1-8])", xmp)
    return int(named[1]) if named else 1


def _upright(value: float) -> int:
    return int(value) if value in range(1, 9) else 1


_TYPES = {  # of TIFF: struct's letter; a rational is two
    **{1: "B", 2: "s", 3: "H", 4: "I", 5: "II", 6: "b", 7: "B", 8: "h", 9: "i", 10: "ii"},
    **{11: "f", 12: "d", 13: "I", 16: "Q", 17: "q", 18: "Q"},
}


@dataclass(frozen=True)
class _Entry:
    """A tag of a TIFF directory. raw: its bytes there, 12, or 20 of a BigTIFF."""

    tag: int
    raw: bytes
    directory: "_Directory"

    @property
    def count(self) -> int:
        """How many values it says that it has."""
        order, wide = self.directory.order, self.directory.wide
        return struct.unpack_from(order + ("Q" if wide else "I"), self.raw, 4)[0]

    def numbers(self) -> tuple[float, ...]:
        """Its first values, at most eight; an odd type is read as a short, as most are."""
        order, wide = self.directory.order, self.directory.wide
        letters = _TYPES.get(struct.unpack_from(order + "H", self.raw, 2)[0], "H")
        count = max(1, min(self.count, 8))
        value = self.raw[12 if wide else 8 :]
        layout = f"{order}{count}s" if letters == "s" else order + letters * count
        if struct.calcsize(layout) > len(value):
            offset = struct.unpack_from(order + ("Q" if wide else "I"), value)[0]
            value = self.directory.data[offset : offset + struct.calcsize(layout)]
        values = struct.unpack_from(layout, value)
        if letters == "s":
            return (int(values[0].strip(b"\0 ") or b"1"),)
        if len(letters) == 2:
            return tuple(n / d if d else 0.0 for n, d in zip(values[::2], values[1::2]))
        return values


class _Directory:
    """The first directory of a TIFF file, or of EXIF, which is one.

    Raises struct.error or ValueError where the header is damaged.
    """

    def __init__(self, data: bytes):
        if not data.startswith(_TIFF_HEADERS):
            raise ValueError("no TIFF header")
        self.data = data
        self.order = "<" if data.startswith(b"II") else ">"
        self.wide = b"+" in data[:4]  # BigTIFF
        self.start = struct.unpack_from(
            self.order + ("Q" if self.wide else "I"), data, 8 if self.wide else 4
        )[0]

    def entries(self) -> Iterator[_Entry]:
        """Its tags, as far as the data go."""
        layout, size = ("Q", 20) if self.wide else ("H", 12)
        (count,) = struct.unpack_from(self.order + layout, self.data, self.start)
        position = self.start + struct.calcsize(layout)
        for _ in range(min(count, 4096)):
            raw = self.data[position : position + size]
            if len(raw) < size:
                return
            yield _Entry(struct.unpack_from(self.order + "H", raw)[0], raw, self)
            position += size
