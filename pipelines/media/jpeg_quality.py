"""The quality a JPEG was saved with, from its quantisation tables.

The IJG encoder (libjpeg) scales two standard tables, ITU-T T.81 K.1 and K.2, by a quality from 1
to 100; the quality whose tables lie nearest is the estimate. Cameras and editors with tables of
their own get the IJG quality of about equal coarseness.
"""

from collections.abc import Sequence

import numpy as np

# T.81 K.1 (luminance) and K.2 (chrominance), rows of the 8x8 block.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_CHROMINANCE = np.full((8, 8), 99)
_CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def _zigzag(table: np.ndarray) -> np.ndarray:
    """Returns the 64 entries of an 8x8 table in the order files store them."""
    cells = [(row, column) for row in range(8) for column in range(8)]
    cells.sort(key=lambda c: (c[0] + c[1], c[0] if (c[0] + c[1]) % 2 else c[1]))
    return np.array([table[cell] for cell in cells])


def _scaled(table: np.ndarray) -> np.ndarray:
    """Returns the (100, 64) IJG tables of qualities 1 to 100, in zigzag order."""
    quality = np.arange(1, 101)
    scale = np.where(quality < 50, 5000 // quality, 200 - 2 * quality)
    return np.clip((_zigzag(table) * scale[:, None] + 50) // 100, 1, 255)


_TABLES = (_scaled(_LUMINANCE), _scaled(_CHROMINANCE))


def estimate_quality(luminance: Sequence[int], chrominance: Sequence[int] | None = None) -> int:
    """Returns the IJG quality, 1 to 100, nearest to a JPEG's quantisation tables.

    Args:
        luminance: 64 entries, zigzag order, of the first component.
        chrominance: The same of the second component, None for a grey image.
    """
    distance = np.abs(_TABLES[0] - np.asarray(luminance)).sum(axis=1)
    if chrominance is not None:
        distance = distance + np.abs(_TABLES[1] - np.asarray(chrominance)).sum(axis=1)
    return int(distance.argmin()) + 1
