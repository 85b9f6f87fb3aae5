"""A face's square crop: margin, reflected border, level eyes, one size.

Images are uint8 RGB (height, width, 3). Shrinking averages areas (no aliasing), enlarging is
bicubic, and a crop that already has the wanted size keeps its pixels as they are.
"""

import math

import cv2
import numpy as np

from pipelines.faces.base import Face, Point
from pipelines.settings import FaceSettings


def crop_face(image: np.ndarray, face: Face, settings: FaceSettings, size: int) -> np.ndarray:
    """Cuts the square around a face out of an image.

    The square is centred on the box, its side the longer side of the box plus the margin on both
    sides. What lies over the image's border is the image reflected (without repeating the edge).
    With `align` and known eyes it is turned about its centre so that the eyes are level. Where the
    whole image is the face (`none`) there is no margin.

    Args:
        image: uint8 RGB (height, width, 3).
        face: A face of `image`.
        settings: Margin and alignment.
        size: Side of the result, pixels.

    Returns:
        uint8 RGB (size, size, 3).
    """
    left, top, width, height = face.box
    side = crop_side(face, settings)
    centre = (left + width / 2, top + height / 2)
    angle = _eye_angle(face.eyes) if settings.align and face.eyes is not None else 0.0
    square = _turned(image, centre, side, angle) if angle else _upright(image, centre, side)
    return resized(square, size)


def crop_side(face: Face, settings: FaceSettings) -> int:
    """Returns the side of the square that `crop_face` cuts out, source pixels."""
    margin = 0.0 if settings.detector == "none" else settings.margin
    return max(1, round(max(face.box[2], face.box[3]) * (1 + 2 * margin)))


def resized(square: np.ndarray, size: int) -> np.ndarray:
    """Scales a square crop to `size` pixels; one that has them already stays as it is."""
    if len(square) == size:
        return square
    interpolation = cv2.INTER_AREA if len(square) > size else cv2.INTER_CUBIC
    return cv2.resize(square, (size, size), interpolation=interpolation)


def _eye_angle(eyes: tuple[Point, Point]) -> float:
    """How far the line from the left to the right eye falls off, radians, clockwise on screen."""
    (x0, y0), (x1, y1) = eyes
    return math.atan2(y1 - y0, x1 - x0)


def _upright(image: np.ndarray, centre: Point, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    left, top = round(centre[0] - side / 2), round(centre[1] - side / 2)
    over_left, over_top = max(0, -left), max(0, -top)
    over_right, over_bottom = max(0, left + side - width), max(0, top + side - height)
    inside = image[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)]
    if inside.shape[:2] == (side, side):
        return np.ascontiguousarray(inside)
    overs = (over_top, over_bottom, over_left, over_right)
    if max(overs[:2]) < inside.shape[0] and max(overs[2:]) < inside.shape[1]:
        return cv2.copyMakeBorder(inside, *overs, cv2.BORDER_REFLECT_101)
    # More lies over the border than within: the reflection reaches further than the square.
    whole = cv2.copyMakeBorder(image, *overs, cv2.BORDER_REFLECT_101)
    top, left = top + over_top, left + over_left
    return np.ascontiguousarray(whole[top : top + side, left : left + side])


def _turned(image: np.ndarray, centre: Point, side: int, angle: float) -> np.ndarray:
    cosine, sine = math.cos(angle), math.sin(angle)
    # Pixel centres lie half a pixel inside the edges the box is measured between.
    middle = (side - 1) / 2
    x, y = centre[0] - 0.5, centre[1] - 0.5
    to_source = np.array(
        [
            [cosine, -sine, x - cosine * middle + sine * middle],
            [sine, cosine, y - sine * middle - cosine * middle],
        ]
    )
    return cv2.warpAffine(
        image,
        to_source,
        (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
