"""Boxes, captions and heat on a picture: where they belong, and readable."""

from itertools import combinations

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from dfd_tf.inference import annotation
from dfd_tf.inference.annotation import Mark, annotated, fitted_size, heading_height
from dfd_tf.inference.figures import PERSON_COLORS
from pipelines.settings import FaceSettings

FACES = FaceSettings(margin=0.25)
GREEN = (0, 200, 0)


def plain(width, height):
    return np.full((height, width, 3), GREEN, np.uint8)


def test_heat_lies_on_the_square_that_was_cropped_and_nowhere_else():
    # 200 x 100 pixels of 800 x 500, and a quarter of the longer side around: 300 x 300.
    mark = Mark((0.25, 0.4, 0.25, 0.2), "", "#ffffff", np.ones((8, 8)))
    found = annotated(plain(800, 500), [mark], ["real"], FACES, (800, 500))
    picture = found[heading_height((800, 500), 1) :]
    assert picture.shape == (500, 800, 3)
    hot = np.array(matplotlib.colormaps["inferno"](1.0)[:3])
    inside = 255 * (0.25 * np.mean(GREEN) / 255 + 0.75 * hot)
    changed = (picture != GREEN).any(axis=-1)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (100, 399, 150, 449)
    np.testing.assert_allclose(picture[105, 155], inside, atol=1)
    np.testing.assert_array_equal(picture[200, 250], (255, 255, 255))  # the corner of the box


def test_without_evidence_the_face_is_grey_and_heat_at_the_border_is_cut_off():
    mark = Mark((0.9, 0.9, 0.2, 0.2), "", "#ffffff", np.zeros((8, 8)))
    picture = annotated(plain(500, 500), [mark], ["real"], FACES, (500, 500))[-500:]
    np.testing.assert_array_equal(picture[430, 430], np.full(3, round(np.mean(GREEN))))
    np.testing.assert_array_equal(picture[200, 200], GREEN)


def test_where_crops_overlap_the_higher_map_counts_and_is_laid_once():
    # Squares of 300 x 300 at 100 and at 200: columns 200 to 399 belong to both.
    left, right = (0.1875, 0.3, 0.25, 0.4), (0.3125, 0.3, 0.25, 0.4)
    low, high = np.full((8, 8), 0.2), np.full((8, 8), 0.6)
    grey = np.mean(GREEN) / 255
    colour = matplotlib.colormaps["inferno"]
    expected = [
        255 * ((1 - 0.75 * heat) * grey + 0.75 * heat * np.array(colour(heat)[:3]))
        for heat in (0.2, 0.6)
    ]
    for boxes in ((left, right), (right, left)):
        heats = [low if box is left else high for box in boxes]
        marks = [Mark(box, "", "#ffffff", h) for box, h in zip(boxes, heats, strict=True)]
        picture = annotated(plain(800, 500), marks, ["fake"], FACES, (800, 500))[-500:]
        np.testing.assert_allclose(picture[120, 110], expected[0], atol=1)
        np.testing.assert_allclose(picture[120, 300], expected[1], atol=1)
        np.testing.assert_allclose(picture[120, 490], expected[1], atol=1)
        np.testing.assert_array_equal(picture[120, 50], GREEN)


@given(
    st.lists(
        st.tuples(*[st.floats(0, 0.8)] * 2, *[st.floats(0.05, 0.4)] * 2), min_size=1, max_size=6
    )
)
def test_captions_stay_in_the_picture(boxes):
    size = (640, 480)
    draw = ImageDraw.Draw(Image.new("RGB", size))
    taken = []
    for left, top, width, height in boxes:
        box = (left * 640, top * 480, width * 640, height * 480)
        mark = Mark((left, top, width, height), "person 3: -1.23", "#000000")
        taken.append(annotation._write_caption(draw, mark, box, taken, size))
    for left, top, right, bottom in taken:
        assert 0 <= left < right <= 640
        assert 0 <= top < bottom <= 480


def test_captions_of_neighbours_do_not_cover_each_other():
    size = (640, 480)
    draw = ImageDraw.Draw(Image.new("RGB", size))
    taken = []
    for left in (20, 130, 240, 350):
        mark = Mark((0, 0, 0, 0), "person 3: -1.23", "#000000")
        taken.append(annotation._write_caption(draw, mark, (left, 200, 100, 120), taken, size))
    for (left, top, right, bottom), (x, y, r, b) in combinations(taken, 2):
        assert not (left < r and right > x and top < b and bottom > y)


def test_a_long_heading_is_wrapped_and_a_long_word_shortened():
    size = (480, 480)
    short = annotated(plain(480, 480), [], ["real"], FACES, size)
    long = annotated(plain(480, 480), [], ["real", "because " * 30], FACES, size)
    word = annotated(plain(480, 480), [], ["x" * 500], FACES, size)
    assert word.shape == short.shape
    assert short.shape[0] < long.shape[0] <= 480 + heading_height(size, 7)
    assert long.shape[1] == 480


@pytest.mark.parametrize(
    ("given", "expected"),
    [((100, 50), (480, 240)), ((640, 480), (640, 480)), ((6400, 3200), (1600, 800)),
     ((1, 2000), (1, 1600))],
)  # fmt: skip
def test_pictures_are_brought_to_a_size_to_look_at(given, expected):
    assert fitted_size(*given) == expected


@pytest.mark.parametrize("color", PERSON_COLORS)
def test_captions_can_be_read_on_every_colour(color):
    """Contrast of at least 3:1, that of large text in WCAG 2.2 (1.4.3)."""

    def luminance(rgb):
        part = np.array(rgb) / 255
        linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    back = luminance([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    ink = 0.0 if annotation._ink_on(color) == "black" else 1.0
    assert (max(back, ink) + 0.05) / (min(back, ink) + 0.05) >= 3
