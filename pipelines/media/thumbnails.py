"""Small grey pictures of media, cheaply: what near-duplicate search compares.

JPEG files are decoded at an eighth to a half of their size where that is enough (libjpeg's scaled
inverse DCT), so a thumbnail costs a fraction of a decode.

Tensor contract: (side, side) uint8 grey; the aspect ratio is not kept.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.media.images import decoder_error, open_picture, read_bytes, read_header, to_rgb
from pipelines.media.orientation import upright
from pipelines.media.videos import sample_frames
from pipelines.settings import MediaLimits

# Pixels decoded for one pixel of the thumbnail, along a side.
_OVERSAMPLING = 2


def read_thumbnail(path: str | Path, side: int, limits: MediaLimits) -> np.ndarray:
    """Returns the thumbnail of an image file.

    Raises:
        MediaError: As `images.read_image`.
    """
    return decode_thumbnail(read_bytes(path, limits), str(path), side, limits)


def decode_thumbnail(data: bytes, path_label: str, side: int, limits: MediaLimits) -> np.ndarray:
    """Returns the upright (side, side) uint8 grey thumbnail of an image file's bytes.

    Raises:
        MediaError: As `images.decode_image`.
    """
    header = read_header(data, path_label, limits)
    try:
        with open_picture(header) as image:
            image.draft("L", (_OVERSAMPLING * side, _OVERSAMPLING * side))
            grey = to_rgb(image)[0] if image.mode != "L" else image
            thumbnail = _reduced(grey.convert("L"), side)
    except Exception as error:
        raise decoder_error(path_label, error) from None
    return upright(thumbnail, header.orientation)


def video_thumbnails(path: str | Path, count: int, side: int, limits: MediaLimits) -> np.ndarray:
    """Returns (n, side, side) uint8 grey thumbnails of n <= count evenly spaced frames.

    Raises:
        MediaError: As `videos.sample_frames`.
    """
    frames = sample_frames(path, count, limits)
    return np.stack([_reduced(Image.fromarray(f.pixels).convert("L"), side) for f in frames])


def _reduced(grey: Image.Image, side: int) -> np.ndarray:
    return np.asarray(grey.resize((side, side), Image.Resampling.BOX))
