"""JPEG: the segments before the picture data.

Reference: ITU-T T.81, annex B (markers), G.1 (progressive); JFIF 1.02; Exif 2.32, 4.5.
"""

import re
import struct
from collections.abc import Mapping

from pipelines.media.image_header import MAX_BLOCKS, HeaderError, ImageHeader
from pipelines.media.jpeg_quality import estimate_quality
from pipelines.media.orientation import exif_orientation

_MARKER = re.compile(rb"\xff([^\x00\xff])", re.DOTALL)
_STANDALONE = (0x01, *range(0xD0, 0xD8))  # TEM, restart markers: no length, no payload
_END_OF_IMAGE, _START_OF_SCAN, _QUANTISATION = 0xD9, 0xDA, 0xDB
_END_OF_IMAGE_BYTES, _START_OF_SCAN_BYTES = b"\xff\xd9", b"\xff\xda"
_START_OF_FRAME = tuple(m for m in range(0xC0, 0xD0) if m not in (0xC4, 0xC8, 0xCC))
_TABLES = (0xC4, 0xCC, 0xDB, 0xDD)  # Huffman, arithmetic, quantisation, restart interval
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_JFIF, _EXIF, _ADOBE = 0xE0, 0xE1, 0xEE

# Every 8x8 block of a Huffman-coded component costs a bit at least, and no choice of sampling
# factors gives fewer than one block for 128 pixels.
_PIXELS_PER_BYTE = 8 * 128
# Progressive encoders write about ten; each one costs a pass over the whole picture.
_MAX_SCANS = 100


def parse_jpeg(data: bytes) -> ImageHeader:
    """Reads the header of a JPEG file.

    Raises:
        HeaderError: It has none, or the decoder does not know its kind.
    """
    kept = [data[:2]]
    tables: dict[int, tuple[int, ...]] = {}
    frame: tuple[int, bytes] | None = None
    orientation = 1
    position = 2
    for _ in range(MAX_BLOCKS):
        match = _MARKER.search(data, position)
        if match is None or match[1][0] == _END_OF_IMAGE:
            raise HeaderError("not a JPEG/PNG/WEBP/BMP/GIF image: its JPEG header is cut off")
        marker, position = match[1][0], match.end()
        if marker in _STANDALONE:
            continue
        if marker == _START_OF_SCAN:
            if frame is None:
                raise HeaderError("damaged JPEG: picture data before the frame header")
            return _header(data, match.start(), kept, frame, tables, orientation)
        payload = _payload(data, position)
        segment = data[match.start() : position + 2 + len(payload)]
        position += 2 + len(payload)
        if marker in _START_OF_FRAME:
            if frame is not None:
                raise HeaderError("damaged JPEG: two frame headers")
            frame = marker, payload
        if marker == _QUANTISATION:
            tables |= _quantisation_tables(payload)
        if marker == _EXIF and payload.startswith(b"Exif\0\0") and orientation == 1:
            orientation = exif_orientation(payload)
        # JFIF and Adobe segments tell the decoder the colour space.
        if (
            marker in _START_OF_FRAME
            or marker in _TABLES
            or (marker == _JFIF and payload.startswith(b"JFIF\0"))
            or (marker == _ADOBE and payload.startswith(b"Adobe"))
        ):
            kept.append(segment)
    raise HeaderError(f"damaged JPEG: over {MAX_BLOCKS} header segments")


def _payload(data: bytes, position: int) -> bytes:
    # Lengths of 0 and 1 occur in comments; libjpeg takes them as 2, an empty segment.
    length = max(2, int.from_bytes(data[position : position + 2], "big"))
    payload = data[position + 2 : position + length]
    if len(payload) < length - 2:
        raise HeaderError("not a JPEG/PNG/WEBP/BMP/GIF image: its JPEG header is cut off")
    return payload


def _quantisation_tables(payload: bytes) -> dict[int, tuple[int, ...]]:
    tables = {}
    while payload:
        precision, number = payload[0] >> 4, payload[0] & 15
        size = 128 if precision else 64
        if len(payload) < 1 + size:
            raise HeaderError("damaged JPEG: a quantisation table is cut off")
        entries = ">64H" if precision else ">64B"
        tables[number] = struct.unpack_from(entries, payload, 1)
        payload = payload[1 + size :]
    return tables


def _header(
    data: bytes,
    scan: int,
    kept: list[bytes],
    frame: tuple[int, bytes],
    tables: Mapping[int, tuple[int, ...]],
    orientation: int,
) -> ImageHeader:
    marker, payload = frame
    if len(payload) < 6 or len(payload) < 6 + 3 * payload[5]:
        raise HeaderError("damaged JPEG: the frame header is cut off")
    bits, height, width, num_components = struct.unpack_from(">BHHB", payload)
    if bits != 8 or num_components not in (1, 3, 4):
        raise HeaderError(
            f"a JPEG with {num_components} components of {bits} bits, expected 1, 3 or 4 of 8"
        )
    # In picture data FF is always followed by 00 or a restart marker: these are markers. What
    # follows the end (a depth map, a film) is not looked at.
    end = data.find(_END_OF_IMAGE_BYTES, scan)
    picture = memoryview(data)[scan : end + 2 if end >= 0 else len(data)]
    if data.count(_START_OF_SCAN_BYTES, scan, scan + len(picture)) > _MAX_SCANS:
        raise HeaderError(f"damaged JPEG: over {_MAX_SCANS} scans")
    selectors = payload[8 : 6 + 3 * num_components : 3]
    luminance = tables.get(selectors[0])
    chrominance = tables.get(selectors[1]) if num_components == 3 else None
    capacity = len(picture) * _PIXELS_PER_BYTE if marker in _HUFFMAN_FRAMES else None
    return ImageHeader(
        "JPEG",
        width,
        height,
        b"".join([*kept, picture]),
        orientation=orientation,
        jpeg_quality=estimate_quality(luminance, chrominance) if luminance else -1,
        capacity=capacity,
    )
