"""PNG: its chunks.

Reference: W3C PNG (third edition), 5 (chunks), 11 (tRNS, eXIf), APNG: acTL, fcTL.
"""

import struct
import zlib

from pipelines.media.image_header import MAX_BLOCKS, HeaderError, ImageHeader
from pipelines.media.orientation import exif_orientation

_SIGNATURE_BYTES = 8
_OVERHEAD_BYTES = 12  # length, type, checksum
_RGB = 2
_SINGLE = (b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"acTL")
# ImageMagick keeps EXIF as hexadecimal text under this keyword.
_RAW_EXIF = b"Raw profile type exif\0"
_MAX_EXIF_TEXT_BYTES = 2**20


def parse_png(data: bytes) -> ImageHeader:
    """Reads the chunks of a PNG file.

    A missing IEND is accepted: the picture's own checksum tells whether it is whole.

    Raises:
        HeaderError: A chunk is cut or fails its checksum, or there is no picture.
    """
    single: dict[bytes, bytes] = {}
    picture: list[memoryview] = []
    view = memoryview(data)
    num_frames = 0
    raw_exif = b""
    position = _SIGNATURE_BYTES
    previous = b""
    for _ in range(MAX_BLOCKS):
        if position + _OVERHEAD_BYTES > len(data) or previous == b"IEND":
            break
        length, kind = struct.unpack_from(">I4s", data, position)
        body = view[position + 8 : position + 8 + length]
        position += _OVERHEAD_BYTES + length
        if position > len(data):
            raise HeaderError("damaged PNG: cut off inside a chunk")
        if kind in _SINGLE and kind not in single:
            single[kind] = _checked(kind, body, data, position)
        elif kind == b"IDAT":
            if picture and previous != b"IDAT":
                raise HeaderError("damaged PNG: picture data in two places")
            _checked(kind, body, data, position)
            picture.append(body)
        elif kind == b"fcTL":
            num_frames += 1
        elif kind in (b"tEXt", b"zTXt") and body[: len(_RAW_EXIF)] == _RAW_EXIF:
            raw_exif = _raw_exif(kind, bytes(body[len(_RAW_EXIF) :]))
        previous = kind
    else:
        raise HeaderError(f"damaged PNG: over {MAX_BLOCKS} chunks")
    header = single.get(b"IHDR", b"")
    if len(header) != 13 or not picture:
        raise HeaderError("not a JPEG/PNG/WEBP/BMP/GIF image: its PNG header is cut off")
    width, height, bits, colour = struct.unpack_from(">IIBB", header)
    chunks = [_chunk(b"IHDR", header)]
    if b"PLTE" in single:
        chunks.append(_chunk(b"PLTE", single[b"PLTE"]))
    if b"tRNS" in single:
        transparency = single[b"tRNS"]
        if (bits, colour) == (16, _RGB):
            # Pillow reads 16-bit RGB as its high bytes but compares them with the full values.
            transparency = b"".join(bytes([0, high]) for high in transparency[::2])
        chunks.append(_chunk(b"tRNS", transparency))
    chunks += [_chunk(b"IDAT", b"".join(picture)), _chunk(b"IEND", b"")]
    return ImageHeader(
        "PNG",
        width,
        height,
        b"".join([data[:_SIGNATURE_BYTES], *chunks]),
        frames=max(1, num_frames) if b"acTL" in single else 1,
        orientation=exif_orientation(single.get(b"eXIf", raw_exif)),
    )


def _checked(kind: bytes, body: memoryview, data: bytes, end: int) -> bytes:
    (checksum,) = struct.unpack_from(">I", data, end - 4)
    if zlib.crc32(body, zlib.crc32(kind)) != checksum:
        raise HeaderError(f"damaged image data (checksum of a PNG {kind.decode()} chunk)")
    return b"" if kind == b"IDAT" else bytes(body)


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(kind))
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", checksum)])


def _raw_exif(kind: bytes, text: bytes) -> bytes:
    try:
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], _MAX_EXIF_TEXT_BYTES)
        # An empty line, the name, the length, then the bytes as lines of hexadecimal digits.
        return bytes.fromhex(b"".join(text.split(b"\n")[3:]).decode("ascii"))
    except (ValueError, zlib.error):
        return b""
