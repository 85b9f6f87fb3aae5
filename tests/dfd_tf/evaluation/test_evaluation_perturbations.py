"""Perturbations: uint8 in and out, seeded, monotone in their level, and what they say they do."""

import io

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dfd_tf.evaluation.perturbations import PERTURBATIONS, check_names, missing_codec
from pipelines.errors import InputError
from pipelines.sources.synthetic_portraits import render_face

FACE = render_face(3, 1, 0, 96).pixels
SMOOTH = [name for name in PERTURBATIONS if name not in ("crop", "brightness", "contrast")]
every = pytest.mark.parametrize("name", PERTURBATIONS)


def apply(name, image, level, seed=0):
    return PERTURBATIONS[name].apply(image, level, np.random.default_rng(seed))


@every
def test_the_same_seed_gives_the_same_picture_and_leaves_its_input(name):
    before = FACE.copy()
    for level in PERTURBATIONS[name].levels:
        first, second = (apply(name, FACE, level) for _ in range(2))
        assert first.dtype == np.uint8
        assert np.array_equal(first, second)
        assert first.shape[2] == 3
        if name != "crop":
            assert first.shape == FACE.shape
        assert not np.array_equal(first, FACE)
    assert np.array_equal(FACE, before)


@pytest.mark.parametrize("name", SMOOTH)
def test_stronger_levels_do_more(name):
    errors = [
        np.mean(np.abs(apply(name, FACE, level).astype(float) - FACE))
        for level in PERTURBATIONS[name].levels
    ]
    assert errors == sorted(errors)
    assert errors[-1] > 1.5 * errors[0]


@pytest.mark.parametrize("name", ["brightness", "contrast"])
def test_both_directions_grow_with_their_distance_from_clean(name):
    perturbation = PERTURBATIONS[name]
    errors = [
        np.mean(np.abs(apply(name, FACE, level).astype(float) - FACE))
        for level in perturbation.levels
    ]
    below, above = errors[: perturbation.clean], errors[perturbation.clean :]
    assert below == sorted(below, reverse=True)
    assert above == sorted(above)


@every
@settings(max_examples=8, deadline=None)
@given(st.integers(8, 41), st.integers(8, 41), st.integers(0, 2**32 - 1))
def test_any_size_and_any_content(name, height, width, seed):
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    for level in (PERTURBATIONS[name].levels[0], PERTURBATIONS[name].levels[-1]):
        found = apply(name, image, level, seed)
        assert found.dtype == np.uint8
        assert found.ndim == 3
        assert name == "crop" or found.shape == image.shape


def test_jpeg_is_pillows_with_halved_chroma():
    data = io.BytesIO()
    Image.fromarray(FACE).save(data, "JPEG", quality=50, subsampling=2)
    with Image.open(data) as picture:
        assert np.array_equal(apply("jpeg", FACE, 50), np.asarray(picture))


def test_h264_is_one_key_frame_and_keeps_colours():
    assert missing_codec("h264") is None
    assert missing_codec("jpeg") is None
    flat = np.full((33, 47, 3), (200, 60, 90), np.uint8)
    assert np.abs(apply("h264", flat, 18).astype(int) - flat).max() <= 4
    # Twice the error means a loss by compression, not by a wrong colour matrix.
    fine, coarse = (
        np.mean(np.abs(apply("h264", FACE, crf).astype(float) - FACE)) for crf in (1, 42)
    )
    assert fine < 2.0 < coarse


def test_a_build_without_libx264_says_so(monkeypatch):
    monkeypatch.setattr(av, "codecs_available", {"mpeg4"})
    assert "no libx264" in missing_codec("h264")


def test_noise_has_its_deviation_and_depends_on_the_seed():
    grey = np.full((128, 128, 3), 128, np.uint8)
    noisy = apply("noise", grey, 10)
    assert np.std(noisy.astype(float)) == pytest.approx((10**2 + 1 / 12) ** 0.5, rel=0.02)
    assert np.mean(noisy.astype(float)) == pytest.approx(128, abs=0.2)
    assert not np.array_equal(noisy, apply("noise", grey, 10, seed=1))


def test_brightness_and_contrast_by_hand():
    image = np.array([[[0, 100, 250]], [[50, 100, 100]]], np.uint8)  # mean 100
    assert apply("brightness", image, 25).ravel().tolist() == [25, 125, 255, 75, 125, 125]
    assert apply("contrast", image, 0.5).ravel().tolist() == [50, 100, 175, 75, 100, 100]
    assert apply("contrast", image, 2.0).ravel().tolist() == [0, 100, 255, 0, 100, 100]


def test_crop_keeps_a_part_of_the_picture():
    image = np.arange(20 * 20 * 3, dtype=np.uint16).reshape(20, 20, 3).astype(np.uint8)
    places = set()
    for seed in range(20):
        part = apply("crop", image, 0.8, seed)
        assert part.shape == (16, 16, 3)
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(image[top : top + 16, left : left + 16], part)
        ]
        assert found
        places.update(found)
    assert len(places) > 5


def test_unknown_names_are_one_line():
    check_names(["jpeg", "crop"])
    with pytest.raises(InputError, match="no blurr, wavelet .there are jpeg, webp"):
        check_names(["wavelet", "jpeg", "blurr"])
