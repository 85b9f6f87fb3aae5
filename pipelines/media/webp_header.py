"""WebP: its RIFF chunks.

Reference: RFC 9649, 2 (container); RFC 6386, 9.1 (VP8 frame header).
"""

import struct

from pipelines.media.image_header import MAX_BLOCKS, HeaderError, ImageHeader
from pipelines.media.orientation import exif_orientation

_ANIMATION_FLAG = 2


def parse_webp(data: bytes) -> ImageHeader:
    """Reads the chunks of a WebP file.

    Raises:
        HeaderError: It is cut off or holds no picture.
    """
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise HeaderError(f"damaged WEBP: {len(data)} of {end} bytes")
    size: tuple[int, int] | None = None
    orientation = 1
    num_frames = 0
    is_animated = False
    position = 12
    for _ in range(MAX_BLOCKS):
        if position + 8 > end:
            break
        kind = data[position : position + 4]
        length = int.from_bytes(data[position + 4 : position + 8], "little")
        body = position + 8
        position = body + length + length % 2
        if kind == b"VP8X":
            is_animated = bool(data[body] & _ANIMATION_FLAG)
        if size is None and kind in _SIZES:
            size = _SIZES[kind](data[body : body + 10])
        elif kind == b"ANMF":
            num_frames += 1
        elif kind == b"EXIF":
            orientation = exif_orientation(data[body : body + length])
    else:
        raise HeaderError(f"damaged WEBP: over {MAX_BLOCKS} chunks")
    if size is None:
        raise HeaderError("not a JPEG/PNG/WEBP/BMP/GIF image: its WEBP header is cut off")
    return ImageHeader(
        "WEBP",
        *size,
        data,
        frames=max(1, num_frames) if is_animated else 1,
        orientation=orientation,
    )


def _extended_size(body: bytes) -> tuple[int, int]:
    return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")


def _lossy_size(body: bytes) -> tuple[int, int]:
    if body[3:6] != b"\x9d\x01\x2a" or len(body) < 10:
        raise HeaderError("damaged WEBP: no key frame")
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(body: bytes) -> tuple[int, int]:
    if body[:1] != b"\x2f" or len(body) < 5:
        raise HeaderError("damaged WEBP: no lossless header")
    (bits,) = struct.unpack_from("<I", body, 1)
    return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)


_SIZES = {b"VP8X": _extended_size, b"VP8 ": _lossy_size, b"VP8L": _lossless_size}
