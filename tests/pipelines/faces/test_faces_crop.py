"""Crop geometry against coordinates worked out by hand and numpy's own reflection."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipelines.faces.base import Face
from pipelines.faces.crop import crop_face
from pipelines.settings import FaceSettings


def coordinates(height: int, width: int) -> np.ndarray:
    """An image whose pixel (row, column) is (row, column, 0)."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, np.zeros_like(rows)], axis=-1).astype(np.uint8)


def test_margin_is_added_on_both_sides_of_the_longer_side():
    # Box 20 wide, 10 high, centre (50, 45): side 20 * (1 + 2 * 0.5) = 40, so columns 30..69 and
    # rows 25..64.
    face = Face((40.0, 40.0, 20.0, 10.0), 1.0)
    crop = crop_face(coordinates(100, 120), face, FaceSettings(margin=0.5), 40)
    np.testing.assert_array_equal(crop, coordinates(100, 120)[25:65, 30:70])


def test_what_lies_over_the_border_is_reflected_without_repeating_the_edge():
    # Box (-2, 5, 8, 8): columns -2..5 and rows 5..12 of a 10 x 10 image.
    image = coordinates(10, 10)
    crop = crop_face(image, Face((-2.0, 5.0, 8.0, 8.0), 1.0), FaceSettings(margin=0.0), 8)
    assert crop[0, :, 1].tolist() == [2, 1, 0, 1, 2, 3, 4, 5]
    assert crop[:, 0, 0].tolist() == [5, 6, 7, 8, 9, 8, 7, 6]


@given(
    height=st.integers(1, 12),
    width=st.integers(1, 12),
    left=st.integers(-30, 30),
    top=st.integers(-30, 30),
    side=st.integers(1, 25),
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_any_square_equals_the_same_cut_out_of_a_padded_image(height, width, left, top, side):
    image = coordinates(height, width)
    pad = 60
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="reflect")
    expected = padded[top + pad : top + pad + side, left + pad : left + pad + side]
    face = Face((float(left), float(top), float(side), float(side)), 1.0)
    crop = crop_face(image, face, FaceSettings(margin=0.0), side)
    np.testing.assert_array_equal(crop, expected)


def test_whole_image_of_the_right_size_keeps_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = Face((0.0, 0.0, 64.0, 64.0), 1.0)
    settings = FaceSettings(detector="none", margin=0.3)
    np.testing.assert_array_equal(crop_face(image, whole, settings, 64), image)


def test_shrinking_averages_areas_and_enlarging_keeps_a_constant():
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    whole = Face((0.0, 0.0, 64.0, 64.0), 1.0)
    small = crop_face(image, whole, FaceSettings(detector="none"), 32)
    means = image.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - means).max() <= 0.5
    grey = np.full((16, 16, 3), 77, np.uint8)
    large = crop_face(grey, Face((0.0, 0.0, 16.0, 16.0), 1.0), FaceSettings(detector="none"), 32)
    assert (large == 77).all()


@pytest.mark.parametrize("degrees", [-35.0, -10.0, 20.0, 45.0])
def test_alignment_levels_the_eyes(degrees):
    # Two white discs stand for the eyes, 40 pixels to the sides of (100, 90), turned by `degrees`.
    rows, columns = np.mgrid[:200, :200]
    angle = math.radians(degrees)
    eyes = []
    image = np.zeros((200, 200, 3), np.uint8)
    for sign in (-1, 1):
        x, y = 100 + sign * 40 * math.cos(angle), 90 + sign * 40 * math.sin(angle)
        eyes.append((x, y))
        image[(columns - x) ** 2 + (rows - y) ** 2 <= 36] = 255
    face = Face((40.0, 30.0, 120.0, 120.0), 1.0, (eyes[0], eyes[1]))

    def eye_rows(align: bool) -> tuple[float, float]:
        crop = crop_face(image, face, FaceSettings(margin=0.0, align=align), 120)[..., 0]
        weight = crop.astype(float)
        left, right = weight[:, :60], weight[:, 60:]
        return tuple(
            float((half.sum(1) * np.arange(120)).sum() / half.sum()) for half in (left, right)
        )

    left, right = eye_rows(align=True)
    assert abs(left - right) < 0.5
    crooked_left, crooked_right = eye_rows(align=False)
    assert crooked_right - crooked_left == pytest.approx(80 * math.sin(angle), abs=1.0)


def test_alignment_turns_by_nothing_when_the_eyes_are_level():
    image = np.random.default_rng(2).integers(0, 256, (80, 80, 3), np.uint8)
    level = Face((20.0, 20.0, 40.0, 40.0), 1.0, ((30.0, 35.0), (50.0, 35.0)))
    aligned = crop_face(image, level, FaceSettings(margin=0.0, align=True), 40)
    np.testing.assert_array_equal(aligned, image[20:60, 20:60])


def test_a_quarter_turn_moves_each_pixel_where_geometry_says():
    # Eyes from top to bottom: the face lies on its side, and the crop turns it upright: its top
    # row is the right-hand column of the image, its left end the top.
    image = np.random.default_rng(3).integers(0, 256, (40, 40, 3), np.uint8)
    face = Face((0.0, 0.0, 40.0, 40.0), 1.0, ((20.0, 10.0), (20.0, 30.0)))
    crop = crop_face(image, face, FaceSettings(margin=0.0, align=True), 40)
    np.testing.assert_array_equal(crop, np.rot90(image))
