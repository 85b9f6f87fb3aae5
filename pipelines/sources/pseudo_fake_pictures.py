"""The pictures of the source `pseudo_fakes`; apart from it because TensorFlow makes them."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.augment_ops import to_pixels
from pipelines.pseudo_fakes import make_pairs
from pipelines.sampling import seed_from
from pipelines.settings import PSEUDO_FAKE_FAMILIES, PseudoFakeSettings


def pseudo_fakes(faces: np.ndarray, keys: Sequence[str], family: str) -> np.ndarray:
    """Returns a pseudo-fake of each face, equal to it outside the forged region.

    Args:
        faces: Uint8 RGB (n, size, size, 3).
        keys: Names of the n faces; with the family they decide the pictures.
        family: One of PSEUDO_FAKE_FAMILIES.

    Returns:
        Uint8 (n, size, size, 3).
    """
    seeds = np.array([[seed_from(0, f"{family} {key}"), 0] for key in keys], np.int64)
    return _maker(family, faces.shape[1])(faces, seeds).numpy()


@functools.cache
def _maker(family: str, size: int) -> Callable[[np.ndarray, np.ndarray], Any]:
    self_blend, splice, resample = (float(family == name) for name in PSEUDO_FAKE_FAMILIES)
    settings = PseudoFakeSettings(self_blend, splice, resample, change_real=0.0)
    images = tf.TensorSpec((None, size, size, 3), tf.uint8)

    @tf.function(input_signature=(images, tf.TensorSpec((None, 2), tf.int64)))
    def make(pixels: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        pool = tf.image.convert_image_dtype(pixels, tf.float32)
        return to_pixels(make_pairs(pool, tf.range(tf.shape(pool)[0]), seeds, settings)[1])

    return make
