"""RELIABILITY.md 2a, the lines on still images; each test carries the identifier of its line."""

import hashlib
import io
import os
import socket
import struct
import time
import zlib

import media_samples as samples
import numpy as np
import pytest
from decoded_media import (
    JPEG,
    LIMITS,
    NOT_AN_IMAGE,
    PIXELS,
    PNG,
    PROGRESSIVE,
    decode,
    refuse,
    refuse_file,
)
from PIL import Image, ImageOps

from pipelines.errors import Cause, MediaError
from pipelines.media.images import read_image
from pipelines.media.kinds import media_kind
from pipelines.settings import MediaLimits


def test_a01_missing_file(tmp_path):
    refuse_file(tmp_path / "nothing.jpg", Cause.MISSING, "does not exist")
    refuse_file(tmp_path / "nothing" / "x.jpg", Cause.MISSING, "does not exist")


def test_a02_directory(tmp_path):
    refuse_file(tmp_path, Cause.NOT_A_FILE, "not a regular file (a directory)")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a03_no_permission(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(JPEG)
    path.chmod(0)
    refuse_file(path, Cause.MISSING, "cannot be opened (Permission denied)")


def test_a03_reason_of_a_refused_open(tmp_path, monkeypatch):
    path = tmp_path / "x.jpg"
    path.write_bytes(JPEG)

    def refused(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pipelines.media.files.os.open", refused)
    refuse_file(path, Cause.MISSING, "cannot be opened (Permission denied)")


def test_a04_empty_file(tmp_path):
    (tmp_path / "x.jpg").touch()
    refuse_file(tmp_path / "x.jpg", Cause.EMPTY, "empty file")
    refuse(b"", Cause.EMPTY, "empty file")


@pytest.mark.parametrize(
    "data",
    [b"just words, no picture\n", b"<!DOCTYPE html><title>404 Not Found</title>"],
    ids=["a05", "a06"],
)
def test_a05_a06_text_named_jpg(data):
    refuse(data, Cause.NOT_MEDIA, NOT_AN_IMAGE)


@pytest.mark.parametrize("length", [10, 300], ids=["a07", "a08"])
def test_a07_a08_jpeg_cut_in_its_header(length):
    refuse(JPEG[:length], Cause.DAMAGED, NOT_AN_IMAGE)


@pytest.mark.parametrize(
    "data",
    [JPEG[: len(JPEG) // 2], JPEG[:-2], PROGRESSIVE[: len(PROGRESSIVE) * 2 // 3]],
    ids=["a09", "a10_without_end_marker", "a11_progressive"],
)
def test_a09_a10_a11_cut_jpeg(data):
    refuse(data, Cause.DAMAGED, "damaged image data")


def test_a12_overwritten_picture_data_shows_only_in_the_sha256():
    middle = len(JPEG) // 2
    damaged = JPEG[:middle] + b"\x55" * 40 + JPEG[middle + 40 :]
    good, bad = decode(JPEG), decode(damaged)
    assert bad.pixels.shape == good.pixels.shape
    assert bad.facts.sha256 == hashlib.sha256(damaged).hexdigest() != good.facts.sha256


def test_a13_trailing_bytes_change_no_pixel():
    np.testing.assert_array_equal(decode(JPEG + bytes(1000)).pixels, decode(JPEG).pixels)
    # A motion photo: a film behind the picture, in which scan markers turn up by chance.
    film = b"\x00\x00\x00\x18ftypmp42" + b"\xff\xda\x55\xff\xd9" * 500
    np.testing.assert_array_equal(decode(JPEG + film).pixels, decode(JPEG).pixels)


def test_a14_grey_jpeg_has_three_equal_channels():
    result = decode(samples.encode(PIXELS, mode="L"))
    assert result.pixels.shape == PIXELS.shape
    assert (result.pixels == result.pixels[..., :1]).all()


def test_a15_cmyk_jpeg_is_noted():
    result = decode(samples.encode(PIXELS, mode="CMYK", quality=95))
    assert result.notes == ("converted: CMYK",)
    assert np.abs(result.pixels.astype(int) - PIXELS).mean() < 4


def test_a16_progressive_jpeg_is_like_any_other():
    np.testing.assert_array_equal(decode(PROGRESSIVE).pixels, decode(JPEG).pixels)


def exif_file(format, orientation):
    image = Image.fromarray(PIXELS)
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    options = {"lossless": True} if format == "WEBP" else {}
    image.save(buffer, format, exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a17_exif_orientation_applied_once(format, orientation):
    data = exif_file(format, orientation)
    result = decode(data)
    with Image.open(io.BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(result.pixels, upright)
    assert (result.facts.height, result.facts.width) == upright.shape[:2]
    assert result.pixels.flags.c_contiguous
    noted = () if orientation == 1 else (f"orientation {orientation} applied",)
    assert result.notes == noted


def test_a17_exif_in_imagemagick_text():
    block = b"Exif\0\0" + samples.exif_block(6)
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    chunk = samples.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text))
    data = PNG.replace(samples.chunk(b"IEND", b""), chunk + samples.chunk(b"IEND", b""))
    np.testing.assert_array_equal(decode(data).pixels, np.rot90(PIXELS, -1))


@pytest.mark.parametrize(
    "block",
    [
        b"Exif\0\0",
        b"Exif\0\0" + b"\xff" * 64,
        b"Exif\0\0" + samples.exif_block(6)[:-8],
        b"Exif\0\0" + samples.exif_block(9),
        b"Exif\0\0" + b"II*\0" + struct.pack("<I", 2**32 - 1),
        b"Exif\0\0" + b"II*\0" + struct.pack("<IH", 8, 65535),
    ],
    ids=["empty", "noise", "cut", "value", "offset", "count"],
)
def test_a18_broken_exif_is_ignored(block):
    result = decode(samples.with_segment(JPEG, block))
    np.testing.assert_array_equal(result.pixels, decode(JPEG).pixels)
    assert result.notes == ()


def test_a18_exif_directory_anywhere_and_of_either_byte_order():
    for order in "<>":
        block = b"Exif\0\0" + samples.exif_block(3, order, offset=26)
        result = decode(samples.with_segment(JPEG, block))
        np.testing.assert_array_equal(result.pixels, decode(JPEG).pixels[::-1, ::-1])


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_a19_too_small(format):
    refuse(samples.encode(PIXELS[:1, :1], format), Cause.TOO_SMALL, "1x1 is too small")
    refuse(samples.encode(PIXELS[:7], format), Cause.TOO_SMALL, "96x7 is too small")
    assert decode(samples.encode(PIXELS[:8], format)).pixels.shape == (8, 96, 3)


def test_a20_jpeg_forged_0x0():
    refuse(samples.forged_size(JPEG, 0, 0), Cause.TOO_SMALL, "0x0 is too small")


@pytest.mark.parametrize(
    ("jpeg", "side"),
    [(JPEG, 22000), (JPEG, 65500), (PROGRESSIVE, 22000)],
    ids=["a21", "a22", "a23_progressive"],
)
def test_a21_a22_a23_jpeg_forged_size(jpeg, side):
    refuse(
        samples.forged_size(jpeg, side, side),
        Cause.TOO_MANY_PIXELS,
        f"{side}x{side} is over the pixel limit",
    )


def test_a21_jpeg_forged_below_the_limit_has_too_little_data():
    for jpeg in (JPEG, PROGRESSIVE):
        refuse(samples.forged_size(jpeg, 6300, 6300), Cause.DAMAGED, "too little for 6300x6300")


def test_a21_flat_pictures_are_not_taken_for_forged():
    """The least data libjpeg can write for a size: one colour, optimised, every subsampling."""
    flat = np.zeros((2048, 2048, 3), np.uint8)
    for subsampling in (0, 1, 2):
        for progressive in (False, True):
            data = samples.encode(
                flat, quality=1, optimize=True, subsampling=subsampling, progressive=progressive
            )
            assert np.ptp(decode(data).pixels) == 0


def test_a39_narrow_pictures():
    for size in ((20000, 1), (1, 20000)):
        refuse(samples.png(*size, 8, 0), Cause.TOO_SMALL, "is too small")
    refuse(samples.png(20000, 8, 8, 0), Cause.BAD_ASPECT, "20000x8 is too narrow")
    wide = samples.encode(np.zeros((8, 160, 3), np.uint8), "PNG")
    assert decode(wide).pixels.shape == (8, 160, 3)


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (200, 30, 90)])
@pytest.mark.parametrize("format", ["PNG", "BMP"])
def test_a40_one_colour(format, colour):
    flat = np.full((64, 64, 3), colour, np.uint8)
    np.testing.assert_array_equal(decode(samples.encode(flat, format)).pixels, flat)


NAMES = ["with space & ünïcode 脸.jpg", "new\nline.jpg", "-v.jpg", "%03d.jpg", "x" * 251 + ".jpg"]


@pytest.mark.parametrize("name", [*NAMES, os.fsdecode(b"bad\xff\xfe.jpg"), "no_extension"])
def test_a51_names_are_taken_literally(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with open(name, "wb") as file:  # noqa: PTH123 - the bare name is the point
        file.write(JPEG)
    assert media_kind(name) == "image"
    np.testing.assert_array_equal(read_image(name, LIMITS).pixels, decode(JPEG).pixels)
    with open(name, "wb") as file:  # noqa: PTH123
        file.write(JPEG[:400])
    with pytest.raises(MediaError) as caught:
        read_image(name, LIMITS)
    assert str(caught.value).isprintable()
    assert caught.value.path == name


def test_a51_impossible_names():
    refuse_file("x" * 5000, Cause.MISSING, "cannot be opened (File name too long)")
    refuse_file("nul\0.jpg", Cause.MISSING, "cannot be opened")


def test_a52_neither_blocks_nor_reads_devices(tmp_path):
    loop = tmp_path / "loop.jpg"
    loop.symlink_to(loop)
    os.mkfifo(tmp_path / "fifo.jpg")
    refuse_file(loop, Cause.NOT_A_FILE, "not a regular file (a loop of links)")
    refuse_file(tmp_path / "fifo.jpg", Cause.NOT_A_FILE, "not a regular file")
    refuse_file("/dev/zero", Cause.NOT_A_FILE, "not a regular file")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        refuse_file(tmp_path / "s", Cause.NOT_A_FILE, "not a regular file")
    link = tmp_path / "link.jpg"
    (tmp_path / "x.jpg").write_bytes(JPEG)
    link.symlink_to("x.jpg")
    assert read_image(link, LIMITS).facts.bytes == len(JPEG)


def test_limits_can_be_set(tmp_path):
    refuse(JPEG, Cause.TOO_MANY_BYTES, "is over the limit of 100", MediaLimits(max_image_bytes=100))
    refuse(JPEG, Cause.TOO_MANY_PIXELS, "96x80", MediaLimits(max_pixels=96 * 80 - 1))
    refuse(JPEG, Cause.TOO_SMALL, "96x80", MediaLimits(min_side=81))
    refuse(JPEG, Cause.BAD_ASPECT, "96x80", MediaLimits(max_aspect=1.19))
    exact = MediaLimits(max_image_bytes=len(JPEG), max_pixels=96 * 80, min_side=80, max_aspect=1.2)
    assert decode(JPEG, exact).pixels.shape == (80, 96, 3)
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.write(JPEG)
        file.truncate(2**35)
    refuse_file(path, Cause.TOO_MANY_BYTES, "34,359,738,368 bytes is over the limit")


def test_facts():
    facts = decode(JPEG).facts
    assert (facts.format, facts.width, facts.height) == ("JPEG", 96, 80)
    assert facts.bytes == len(JPEG)
    assert facts.sha256 == hashlib.sha256(JPEG).hexdigest()
    assert facts.jpeg_quality == 90
    assert decode(PNG).facts.jpeg_quality == -1


def test_large_pictures_are_copied_whole():
    """Larger than the strips the copy is made of, in both directions."""
    for width, height in ((3000, 700), (700, 3000)):
        pixels = samples.picture(width, height)
        result = decode(samples.encode(pixels, "PNG", compress_level=1))
        np.testing.assert_array_equal(result.pixels, pixels)
        assert result.pixels.flags.writeable


def test_multi_picture_jpeg_gives_its_first_picture():
    second = Image.fromarray(samples.picture(seed=1))
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "MPO", save_all=True, append_images=[second], quality=90)
    assert b"MPF\0" in buffer.getvalue()
    np.testing.assert_array_equal(decode(buffer.getvalue()).pixels, decode(JPEG).pixels)


def test_comment_of_length_zero():
    """libjpeg, Pillow and TensorFlow read such files; encoders that wrote them exist."""
    data = JPEG[:2] + b"\xff\xfe\x00\x00" + JPEG[2:]
    np.testing.assert_array_equal(decode(data).pixels, decode(JPEG).pixels)


@pytest.mark.parametrize(
    "data",
    [
        JPEG[:2] + b"\xff\xe1\x00\x02" * 2**20 + JPEG[2:],
        JPEG[:2] + b"\xff\xe1\x00\x09Exif\0\0x" * 2**20 + JPEG[2:],
        JPEG[:2] + b"\xff" * 2**22,
        b"\xff\xd8\xff" + bytes(2**22),
        PNG[:33] + samples.chunk(b"abCD", b"") * 2**18 + PNG[33:],
        samples.gif_header(16, 16) + b"!\xfe\x00" * 2**20 + b";",
        samples.gif_header(16, 16) + b"!\xfe" + b"\x01x" * 2**20 + b"\0;",
        b"RIFF" + struct.pack("<I", 4 + 8 * 2**20) + b"WEBPVP8 " + bytes(8 * 2**20),
        PROGRESSIVE[:-2] + PROGRESSIVE[PROGRESSIVE.index(b"\xff\xda") : -2] * 200 + b"\xff\xd9",
    ],
    ids=["segments", "exif", "fill", "junk", "chunks", "blocks", "sub_blocks", "riff", "scans"],
)
def test_floods_of_blocks_are_refused_quickly(data):
    """Each of these costs Pillow or libjpeg seconds to hours, or gigabytes."""
    started = time.process_time()
    with pytest.raises(MediaError):
        decode(data)
    assert time.process_time() - started < 2
