"""EXIF orientation: reading the tag and turning the picture upright.

Reference: Exif 2.32, 4.6.4 A, tag 0x0112.
"""

import struct

import numpy as np

_ORIENTATION_TAG = 0x0112
_FIELD_FORMATS = {1: "B", 3: "H", 4: "I"}  # BYTE, SHORT, LONG


def exif_orientation(block: bytes) -> int:
    """Returns the orientation, 1 to 8, of an EXIF block; 1 when absent or unreadable."""
    tiff = block.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return 1
    try:
        (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
        (num_fields,) = struct.unpack_from(f"{order}H", tiff, directory)
        for field in range(directory + 2, directory + 2 + 12 * num_fields, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, field)
            if tag == _ORIENTATION_TAG and kind in _FIELD_FORMATS:
                (value,) = struct.unpack_from(order + _FIELD_FORMATS[kind], tiff, field + 8)
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass  # the block is cut: cameras and editors do write such
    return 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Returns the picture as the photographer held it.

    Args:
        pixels: (height, width, ...) of any dtype, as stored.
        orientation: 1 to 8.

    Returns:
        C-contiguous array; height and width are exchanged for 5 to 8.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)
