"""Haar, YuNet and none on what they should and should not find."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.errors import InputError
from pipelines.faces.base import Face
from pipelines.faces.onnx_shape import with_input_shape
from pipelines.faces.registry import FACE_DETECTORS, open_detector
from pipelines.media.images import read_image
from pipelines.settings import FaceSettings, MediaLimits


def read(path: Path) -> np.ndarray:
    return read_image(path, MediaLimits()).pixels


def overlap(a: Face, b: Face) -> float:
    """Intersection over union."""
    width = min(a.box[0] + a.box[2], b.box[0] + b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[1] + a.box[3], b.box[1] + b.box[3]) - max(a.box[1], b.box[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.box[2] * a.box[3] + b.box[2] * b.box[3] - shared)


@pytest.fixture
def yunet_file(shared_data: Path) -> str:
    return str(shared_data / "models" / "yunet_n_dynamic.onnx")


@pytest.fixture
def haar():
    return open_detector(FaceSettings(detector="haar"))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_haar_finds_nothing_in_a_blank_image(haar, value):
    assert haar.detect(np.full((200, 300, 3), value, np.uint8)) == []


@pytest.mark.parametrize("shape", [(1, 1), (8, 160), (23, 23), (24, 24), (3000, 150)])
def test_haar_survives_any_shape(haar, shape):
    assert haar.detect(np.zeros((*shape, 3), np.uint8)) == []


def test_haar_agrees_with_yunet_on_portraits(haar, shared_data, yunet_file):
    yunet = open_detector(FaceSettings(detector="yunet", model=yunet_file))
    folder = shared_data / "images" / "stylegan2" / "test"
    paths = sorted(folder.glob("*/*.jpg"))[::13]
    assert len(paths) >= 10
    found = 0
    for path in paths:
        image = read(path)
        theirs = yunet.detect(image)
        faces = haar.detect(image)
        assert len(theirs) >= 1
        found += bool(faces)
        assert all(max(overlap(face, other) for other in theirs) > 0.4 for face in faces), path
    assert found >= 0.85 * len(paths)


def test_haar_finds_two_faces_and_a_small_one_in_a_large_photo(haar, shared_data):
    folder = shared_data / "robust"
    left, right = sorted(haar.detect(read(folder / "face" / "two_faces.jpg")), key=lambda f: f.box)
    assert left.box[0] + left.box[2] / 2 < 320 < right.box[0] + right.box[2] / 2
    (face,) = haar.detect(read(folder / "size" / "small_face_in_2000x1500.jpg"))
    yunet = FaceSettings(detector="yunet", model=str(shared_data / "models/yunet_n_dynamic.onnx"))
    (other,) = open_detector(yunet).detect(read(folder / "size" / "small_face_in_2000x1500.jpg"))
    # Boxes are mapped back from the shrunk copy.
    assert overlap(face, other) > 0.5


def test_faces_below_the_smallest_size_are_found_to_be_counted(haar, shared_data):
    image = read(sorted((shared_data / "images/stylegan2/test/real").glob("*.jpg"))[0])
    (face,) = haar.detect(image)
    small = cv2.resize(image, None, fx=34 / face.box[2], fy=34 / face.box[2])
    canvas = np.full((200, 200, 3), 128, np.uint8)
    canvas[60 : 60 + small.shape[0], 60 : 60 + small.shape[1]] = small
    (found,) = haar.detect(canvas)
    assert 24 <= found.box[2] < 40


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_do_not_change_the_answer(haar, shared_data, threads):
    image = read(shared_data / "robust" / "face" / "two_faces.jpg")
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        expected = haar.detect(image)
        cv2.setNumThreads(threads)
        assert haar.detect(image) == expected
    finally:
        cv2.setNumThreads(before)


def test_haar_eyes_lie_near_those_of_yunet(shared_data, yunet_file):
    with_eyes = open_detector(FaceSettings(detector="haar", eyes=True))
    yunet = open_detector(FaceSettings(detector="yunet", model=yunet_file))
    folder = shared_data / "images" / "stylegan2" / "test" / "fake"
    found = 0
    paths = sorted(folder.glob("*.jpg"))[::10]
    for path in paths:
        image = read(path)
        faces, (theirs, *_) = with_eyes.detect(image), yunet.detect(image)
        if faces and faces[0].eyes is not None:
            found += 1
            distance = np.linalg.norm(np.subtract(faces[0].eyes, theirs.eyes), axis=1)
            assert distance.max() < 0.15 * faces[0].box[2], path
    assert found >= len(paths) // 2


def test_yunet_orders_the_eyes_from_left_to_right(shared_data, yunet_file):
    yunet = open_detector(FaceSettings(detector="yunet", model=yunet_file))
    image = read(sorted((shared_data / "real_faces/utkface/train/real").glob("*.jpg"))[0])
    (face,) = yunet.detect(image)
    (left, right), (x, y, width, height) = face.eyes, face.box
    assert x < left[0] < right[0] < x + width
    assert all(y < eye[1] < y + height for eye in face.eyes)
    # A mirrored picture mirrors the box.
    (mirrored,) = yunet.detect(np.ascontiguousarray(image[:, ::-1]))
    assert mirrored.box[0] == pytest.approx(image.shape[1] - x - width, abs=6)


def test_yunet_works_at_any_image_size(shared_data, yunet_file):
    yunet = open_detector(FaceSettings(detector="yunet", model=yunet_file))
    image = read(sorted((shared_data / "real_faces/utkface/train/real").glob("*.jpg"))[0])
    (face,) = yunet.detect(image)
    for scale in (0.5, 1.7, 6.0):
        resized = cv2.resize(image, None, fx=scale, fy=scale)
        (other,) = yunet.detect(resized)
        scaled = Face(tuple(v * scale for v in face.box), 1.0)
        assert overlap(other, scaled) > 0.75, scale


@pytest.mark.parametrize("model", [None, "nowhere/yunet.onnx"])
def test_yunet_without_its_file_is_one_clear_line(model):
    with pytest.raises(InputError, match=r"face_detection_yunet.*haar") as caught:
        open_detector(FaceSettings(detector="yunet", model=model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x06\x3a\xff\xff\xff\x7f"])
def test_yunet_refuses_other_files(tmp_path, capfd, content):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a YuNet model") as caught:
        open_detector(FaceSettings(detector="yunet", model=str(path)))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_yunet_refuses_a_damaged_model(tmp_path, yunet_file, capfd):
    path = tmp_path / "x.onnx"
    path.write_bytes(Path(yunet_file).read_bytes()[:200_000])
    with pytest.raises(InputError, match="not a YuNet model"):
        open_detector(FaceSettings(detector="yunet", model=str(path)))
    assert capfd.readouterr().err == ""


def test_input_shape_replaces_symbolic_dimensions_only(yunet_file):
    model = Path(yunet_file).read_bytes()
    fixed = with_input_shape(model, (1, 3, 320, 640))
    assert len(fixed) == len(model)
    assert sum(a != b for a, b in zip(model, fixed, strict=True)) <= 7 + 8 + 7
    assert with_input_shape(fixed, (9, 9, 9, 9)) == fixed
    with pytest.raises(ValueError, match="4 dimensions, expected 3"):
        with_input_shape(model, (1, 3, 320))


def test_none_is_one_face_that_fills_the_image():
    (face,) = open_detector(FaceSettings(detector="none")).detect(np.zeros((5, 9, 3), np.uint8))
    assert face.box == (0.0, 0.0, 9.0, 5.0)


def test_unknown_detector_and_impossible_alignment_are_refused():
    with pytest.raises(InputError, match=rf"'mtcnn'.*{', '.join(FACE_DETECTORS)}"):
        open_detector(FaceSettings(detector="mtcnn"))
    with pytest.raises(InputError, match=r"align.*faces\.eyes"):
        open_detector(FaceSettings(detector="haar", align=True))


def test_no_false_faces_in_the_faceless_cases(haar, shared_data):
    rows = csv.DictReader((shared_data / "robust" / "CASES.csv").read_text().splitlines())
    names = [r["path"] for r in rows if r["path"].startswith("robust/face/") and r["faces"] == "0"]
    assert len(names) >= 4
    for name in names:
        assert haar.detect(read(shared_data / name)) == [], name
