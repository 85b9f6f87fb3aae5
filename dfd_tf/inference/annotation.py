"""Pictures with what was found drawn on them: boxes, scores, heat over the faces, the verdict.

Pictures are uint8 RGB (height, width, 3). The verdict stands above the picture, not on it.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from dfd_tf.inference.explanations import blended
from pipelines.faces.base import Box, Face
from pipelines.faces.crop import crop_side
from pipelines.settings import FaceSettings

SMALLEST_SIDE = 480
"""Longer side that smaller pictures are enlarged to: captions need room."""
LARGEST_SIDE = 1600
_BACKGROUND, _INK = "#16181d", "#f2f2f2"
_MOST_LINES = 6
_NO_CROP = -1.0
"""In the place of heat where no crop lies."""

_Rectangle = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A face to be marked.

    Args:
        box: Left, top, width, height, fractions of the picture.
        caption: What is written at the box; nothing if empty.
        color: Colour of both, `#rrggbb`.
        heat: Heat map of its crop (h, w) in [0, 1], laid over the square that was cropped.
    """

    box: Box
    caption: str
    color: str
    heat: np.ndarray | None = None


def fitted_size(width: int, height: int, largest: int = LARGEST_SIDE) -> tuple[int, int]:
    """Returns width and height of a picture brought within SMALLEST_SIDE and `largest`."""
    longer = max(width, height)
    scale = min(max(1.0, SMALLEST_SIDE / longer), largest / longer)
    return max(1, round(width * scale)), max(1, round(height * scale))


def annotated(
    pixels: np.ndarray,
    marks: Sequence[Mark],
    heading: Sequence[str],
    faces: FaceSettings,
    size: tuple[int, int],
) -> np.ndarray:
    """Draws marks on a picture, and a heading above it.

    Args:
        pixels: The picture, uint8 RGB.
        marks: Its faces, as for `marked`.
        heading: Lines above it, as for `heading_strip`.
        faces: How the faces were cropped.
        size: Width and height the picture is brought to.

    Returns:
        uint8 RGB (height + height of the heading, width, 3).
    """
    num_lines = num_heading_lines(heading, size)
    return np.vstack([heading_strip(heading, size, num_lines), marked(pixels, marks, faces, size)])


