"""Renders the pictures and films, good and awkward, that the tests of this room decode."""

import io
import struct
import zlib
from pathlib import Path

import av
import numpy as np
from PIL import Image

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(width=96, height=80, seed=0):
    """Smooth random colours, so that lossy codecs keep them: (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encode(pixels, format="JPEG", mode=None, **options):
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    (image.convert(mode) if mode else image).save(buffer, format, **options)
    return buffer.getvalue()


def animation(format, num_frames=5):
    frames = [Image.fromarray(picture(seed=seed)) for seed in range(num_frames)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format, save_all=True, append_images=frames[1:], duration=40)
    return buffer.getvalue()


def exif_block(orientation, order="<", offset=8):
    """A TIFF block with nothing but the orientation, its directory at `offset`."""
    mark = b"II" if order == "<" else b"MM"
    head = mark + struct.pack(order + "HI", 42, offset)
    field = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    padding = bytes(offset - 8)
    return head + padding + struct.pack(order + "H", 1) + field + struct.pack(order + "I", 0)


def with_segment(jpeg, payload, marker=0xE1):
    return (
        jpeg[:2] + bytes([0xFF, marker]) + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]
    )


def forged_size(jpeg, width, height):
    """The JPEG with another size in its frame header."""
    for marker in (b"\xff\xc0", b"\xff\xc2"):
        position = jpeg.find(marker)
        if position > 0:
            return jpeg[: position + 5] + struct.pack(">HH", height, width) + jpeg[position + 9 :]
    raise AssertionError("no frame header")


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height, bits, colour, rows=None, before=b""):
    """A PNG by hand; `rows` are bytes without filter byte, None for a token of picture data."""
    raw = bytes(64) if rows is None else b"".join(b"\0" + row for row in rows)
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), before, chunk(b"IDAT", zlib.compress(raw))]
    return b"".join([PNG_SIGNATURE, *parts, chunk(b"IEND", b"")])


def deflated_zeros(num_bytes):
    packer = zlib.compressobj(9)
    block = bytes(2**20)
    parts = [packer.compress(block) for _ in range(num_bytes // len(block))]
    return b"".join([*parts, packer.flush()])


def gif_header(width, height):
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)


def frame_level(index):
    """The grey level of the film frame number `index`: told apart after any codec."""
    return 20 + 4 * index


def film(
    path,
    container,
    codec,
    num_frames=50,
    size=(96, 64),
    rate=25,
    pixel_format="yuv420p",
    options=None,
    gop=12,
    noise=0,
):
    """Writes a film whose frame k is grey of mean level `frame_level(k)`; returns its path."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pixel_format
        stream.gop_size = gop
        for k in range(num_frames):
            grain = rng.integers(-noise, noise + 1, (size[1], size[0], 1))
            pixels = np.repeat(frame_level(k) + grain, 3, axis=2).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            for packet in stream.encode(frame):
                output.mux(packet)
        for packet in stream.encode():
            output.mux(packet)
    return Path(path)


def rotated(mp4, degrees):
    """The MP4 with a display matrix that turns it by quarter turns clockwise."""
    data = bytearray(mp4)
    sine, cosine = {90: (1, 0), 180: (0, -1), 270: (-1, 0)}[degrees]
    matrix = struct.pack(
        ">9i", cosine << 16, sine << 16, 0, -sine << 16, cosine << 16, 0, 0, 0, 1 << 30
    )
    position = data.index(b"tkhd") + 4 + 40
    data[position : position + 36] = matrix
    return bytes(data)
