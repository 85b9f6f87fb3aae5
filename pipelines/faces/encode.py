"""Crops as the bytes a record holds: the same pixels always give the same bytes."""

import io

import numpy as np
from PIL import Image

from pipelines.errors import InputError
from pipelines.settings import CropSettings


def encode_crop(pixels: np.ndarray, settings: CropSettings) -> bytes:
    """Encodes uint8 RGB (height, width, 3) as JPEG with unreduced chroma (4:4:4), or PNG.

    Raises:
        InputError: a format other than `jpeg` and `png`.
    """
    image = Image.fromarray(pixels)
    data = io.BytesIO()
    if settings.format == "jpeg":
        image.save(data, "JPEG", quality=settings.quality, subsampling=0)
    elif settings.format == "png":
        image.save(data, "PNG")
    else:
        raise InputError(f"crop.format: got {settings.format!r}, expected jpeg or png")
    return data.getvalue()
