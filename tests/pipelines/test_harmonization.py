"""Harmonisation: what a carrier is, how it is chosen, and that it fits the way prepare works."""

import io
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from prepare_samples import KILLED, REPOSITORY, WHOLE, contents, draw, records, run

from pipelines.carrier_survey import measure_items
from pipelines.errors import InputError
from pipelines.faces.extract import extract_faces
from pipelines.faces.registry import open_detector
from pipelines.harmonization import (
    MeasuredFace,
    bandwidth,
    carrier_sides,
    choose_carrier,
    grey_levels,
    harmonize,
)
from pipelines.media.jpeg_header import parse_jpeg
from pipelines.media_item import MediaItem
from pipelines.records.manifest import load_manifest
from pipelines.records.verification import verify_records
from pipelines.settings import CarrierSettings, CropSettings, FaceSettings, prepare_settings
from pipelines.shard_plan import PlannedItem

ALIKE = replace(WHOLE, harmonize=True)
CARRIER = CarrierSettings(side=96, quality=70, bandwidth=0.5)


@pytest.mark.parametrize("frequency", [0.2, 0.5, 1.0, 2.0])
def test_bandwidth_of_a_wave_is_its_frequency_as_the_filters_see_it(frequency):
    wave = np.cos(frequency * (np.arange(4000) + 0.3))[None].repeat(8, 0).astype(np.float32) * 100
    # Central differences of cos(wx) have amplitude sin(w), second differences 2 - 2 cos(w).
    expected = (2 - 2 * math.cos(frequency)) / math.sin(frequency)
    assert bandwidth(wave) == pytest.approx(expected, rel=0.01)


def test_bandwidth_forgets_contrast_and_falls_with_blur(plain_faces):
    grey = grey_levels(plain_faces[0])
    assert bandwidth(0.3 * grey + 50) == pytest.approx(bandwidth(grey), rel=1e-4)
    blurred = [bandwidth(cv2.GaussianBlur(grey, (0, 0), sigma)) for sigma in (0.5, 1.0, 2.0)]
    assert bandwidth(grey) > blurred[0] > blurred[1] > blurred[2] > 0
    assert bandwidth(np.full((9, 9), 7.0, np.float32)) == 0.0


def test_a_face_is_brought_to_the_carrier_and_no_further(plain_faces):
    harmonized, facts = harmonize(plain_faces[0], replace(CARRIER, quality=100))
    # What differs is rounding and the halved chroma, which the JPEG brought after the blur.
    assert bandwidth(grey_levels(plain_faces[0])) > 2 * CARRIER.bandwidth
    assert bandwidth(grey_levels(harmonized)) == pytest.approx(CARRIER.bandwidth, rel=0.1)
    assert (facts.side, facts.quality) == (96, 100)
    coarse = cv2.GaussianBlur(plain_faces[0], (0, 0), 4)
    kept, _ = harmonize(coarse, replace(CARRIER, quality=100))
    assert np.abs(kept.astype(int) - coarse).mean() < 1.5


def test_the_stored_face_went_through_a_jpeg_of_the_carriers_quality(plain_faces, monkeypatch):
    saved = []
    original = Image.Image.save

    def keeping(image, data, *args, **options):
        original(image, data, *args, **options)
        saved.append(data.getvalue())

    monkeypatch.setattr(Image.Image, "save", keeping)
    harmonized, facts = harmonize(plain_faces[0], CARRIER)
    assert parse_jpeg(saved[0]).jpeg_quality == CARRIER.quality == facts.quality
    assert len(saved[0]) == facts.bytes
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(saved[0]))), harmonized)


def face(label=0, quality=95, side=96, sharpness=1.0):
    sides = carrier_sides(96)
    return MeasuredFace(label, "JPEG", quality, side, tuple(sharpness for _ in sides))


def test_carriers_are_a_quarter_of_an_octave_apart():
    assert carrier_sides(256)[:5] == [256, 215, 181, 152, 128]
    assert carrier_sides(40)[-1] >= 16
    assert carrier_sides(16) == [16]


def test_a_rare_class_is_matched_as_well():
    frequent = [face(0) for _ in range(990)]
    rare = [face(1, quality=60, side=50, sharpness=0.4) for _ in range(10)]
    assert choose_carrier(frequent + rare, 96, 95) == CarrierSettings(48, 60, 0.4)


def test_a_few_bad_items_do_not_decide_and_better_ones_than_the_record_neither():
    good = [face(label, side=500) for label in (0, 1) for _ in range(99)]
    bad = [face(label, quality=5, side=20, sharpness=0.1) for label in (0, 1)]
    assert choose_carrier(good + bad, 96, 95) == CarrierSettings(96, 95, 1.0)


def test_without_a_jpeg_the_quality_is_that_of_the_records():
    assert choose_carrier([face(quality=-1)], 96, 91).quality == 91


