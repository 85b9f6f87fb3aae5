"""Encoded face crops to a batch of images, at close to the speed of the JPEG decoder itself."""

import tensorflow as tf

from pipelines.records.reader import decode_image, decode_to_size

IMAGE_KEYS = ("image/encoded", "image/format", "image/height", "image/width")
"""Features `decode_batch` needs."""


def decode_batch(features: dict[str, tf.Tensor], usual_batch: int, size: int) -> tf.Tensor:
    """Decodes the images of a batch of records.

    A full batch of JPEGs that all have the wanted size takes the fast way; any other has each
    image resized as need be, bilinear with antialiasing. Both give the same bits.

    Args:
        features: Parsed records, (batch,) each; at least those of `IMAGE_KEYS`.
        usual_batch: Number of records in all batches but the last of an epoch.
        size: Side of the images, pixels.

    Returns:
        Uint8 RGB (batch, size, size, 3): a quarter of the memory traffic of float32, which the
        model makes of it in its first step.
    """
    encoded = features["image/encoded"]
    alike = (
        tf.equal(tf.size(encoded), usual_batch)
        & tf.reduce_all(tf.equal(features["image/format"], b"jpeg"))
        & tf.reduce_all(tf.equal(features["image/height"], size))
        & tf.reduce_all(tf.equal(features["image/width"], size))
    )
    images = tf.cond(
        alike, lambda: _decode_alike(encoded, usual_batch, size), lambda: _decode_any(encoded, size)
    )
    return tf.ensure_shape(images, (None, size, size, 3))


def _decode_alike(encoded: tf.Tensor, batch: int, size: int) -> tf.Tensor:
    # One op for each image and one copy of its bytes: map_fn adds a loop and a tensor list.
    pixels = [decode_image(one) for one in tf.unstack(encoded, num=batch)]
    return tf.ensure_shape(tf.stack(pixels), (batch, size, size, 3))


def _decode_any(encoded: tf.Tensor, size: int) -> tf.Tensor:
    signature = tf.TensorSpec((size, size, 3), tf.uint8)
    return tf.map_fn(lambda one: decode_to_size(one, size), encoded, fn_output_signature=signature)
