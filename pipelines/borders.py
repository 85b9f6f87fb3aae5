"""Uniform borders: letterboxes, frames, padding. Pictures are uint8 RGB (height, width, 3)."""

import numpy as np

# A line belongs to a border while its mean distance from the outermost line's colour is smaller.
_MOST_DEVIATION = 4.0
# A border's edge is smeared by scaling and compression. A strip of this share of each side goes
# too, from every picture: cut from those with a border alone, it would make their faces larger.
_STRIP = 1 / 32


def without_border(image: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Cuts off rows and columns of one colour along the edges, and of what is left a thin strip.

    Returns:
        The picture within, and its left and top in the whole. Of a picture whose border leaves
        less than half of a side, only the strip goes.
    """
    height, width = image.shape[:2]
    top, bottom, left, right = border_widths(image).tolist()
    if 2 * (top + bottom) > height or 2 * (left + right) > width:
        top = bottom = left = right = 0
    strip_rows = round(_STRIP * (height - top - bottom))
    strip_columns = round(_STRIP * (width - left - right))
    rows = slice(top + strip_rows, height - bottom - strip_rows)
    columns = slice(left + strip_columns, width - right - strip_columns)
    return np.ascontiguousarray(image[rows, columns]), (columns.start, rows.start)


def border_widths(pixels: np.ndarray) -> np.ndarray:
    """Rows of one colour along the top and bottom edge, columns along the left and right one.

    A line belongs to the border while its pixels are, on average, within some grey levels of the
    median colour of the outermost line. A picture of one colour has no border.

    Args:
        pixels: uint8 RGB (height, width, 3).

    Returns:
        int64 (4,): top, bottom, left, right, pixels.
    """
    rows = pixels.astype(np.int16)
    columns = rows.transpose(1, 0, 2)
    sides = [_uniform_lines(lines) for lines in (rows, rows[::-1], columns, columns[::-1])]
    widths = np.array(sides, np.int64)
    return np.zeros(4, np.int64) if widths.max() >= min(pixels.shape[:2]) else widths


def _uniform_lines(lines: np.ndarray) -> int:
    """How many lines (n, length, 3), from the first on, are of the first one's colour."""
    colour = np.median(lines[0], axis=0)
    deviation = np.abs(lines - colour).mean(axis=(1, 2))
    uniform = deviation <= _MOST_DEVIATION
    return len(lines) if uniform.all() else int(np.argmin(uniform))
