"""What an image file says about itself before anything is decoded.

Each parser walks its format's blocks once, in bounded time and memory, and hands on only the
blocks that make up the picture: text, colour profiles, thumbnails and metadata are where
decompression bombs, quadratic parsers and library warnings live, and none of it changes a pixel.
"""

from dataclasses import dataclass

# More segments, chunks or blocks than encoders write; a flood of empty ones is an attack.
MAX_BLOCKS = 65_536


class HeaderError(ValueError):
    """The file is not a whole, readable instance of its format; the message says why."""


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The facts needed to decide whether to decode, and the bytes to decode.

    Args:
        format: `JPEG`, `PNG`, `WEBP`, `BMP` or `GIF`.
        width: As stored, before orientation, pixels.
        height: As stored, pixels.
        picture: A valid file of the format that holds nothing but the picture.
        frames: Number of frames; more than 1 is an animation.
        orientation: EXIF orientation, 1 to 8; 1 when absent or unreadable.
        jpeg_quality: Estimated IJG quality, 1 to 100, or -1.
        capacity: Most pixels the picture's bytes can encode, or None when not known: a file
            that claims more is cut or forged.
    """

    format: str
    width: int
    height: int
    picture: bytes
    frames: int = 1
    orientation: int = 1
    jpeg_quality: int = -1
    capacity: int | None = None
