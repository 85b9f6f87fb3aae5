"""BMP and GIF: their headers and, for GIF, its blocks.

References: Windows BITMAPINFOHEADER; GIF89a specification, 17-27.
"""

import struct

from pipelines.media.image_header import MAX_BLOCKS, HeaderError, ImageHeader

_CORE_HEADER_BYTES = 12
_RUN_LENGTH = (1, 2)
_GIF_HEADER_BYTES = 13
_HAS_COLOUR_TABLE = 0x80
_IMAGE, _EXTENSION, _TRAILER = 0x2C, 0x21, 0x3B
_GRAPHIC_CONTROL = 0xF9


def parse_bmp(data: bytes) -> ImageHeader:
    """Reads the header of a BMP file.

    Raises:
        HeaderError: It is cut off, or run-length coded (a bomb in the decoder: minutes of work
            from a few hundred kilobytes).
    """
    try:
        (header_bytes,) = struct.unpack_from("<I", data, 14)
        if header_bytes == _CORE_HEADER_BYTES:
            width, height = struct.unpack_from("<HH", data, 18)
            compression = 0
        else:
            width, height = struct.unpack_from("<ii", data, 18)
            (compression,) = struct.unpack_from("<I", data, 30)
    except struct.error:
        raise HeaderError("not a JPEG/PNG/WEBP/BMP/GIF image: its BMP header is cut off") from None
    if compression in _RUN_LENGTH:
        raise HeaderError("a run-length coded BMP, expected an uncompressed one")
    return ImageHeader("BMP", max(width, 0), abs(height), data)


def parse_gif(data: bytes) -> ImageHeader:
    """Reads the blocks of a GIF file.

    Raises:
        HeaderError: It is cut off or holds no picture.
    """
    try:
        return _parse_gif(data)
    except (IndexError, struct.error):
        raise HeaderError("damaged GIF: cut off") from None


def _parse_gif(data: bytes) -> ImageHeader:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    position = _GIF_HEADER_BYTES + _colour_table_bytes(flags)
    picture = [data[:position]]
    control = b""
    num_frames = 0
    for _ in range(MAX_BLOCKS):
        start = position
        if start >= len(data) or data[start] == _TRAILER:
            break
        if data[start] == _EXTENSION:
            position = _skip_sub_blocks(data, start + 2)
            if data[start + 1] == _GRAPHIC_CONTROL:
                control = data[start:position]
        elif data[start] == _IMAGE:
            left, top, columns, rows, flags = struct.unpack_from("<HHHHB", data, start + 1)
            position = _skip_sub_blocks(data, start + 11 + _colour_table_bytes(flags))
            if num_frames == 0:
                # Pillow grows the canvas when the first frame overhangs it.
                width, height = max(width, left + columns), max(height, top + rows)
                picture += [control, data[start:position]]
            num_frames += 1
        else:
            raise HeaderError("damaged GIF: neither a picture nor an extension")
    else:
        raise HeaderError(f"damaged GIF: over {MAX_BLOCKS} blocks")
    if num_frames == 0:
        raise HeaderError("damaged GIF: no picture")
    picture.append(bytes([_TRAILER]))
    return ImageHeader("GIF", width, height, b"".join(picture), frames=num_frames)


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & _HAS_COLOUR_TABLE else 0


def _skip_sub_blocks(data: bytes, position: int) -> int:
    """Returns the position after a run of sub-blocks; raises IndexError when it is cut."""
    while data[position]:
        position += data[position] + 1
    return position + 1
