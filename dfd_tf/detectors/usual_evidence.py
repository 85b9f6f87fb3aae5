"""What is usual in real faces, so that a map of errors shows what is not.

An autoencoder rebuilds hair, eyes and background badly in every face: a map of its errors is bright
there, fake or not. Place by place, the median over real faces is subtracted and the rest divided by
the median absolute deviation, as the score does with its terms.

Maps are (batch, image_size, image_size) float32.
"""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

MOST_IMAGES = 512
"""Real faces looked at: enough for a median, and a bound for the memory they take."""
_SMALLEST_SPREAD = 1e-3
"""Of a place's deviation, as a share of the mean over places: what never varies says nothing."""


@keras.saving.register_keras_serializable(package="dfd_tf")
class UsualEvidence(keras.layers.Layer):
    """Measures evidence at each place in deviations above what real faces have there.

    Until `fit` it only cuts off what is negative.

    Args:
        image_size: Side of the maps, pixels.

    Call arguments:
        evidence: (batch, image_size, image_size) float.

    Returns:
        The same shape, float32, >= 0.
    """

    def __init__(self, image_size: int, **kwargs: Any) -> None:
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self.image_size = image_size
        shape = (image_size, image_size)
        self.median = self.add_weight(shape, "zeros", trainable=False, name="median")
        self.spread = self.add_weight(shape, "ones", trainable=False, name="spread")
        self.built = True

    def call(self, evidence: Any) -> Any:
        return ops.relu((ops.cast(evidence, "float32") - self.median) / self.spread)

    def fit(self, evidence: Iterable[Any]) -> None:
        """Sets what is usual; does nothing without a face.

        Args:
            evidence: Batches of maps of real faces, read up to `MOST_IMAGES` faces.
        """
        maps: list[np.ndarray] = []
        for batch in evidence:
            maps += list(ops.convert_to_numpy(batch)[: MOST_IMAGES - len(maps)])
            if len(maps) == MOST_IMAGES:
                break
        if not maps:
            return
        table = np.stack(maps)
        median = np.median(table, axis=0)
        spread = np.median(np.abs(table - median), axis=0)
        self.median.assign(median)
        # Equal faces leave nothing to measure with.
        floor = _SMALLEST_SPREAD * float(spread.mean()) or 1.0
        self.spread.assign(np.maximum(spread, floor))

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "image_size": self.image_size}
