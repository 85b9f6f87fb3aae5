"""Smooth random displacements and the sampling of an image at displaced positions.

A displacement is a coarse grid of normal numbers drawn through cubic B-splines: two small matrix
products instead of a filter over the whole image.
"""

import functools

import numpy as np
import tensorflow as tf

_KNOTS = 7


def pixel_centres(size: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns x (1, size) and y (size, 1) of the pixel centres, fractions of the side."""
    centres = tf.constant((np.arange(size, dtype=np.float32) + 0.5) / size)
    return centres[tf.newaxis], centres[:, tf.newaxis]


def smooth_field(size: int, seed: tf.Tensor, channels: int = 2) -> tf.Tensor:
    """Returns `channels` smooth random fields (channels, size, size), about unit deviation.

    Args:
        size: Side of the image, pixels.
        seed: Int64 (2,).
        channels: Number of independent fields.
    """
    grid = tf.random.stateless_normal((channels, _KNOTS, _KNOTS), seed, alg="philox")
    splines = tf.constant(_splines(size))
    along = tf.tensordot(grid, splines, [[2], [1]])
    return tf.transpose(tf.tensordot(along, splines, [[1], [1]]), (0, 2, 1))


def sample(image: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    """Samples a square image bilinearly; positions outside take the nearest edge.

    Args:
        image: Float32 (size, size, channels).
        x: Float32 (size, size), fractions of the side; pixel i has its centre at (i + 0.5) / size.
        y: Likewise.

    Returns:
        Float32 (size, size, channels).
    """
    size, _, channels = image.shape
    x = tf.clip_by_value(x * size - 0.5, 0.0, size - 1.0)
    y = tf.clip_by_value(y * size - 0.5, 0.0, size - 1.0)
    left, top = tf.floor(x), tf.floor(y)
    index = tf.cast(top * size + left, tf.int32)
    right, below = (x - left)[..., tf.newaxis], (y - top)[..., tf.newaxis]
    # The four neighbours of a pixel in one row of memory: one gather instead of four. Beyond the
    # last column and row they are never seen: their weight is zero there.
    flat = tf.pad(tf.reshape(image, (size * size, channels)), ((0, size + 1), (0, 0)))
    pixels = size * size
    neighbours = tf.concat(
        [flat[:pixels], flat[1 : pixels + 1], flat[size : pixels + size], flat[size + 1 :]], axis=1
    )
    corners = tf.split(tf.gather(neighbours, index), 4, axis=-1)
    upper = corners[0] + right * (corners[1] - corners[0])
    lower = corners[2] + right * (corners[3] - corners[2])
    return upper + below * (lower - upper)


@functools.cache
def _splines(size: int) -> np.ndarray:
    """Cubic B-spline weights of each knot at each pixel centre, (size, knots)."""
    places = (np.arange(size) + 0.5) / size * (_KNOTS - 3) + 1.0
    distance = np.abs(places[:, None] - np.arange(_KNOTS)[None])
    near = 2.0 / 3.0 - distance**2 + distance**3 / 2.0
    far = (2.0 - distance) ** 3 / 6.0
    weights = np.where(distance < 1.0, near, np.where(distance < 2.0, far, 0.0))
    weights /= np.sqrt(np.mean(np.sum(weights**2, axis=1)))
    return weights.astype(np.float32)
