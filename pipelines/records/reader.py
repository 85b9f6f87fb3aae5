"""Records as TensorFlow sees them: graph ops made from the same `FIELDS` as the writer."""

from collections.abc import Mapping

import tensorflow as tf

from pipelines.records.schema import FIELDS
from pipelines.records.shards import iter_records

__all__ = [
    "decode_image", "decode_to_size", "feature_spec", "iter_records", "parse_example",
    "parse_examples",
]  # fmt: skip

_DTYPES = {"bytes": tf.string, "text": tf.string, "int64": tf.int64, "float": tf.float32}


def feature_spec() -> Mapping[str, tf.io.FixedLenFeature]:
    """Returns the parsing spec: every field is required and has its fixed length."""
    return {
        field.name: tf.io.FixedLenFeature(
            () if field.length == 1 else (field.length,), _DTYPES[field.kind]
        )
        for field in FIELDS
    }


def parse_example(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses one record, a scalar string, into field name -> scalar (`face/box`: (4,))."""
    return tf.io.parse_single_example(serialized, feature_spec())


def parse_examples(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses records, (batch,) string, into field name -> (batch,) (`face/box`: (batch, 4))."""
    return tf.io.parse_example(serialized, feature_spec())


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes one JPEG or PNG, a scalar string, into uint8 RGB (height, width, 3).

    The op recognises PNG by itself; the accurate DCT makes JPEG pixels equal to Pillow's.
    """
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def decode_to_size(encoded: tf.Tensor, side: int) -> tf.Tensor:
    """Decodes one JPEG or PNG into uint8 RGB (side, side, 3).

    Resizing is bilinear with anti-aliasing, as Pillow's; a picture of the right size keeps its
    pixels.
    """
    pixels = decode_image(encoded)
    resized = tf.cond(
        tf.reduce_all(tf.equal(tf.shape(pixels)[:2], side)),
        lambda: pixels,
        lambda: tf.saturate_cast(
            tf.round(tf.image.resize(pixels, (side, side), antialias=True)), tf.uint8
        ),
    )
    return tf.ensure_shape(resized, (side, side, 3))
