"""For images that already are faces: the whole image is the face."""

import numpy as np

from pipelines.faces.base import Face


class WholeImage:
    """Takes every image for one face that fills it; the score is 1."""

    def detect(self, image: np.ndarray) -> list[Face]:
        """Returns one face: all of `image`, uint8 RGB (height, width, 3)."""
        height, width = image.shape[:2]
        return [Face((0.0, 0.0, float(width), float(height)), 1.0)]
