"""What a face detector is: pixels in, faces out, in one fixed order."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Face:
    """One face of an image.

    Args:
        box: (left, top, width, height) in pixels of the image; may reach over its border.
        score: The detector's confidence, higher is surer, on the detector's own scale.
        eyes: Centres of the eye further left and of the one further right in the image, (x, y) in
            pixels; None where the detector does not know them.
    """

    box: Box
    score: float
    eyes: tuple[Point, Point] | None = None


class FaceDetector(Protocol):
    """Finds the faces of one image; the same pixels always give the same answer."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of `image`, uint8 RGB (height, width, 3), in `ranked` order."""
        ...


def ranked(faces: list[Face]) -> list[Face]:
    """Returns the faces by falling score, then falling area, then from left to right, top down."""
    return sorted(faces, key=lambda f: (-f.score, -f.box[2] * f.box[3], f.box[0], f.box[1]))


def without_overlaps(faces: list[Face], most: float = 0.5) -> list[Face]:
    """Keeps the surest of faces that overlap, in `ranked` order.

    Overlap is the intersection over the smaller of two boxes, so that a mouth taken for a face
    inside a face goes as well.

    Args:
        faces: Faces of one image.
        most: Largest overlap at which two boxes still are two faces, fraction of the smaller.
    """
    kept: list[Face] = []
    for face in ranked(faces):
        if all(_overlap(face.box, other.box) <= most for other in kept):
            kept.append(face)
    return kept


def _overlap(a: Box, b: Box) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / min(a[2] * a[3], b[2] * b[3])
