"""Images that decode, and images that must be refused with a cause and a reason."""

import time

import media_samples as samples
import pytest

from pipelines.errors import MediaError
from pipelines.media.images import decode_image, read_image
from pipelines.settings import MediaLimits

LIMITS = MediaLimits()
NOT_AN_IMAGE = "not a JPEG/PNG/WEBP/BMP/GIF image"
PIXELS = samples.picture()
JPEG = samples.encode(PIXELS, quality=90)
PROGRESSIVE = samples.encode(PIXELS, quality=90, progressive=True)
PNG = samples.encode(PIXELS, "PNG")


def decode(data, limits=LIMITS):
    return decode_image(data, "x.jpg", limits)


def refuse(data, cause, text, limits=LIMITS):
    with pytest.raises(MediaError) as caught:
        decode_image(data, "x.jpg", limits)
    assert caught.value.cause == cause, caught.value
    assert text in caught.value.reason
    assert "\n" not in str(caught.value)
    assert str(caught.value) == f"x.jpg: {caught.value.reason}"


def refuse_file(path, cause, text):
    started = time.monotonic()
    with pytest.raises(MediaError) as caught:
        read_image(path, LIMITS)
    assert caught.value.cause == cause, caught.value
    assert text in caught.value.reason
    assert "\n" not in str(caught.value)
    assert time.monotonic() - started < 5
