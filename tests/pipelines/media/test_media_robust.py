"""The awkward files of the shared data: each ends in pixels or in one line, as this table says."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageOps

from pipelines.errors import Cause, MediaError
from pipelines.media.images import read_image
from pipelines.media.kinds import media_kind
from pipelines.media.videos import sample_frames
from pipelines.settings import MediaLimits

LIMITS = MediaLimits()
ACCEPTED = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF")


def verdict(path):
    """Returns the decoded pictures, or the cause of their refusal."""
    try:
        if media_kind(path) == "video":
            return [frame.pixels for frame in sample_frames(path, 4, LIMITS)]
        return [read_image(path, LIMITS).pixels]
    except MediaError as error:
        assert str(error).isprintable()
        return error.cause


def test_every_awkward_file_is_accounted_for(shared_data):
    with (shared_data / "robust" / "CASES.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 136
    for row in rows:
        result = verdict(shared_data / row["path"])
        where = row["path"], result if isinstance(result, Cause) else len(result)
        if row["kind"] == "video":
            frames_of_opencv = json.loads(row["cv2"])[1]
            assert isinstance(result, Cause) == (frames_of_opencv == 0), where
        elif row["pil"]:
            check_image(row, result, shared_data, where)
        elif row["path"].endswith("double.jpg.mp4"):
            assert not isinstance(result, Cause), where
        else:
            assert result == Cause.NOT_MEDIA, where


def check_image(row, result, shared_data, where):
    pil = json.loads(row["pil"])
    if pil[0] != "ok":
        assert isinstance(result, Cause), where
        return
    _, format, mode, size, num_frames = pil
    width, height = (int(side) for side in size.strip("()").split(","))
    if format not in ACCEPTED:
        assert result == Cause.NOT_MEDIA, where
    elif int(num_frames) > 1 and format != "MPO":
        assert result == Cause.ANIMATED, where
    elif row["path"].endswith("badcrc.png"):
        assert result == Cause.DAMAGED, where
    elif min(width, height) < LIMITS.min_side:
        assert result == Cause.TOO_SMALL, where
    else:
        assert not isinstance(result, Cause), where
        if mode in ("RGB", "L", "CMYK", "1"):
            data = (shared_data / row["path"]).read_bytes()
            with Image.open(io.BytesIO(data)) as image:
                expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
            np.testing.assert_array_equal(result[0], expected, err_msg=row["path"])


@pytest.mark.parametrize("folder", ["images/ciplab/test/real", "real_faces/utkface/val/real"])
def test_real_photographs_equal_those_of_tensorflow(shared_data, folder):
    import tensorflow as tf

    paths = sorted((shared_data / folder).rglob("*.jpg"))[:20]
    assert paths
    for path in paths:
        expected = tf.io.decode_jpeg(
            path.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE"
        ).numpy()
        np.testing.assert_array_equal(read_image(path, LIMITS).pixels, expected)
