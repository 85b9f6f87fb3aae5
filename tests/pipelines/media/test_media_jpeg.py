"""JPEG against independent implementations: TensorFlow's decoder, Pillow's encoder and tables."""

import io

import media_samples as samples
import numpy as np
import pytest
from PIL import Image

from pipelines.media.images import decode_image
from pipelines.media.jpeg_quality import estimate_quality
from pipelines.settings import MediaLimits

LIMITS = MediaLimits()


def noisy(height=121, width=163):
    rng = np.random.default_rng(5)
    smooth = samples.picture(width, height).astype(int)
    return np.clip(smooth + rng.normal(0, 25, smooth.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["444", "422", "420"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_pixels_equal_those_of_tensorflow(subsampling, options):
    import tensorflow as tf

    for quality in (5, 40, 75, 95, 100):
        data = samples.encode(noisy(), quality=quality, subsampling=subsampling, **options)
        expected = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        np.testing.assert_array_equal(decode_image(data, "x", LIMITS).pixels, expected)


def test_colour_spaces_equal_those_of_tensorflow():
    """The Adobe and JFIF segments decide; both have to reach the decoder."""
    import tensorflow as tf

    files = [
        samples.encode(noisy(), keep_rgb=True, quality=90),
        samples.encode(noisy(), mode="L", quality=90),
    ]
    for data in files:
        data = samples.with_segment(data, b"Exif\0\0" + samples.exif_block(1))
        expected = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        np.testing.assert_array_equal(decode_image(data, "x", LIMITS).pixels, expected)
    assert np.abs(decode_image(files[0], "x", LIMITS).pixels.astype(int) - noisy()).mean() < 10


@pytest.mark.parametrize("subsampling", [0, 2])
def test_quality_of_pillow_files_is_found_exactly(subsampling):
    pixels = samples.picture(16, 16)
    for quality in range(1, 101):
        data = samples.encode(pixels, quality=quality, subsampling=subsampling)
        assert decode_image(data, "x", LIMITS).facts.jpeg_quality == quality
        grey = samples.encode(pixels, mode="L", quality=quality)
        assert decode_image(grey, "x", LIMITS).facts.jpeg_quality == quality


def test_quality_of_foreign_tables_is_the_nearest():
    with Image.open(io.BytesIO(samples.encode(samples.picture(16, 16), quality=70))) as image:
        tables = image.quantization
    shifted = {number: [q + 1 for q in table] for number, table in tables.items()}
    data = samples.encode(samples.picture(16, 16), qtables=shifted)
    assert abs(decode_image(data, "x", LIMITS).facts.jpeg_quality - 70) <= 3
    assert estimate_quality([1] * 64) == 100
    assert estimate_quality([65535] * 64) == 1
