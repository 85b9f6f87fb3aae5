"""Soft masks for pseudo-fakes: the whole face, a convex part of it, its lower half, or eyes, nose
and mouth in any combination, as forgers replace them.

A mask is a distance to a border in face coordinates (`pipelines.face_layout`), deformed by a smooth
random field, and a ramp across that border: soft borders of any width without a filter.
"""

import math

import tensorflow as tf

from pipelines.draws import Draws
from pipelines.face_layout import to_face_coordinates
from pipelines.smooth_warp import pixel_centres, smooth_field

_FIELD_STREAM = 0x3C6EF372FE94F82B
_NUM_DRAWS = 48
# (u, v, half width, half height) in eye distances.
_PARTS = (
    (-0.5, -0.06, 0.42, 0.30),
    (0.5, -0.06, 0.42, 0.30),
    (0.0, 0.42, 0.34, 0.48),
    (0.0, 1.06, 0.56, 0.32),
)
_WHOLE_FACE = (0.0, 0.48, 0.98, 1.18)
_LOWER_FACE = (0.0, 1.02, 0.82, 0.66)
_SIDES = 8
_FAR = 100.0
_NARROWEST_PIXELS = 1.5
SHAPES = ("ellipse", "convex", "lower_face", "parts")


def face_mask(
    size: int,
    layout: tf.Tensor,
    seed: tf.Tensor,
    *,
    parts: float = 0.4,
    border: tuple[float, float] = (0.04, 0.5),
) -> tf.Tensor:
    """Draws a mask.

    Args:
        size: Side of the image, pixels.
        layout: Float32 (4,) of `face_layout`.
        seed: Int64 (2,), the example's own.
        parts: Share of masks made of eyes, nose and mouth; of the others two fifths each are
            elliptical and convex and one fifth covers the lower face.
        border: Range of the border's width, eye distances, drawn evenly on a logarithmic scale. No
            border is wider than nine tenths of what it surrounds, nor narrower than 1.5 pixels.

    Returns:
        Float32 (size, size) in [0, 1].
    """
    draws = Draws(seed, _NUM_DRAWS)
    rest = 1.0 - parts
    shape = draws.weighted((0.4 * rest, 0.4 * rest, 0.2 * rest, parts))
    x, y = pixel_centres(size)
    u, v = to_face_coordinates(x, y, tf.unstack(_jittered(layout, draws)))
    field_seed = tf.bitwise.bitwise_xor(seed, tf.constant([_FIELD_STREAM, 0], tf.int64))
    field = smooth_field(size, field_seed) * draws.between(0.02, 0.12)
    u, v = u + field[0], v + field[1]
    is_convex = tf.equal(shape, 1)
    ellipses, polygon = _ellipses(shape, draws), _polygon(draws)
    squareness = draws.between(0.0, 0.5)
    distance = tf.cond(
        is_convex,
        lambda: _polygon_distance(u, v, *polygon),
        lambda: _ellipse_distance(u, v, ellipses, squareness),
    )
    thinnest = tf.where(is_convex, 0.6, tf.reduce_min(ellipses[:, 2:4]))
    width = tf.exp(draws.between(math.log(border[0]), math.log(border[1])))
    width = tf.maximum(tf.minimum(width, 0.9 * thinnest), _NARROWEST_PIXELS / (size * layout[2]))
    ramp = tf.clip_by_value(0.5 - distance / width, 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def _jittered(layout: tf.Tensor, draws: Draws) -> tf.Tensor:
    eyes = layout[2]
    return layout + tf.stack(
        [
            eyes * draws.between(-0.08, 0.08),
            eyes * draws.between(-0.08, 0.08),
            eyes * draws.between(-0.1, 0.12),
            draws.between(-0.1, 0.1),
        ]
    )


def _ellipses(shape: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Up to four ellipses (4, 5): u, v, half width, half height, and what hides an unused one."""
    chosen = tf.stack([draws.chance(0.5) for _ in _PARTS])
    only = tf.one_hot(draws.integer(0, len(_PARTS) - 1), len(_PARTS), True, False)
    chosen = tf.where(tf.reduce_any(chosen), chosen, only)
    single = tf.where(tf.equal(shape, 2), tf.constant(_LOWER_FACE), tf.constant(_WHOLE_FACE))
    is_parts = tf.equal(shape, 3)
    ellipses = tf.where(is_parts, tf.constant(_PARTS), single[tf.newaxis])
    used = tf.where(is_parts, chosen, tf.constant([True, False, False, False]))
    scales = tf.stack([[draws.between(0.85, 1.25) for _ in range(2)] for _ in _PARTS])
    # The whole face fills most of the crop already: it varies less, or hair and chin come along.
    scales = tf.where(is_parts, scales, 0.7 + 0.3 * scales)
    hidden = tf.where(used, 0.0, _FAR)[:, tf.newaxis]
    return tf.concat([ellipses[:, :2], ellipses[:, 2:] * scales, hidden], axis=1)


def _ellipse_distance(
    u: tf.Tensor, v: tf.Tensor, ellipses: tf.Tensor, squareness: tf.Tensor
) -> tf.Tensor:
    """Distance to the border of a union of ellipses, negative inside; right at the border.

    The squarer an ellipse, the nearer it is to the rectangle around it.
    """
    u0, v0, width, height, hidden = tf.unstack(ellipses[:, tf.newaxis, tf.newaxis], axis=-1)
    across, along = tf.abs((u - u0) / width), tf.abs((v - v0) / height)
    round_radius = tf.sqrt(tf.square(across) + tf.square(along))
    radius = round_radius + squareness * (tf.maximum(across, along) - round_radius)
    return tf.reduce_min((radius - 1.0) * tf.minimum(width, height) + hidden, axis=0)


def _polygon(draws: Draws) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normals (sides,) each, and the origin's distance from each side (sides,)."""
    turns = [2.0 * math.pi / _SIDES * (side + draws.between(-0.4, 0.4)) for side in range(_SIDES)]
    angles = tf.stack(turns)
    cos, sin = tf.cos(angles), tf.sin(angles)
    u0, v0, width, height = _WHOLE_FACE
    centre_u, centre_v = u0 + draws.between(-0.15, 0.15), v0 + draws.between(-0.2, 0.2)
    reach = tf.sqrt(tf.square(width * cos) + tf.square(height * sin))
    reach *= tf.stack([draws.between(0.6, 1.0) for _ in range(_SIDES)])
    return cos, sin, reach + centre_u * cos + centre_v * sin


def _polygon_distance(
    u: tf.Tensor, v: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor, reach: tf.Tensor
) -> tf.Tensor:
    distances = [u * cos[side] + v * sin[side] - reach[side] for side in range(_SIDES)]
    return tf.reduce_max(tf.stack(distances), axis=0)
