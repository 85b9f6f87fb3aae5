"""What scoring a face asks of a network, whoever runs it: a loaded run, or a server's queue."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


class Network(Protocol):
    """A network behind its preprocessing.

    Images are uint8 RGB, (n, image_size, image_size, 3); n may be 0 and of any size. Every result
    belongs to its image alone, whatever its neighbours.
    """

    @property
    def image_size(self) -> int:
        """Side of the images, pixels."""

    def decode(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Decodes face crops to images."""

    def score(self, images: np.ndarray) -> np.ndarray:
        """Scores images: (n,) float64, higher = more likely fake."""

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Returns latents: (n, d) float32."""

    def explain(self, images: np.ndarray) -> np.ndarray:
        """Returns where the score comes from: (n, image_size, image_size) float32 in [0, 1]."""

    def reconstruct(self, images: np.ndarray) -> np.ndarray | None:
        """Returns reconstructions, images as float32 in [0, 1]; None where the network has none."""
