"""Thumbnails against ones made from full decodes."""

import io

import media_samples as samples
import numpy as np
import pytest
from PIL import Image

from pipelines.errors import Cause, MediaError
from pipelines.media.thumbnails import decode_thumbnail, read_thumbnail, video_thumbnails
from pipelines.settings import MediaLimits

LIMITS = MediaLimits()
PIXELS = samples.picture(640, 480)


def from_full_decode(data, side):
    with Image.open(io.BytesIO(data)) as image:
        grey = image.convert("L")
        return np.asarray(grey.resize((side, side), Image.Resampling.BOX))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("side", [8, 32, 200])
def test_thumbnail_is_that_of_a_full_decode(format, side):
    data = samples.encode(PIXELS, format)
    thumbnail = decode_thumbnail(data, "x", side, LIMITS)
    assert thumbnail.shape == (side, side)
    assert thumbnail.dtype == np.uint8
    difference = np.abs(thumbnail.astype(int) - from_full_decode(data, side))
    assert difference.mean() < 2
    assert difference.max() <= 6


def test_thumbnail_of_a_small_picture():
    data = samples.encode(samples.picture(10, 9))
    assert decode_thumbnail(data, "x", 32, LIMITS).shape == (32, 32)


def test_thumbnail_is_upright():
    plain = decode_thumbnail(samples.encode(PIXELS), "x", 32, LIMITS)
    block = b"Exif\0\0" + samples.exif_block(6)
    turned = decode_thumbnail(samples.with_segment(samples.encode(PIXELS), block), "x", 32, LIMITS)
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


def test_thumbnail_composites_alpha_on_black():
    layers = np.dstack([PIXELS, np.zeros(PIXELS.shape[:2], np.uint8)])
    assert decode_thumbnail(samples.encode(layers, "PNG"), "x", 16, LIMITS).max() == 0


def test_thumbnail_refuses_what_images_refuse(tmp_path):
    data = samples.encode(PIXELS)
    with pytest.raises(MediaError) as caught:
        decode_thumbnail(data[: len(data) // 2], "x.jpg", 32, LIMITS)
    assert caught.value.cause == Cause.DAMAGED
    with pytest.raises(MediaError, match="pixel limit"):
        decode_thumbnail(samples.forged_size(data, 22000, 22000), "x.jpg", 32, LIMITS)
    with pytest.raises(MediaError, match="does not exist"):
        read_thumbnail(tmp_path / "x.jpg", 32, LIMITS)


def test_video_thumbnails(tmp_path):
    path = samples.film(tmp_path / "x.mp4", "mp4", "mpeg4", num_frames=40)
    thumbnails = video_thumbnails(path, 4, 16, LIMITS)
    assert thumbnails.shape == (4, 16, 16)
    expected = [samples.frame_level(k) for k in (5, 15, 25, 35)]
    np.testing.assert_allclose(thumbnails.mean(axis=(1, 2)), expected, atol=2)
