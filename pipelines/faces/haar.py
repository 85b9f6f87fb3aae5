"""Viola-Jones faces with the frontal cascade OpenCV 4 ships: no model file, no network.

P. Viola and M. Jones, "Rapid object detection using a boosted cascade of simple features", CVPR
2001. Finds upright frontal faces. Images are uint8 RGB (height, width, 3).
"""

from dataclasses import replace
from pathlib import Path

import cv2
import cv2.data
import numpy as np

from pipelines.errors import InputError
from pipelines.faces.base import Box, Face, Point, ranked, without_overlaps

FACE_CASCADE = "haarcascade_frontalface_default.xml"
EYE_CASCADE = "haarcascade_eye_tree_eyeglasses.xml"

# The cascade's own window is 24 pixels: nothing smaller can be found.
WINDOW = 24
# Longer images are searched in a copy shrunk to this: the time grows with the pixels.
LONGEST_SIDE = 1024
SCALE_STEP = 1.1
# On 150 images each of ciplab, stylegan2 and utkface, 3 finds 2-4 % more faces than 5 and about
# twice the false ones; 8 loses 4-8 %.
MIN_NEIGHBOURS = 5
# The cascade wants some air around a face. Cropped portraits have none: with a border of 0.2 the
# faces it misses in utkface fall from 47 % to 8 %.
BORDER = 0.2
# A last look for faces down to this share of the smallest size kept tells "too small" from "none".
SMALLER = 0.6


class HaarDetector:
    """Finds faces with the frontal cascade; the score is the number of windows that agree.

    An image is looked at as it is, and only if that shows nothing, with a border of repeated edge
    pixels, and lastly for faces smaller than `min_size` (the caller refuses and counts those).

    Args:
        min_size: Smallest face side looked for, source pixels. In an image longer than
            `LONGEST_SIDE` nothing below 24 pixels of the shrunk copy is found.
        eyes: Look for the eyes of each face with OpenCV's eye cascade.
    """

    def __init__(self, min_size: int, eyes: bool = False) -> None:
        self._min_size = min_size
        self._faces = _cascade(FACE_CASCADE)
        self._eyes = _cascade(EYE_CASCADE) if eyes else None

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of `image`, uint8 RGB (height, width, 3), surest first."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        height, width = grey.shape
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        small = grey
        if scale < 1.0:
            shrunk = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(grey, shrunk, interpolation=cv2.INTER_AREA)
        faces = (
            self._look(small, scale, self._min_size, 0.0)
            or self._look(small, scale, self._min_size, BORDER)
            or self._look(small, scale, int(self._min_size * SMALLER), 0.0)
        )
        if self._eyes is None:
            return faces
        return ranked(
            [replace(face, eyes=_find_eyes(self._eyes, grey, face.box)) for face in faces]
        )

    def _look(self, grey: np.ndarray, scale: float, min_size: int, border: float) -> list[Face]:
        height, width = grey.shape
        pad = round(border * min(height, width))
        if pad:
            grey = cv2.copyMakeBorder(grey, pad, pad, pad, pad, cv2.BORDER_REPLICATE)
        side = max(WINDOW, round(min_size * scale))
        boxes, hits = self._faces.detectMultiScale2(
            grey, scaleFactor=SCALE_STEP, minNeighbors=MIN_NEIGHBOURS, minSize=(side, side)
        )
        faces = []
        for (left, top, w, h), count in zip(boxes, hits, strict=True):
            x, y = float(left) - pad, float(top) - pad
            if 0 <= x + w / 2 < width and 0 <= y + h / 2 < height:
                box = (x / scale, y / scale, float(w) / scale, float(h) / scale)
                faces.append(Face(box=box, score=float(count)))
        return without_overlaps(faces)


def _find_eyes(cascade: cv2.CascadeClassifier, grey: np.ndarray, box: Box) -> tuple | None:
    """The surest eye in each half of the upper face; None unless both make sense as a pair."""
    left, top, width, height = box
    middle = left + width / 2
    rows = (top + 0.15 * height, top + 0.6 * height)
    first = _surest(cascade, grey, (left, middle), rows, width)
    second = _surest(cascade, grey, (middle, left + width), rows, width)
    if first is None or second is None:
        return None
    across, down = second[0] - first[0], second[1] - first[1]
    # Between the eyes of a face that looks at us lie about 0.4 of the box; further off it is a
    # nostril or an eyebrow.
    if not 0.25 * width <= across <= 0.65 * width or abs(down) > 0.6 * across:
        return None
    return first, second


def _surest(
    cascade: cv2.CascadeClassifier, grey: np.ndarray, columns: Point, rows: Point, width: float
) -> Point | None:
    left, right = max(0, round(columns[0])), min(grey.shape[1], round(columns[1]))
    top, bottom = max(0, round(rows[0])), min(grey.shape[0], round(rows[1]))
    if right - left < WINDOW or bottom - top < WINDOW:
        return None
    side = max(8, round(0.15 * width))
    found, hits = cascade.detectMultiScale2(
        grey[top:bottom, left:right], scaleFactor=1.05, minNeighbors=2, minSize=(side, side)
    )
    if len(found) == 0:
        return None
    candidates = zip(found, hits, strict=True)
    (x, y, w, h), _ = min(candidates, key=lambda c: (-int(c[1]), tuple(int(v) for v in c[0])))
    return left + float(x) + float(w) / 2, top + float(y) + float(h) / 2


def _cascade(name: str) -> cv2.CascadeClassifier:
    path = Path(cv2.data.haarcascades) / name
    cascade = cv2.CascadeClassifier(str(path))
    if cascade.empty():
        raise InputError(f"{path}: OpenCV's cascade is missing: reinstall opencv-python-headless 4")
    return cascade
