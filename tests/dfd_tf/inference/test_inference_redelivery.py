"""Re-delivery: the same places of degraded copies, scored like any crop."""

import io

import numpy as np
import pytest
from PIL import Image

from dfd_tf.inference.media_faces import FaceReader
from dfd_tf.inference.prediction import predict_files
from dfd_tf.inference.redelivery import REDELIVERIES, moved_face
from pipelines.faces.base import Face
from pipelines.settings import CropSettings, FaceSettings, PrepareSettings
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair


def pixels_of(encoded):
    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image, np.float64)


def test_copies_are_what_their_names_say():
    pixels = render_face(3, 1, 0, 200).pixels
    jpeg, smaller = (redeliver(pixels) for redeliver in REDELIVERIES.values())
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=75)
    assert np.array_equal(jpeg, pixels_of(file.getvalue()))
    assert smaller.shape == (150, 150, 3)
    assert smaller.dtype == np.uint8
    assert list(REDELIVERIES) == ["JPEG quality 75", "resizing to 75%"]


def test_a_face_lies_where_it_lay():
    face = Face((40.0, 20.0, 80.0, 100.0), 1.0, ((60.0, 50.0), (100.0, 50.0)))
    moved = moved_face(face, np.empty((100, 200, 3)), np.empty((75, 150, 3)))
    assert moved.box == (30.0, 15.0, 60.0, 75.0)
    assert moved.eyes == ((45.0, 37.5), (75.0, 37.5))
    assert moved_face(Face(face.box, 1.0), np.empty((9, 9, 3)), np.empty((9, 9, 3))).eyes is None


@pytest.mark.parametrize("detector", ["haar", "none"])
def test_crops_of_the_copies_show_the_same_faces(tmp_path, detector):
    path = tmp_path / "pair.png"
    Image.fromarray(render_portrait_pair(31, 5, 6, 0, 240)[0]).save(path)
    settings = PrepareSettings(
        faces=FaceSettings(detector=detector), crop=CropSettings(size=64, format="png")
    )
    plain = FaceReader(settings).read(str(path))
    found = FaceReader(settings, stability=True).read(str(path))
    assert [face.encoded for face in found.faces] == [face.encoded for face in plain.faces]
    assert plain.crops == [face.encoded for face in plain.faces]
    assert len(found.crops) == 3 * len(found.faces) > 0
    for face in found.faces:
        original = pixels_of(face.encoded)
        for other in face.redelivered:
            difference = np.abs(pixels_of(other) - original).mean()
            assert 0 < difference < 8  # grey levels; a shift by two pixels makes it over ten


def test_predict_scores_the_copies_of_images_and_videos(predictor, media):
    paths = [str(media / "test" / name) for name in ("fake/d_pair.png", "real/e.mp4")]
    plain = list(predict_files(predictor, paths, None, 2))
    stable = list(predict_files(predictor, paths, None, 2, stability=True))
    for before, after in zip(plain, stable, strict=True):
        assert before.redelivered is None
        assert (after.score, after.faces) == (before.score, before.faces)
        assert list(after.redelivered) == list(REDELIVERIES)
        assert all(score != after.score for score in after.redelivered.values())
    # Of an image the worst face after each re-delivery, as without.
    pair = FaceReader(predictor.settings, stability=True).read(paths[0])
    columns = zip(*(face.redelivered for face in pair.faces), strict=True)
    highest = [predictor.score_encoded(crops).max() for crops in columns]
    assert list(stable[0].redelivered.values()) == highest
