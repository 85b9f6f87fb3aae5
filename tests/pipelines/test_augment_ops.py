"""Each degradation against an independent implementation, eagerly and inside `Dataset.map`."""

import colorsys
import io

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance
from scipy import ndimage

from pipelines.augment_ops import (
    INTERPOLATIONS,
    add_noise,
    adjust_colour,
    cut_out,
    gaussian_blur,
    jpeg_round_trip,
    rescale,
    warp,
)

SIZE = 48


@pytest.fixture(scope="module")
def image():
    """A smooth picture with an edge, float32 on 1/255 steps."""
    generator = np.random.default_rng(5)
    small = generator.integers(20, 236, (6, 6, 3), np.uint8)
    pixels = np.asarray(Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    pixels = pixels.copy()
    pixels[10:20, 25:40] = (250, 10, 90)
    return pixels.astype(np.float32) / np.float32(255)


def both(function, image):
    """Runs a step eagerly and inside tf.data, checks that they agree, returns the result."""
    eager = function(tf.constant(image)).numpy()
    mapped = tf.data.Dataset.from_tensors(image).map(lambda x: function(x))
    np.testing.assert_allclose(next(iter(mapped)).numpy(), eager, atol=1e-6)
    assert mapped.element_spec.shape == image.shape
    return eager


def warped(image, **changes):
    settings = {"flip": False, "left": 0.0, "top": 0.0, "side": 1.0, "degrees": 0.0} | changes
    tensors = {key: tf.constant(value) for key, value in settings.items()}
    return both(lambda x: warp(x, **tensors), image)


def test_warp_of_nothing_is_the_identity(image):
    np.testing.assert_array_equal(warped(image), image)


def test_warp_flips(image):
    np.testing.assert_allclose(warped(image, flip=True), image[:, ::-1], atol=1e-6)


def test_warp_turns_counter_clockwise_by_right_angles(image):
    np.testing.assert_allclose(warped(image, degrees=90.0), np.rot90(image), atol=1e-4)
    np.testing.assert_allclose(warped(image, degrees=180.0), image[::-1, ::-1], atol=1e-4)


def test_warp_crops_as_opencv_resizes(image):
    # A crop of 24 pixels at (12, 6): OpenCV's linear resize has the same pixel centres. It mirrors
    # nothing at the crop's border, where ours still sees the image: compare the inside.
    crop = cv2.resize(image[6:30, 12:36], (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    ours = warped(image, left=12 / SIZE, top=6 / SIZE, side=0.5)
    np.testing.assert_allclose(ours[1:-1, 1:-1], crop[1:-1, 1:-1], atol=1e-5)


def test_warp_rotates_as_scipy_does(image):
    # scipy names the mirror that repeats the edge "reflect", as TensorFlow does.
    expected = ndimage.rotate(image, 17.0, reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(warped(image, degrees=17.0), expected, atol=1e-4)


def test_warp_rotates_first_then_crops_then_flips(image):
    steps = warped(image, degrees=11.0)
    steps = warped(steps, left=0.25, top=0.125, side=0.75)
    steps = warped(steps, flip=True)
    at_once = warped(image, degrees=11.0, left=0.25, top=0.125, side=0.75, flip=True)
    # Two resamplings are softer than one.
    assert np.abs(steps - at_once)[2:-2, 2:-2].mean() < 0.01


def coloured(image, **changes):
    settings = {"brightness": 0.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0} | changes
    tensors = {key: tf.constant(value) for key, value in settings.items()}
    return both(lambda x: adjust_colour(x, **tensors), image)


def test_colour_of_nothing_is_the_identity(image):
    np.testing.assert_allclose(coloured(image), image, atol=1e-6)


def test_brightness_is_added(image):
    np.testing.assert_allclose(coloured(image, brightness=0.2), image + 0.2, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "enhance"), [("contrast", ImageEnhance.Contrast), ("saturation", ImageEnhance.Color)]
)
@pytest.mark.parametrize("factor", [0.5, 0.9, 1.3])
def test_contrast_and_saturation_are_pillows(image, name, enhance, factor):
    pillow = enhance(Image.fromarray(np.uint8(image * 255 + 0.5))).enhance(factor)
    ours = np.clip(coloured(image, **{name: factor}), 0, 1) * 255
    # Pillow rounds the grey picture and the result to whole levels.
    np.testing.assert_allclose(ours, np.asarray(pillow, np.float32), atol=2.0)


def test_hue_is_a_rotation_in_yiq(image):
    ours = coloured(0.3 + 0.4 * image, hue=0.05)

    def turned(pixel):
        y, i, q = colorsys.rgb_to_yiq(*pixel)
        turn = (i + 1j * q) * np.exp(2j * np.pi * 0.05)
        return colorsys.yiq_to_rgb(y, turn.real, turn.imag)

    expected = np.apply_along_axis(turned, 2, 0.3 + 0.4 * image)
    # Python's colorsys has the same standard's coefficients to two digits.
    np.testing.assert_allclose(ours, expected, atol=0.02)
    assert np.abs(ours - (0.3 + 0.4 * image)).max() > 0.05


def test_a_full_turn_of_hue_changes_nothing(image):
    np.testing.assert_allclose(coloured(image, hue=1.0), image, atol=1e-5)


def test_colour_is_its_four_steps_in_turn(image):
    steps = coloured(image, brightness=-0.1)
    for change in ({"contrast": 1.2}, {"saturation": 0.7}, {"hue": -0.04}):
        steps = coloured(steps, **change)
    at_once = coloured(image, brightness=-0.1, contrast=1.2, saturation=0.7, hue=-0.04)
    np.testing.assert_allclose(at_once, steps, atol=1e-5)


@pytest.mark.parametrize("quality", [40, 75, 95, 100])
def test_jpeg_is_pillows(image, quality):
    ours = both(lambda x: jpeg_round_trip(x, tf.constant(quality)), image)
    file = io.BytesIO()
    Image.fromarray(np.uint8(image * 255 + 0.5)).save(file, "JPEG", quality=quality)
    np.testing.assert_allclose(ours * 255, np.asarray(Image.open(file), np.float32), atol=1e-3)


def test_jpeg_loses_less_at_higher_quality(image):
    def loss(quality):
        return np.abs(jpeg_round_trip(tf.constant(image), tf.constant(quality)) - image).mean()

    assert loss(40) > 2 * loss(98) > 0


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.5])
def test_blur_is_opencvs(image, sigma):
    ours = both(lambda x: gaussian_blur(x, tf.constant(sigma), 5), image)
    expected = cv2.GaussianBlur(image, (11, 11), sigma, borderType=cv2.BORDER_REFLECT_101)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_blur_of_nothing_is_the_identity(image):
    np.testing.assert_array_equal(gaussian_blur(tf.constant(image), tf.constant(0.0), 5), image)


@pytest.mark.parametrize("down", range(len(INTERPOLATIONS)))
@pytest.mark.parametrize("up", [0, 1, 2, 3])
def test_rescale_is_pillows(image, down, up):
    ours = rescale(tf.constant(image), tf.constant(0.6), tf.constant(down), tf.constant(up))

    def resized(channel, size, method):
        pillow = {
            "nearest": Image.Resampling.NEAREST,
            "bilinear": Image.Resampling.BILINEAR,
            "bicubic": Image.Resampling.BICUBIC,
            "lanczos3": Image.Resampling.LANCZOS,
        }[INTERPOLATIONS[method]]
        return np.asarray(Image.fromarray(channel).resize((size, size), pillow))

    small = round(0.6 * SIZE)
    channels = [resized(resized(image[..., c], small, down), SIZE, up) for c in range(3)]
    np.testing.assert_allclose(ours, np.stack(channels, -1), atol=1e-4)


@pytest.mark.parametrize("method", range(len(INTERPOLATIONS)))
def test_rescale_by_one_is_the_identity(image, method):
    index = tf.constant(method)
    ours = both(lambda x: rescale(x, tf.constant(1.0), index, index), image)
    np.testing.assert_allclose(ours, image, atol=1e-6)


def test_rescale_of_a_tiny_factor_leaves_one_pixel(image):
    index = tf.constant(0)
    ours = rescale(tf.constant(image), tf.constant(0.001), index, index).numpy()
    assert (ours == ours[0, 0]).all()


def test_noise_has_its_stddev_and_is_the_seeds(image):
    wide = np.full((256, 256, 3), 0.5, np.float32)
    seed = tf.constant([3, 4], tf.int64)
    noise = both(lambda x: add_noise(x, tf.constant(0.1), seed), wide) - wide
    # Standard error of the mean 0.1 / sqrt(196608) = 0.00023, of the deviation 0.00016.
    assert abs(noise.mean()) < 0.001
    assert abs(noise.std() - 0.1) < 0.0007
    again = add_noise(tf.constant(wide), tf.constant(0.1), seed) - wide
    other = add_noise(tf.constant(wide), tf.constant(0.1), seed + 1) - wide
    np.testing.assert_array_equal(noise, again)
    assert abs(np.corrcoef(noise.ravel(), other.numpy().ravel())[0, 1]) < 0.01
    np.testing.assert_array_equal(add_noise(tf.constant(image), tf.constant(0.0), seed), image)


def test_cut_out_paints_one_grey_square(image):
    arguments = [tf.constant(value) for value in (0.25, 0.5, 0.25)]
    expected = image.copy()
    expected[24:36, 12:24] = 0.5
    np.testing.assert_array_equal(both(lambda x: cut_out(x, *arguments), image), expected)
    none = [tf.constant(value) for value in (0.25, 0.5, 0.0)]
    np.testing.assert_array_equal(cut_out(tf.constant(image), *none), image)
