"""Pictures that are too easy to calibrate on: noise of every size, one colour, shortcuts."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from dfd_tf.evaluation.trivial_data import (
    STATISTICS,
    PictureStatistics,
    is_trivial,
    picture_numbers,
    trivial_data_caveats,
)
from pipelines.sources.synthetic_portraits import render_face


def noise(side, enlarged=1, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return cv2.resize(pixels, None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)


def as_jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


def trivial(pixels):
    return bool(is_trivial(np.array([picture_numbers(pixels)]))[0])


@pytest.mark.parametrize(("side", "enlarged"), [(32, 1), (64, 1), (256, 1), (64, 4), (128, 2)])
def test_noise_is_trivial_even_enlarged_and_compressed(side, enlarged):
    assert trivial(noise(side, enlarged))
    assert trivial(as_jpeg(noise(side, enlarged)))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_one_colour_is_trivial(value):
    pixels = np.full((64, 64, 3), value, np.uint8)
    assert trivial(pixels)
    assert trivial(as_jpeg(pixels))


@pytest.mark.parametrize("side", [64, 96, 256])
def test_faces_are_not_trivial(side):
    for person in range(6):
        pixels = render_face(5, person, 0, side).pixels
        assert not trivial(pixels)
        faint_noise = noise(side, seed=person).astype(np.float64) - 127.5
        assert not trivial(np.clip(pixels + 0.2 * faint_noise, 0, 255).astype(np.uint8))


def test_numbers_by_hand():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 200
    values = dict(zip(STATISTICS, picture_numbers(stripes), strict=True))
    assert values["brightness"] == 100
    assert values["contrast"] == 100
    assert values["colourfulness"] == 0
    # Across always the opposite (31 of 32 places), down always the same.
    assert values["neighbour correlation"] == pytest.approx(0.0, abs=1e-9)


def statistics_of(labels, values, trivial_pictures):
    return PictureStatistics(np.array(labels), np.array(values, float), np.array(trivial_pictures))


def test_a_telling_share_of_noise_is_said_by_class():
    values = np.random.default_rng(1).normal(size=(200, 5))
    labels = np.repeat([0, 1], 100)
    few = np.arange(200) < 4
    assert trivial_data_caveats(statistics_of(labels, values, few)) == []
    many = np.arange(200) >= 150
    (caveat,) = trivial_data_caveats(statistics_of(labels, values, many))
    assert "50 of 100 fake images looked at are noise or one colour" in caveat


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_that_tells_the_classes_apart_is_named(sign):
    values = np.random.default_rng(2).normal(size=(60, 5))
    labels = np.repeat([0, 1], 30)
    values[:, 3] += 9 * sign * labels
    (caveat,) = trivial_data_caveats(statistics_of(labels, values, np.zeros(60, bool)))
    assert "sharpness (AUC 1.000) alone tells the fakes from the reals" in caveat
    one_class = statistics_of(labels[:30], values[:30], np.zeros(30, bool))
    assert trivial_data_caveats(one_class) == []
