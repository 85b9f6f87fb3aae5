"""Properties of the parsers: whatever the bytes, they answer or refuse."""

import struct

import media_samples as samples
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipelines.errors import Cause, MediaError
from pipelines.media.bitmap_headers import parse_bmp, parse_gif
from pipelines.media.image_header import HeaderError
from pipelines.media.images import decode_image
from pipelines.media.jpeg_header import parse_jpeg
from pipelines.media.kinds import identify, media_kind
from pipelines.media.orientation import exif_orientation, upright
from pipelines.media.png_header import parse_png
from pipelines.media.webp_header import parse_webp
from pipelines.settings import MediaLimits

PARSERS = {
    b"\xff\xd8\xff": parse_jpeg,
    b"\x89PNG\r\n\x1a\n": parse_png,
    b"RIFF\x40\0\0\0WEBP": parse_webp,
    b"BM": parse_bmp,
    b"GIF89a": parse_gif,
}


@given(st.sampled_from(sorted(PARSERS)), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_parsers_answer_or_refuse(magic, rest):
    try:
        header = PARSERS[magic](magic + rest)
    except HeaderError:
        return
    assert header.width >= 0
    assert header.height >= 0
    assert header.frames >= 1
    assert 1 <= header.orientation <= 8


@given(st.binary(max_size=1024))
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_or_are_refused(data):
    try:
        result = decode_image(data, "x", MediaLimits())
    except MediaError as error:
        assert error.cause in (
            Cause.EMPTY,
            Cause.NOT_MEDIA,
            Cause.DAMAGED,
            Cause.TOO_SMALL,
            Cause.TOO_MANY_PIXELS,
            Cause.BAD_ASPECT,
        )
        assert identify(data).kind in (None, "image", "video")
    else:
        assert result.pixels.dtype == np.uint8


@given(st.binary(max_size=200), st.sampled_from([b"", b"II*\0", b"MM\0*", b"Exif\0\0II*\0"]))
def test_exif_orientation_answers(block, prefix):
    assert 1 <= exif_orientation(prefix + block) <= 8


@given(st.integers(1, 8), st.sampled_from("<>"), st.integers(8, 64))
def test_exif_orientation_is_read(orientation, order, offset):
    assert exif_orientation(samples.exif_block(orientation, order, offset)) == orientation


@pytest.mark.parametrize("kind", [1, 4])
def test_exif_orientation_of_other_integer_types(kind):
    value = struct.pack("<B3x" if kind == 1 else "<I", 6)
    block = b"II*\0" + struct.pack("<IHHHI", 8, 1, 0x0112, kind, 1) + value
    assert exif_orientation(block) == 6


def test_upright_is_the_transposition_of_the_standard():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    methods = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    np.testing.assert_array_equal(upright(pixels, 1), pixels)
    for orientation, method in methods.items():
        expected = np.asarray(Image.fromarray(pixels).transpose(method))
        np.testing.assert_array_equal(upright(pixels, orientation), expected)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (samples.encode(samples.picture()), "image"),
        (samples.encode(samples.picture(), "PNG"), "image"),
        (samples.encode(samples.picture(), "WEBP"), "image"),
        (samples.encode(samples.picture(), "BMP"), "image"),
        (samples.animation("GIF"), "image"),
        (b"\x00\x00\x00\x20ftypisom", "video"),
        (b"\x00\x00\x00\x08wide\x00\x00\x00\x00mdat", "video"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video"),
        (b"\x1aE\xdf\xa3", "video"),
        ((b"G" + bytes(187)) * 4, "video"),
        (b"", None),
        (b"BM stands for something else here", None),
        (b"G" + bytes(600), None),
        (b"#EXTM3U\n", None),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (bytes(64), None),
    ],
)
def test_media_kind_goes_by_content(tmp_path, data, kind):
    for name in ("x.jpg", "x.mp4", "x"):
        (tmp_path / name).write_bytes(data)
        assert media_kind(tmp_path / name) == kind


def test_media_kind_refuses_what_is_no_file(tmp_path):
    with pytest.raises(MediaError, match="not a regular file"):
        media_kind(tmp_path)
