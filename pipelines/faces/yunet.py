"""YuNet faces with five landmarks, from the ONNX file the user brings.

W. Wu, H. Peng and S. Yu, "YuNet: a tiny millisecond-level face detector", Machine Intelligence
Research 2023; `face_detection_yunet_*.onnx` of the OpenCV model zoo. Images are uint8 RGB
(height, width, 3).
"""

from pathlib import Path

import cv2
import numpy as np

from pipelines.errors import InputError
from pipelines.faces.base import Face, Point, without_overlaps
from pipelines.faces.onnx_shape import with_input_shape

# YuNet was trained on faces of 10 to some 300 pixels: in a copy of this size a face that fills the
# image and one of a fiftieth of it are both found.
LONGEST_SIDE = 640
NMS_OVERLAP = 0.3
MOST_CANDIDATES = 5000


class YuNetDetector:
    """Finds faces and their eyes; the score is YuNet's confidence in [0, 1].

    Args:
        model: The ONNX file.
        min_score: Smallest confidence kept.

    Raises:
        InputError: no file named, no such file, or not a YuNet model.
    """

    def __init__(self, model: str | None, min_score: float) -> None:
        if not model:
            raise InputError(
                "faces.detector yunet needs faces.model: the path of face_detection_yunet_*.onnx "
                "(OpenCV model zoo); `haar` needs no file"
            )
        if not Path(model).is_file():
            raise InputError(
                f"{model}: no such YuNet model: give the path of face_detection_yunet_*.onnx "
                "(OpenCV model zoo), or use `haar`, which needs no file"
            )
        try:
            self._network = _load(Path(model).read_bytes(), min_score)
        except (cv2.error, ValueError) as error:
            raise InputError(
                f"{model}: not a YuNet model OpenCV can run: give the path of "
                "face_detection_yunet_*.onnx (OpenCV model zoo)"
            ) from error

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns the faces of `image`, uint8 RGB (height, width, 3), surest first."""
        height, width = image.shape[:2]
        scale = min(1.0, LONGEST_SIDE / max(height, width))
        small = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        if scale < 1.0:
            shrunk = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = cv2.resize(small, shrunk, interpolation=cv2.INTER_AREA)
        self._network.setInputSize((small.shape[1], small.shape[0]))
        _, rows = self._network.detect(small)
        if rows is None:
            return []
        # Each row: box (4), right and left eye, nose, corners of the mouth (10), score.
        return without_overlaps([_face(row / scale, float(row[14])) for row in rows])


def _load(model: bytes, min_score: float) -> cv2.FaceDetectorYN:
    side = LONGEST_SIDE
    fixed = np.frombuffer(with_input_shape(model, (1, 3, side, side)), np.uint8)
    level = cv2.utils.logging.getLogLevel()
    # OpenCV would explain on stderr, in lines of its own, why it cannot read a file.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        network = cv2.FaceDetectorYN.create(
            "onnx", fixed, np.empty(0, np.uint8), (64, 64), min_score, NMS_OVERLAP, MOST_CANDIDATES
        )
        network.detect(np.zeros((64, 64, 3), np.uint8))
    finally:
        cv2.utils.logging.setLogLevel(level)
    return network


def _face(row: np.ndarray, score: float) -> Face:
    left, top, width, height = (float(value) for value in row[:4])
    first: Point = (float(row[4]), float(row[5]))
    second: Point = (float(row[6]), float(row[7]))
    return Face((left, top, width, height), score, (min(first, second), max(first, second)))
