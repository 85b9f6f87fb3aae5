"""Uniform borders: found to the pixel, cut off, and never taken from a picture without one."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.borders import border_widths, without_border

PICTURE = np.random.default_rng(1).integers(0, 256, (40, 60, 3), np.uint8)
WIDTHS = st.tuples(*[st.integers(0, 12)] * 4)


@given(WIDTHS, st.integers(0, 255))
def test_a_border_of_one_colour_is_measured_to_the_pixel(widths, level):
    framed = cv2.copyMakeBorder(PICTURE, *widths, cv2.BORDER_CONSTANT, value=[level] * 3)
    # Top, bottom, left, right is OpenCV's order as well.
    assert border_widths(framed).tolist() == list(widths)


@given(WIDTHS)
def test_what_is_left_is_the_picture_without_a_strip_of_every_side(widths):
    framed = cv2.copyMakeBorder(PICTURE, *widths, cv2.BORDER_CONSTANT, value=[0, 0, 0])
    inside, (left, top) = without_border(framed)
    # A thirty-second of 40 is 1, of 60 is 2.
    np.testing.assert_array_equal(inside, PICTURE[1:-1, 2:-2])
    assert (left, top) == (widths[2] + 2, widths[0] + 1)


@pytest.mark.parametrize("scale", [1, 2])
def test_framing_is_the_same_with_and_without_a_border(scale):
    picture = np.kron(PICTURE, np.ones((scale, scale, 1), np.uint8))
    framed = cv2.copyMakeBorder(picture, 9, 9, 9, 9, cv2.BORDER_CONSTANT)
    np.testing.assert_array_equal(without_border(framed)[0], without_border(picture)[0])


@pytest.mark.parametrize(
    "image",
    [
        np.full((64, 64, 3), 90, np.uint8),
        cv2.copyMakeBorder(PICTURE, 99, 99, 99, 99, cv2.BORDER_CONSTANT),
    ],
    ids=["flat", "mostly border"],
)
def test_pictures_that_would_hardly_be_left_lose_the_strip_only(image):
    kept, (left, top) = without_border(image)
    assert (left, top) == (round(image.shape[1] / 32), round(image.shape[0] / 32))
    assert kept.shape[:2] == (image.shape[0] - 2 * top, image.shape[1] - 2 * left)
