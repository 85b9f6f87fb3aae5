"""Nuisances against what was put into the picture, and against hand calculations."""

import io
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from pipelines.nuisances import (
    NUMERIC,
    framing_nuisances,
    measure_shard,
    picture_nuisances,
    source_nuisances,
)
from pipelines.records.manifest import load_manifest
from pipelines.records.schema import FaceRecord
from pipelines.records.shards import iter_records


def record(**values):
    known = {
        "encoded": b"", "format": "jpeg", "height": 8, "width": 8, "sha256": "0" * 64, "label": 0,
        "domain": "d", "path": "p", "source_format": "JPEG", "source_bytes": 1000,
        "source_width": 400, "source_height": 200, "source_jpeg_quality": 80,
    }  # fmt: skip
    return FaceRecord(**known | values)


def smooth(side=128):
    """A picture of slow waves, grey, far from black and white."""
    y, x = np.mgrid[:side, :side] / side
    grey = 128 + 40 * np.sin(5 * x + 1) * np.cos(4 * y)
    return np.repeat(grey[..., None], 3, axis=2).round().astype(np.uint8)


def test_source_facts_in_the_units_promised():
    values = source_nuisances(record(face_box=(0.25, 0.0, 0.25, 1.0)))
    assert values == {
        "bytes": 3.0, "width": 400.0, "height": 200.0, "aspect": 2.0, "face_size": 200.0,
        "jpeg_quality": 80.0,
    }  # fmt: skip
    video = source_nuisances(record(source_jpeg_quality=-1, frame=75, time_seconds=3.0))
    assert "jpeg_quality" not in video
    assert video["frame_rate"] == 25.0


@pytest.mark.parametrize("sigma", [3.0, 8.0, 15.0])
def test_noise_of_known_strength_is_recovered(sigma):
    noise = np.random.default_rng(2).normal(0, sigma, (128, 128, 1))
    noisy = np.clip(smooth() + noise, 0, 255).round().astype(np.uint8)
    assert picture_nuisances(noisy)["noise"] == pytest.approx(sigma, rel=0.05)


def test_sharpness_is_the_variance_of_the_laplacian():
    picture = np.random.default_rng(3).integers(0, 256, (32, 32), np.uint8)
    # A strip of one pixel is left out all around.
    grey = np.pad(picture[1:-1, 1:-1].astype(float), 1, "reflect")
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    found = picture_nuisances(np.repeat(picture[..., None], 3, axis=2))["sharpness"]
    assert found == pytest.approx(math.log10(laplacian.var()), abs=1e-3)


def test_blockiness_falls_with_quality_wherever_the_grid_begins():
    noisy = smooth().astype(float) + np.random.default_rng(4).normal(0, 6, (128, 128, 3))
    picture = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))

    def blockiness(quality, cut=0):
        data = io.BytesIO()
        picture.save(data, "JPEG", quality=quality)
        return picture_nuisances(np.asarray(Image.open(data))[cut:, cut:])["blockiness"]

    assert blockiness(20) > blockiness(60) > blockiness(98)
    assert blockiness(20, cut=3) == pytest.approx(blockiness(20), rel=0.1)


def test_colourfulness_of_hasler_and_suesstrunk():
    assert picture_nuisances(smooth())["colourfulness"] == 0.0
    # One half pure red, the other green: red - green is +-255, yellow - blue 127.5 throughout.
    halves = np.zeros((16, 16, 3), np.uint8)
    halves[:8, :, 0] = halves[8:, :, 1] = 255
    expected = math.hypot(255, 0) + 0.3 * math.hypot(0, 127.5)
    assert picture_nuisances(halves)["colourfulness"] == pytest.approx(expected)


def test_border_is_its_share_of_the_side():
    noise = np.random.default_rng(5).integers(0, 256, (80, 80, 3), np.uint8)
    framed = cv2.copyMakeBorder(noise, 10, 10, 10, 10, cv2.BORDER_CONSTANT)
    assert picture_nuisances(framed)["border"] == pytest.approx(0.1)


def test_framing_follows_a_face_that_moves(plain_faces):
    face = plain_faces[0]
    centred = framing_nuisances(cv2.copyMakeBorder(face, 24, 24, 24, 24, cv2.BORDER_REPLICATE))
    lower = framing_nuisances(cv2.copyMakeBorder(face, 48, 0, 24, 24, cv2.BORDER_REPLICATE))
    side = 96 + 48
    assert centred["face_height"] - lower["face_height"] == pytest.approx(24 / side, abs=0.02)
    alone = framing_nuisances(face)
    assert centred["face_share"] == pytest.approx(alone["face_share"] * 96 / side, rel=0.15)
    assert framing_nuisances(smooth()) == {}


def test_a_shard_is_measured_record_by_record(tiny_records):
    shard = load_manifest(tiny_records).shards[0]
    measured = measure_shard(shard, tiny_records, find_faces=False)
    records = list(iter_records(tiny_records / shard.file))
    assert [m.path for m in measured] == [r.path for r in records]
    place = NUMERIC.index("bytes")
    assert [m.values[place] for m in measured] == [math.log10(r.source_bytes) for r in records]
    assert all(math.isnan(m.values[NUMERIC.index("face_share")]) for m in measured)
