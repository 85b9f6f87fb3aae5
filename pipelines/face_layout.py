"""Where the parts of a face lie in a crop, found from its pixels by template matching.

Crops differ: a detector's box with its margin, an aligned data set, a loose portrait. Pseudo-fakes
need eyes, nose and mouth only roughly, but in every one of them, inside `tf.data` and at thousands
of images a second. A drawn template of a face (dark eyes, brows, nostrils and mouth; bright
forehead, cheeks and nose ridge) is compared with the crop at `_SIDE` pixels, at every place of a
grid of positions, sizes and tilts, as one matrix product; the best normalised correlation wins,
helped by a broad prior for the middle of the crop.

Face coordinates: origin between the eyes, u to the right, v down along the nose, the distance of
the eyes as the unit. Crop coordinates are fractions of the side, x right and y down.
"""

import functools
import itertools
import math

import numpy as np
import tensorflow as tf

from pipelines.augment_ops import LUMA

_SIDE = 24
_EYE_DISTANCES = (0.20, 0.23, 0.26, 0.295, 0.335, 0.38, 0.43)
_TILTS = (-14.0, 0.0, 14.0)  # degrees
_CENTRES_X = tuple(np.linspace(0.38, 0.62, 7))
_CENTRES_Y = tuple(np.linspace(0.22, 0.58, 13))
# Parts of the template: (u, v, spread in u, spread in v, brightness).
_PARTS = (
    (-0.5, 0.0, 0.24, 0.14, -1.0),
    (0.5, 0.0, 0.24, 0.14, -1.0),
    (-0.5, -0.27, 0.30, 0.10, -0.4),
    (0.5, -0.27, 0.30, 0.10, -0.4),
    (0.0, 0.73, 0.11, 0.10, -0.4),
    (0.0, 1.08, 0.33, 0.11, -0.7),
    (0.0, 0.2, 0.16, 0.30, 0.3),
    (-0.55, 0.5, 0.17, 0.22, 0.9),
    (0.55, 0.5, 0.17, 0.22, 0.9),
    (0.0, -0.6, 0.45, 0.2, 0.4),
    (0.0, 1.58, 0.3, 0.14, 0.2),
)
_PRIOR_WEIGHT = 0.073
_PRIOR = ((0.5, 0.065), (0.438, 0.065), (math.log(0.335), 0.21))  # x, y, log of the eye distance


def face_layout(images: tf.Tensor) -> tf.Tensor:
    """Finds the face in each crop.

    Args:
        images: Float32 (batch, size, size, 3) in [0, 1].

    Returns:
        Float32 (batch, 4): x and y between the eyes and the distance of the eyes, as fractions of
        the side, and the tilt in radians, positive where the right end of the eye line is lower.
    """
    placements, correlate, weights, prior = (tf.constant(t) for t in _templates())
    small = tf.image.resize(images, (_SIDE, _SIDE), "bilinear", antialias=True)
    grey = tf.reshape(tf.linalg.matvec(small, tf.constant(LUMA)), (-1, _SIDE * _SIDE))
    grey -= tf.reduce_mean(grey, axis=1, keepdims=True)
    mean = grey @ weights
    variance = tf.square(grey) @ weights - tf.square(mean)
    score = (grey @ correlate) * tf.math.rsqrt(tf.maximum(variance, 1e-4)) + prior
    return tf.gather(placements, tf.argmax(score, axis=1))


@functools.cache
def _templates() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Placements (n, 4), and for each a template, its window and its prior, (pixels, n) each."""
    centres = (np.arange(_SIDE) + 0.5) / _SIDE
    y, x = (part.ravel() for part in np.meshgrid(centres, centres, indexing="ij"))
    placements, correlate, weights, prior = [], [], [], []
    grid = itertools.product(_CENTRES_X, _CENTRES_Y, _EYE_DISTANCES, np.radians(_TILTS))
    for centre_x, centre_y, distance, tilt in grid:
        u, v = to_face_coordinates(x, y, (centre_x, centre_y, distance, tilt), np)
        window = 1.0 / (1.0 + np.exp(8.0 * (np.hypot(u / 1.05, (v - 0.4) / 1.35) - 1.0)))
        window /= window.sum()
        face = sum(
            brightness * np.exp(-0.5 * (((u - u0) / su) ** 2 + ((v - v0) / sv) ** 2))
            for u0, v0, su, sv, brightness in _PARTS
        )
        face = face - (window * face).sum()
        face /= np.sqrt((window * face**2).sum())
        placements.append((centre_x, centre_y, distance, tilt))
        correlate.append(window * face)
        weights.append(window)
        deviations = (
            ((value - middle) / spread) ** 2
            for value, (middle, spread) in zip(
                (centre_x, centre_y, math.log(distance)), _PRIOR, strict=True
            )
        )
        prior.append(-_PRIOR_WEIGHT * 0.5 * sum(deviations))
    return (
        np.array(placements, np.float32),
        np.array(correlate, np.float32).T.copy(),
        np.array(weights, np.float32).T.copy(),
        np.array(prior, np.float32),
    )


def to_face_coordinates(x, y, layout, module=tf):  # noqa: ANN001, ANN201
    """(x, y) fractions of the crop to (u, v) of the face; see the module's text."""
    centre_x, centre_y, distance, tilt = layout
    right, down = (x - centre_x) / distance, (y - centre_y) / distance
    cos, sin = module.cos(tilt), module.sin(tilt)
    return cos * right + sin * down, cos * down - sin * right


def to_crop_coordinates(u, v, layout):  # noqa: ANN001, ANN201
    """(u, v) of the face to (x, y) fractions of the crop."""
    centre_x, centre_y, distance, tilt = layout
    cos, sin = tf.cos(tilt), tf.sin(tilt)
    return centre_x + distance * (cos * u - sin * v), centre_y + distance * (sin * u + cos * v)