def marked(
    pixels: np.ndarray, marks: Sequence[Mark], faces: FaceSettings, size: tuple[int, int]
) -> np.ndarray:
    """Draws marks on a picture.

    The heat lies upright in the square around the box, also where crops were turned to level eyes.
    Where squares overlap, the highest of their maps counts.

    Args:
        pixels: The picture, uint8 RGB.
        marks: Its faces; captions of the first ones get the better places.
        faces: How the faces were cropped.
        size: Width and height the picture is brought to.

    Returns:
        uint8 RGB (height, width, 3).
    """
    interpolation = cv2.INTER_AREA if size[0] < pixels.shape[1] else cv2.INTER_CUBIC
    canvas = cv2.resize(pixels, size, interpolation=interpolation)
    boxes = [
        (box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1])
        for box in (mark.box for mark in marks)
    ]
    heats = [
        (mark.heat, box, crop_side(Face(box, 1.0), faces))
        for mark, box in zip(marks, boxes, strict=True)
        if mark.heat is not None
    ]
    _lay_heat(canvas, heats)
    picture = Image.fromarray(canvas)
    text_size = _text_size(size)
    draw = ImageDraw.Draw(picture)
    taken: list[_Rectangle] = []
    for mark, box in zip(marks, boxes, strict=True):
        corners = (box[0], box[1], box[0] + box[2], box[1] + box[3])
        draw.rectangle(corners, outline=mark.color, width=max(2, text_size // 6))
    for mark, box in zip(marks, boxes, strict=True):
        if mark.caption:
            taken.append(_write_caption(draw, mark, box, taken, size))
    return np.asarray(picture)


def heading_strip(lines: Sequence[str], size: tuple[int, int], num_lines: int) -> np.ndarray:
    """Writes a heading for a picture of a size: lines, the first one bold.

    Args:
        lines: What does not fit the width is wrapped.
        size: Width and height of the picture.
        num_lines: Lines there is room for; at least `num_heading_lines(lines, size)`.

    Returns:
        uint8 RGB (`heading_height(size, num_lines)`, width, 3).
    """
    text_size = _text_size(size)
    picture = Image.new("RGB", (size[0], heading_height(size, num_lines)), _BACKGROUND)
    draw = ImageDraw.Draw(picture)
    for number, (part, font) in enumerate(_wrapped_heading(lines, size)):
        y = 0.4 * text_size + (number + 0.5) * 1.35 * text_size
        draw.text((text_size / 2, y), part, fill=_INK, font=font, anchor="lm")
    return np.asarray(picture)


def num_heading_lines(lines: Sequence[str], size: tuple[int, int]) -> int:
    """Returns how many lines a heading takes over a picture of a size, wrapped."""
    return len(_wrapped_heading(lines, size))


def heading_height(size: tuple[int, int], num_lines: int) -> int:
    """Height of a heading of so many lines over a picture of a size, pixels."""
    text_size = _text_size(size)
    return round(num_lines * 1.35 * text_size + 0.8 * text_size)


def _lay_heat(canvas: np.ndarray, heats: Sequence[tuple[np.ndarray, Box, int]]) -> None:
    """Lays the highest of the maps on each pixel; each comes with its box and its crop's side."""
    heat = np.full(canvas.shape[:2], _NO_CROP, np.float32)
    for own, box, side in heats:
        left, top = round(box[0] + (box[2] - side) / 2), round(box[1] + (box[3] - side) / 2)
        rows = slice(max(0, top), max(0, min(canvas.shape[0], top + side)))
        columns = slice(max(0, left), max(0, min(canvas.shape[1], left + side)))
        if not heat[rows, columns].size:
            continue
        whole = cv2.resize(own.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
        part = whole[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        np.maximum(heat[rows, columns], np.clip(part, 0.0, 1.0), out=heat[rows, columns])
    inside = heat != _NO_CROP
    grey = canvas[inside].mean(axis=-1, keepdims=True) / 255.0
    canvas[inside] = np.round(255.0 * blended(grey, heat[inside]))


def _write_caption(
    draw: ImageDraw.ImageDraw,
    mark: Mark,
    box: Box,
    taken: Sequence[_Rectangle],
    size: tuple[int, int],
) -> _Rectangle:
    """Writes at the first free place above, below or in the box; returns where."""
    font = _font(_text_size(size), bold=True)
    pad = font.size // 4
    width = font.getlength(mark.caption) + 2 * pad
    height = font.size * 1.2 + 2 * pad
    left = min(max(0.0, box[0]), max(0.0, size[0] - width))
    right = max(0.0, min(size[0], box[0] + box[2]) - width)
    bottom = box[1] + box[3]
    places = [
        (x, y)
        for y in (box[1] - height, bottom, box[1], bottom - height)
        for x in (left, right)
        if 0 <= y <= size[1] - height
    ]
    x, y = next(
        ((x, y) for x, y in places if not _overlaps((x, y, x + width, y + height), taken)),
        places[0] if places else (left, 0.0),
    )
    draw.rectangle((x, y, x + width, y + height), fill=mark.color)
    draw.text(
        (x + pad, y + height / 2), mark.caption, fill=_ink_on(mark.color), font=font, anchor="lm"
    )
    return x, y, x + width, y + height


def _overlaps(rectangle: _Rectangle, others: Sequence[_Rectangle]) -> bool:
    left, top, right, bottom = rectangle
    return any(left < r and right > x and top < b and bottom > y for x, y, r, b in others)


def _wrapped_heading(
    lines: Sequence[str], size: tuple[int, int]
) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    text_size = _text_size(size)
    fonts = [_font(text_size, bold=number == 0) for number in range(len(lines))]
    return [
        (part, font)
        for line, font in zip(lines, fonts, strict=True)
        for part in _wrapped(line, font, size[0] - text_size)
    ]


def _wrapped(line: str, font: ImageFont.FreeTypeFont, room: float) -> list[str]:
    parts = [""]
    for word in line.split():
        longer = f"{parts[-1]} {word}".strip()
        if parts[-1] and font.getlength(longer) > room:
            parts.append(word)
        else:
            parts[-1] = longer
    parts = [_shortened(part, font, room) for part in parts]
    return parts if len(parts) <= _MOST_LINES else [*parts[: _MOST_LINES - 1], "..."]


def _shortened(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """A word longer than the picture is wide loses its middle: names differ at both ends."""
    if font.getlength(text) <= room:
        return text
    kept = max(2, int(len(text) * room / font.getlength(text)) - 3)
    return f"{text[: kept // 2]}...{text[-(kept // 2) :]}"


def _ink_on(color: str) -> str:
    red, green, blue = ImageColor.getrgb(color)[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "white"


def _text_size(size: tuple[int, int]) -> int:
    return max(13, round(0.022 * max(size)))


@functools.cache
def _font(size: int, *, bold: bool) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)), size)
