"""What is shown of a face: which faces, heat over the face, and PNGs of it."""

import io
from types import SimpleNamespace

import matplotlib
import numpy as np
from PIL import Image

from dfd_tf.inference.explanations import (
    explain_faces,
    heat_overlay,
    heat_png,
    telling_faces,
)


class FakeNetwork:
    """Four pixels a face; the heat is its red, the reconstruction half of it."""

    def __init__(self, reconstructs):
        self.reconstructs = reconstructs

    def decode(self, encoded):
        return np.stack([np.full((2, 2, 3), int(value), np.uint8) for value in encoded])

    def explain(self, images):
        return images[..., 0].astype(np.float32) / 255

    def reconstruct(self, images):
        return images.astype(np.float32) / 510 if self.reconstructs else None


def test_faces_are_explained_one_by_one():
    found = explain_faces(FakeNetwork(reconstructs=True), [b"0", b"100", b"255"])
    assert [one.crop[0, 0, 0] for one in found] == [0, 100, 255]
    assert [one.reconstruction[0, 0, 0] for one in found] == [0, 50, 128]
    assert all(one.reconstruction.dtype == np.uint8 for one in found)
    np.testing.assert_allclose(found[1].heat, 100 / 255)
    np.testing.assert_allclose(found[1].difference, np.full((2, 2), 50 / 255))
    (plain,) = explain_faces(FakeNetwork(reconstructs=False), [b"100"])
    assert plain.reconstruction is plain.difference is None
    assert explain_faces(FakeNetwork(reconstructs=True), []) == []


def image_of(*scores):
    return SimpleNamespace(video=None, persons=(), faces=[{"score": score} for score in scores])


def test_of_an_image_the_highest_faces_are_shown():
    assert telling_faces(image_of()) == []
    assert telling_faces(image_of(0.1, 0.9, 0.5)) == [1, 2, 0]
    scores = np.random.default_rng(0).normal(size=20)
    assert telling_faces(image_of(*scores)) == np.argsort(-scores)[:8].tolist()


def test_of_a_video_the_highest_face_of_each_counted_person_is_shown():
    rows = [(1, 0.2), (2, 3.0), (1, 0.7), (3, 9.0), (2, 1.0)]
    faces = [{"person": person, "score": score} for person, score in rows]
    persons = [{"person": n, "counted": n != 3} for n in (3, 2, 1)]
    assert telling_faces(SimpleNamespace(video={}, persons=persons, faces=faces)) == [1, 2]


def test_heat_covers_evidence_and_shows_the_face_elsewhere():
    image = np.zeros((1, 1, 2, 3))
    image[..., 0] = 0.6
    found = heat_overlay(image, np.array([[[0.0, 1.0]]]))
    np.testing.assert_allclose(found[0, 0, 0], 0.2)
    strong = 0.25 * 0.2 + 0.75 * np.array(matplotlib.colormaps["inferno"](1.0)[:3])
    np.testing.assert_allclose(found[0, 0, 1], strong)


def test_heat_png_is_as_opaque_as_the_map_is_high():
    heat = np.array([[0.0, 0.5], [0.25, 1.0]], np.float32)
    with Image.open(io.BytesIO(heat_png(heat))) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGBA", (2, 2))
        pixels = np.asarray(picture)
    np.testing.assert_allclose(pixels[..., 3], heat * 255, atol=1)
    colours = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    np.testing.assert_allclose(pixels[..., :3], colours, atol=1)
