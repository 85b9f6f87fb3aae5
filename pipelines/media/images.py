"""Safe decoding of still images: one decoder, limits before pixels, one-line errors.

The order is that of RELIABILITY.md 3.6: a regular file of bounded size, its content recognised
by magic bytes, its header against our limits, then Pillow on the picture alone, 16 bit scaled to
8, transparency composited on black, EXIF orientation applied once, RGB. JPEG pixels equal those of
`tf.io.decode_jpeg(dct_method="INTEGER_ACCURATE")` bit for bit.

Tensor contract: (height, width, 3) uint8 RGB.
"""

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.errors import Cause, MediaError, printable
from pipelines.media.bitmap_headers import parse_bmp, parse_gif
from pipelines.media.files import file_size, open_regular
from pipelines.media.image_header import HeaderError, ImageHeader
from pipelines.media.jpeg_header import parse_jpeg
from pipelines.media.kinds import ACCEPTED_IMAGES, HEAD_BYTES, identify
from pipelines.media.orientation import upright
from pipelines.media.png_header import parse_png
from pipelines.media.webp_header import parse_webp
from pipelines.settings import MediaLimits

# Our own limit is checked before Pillow sees the file; Pillow's would add a warning to it.
Image.MAX_IMAGE_PIXELS = None

_PARSERS = {
    "JPEG": parse_jpeg,
    "PNG": parse_png,
    "WEBP": parse_webp,
    "BMP": parse_bmp,
    "GIF": parse_gif,
}
_STRIP_BYTES = 2**22
_REASON_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What is known of a media file besides its pixels, for the shortcut audit.

    Args:
        format: Format by content, `JPEG` or `MP4` for instance.
        bytes: Size of the file.
        width: Width of the upright picture, pixels.
        height: Height of the upright picture, pixels.
        jpeg_quality: Estimated IJG quality, 1 to 100; -1 where it is not a JPEG.
        sha256: Hexadecimal digest of the file's bytes.
    """

    format: str
    bytes: int
    width: int
    height: int
    jpeg_quality: int
    sha256: str


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image.

    Args:
        pixels: (height, width, 3) uint8 RGB, upright.
        facts: What is known of the file.
        notes: What was done to it on the way, `orientation 6 applied` for instance.
    """

    pixels: np.ndarray
    facts: SourceFacts
    notes: tuple[str, ...]


def read_image(path: str | Path, limits: MediaLimits) -> DecodedImage:
    """Decodes an image file.

    Raises:
        MediaError: It is not a still image within the limits; the reason says what was found.
    """
    return decode_image(read_bytes(path, limits), os.fspath(path), limits)


def decode_image(data: bytes, path_label: str, limits: MediaLimits) -> DecodedImage:
    """Decodes the bytes of an image file; `path_label` names it in errors.

    Raises:
        MediaError: They are not a still image within the limits.
    """
    header = read_header(data, path_label, limits)
    try:
        with open_picture(header) as image:
            rgb, notes = to_rgb(image)
            pixels = _as_array(rgb)
    except Exception as error:
        raise decoder_error(path_label, error) from None
    if header.orientation != 1:
        pixels = upright(pixels, header.orientation)
        notes += (f"orientation {header.orientation} applied",)
    facts = SourceFacts(
        format=header.format,
        bytes=len(data),
        width=pixels.shape[1],
        height=pixels.shape[0],
        jpeg_quality=header.jpeg_quality,
        sha256=hashlib.sha256(data).hexdigest(),
    )
    return DecodedImage(pixels, facts, notes)


def read_bytes(path: str | Path, limits: MediaLimits) -> bytes:
    """Reads an image file whole.

    Raises:
        MediaError: It is not a regular file, not an image, or over the byte limit.
    """
    label = os.fspath(path)
    with open_regular(path) as file:
        # A film named .jpg is reported as a film, not as a picture of four gigabytes.
        _require_image(file.read(HEAD_BYTES), label)
        size = file_size(file)
        if size > limits.max_image_bytes:
            raise MediaError(
                label,
                Cause.TOO_MANY_BYTES,
                f"{size:,} bytes is over the limit of {limits.max_image_bytes:,} for an image",
            )
        file.seek(0)
        return file.read(limits.max_image_bytes)


