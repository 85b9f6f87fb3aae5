"""Light re-delivery: what a photo goes through when it is sent on once more.

A verdict that does not survive this says little about the image. The image as delivered is
degraded, before its faces are cut out at the places found in the original: whether the score lasts
is asked, not whether the face finder does, and finding faces again would double the cost.
"""

import io
from collections.abc import Callable, Mapping

import cv2
import numpy as np
from PIL import Image

from pipelines.faces.base import Face

JPEG_QUALITY = 75
SCALE = 0.75


def _as_jpeg(pixels: np.ndarray) -> np.ndarray:
    """A JPEG round trip with the chroma subsampling photos usually have (4:2:0)."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=JPEG_QUALITY)
    with Image.open(data) as image:
        return np.asarray(image)


def _smaller(pixels: np.ndarray) -> np.ndarray:
    """The image at 75 %, area-averaged; the crop's own resizing brings the face back to size."""
    height, width = pixels.shape[:2]
    size = max(1, round(width * SCALE)), max(1, round(height * SCALE))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


REDELIVERIES: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    f"JPEG quality {JPEG_QUALITY}": _as_jpeg,
    f"resizing to {SCALE:.0%}": _smaller,
}
"""Each takes and returns uint8 RGB (height, width, 3)."""


def moved_face(face: Face, original: np.ndarray, redelivered: np.ndarray) -> Face:
    """Returns where a face of an image lies in its re-delivered copy, of another size perhaps."""
    down = redelivered.shape[0] / original.shape[0]
    across = redelivered.shape[1] / original.shape[1]
    left, top, width, height = face.box
    eyes = face.eyes and tuple((x * across, y * down) for x, y in face.eyes)
    box = (left * across, top * down, width * across, height * down)
    return Face(box, face.score, eyes)  # type: ignore[arg-type]