def test_boxes_stay_those_of_the_whole_image(plain_faces):
    framed = cv2.copyMakeBorder(plain_faces[0], 10, 20, 30, 4, cv2.BORDER_CONSTANT)
    settings = FaceSettings(detector="none")
    found = extract_faces(
        framed, open_detector(settings), settings, CropSettings(96, carrier=CARRIER)
    )
    (crop,) = found.faces
    height, width = framed.shape[:2]
    left, top, across, down = crop.box_fractions
    # Within the border, without a strip of a thirty-second of each side.
    assert (left * width, top * height) == pytest.approx((33, 13))
    assert (across * width, down * height) == pytest.approx((90, 90))


def test_what_cannot_be_read_is_left_to_the_writers(tmp_path):
    draw(tmp_path / "good.png", 1)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    items = [
        PlannedItem(MediaItem(str(tmp_path / name), name, 1, "d"), "image", "0" * 64)
        for name in ("bad.png", "good.png")
    ]
    (found,) = measure_items(items, ALIKE)
    assert (found.label, found.side, found.format) == (1, 30, "PNG")
    assert len(found.bandwidths) == len(carrier_sides(32))


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Sharp real JPEG files of 32 pixels and fakes of 28 pixels, PNG."""
    folder = tmp_path_factory.mktemp("media") / "photos"
    for number in range(40):
        draw(folder / "real" / f"{number:03d}.jpg", number)
        draw(folder / "fake" / f"{number:03d}.png", 100 + number, size=28)
    return folder


@pytest.fixture(scope="module")
def reference(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "records"
    run(photos, out, ALIKE)
    return out


def test_records_tell_of_the_carrier_and_the_manifest_of_the_originals(reference):
    manifest = verify_records(reference, deep=True)
    carrier = prepare_settings(manifest.settings).crop.carrier
    assert carrier is not None
    # The strips leave 26 pixels of 28, the next side below is 23; Pillow's own quality is 75.
    assert (carrier.side, carrier.quality) == (23, 75)
    for _, record in records(reference):
        facts = (record.source_format, record.source_width, record.source_height)
        assert facts == ("JPEG", 23, 23)
        assert record.source_jpeg_quality == 75
        assert record.source_bytes < 3000
        assert record.face_box == (0.0, 0.0, 1.0, 1.0)
    originals = manifest.harmonization["originals"]
    assert originals["real"]["formats"] == {"JPEG": 40}
    assert originals["fake"]["formats"] == {"PNG": 40}
    assert originals["fake"]["jpeg_quality"] is None
    assert originals["fake"]["side"]["median"] == 26
    assert originals["real"]["below"] == {"jpeg_quality": 0, "side": 0, "bandwidth": 0}
    assert originals["fake"]["below"]["bandwidth"] <= 0.05 * 40
    assert load_manifest(reference) == manifest


def test_two_workers_give_the_bytes_of_one(photos, reference, tmp_path):
    run(photos, tmp_path / "records", ALIKE, workers=2)
    assert contents(tmp_path / "records") == contents(reference)


@pytest.mark.parametrize(
    "moment",
    [
        "pipelines.prepare measure_items + 2",
        "pipelines.records.writer ShardWriter.write + 50",
    ],
)
def test_killed_anywhere_and_run_again_gives_the_same_bytes(photos, reference, tmp_path, moment):
    out = tmp_path / "records"
    code = KILLED.replace("import run", "import WHOLE, run; from dataclasses import replace")
    code = code.replace("Path(sys.argv[3]))", "Path(sys.argv[3]), replace(WHOLE, harmonize=True))")
    killed = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(photos), str(out), moment],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    run(photos, out, ALIKE)
    assert contents(out) == contents(reference)


def test_a_survey_is_not_made_twice(photos, reference, tmp_path, monkeypatch):
    out = tmp_path / "records"
    run(photos, out, ALIKE)
    (out / "manifest.json").unlink()
    monkeypatch.setattr("pipelines.prepare.measure_items", None)
    run(photos, out, ALIKE)
    assert contents(out) == contents(reference)


def test_records_of_the_other_kind_are_refused(photos, reference, tmp_path):
    out = tmp_path / "records"
    run(photos, out, ALIKE)
    with pytest.raises(InputError, match="harmonize: True there, None now"):
        run(photos, out)
    plain = tmp_path / "plain"
    run(photos, plain)
    with pytest.raises(InputError, match="harmonize: None there, True now"):
        run(photos, plain, ALIKE)


def test_plain_records_do_not_know_of_it(photos, tmp_path):
    run(photos, tmp_path / "plain")
    manifest = json.loads((tmp_path / "plain" / "manifest.json").read_text())
    assert "harmonization" not in manifest
    assert "harmonize" not in manifest["settings"]
    assert "carrier" not in manifest["settings"]["crop"]