def read_header(data: bytes, path_label: str, limits: MediaLimits) -> ImageHeader:
    """Returns the header of an image that may be decoded.

    Raises:
        MediaError: It may not.
    """
    if len(data) > limits.max_image_bytes:
        raise MediaError(
            path_label,
            Cause.TOO_MANY_BYTES,
            f"{len(data):,} bytes is over the limit of {limits.max_image_bytes:,} for an image",
        )
    name = _require_image(data[:HEAD_BYTES], path_label)
    try:
        header = _PARSERS[name](data)
    except HeaderError as error:
        raise MediaError(path_label, Cause.DAMAGED, str(error)) from None
    check_size(header.width, header.height, path_label, limits)
    if header.frames > 1:
        raise MediaError(
            path_label, Cause.ANIMATED, f"animated ({header.frames} frames); pass it as a video"
        )
    if header.capacity is not None and header.capacity < header.width * header.height:
        raise MediaError(
            path_label,
            Cause.DAMAGED,
            f"damaged image data (too little for {header.width}x{header.height} pixels)",
        )
    return header


def check_size(width: int, height: int, path_label: str, limits: MediaLimits) -> None:
    """Checks the size of an image or a video frame, in pixels.

    Raises:
        MediaError: It is out of bounds.
    """
    size = f"{width}x{height}"
    if width * height > limits.max_pixels:
        reason = f"{size} is over the pixel limit ({limits.max_pixels:,} pixels)"
        raise MediaError(path_label, Cause.TOO_MANY_PIXELS, reason)
    if min(width, height) < limits.min_side:
        reason = f"{size} is too small (shortest side below {limits.min_side} pixels)"
        raise MediaError(path_label, Cause.TOO_SMALL, reason)
    if max(width, height) > limits.max_aspect * min(width, height):
        reason = f"{size} is too narrow (aspect ratio over {limits.max_aspect:g})"
        raise MediaError(path_label, Cause.BAD_ASPECT, reason)


def open_picture(header: ImageHeader) -> Image.Image:
    """Opens the picture of a checked header with Pillow, not yet decoded; any error may come."""
    image = Image.open(io.BytesIO(header.picture), formats=(header.format,))
    if image.size != (header.width, header.height):
        raise HeaderError(
            f"{image.size[0]}x{image.size[1]} pixels, its header says "
            f"{header.width}x{header.height}"
        )
    return image


def to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    """Decodes an opened picture and returns it as RGB, with notes on what that took."""
    notes = () if image.mode in ("RGB", "L") else (f"converted: {image.mode}",)
    if image.mode.startswith("I"):
        return _from_16_bit(image, notes)
    if not image.has_transparency_data:
        # `convert` copies, even to the mode it has already.
        return image if image.mode == "RGB" else image.convert("RGB"), notes
    layers = image.convert("RGBA")
    alpha = layers.getchannel("A")
    if alpha.getextrema() == (255, 255):
        return layers.convert("RGB"), notes
    rgb = Image.new("RGB", layers.size)
    rgb.paste(layers, mask=alpha)
    return rgb, (*notes, "alpha composited on black")


def decoder_error(path_label: str, error: Exception) -> MediaError:
    """Returns what a decoder raised as one short line."""
    if isinstance(error, MediaError):
        return error
    # "cannot identify image file <_io.BytesIO object at 0x...>" says nothing and never the same.
    text = "" if isinstance(error, Image.UnidentifiedImageError) else printable(str(error))
    detail = text[:_REASON_CHARACTERS] or type(error).__name__
    return MediaError(path_label, Cause.DAMAGED, f"damaged image data ({detail})")


def _require_image(head: bytes, path_label: str) -> str:
    if not head:
        raise MediaError(path_label, Cause.EMPTY, "empty file")
    content = identify(head)
    if content.kind != "image":
        found = f"{content.name} video" if content.kind else content.name
        raise MediaError(
            path_label, Cause.NOT_MEDIA, f"not a {ACCEPTED_IMAGES} image (found: {found})"
        )
    return content.name


def _from_16_bit(image: Image.Image, notes: tuple[str, ...]) -> tuple[Image.Image, tuple[str, ...]]:
    """Scales 16-bit grey to 8 bit: Pillow's own conversion would clip it."""
    values = np.asarray(image).astype(np.uint32)
    grey = ((values + 128) // 257).astype(np.uint8)
    transparent = image.info.get("transparency")
    if transparent is not None:
        grey[values == transparent] = 0
        notes += ("alpha composited on black",)
    return Image.fromarray(grey).convert("RGB"), notes


def _as_array(image: Image.Image) -> np.ndarray:
    """Copies an RGB image to an array, a large one strip by strip: Pillow would hold it twice."""
    rows = max(1, _STRIP_BYTES // (3 * image.width))
    if rows >= image.height:
        return np.array(image)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        bottom = min(image.height, top + rows)
        pixels[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)))
    return pixels
