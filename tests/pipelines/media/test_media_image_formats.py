"""PNG, GIF, WebP, BMP and their oddities, and formats that are refused (RELIABILITY.md 2a)."""

import io
import struct
import zlib

import media_samples as samples
import numpy as np
import pytest
from decoded_media import (
    NOT_AN_IMAGE,
    PIXELS,
    PNG,
    decode,
    refuse,
    refuse_file,
)
from PIL import Image

from pipelines.errors import Cause
from pipelines.media.kinds import media_kind


def test_a24_png_cut_at_half():
    refuse(PNG[: len(PNG) // 2], Cause.DAMAGED, "damaged PNG")


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT"])
def test_a25_a26_png_flipped_bits(kind):
    position = PNG.index(kind) + 4
    (length,) = struct.unpack_from(">I", PNG, position - 8)
    for flipped in (position + length // 2, position + length):  # the data, their checksum
        data = bytearray(PNG)
        data[flipped] ^= 4
        refuse(bytes(data), Cause.DAMAGED, "damaged image data (checksum of a PNG")


def test_a25_png_flipped_bit_under_a_right_checksum():
    rows = [row.tobytes() for row in PIXELS]
    packed = bytearray(zlib.compress(b"".join(b"\0" + row for row in rows)))
    packed[len(packed) // 2] ^= 4
    header = struct.pack(">IIBBBBB", 96, 80, 8, 2, 0, 0, 0)
    chunks = samples.chunk(b"IHDR", header) + samples.chunk(b"IDAT", bytes(packed))
    refuse(samples.PNG_SIGNATURE + chunks, Cause.DAMAGED, "damaged image data")


def test_a27_png_without_its_end_is_scored():
    end = samples.chunk(b"IEND", b"")
    assert PNG.endswith(end)
    np.testing.assert_array_equal(decode(PNG[: -len(end)]).pixels, PIXELS)


def test_a28_png_of_width_0():
    refuse(samples.png(0, 80, 8, 2), Cause.TOO_SMALL, "0x80 is too small")


def grey_rows(values):
    return [row.tobytes() for row in values]


def test_a29_png_modes():
    grey = np.asarray(Image.fromarray(PIXELS).convert("L"))
    bilevel = grey > 127
    one_bit = decode(samples.encode(grey, "PNG", mode="1"))
    assert one_bit.notes == ("converted: 1",)
    assert set(np.unique(one_bit.pixels)) == {0, 255}
    packed = decode(samples.png(96, 80, 1, 0, [np.packbits(row).tobytes() for row in bilevel]))
    np.testing.assert_array_equal(packed.pixels[..., 1] > 0, bilevel)

    palette = Image.fromarray(PIXELS).quantize(16)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG")
    result = decode(buffer.getvalue())
    colours = np.array(palette.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(result.pixels, colours[np.asarray(palette)])
    assert result.notes == ("converted: P",)

    buffer = io.BytesIO()
    alphas = np.linspace(0, 255, 16).astype(np.uint8)
    palette.save(buffer, "PNG", transparency=alphas.tobytes())
    result = decode(buffer.getvalue())
    alpha = alphas[np.asarray(palette)][..., None]
    expected = colours[np.asarray(palette)] * (alpha / 255)
    np.testing.assert_allclose(result.pixels, expected, atol=0.51)
    assert result.notes == ("converted: P", "alpha composited on black")


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a29_alpha_is_composited_on_black(format, mode):
    alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (80, 1))
    layers = Image.fromarray(np.dstack([PIXELS, alpha])).convert(mode)
    buffer = io.BytesIO()
    layers.save(buffer, format, **({"lossless": True, "exact": True} if format == "WEBP" else {}))
    rgb = np.asarray(layers.convert("RGBA"))[..., :3]
    result = decode(buffer.getvalue())
    np.testing.assert_allclose(result.pixels, rgb * (alpha / 255.0)[..., None], atol=0.51)
    assert result.notes[-1] == "alpha composited on black"


def test_a29_opaque_alpha_changes_nothing():
    layers = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    result = decode(samples.encode(layers, "PNG"))
    np.testing.assert_array_equal(result.pixels, PIXELS)
    assert result.notes == ("converted: RGBA",)


@pytest.mark.parametrize(
    ("bits", "colour", "key"),
    [(8, 0, (7,)), (8, 2, (1, 2, 3)), (16, 0, (513,)), (16, 2, (1000, 2000, 3000))],
)
def test_a29_transparent_colour_becomes_black(bits, colour, key):
    rng = np.random.default_rng(3)
    channels = 3 if colour == 2 else 1
    values = rng.integers(20, 2**bits, (16, 16, channels)).astype(f">u{bits // 8}")
    values[0] = key
    chunk = samples.chunk(b"tRNS", struct.pack(f">{channels}H", *key))
    result = decode(samples.png(16, 16, bits, colour, grey_rows(values), before=chunk))
    assert (result.pixels[0] == 0).all()
    scaled = values[1:] / (257 if bits == 16 else 1)
    np.testing.assert_allclose(result.pixels[1:], np.broadcast_to(scaled, (15, 16, 3)), atol=1)
    assert result.notes[-1] == "alpha composited on black"


def test_a30_16_bit_grey_is_scaled_by_257():
    values = np.arange(65536, dtype=">u2").reshape(256, 256)
    result = decode(samples.png(256, 256, 16, 0, grey_rows(values)))
    np.testing.assert_array_equal(result.pixels[..., 0], np.rint(values / 257.0).astype(np.uint8))
    assert (result.pixels == result.pixels[..., :1]).all()
    assert result.pixels.mean() == pytest.approx(127.5, abs=0.01)
    assert result.notes == ("converted: I;16",)


def test_a31_16_bit_rgb():
    values = (PIXELS.astype(np.uint32) * 257).astype(">u2")
    result = decode(samples.png(96, 80, 16, 2, grey_rows(values)))
    np.testing.assert_array_equal(result.pixels, PIXELS)


def interlaced(pixels):
    """Adam7, by the tables of the PNG specification."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2)]
    raw = b""
    for left, top, step_x, step_y in [*passes, (0, 1, 1, 2)]:
        raw += b"".join(b"\0" + row.tobytes() for row in pixels[top::step_y, left::step_x])
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, 2, 0, 0, 1)
    chunks = [samples.chunk(b"IHDR", header), samples.chunk(b"IDAT", zlib.compress(raw))]
    return samples.PNG_SIGNATURE + b"".join([*chunks, samples.chunk(b"IEND", b"")])


def test_a32_interlaced_png():
    np.testing.assert_array_equal(decode(interlaced(PIXELS)).pixels, PIXELS)


@pytest.mark.parametrize(
    ("width", "height", "bits", "colour"),
    [
        (50000, 50000, 1, 0),
        (50000, 50000, 8, 2),
        (23000, 23000, 8, 2),
        (13000, 13000, 8, 0),
        (2**31 - 1, 2**31 - 1, 8, 2),
    ],
    ids=["a33", "a34", "a35", "a36", "a37"],
)
def test_a33_to_a37_png_over_the_pixel_limit(width, height, bits, colour):
    data = samples.png(width, height, bits, colour)
    refuse(data, Cause.TOO_MANY_PIXELS, f"{width}x{height} is over the pixel limit")


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_a38_text_bombs_are_not_unpacked(kind):
    bomb = samples.deflated_zeros(2**26)
    body = b"note\0\1\0\0\0" + bomb if kind == b"iTXt" else b"note\0\0" + bomb
    data = samples.png(96, 80, 8, 2, grey_rows(PIXELS), before=samples.chunk(kind, body))
    np.testing.assert_array_equal(decode(data).pixels, PIXELS)


def test_a38_exif_text_bomb_is_cut_short():
    body = b"Raw profile type exif\0\0" + samples.deflated_zeros(2**26)
    data = samples.png(96, 80, 8, 2, grey_rows(PIXELS), before=samples.chunk(b"zTXt", body))
    np.testing.assert_array_equal(decode(data).pixels, PIXELS)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"], ids=["a41", "a46", "apng"])
def test_a41_a46_animations(format):
    refuse(samples.animation(format), Cause.ANIMATED, "animated (5 frames); pass it as a video")


def test_a41_an_animation_of_one_frame_is_a_still():
    header = samples.chunk(b"acTL", struct.pack(">II", 1, 0))
    control = samples.chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 96, 80, 0, 0, 1, 25, 0, 0))
    data = samples.png(96, 80, 8, 2, grey_rows(PIXELS), before=header + control)
    np.testing.assert_array_equal(decode(data).pixels, PIXELS)


def test_a41_still_gif():
    image = Image.fromarray(PIXELS).quantize(64)
    buffer = io.BytesIO()
    image.save(buffer, "GIF")
    result = decode(buffer.getvalue())
    colours = np.array(image.getpalette()).reshape(-1, 3)
    np.testing.assert_array_equal(result.pixels, colours[np.asarray(image)])


def test_a42_cut_animated_gif():
    data = samples.animation("GIF")
    for length in (len(data) // 2, len(data) // 8):
        refuse(data[:length], Cause.DAMAGED, "damaged GIF: cut off")


@pytest.mark.parametrize("side", [65535, 20000], ids=["a43", "a44"])
def test_a43_a44_gif_canvas_over_the_limit(side):
    frame = b"," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02D\x01\x00"
    data = samples.gif_header(side, side) + frame * (5 if side == 20000 else 1) + b";"
    refuse(data, Cause.TOO_MANY_PIXELS, f"{side}x{side} is over the pixel limit")


def test_a43_gif_frame_that_overhangs_its_canvas():
    frame = b"," + struct.pack("<HHHHB", 60000, 60000, 1, 1, 0) + b"\x02\x02D\x01\x00"
    data = samples.gif_header(16, 16) + frame + b";"
    refuse(data, Cause.TOO_MANY_PIXELS, "60001x60001 is over the pixel limit")


def test_a45_webp():
    lossless = decode(samples.encode(PIXELS, "WEBP", lossless=True))
    np.testing.assert_array_equal(lossless.pixels, PIXELS)
    lossy = decode(samples.encode(PIXELS, "WEBP", quality=95))
    assert np.abs(lossy.pixels.astype(int) - PIXELS).mean() < 4
    assert lossy.facts.format == "WEBP"


def test_a47_cut_webp():
    data = samples.encode(PIXELS, "WEBP", lossless=True)
    refuse(data[: len(data) // 2], Cause.DAMAGED, "damaged WEBP")
    cut = data[: len(data) // 2 // 2 * 2]
    refuse(cut[:4] + struct.pack("<I", len(cut) - 8) + cut[8:], Cause.DAMAGED, "damaged")


def test_a48_bmp():
    data = samples.encode(PIXELS, "BMP")
    np.testing.assert_array_equal(decode(data).pixels, PIXELS)
    forged = data[:18] + struct.pack("<ii", 50000, 50000) + data[26:]
    refuse(forged, Cause.TOO_MANY_PIXELS, "50000x50000 is over the pixel limit")
    refuse(data[: len(data) // 2], Cause.DAMAGED, "damaged image data")
    upside_down = data[:22] + struct.pack("<i", -80) + data[26:]
    np.testing.assert_array_equal(decode(upside_down).pixels, PIXELS[::-1])
    run_length = data[:28] + struct.pack("<HI", 8, 1) + data[34:]
    refuse(run_length, Cause.DAMAGED, "a run-length coded BMP")


def rendered(format):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (rendered("TIFF"), "a TIFF image"),
        (rendered("JPEG2000"), "a JPEG 2000 image"),
        (rendered("ICO"), "an ICO image"),
        (rendered("AVIF"), "an AVIF image"),
        (rendered("PPM"), "unknown content"),
        (b'<?xml version="1.0"?><svg width="9" height="9"/>', "text"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a HEIC image"),
        (rendered("PDF"), "a PDF document"),
        (b"SIMPLE  =                    T" + bytes(50), "a FITS image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git LFS pointer"),
    ],
)
def test_a49_other_formats_are_refused_by_the_allowlist(tmp_path, data, found):
    refuse(data, Cause.NOT_MEDIA, f"{NOT_AN_IMAGE} (found: {found}")
    (tmp_path / "x.jpg").write_bytes(data)
    assert media_kind(tmp_path / "x.jpg") is None


def test_a50_mp4_named_jpg(tmp_path):
    path = samples.film(tmp_path / "x.jpg", "mp4", "mpeg4", num_frames=3)
    refuse_file(path, Cause.NOT_MEDIA, f"{NOT_AN_IMAGE} (found: MP4 video)")
    assert media_kind(path) == "video"
