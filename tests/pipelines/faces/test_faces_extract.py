"""What is kept, what is dropped and why; encodings."""

import io

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import Cause, InputError
from pipelines.faces.base import Face, ranked, without_overlaps
from pipelines.faces.encode import encode_crop
from pipelines.faces.extract import extract_faces
from pipelines.faces.registry import open_detector
from pipelines.settings import CropSettings, FaceSettings


class Fixed:
    def __init__(self, *faces: Face) -> None:
        self.faces = list(faces)

    def detect(self, image: np.ndarray) -> list[Face]:
        return self.faces


IMAGE = np.random.default_rng(0).integers(0, 256, (100, 200, 3), np.uint8)
PNG = CropSettings(size=32, format="png")


def test_every_face_is_kept_and_every_drop_has_its_cause():
    large = Face((10.0, 20.0, 50.0, 50.0), 0.9)
    small = Face((100.0, 20.0, 39.0, 30.0), 0.8)
    exact = Face((150.0, 20.0, 40.0, 20.0), 0.7)
    found = extract_faces(IMAGE, Fixed(large, small, exact), FaceSettings(min_size=40), PNG)
    assert [crop.face for crop in found.faces] == [large, exact]
    assert [crop.index for crop in found.faces] == [0, 1]
    assert found.drops == [(Cause.FACE_TOO_SMALL, "face of 39 pixels, smallest kept is 40")]
    assert found.faces[0].box_fractions == pytest.approx((0.05, 0.2, 0.25, 0.5))


def test_no_face_is_one_drop():
    found = extract_faces(IMAGE, Fixed(), FaceSettings(), PNG)
    assert found.faces == []
    assert [cause for cause, _ in found.drops] == [Cause.NO_FACE]


def test_box_fractions_stay_within_the_image():
    found = extract_faces(IMAGE, Fixed(Face((-20.0, 50.0, 120.0, 80.0), 1.0)), FaceSettings(), PNG)
    assert found.faces[0].box_fractions == pytest.approx((0.0, 0.5, 0.5, 0.5))


def test_none_takes_the_image_whatever_its_size_and_stores_its_pixels():
    image = IMAGE[:32, :32]
    settings = FaceSettings(detector="none", min_size=40)
    found = extract_faces(image, open_detector(settings), settings, PNG)
    (crop,) = found.faces
    assert found.drops == []
    assert crop.box_fractions == (0.0, 0.0, 1.0, 1.0)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(crop.encoded))), image)


def test_jpeg_keeps_full_chroma_and_the_same_bytes_every_time():
    pixels = IMAGE[:64, :64]
    first = encode_crop(pixels, CropSettings(size=64))
    assert first == encode_crop(pixels.copy(), CropSettings(size=64))
    # SOF0: marker FFC0, length, precision, height, width, components; luma's sampling is 1x1.
    frame = first.index(b"\xff\xc0")
    assert first[frame + 5 : frame + 9] == bytes([0, 64, 0, 64])
    assert first[frame + 11] == 0x11


def test_unknown_format_is_refused():
    with pytest.raises(InputError, match=r"crop.format.*'bmp'.*jpeg or png"):
        encode_crop(IMAGE, CropSettings(format="bmp"))


def test_order_is_score_then_area_then_left():
    a = Face((0.0, 0.0, 10.0, 10.0), 1.0)
    b = Face((50.0, 0.0, 20.0, 20.0), 1.0)
    c = Face((90.0, 0.0, 5.0, 5.0), 2.0)
    d = Face((120.0, 0.0, 10.0, 10.0), 1.0)
    assert ranked([d, a, b, c]) == [c, b, a, d]


def test_a_box_within_or_over_a_surer_one_goes():
    face = Face((0.0, 0.0, 100.0, 100.0), 9.0)
    mouth = Face((30.0, 60.0, 30.0, 30.0), 5.0)
    twin = Face((10.0, 10.0, 100.0, 100.0), 8.0)
    # Intersection 50 x 100 of 100 x 100: exactly half, still two faces.
    neighbour = Face((50.0, 0.0, 100.0, 100.0), 7.0)
    assert without_overlaps([mouth, twin, face]) == [face]
    assert without_overlaps([neighbour, face]) == [face, neighbour]
