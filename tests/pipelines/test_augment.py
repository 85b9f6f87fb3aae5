"""The composed augmentation: identity, determinism, ranges, probabilities, independence."""

import inspect
from dataclasses import fields, replace

import numpy as np
import pytest
import tensorflow as tf

from pipelines.augment import augment
from pipelines.settings import AugmentSettings

SIZE = 32
OFF = AugmentSettings(
    flip=0, crop_scale=(1, 1), rotation=0, rotation_probability=0, brightness=0, contrast=0,
    saturation=0, hue=0, jpeg=0, blur=0, resize=0, noise=0, cutout=0,
)  # fmt: skip
EVERYTHING = replace(
    AugmentSettings(), flip=0.5, rotation_probability=0.5, jpeg=0.5, blur=0.5, resize=0.5,
    noise=0.5, cutout=0.5,
)  # fmt: skip
STEPS = {
    "flip": replace(OFF, flip=1.0),
    "crop": replace(OFF, crop_scale=(0.5, 0.6)),
    "rotation": replace(OFF, rotation=20.0, rotation_probability=1.0),
    "brightness": replace(OFF, brightness=0.2),
    "contrast": replace(OFF, contrast=0.5),
    "saturation": replace(OFF, saturation=0.9),
    "hue": replace(OFF, hue=0.1),
    "jpeg": replace(OFF, jpeg=1.0),
    "blur": replace(OFF, blur=1.0, blur_sigma=(1.0, 1.5)),
    "resize": replace(OFF, resize=1.0, resize_scale=(0.5, 0.6)),
    "noise": replace(OFF, noise=1.0, noise_stddev=(0.02, 0.03)),
    "cutout": replace(OFF, cutout=1.0),
}


@pytest.fixture(scope="module")
def image():
    pixels = np.random.default_rng(1).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    return tf.constant(pixels)


def unit(image):
    return tf.cast(image, tf.float32) / 255.0


def seeds(number):
    return tf.stack(
        [tf.fill([number], tf.constant(7, tf.int64)), tf.range(number, dtype=tf.int64)], 1
    )


def augment_many(image, settings, number=200):
    dataset = tf.data.Dataset.from_tensor_slices(seeds(number))
    dataset = dataset.map(lambda seed: augment(image, seed, settings)).batch(number)
    return next(iter(dataset)).numpy()


def test_off_is_the_identity(image):
    np.testing.assert_allclose(augment_many(image, OFF, 3), [unit(image)] * 3, atol=1e-7)


def test_uint8_and_float_are_the_same_picture(image):
    seed = seeds(1)[0]
    np.testing.assert_allclose(
        augment(image, seed, EVERYTHING), augment(unit(image), seed, EVERYTHING), atol=1 / 255
    )


@pytest.mark.parametrize("name", STEPS)
def test_every_step_is_in_the_chain(image, name):
    changed = augment_many(image, STEPS[name], 5)
    assert all(np.abs(one - unit(image)).max() > 0.01 for one in changed)


def test_the_settings_have_no_step_without_a_test():
    ranges = {"crop_scale", "rotation_probability"}
    ranges |= {"jpeg_quality", "blur_sigma", "resize_scale", "noise_stddev", "cutout_size"}
    assert {field.name for field in fields(AugmentSettings)} - ranges == {*STEPS} - {"crop"}


@pytest.mark.parametrize("value", [0, 128, 255])
def test_values_stay_in_range(image, value):
    flat = tf.fill(image.shape, tf.constant(value, tf.uint8))
    for source in (flat, image):
        many = augment_many(source, EVERYTHING, 100)
        assert many.dtype == np.float32
        assert many.shape == (100, SIZE, SIZE, 3)
        assert np.isfinite(many).all()
        assert many.min() >= 0.0
        assert many.max() <= 1.0


def test_same_seed_same_picture_whatever_the_global_seed(image):
    tf.random.set_seed(1)
    first = augment_many(image, EVERYTHING, 50)
    tf.random.set_seed(2)
    np.testing.assert_array_equal(augment_many(image, EVERYTHING, 50), first)
    eager = [augment(image, seed, EVERYTHING) for seed in seeds(50)]
    np.testing.assert_allclose(eager, first, atol=1e-6)


def test_neighbouring_seeds_give_different_pictures(image):
    many = augment_many(image, EVERYTHING, 50).reshape(50, -1)
    assert len(np.unique(many, axis=0)) == 50


def test_probabilities_are_kept(image):
    many = augment_many(image, replace(OFF, flip=0.3), 600)
    flipped = np.abs(many - unit(image)[:, ::-1]).max(axis=(1, 2, 3)) < 1e-6
    # 600 draws at 0.3: five standard deviations are 0.094.
    assert abs(flipped.mean() - 0.3) < 0.094


def test_ranges_are_reached_and_kept(image):
    grey = tf.fill(image.shape, tf.constant(128, tf.uint8))
    shifts = augment_many(grey, replace(OFF, brightness=0.2), 400)[:, 0, 0, 0] - 128 / 255
    assert -0.2 <= shifts.min() < -0.18
    assert 0.18 < shifts.max() <= 0.2 + 1e-6


def test_steps_are_drawn_independently(image):
    settings = replace(OFF, flip=0.5, cutout=0.5)
    many = augment_many(tf.zeros_like(image), settings, 400)
    cut = many.max(axis=(1, 2, 3)) > 0.4
    gradient = tf.cast(tf.range(SIZE)[tf.newaxis, :, tf.newaxis] * 8, tf.uint8)
    many = augment_many(tf.tile(gradient, (SIZE, 1, 3)), settings, 400)
    flipped = np.median(many[:, :, 0, 0], axis=1) > np.median(many[:, :, -1, 0], axis=1)
    # 400 pairs: a correlation of five standard errors is 0.25.
    assert abs(np.corrcoef(cut, flipped)[0, 1]) < 0.25


def test_it_cannot_see_a_label():
    assert [*inspect.signature(augment).parameters] == ["image", "seed", "settings"]
