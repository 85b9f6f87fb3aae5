"""Where a pseudo-fake differs from the real image it was made of.

Masks of changed pixels are float32 (batch, size, size, 1): 1 changed, 0 not, -1 nobody knows. What
a batch tells of them is float32 (batch, CELLS, CELLS): the share of changed pixels in each cell.
"""

import tensorflow as tf

CELLS = 32
_SMALLEST_CHANGE = 4 / 255
_SMALLEST_SHARE = 0.01


def changed_pixels(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """Returns the mask of pixels that differ by more than rounding and one JPEG would make them.

    A pseudo-fake that hardly differs anywhere, such as a faint trace of resampling all over, gets
    -1: it is a fake, and no place of it should be called unchanged.

    Args:
        real: Float32 (batch, size, size, 3) in [0, 1].
        fake: The pseudo-fakes of these, likewise.
    """
    difference = tf.reduce_max(tf.abs(real - fake), axis=-1, keepdims=True)
    mask = tf.cast(difference > _SMALLEST_CHANGE, tf.float32)
    share = tf.reduce_mean(mask, axis=(1, 2, 3), keepdims=True)
    return tf.where(share < _SMALLEST_SHARE, -tf.ones_like(mask), mask)


def unchanged(images: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns a mask without changes for each of the images (batch, size, size, 3).

    Args:
        images: Any images of the wanted size.
        known: Bool (batch,): whether that is known; the others get -1.
    """
    value = tf.where(known, 0.0, -1.0)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    return tf.broadcast_to(value, tf.concat([tf.shape(images)[:3], [1]], axis=0))


def to_cells(masks: tf.Tensor) -> tf.Tensor:
    """Returns the share of changed pixels in each cell; -1 stays -1."""
    cells = tf.image.resize(masks, (CELLS, CELLS), method="area")[..., 0]
    return tf.ensure_shape(cells, (None, CELLS, CELLS))
