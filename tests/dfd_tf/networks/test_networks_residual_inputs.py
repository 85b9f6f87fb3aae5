import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf

from dfd_tf.networks.residual_inputs import ResidualInput

LIMIT = 16 / 255
KINDS = ["srm", "npr", "laplacian"]


def pictures(spread=0.02, seed=0):
    """Grey with little grain, so that nothing is cut off."""
    noise = np.random.default_rng(seed).uniform(-spread, spread, (2, 13, 10, 3))
    return (0.5 + noise).astype("float32")


def residual(kind, images):
    """What the layer adds to 1/2, in the units of the image."""
    return (np.asarray(ResidualInput(kind)(images)) - 0.5) * 2 * LIMIT


def test_none_is_the_image():
    images = pictures()
    np.testing.assert_array_equal(ResidualInput("none")(images), images)


@pytest.mark.parametrize("kind", KINDS)
def test_smooth_pictures_have_no_residual(kind):
    flat = np.full((1, 8, 8, 3), 0.7, "float32")
    np.testing.assert_allclose(ResidualInput(kind)(flat), 0.5, atol=1e-5)


def test_laplacian_is_the_difference_to_opencvs_blur():
    images = pictures()
    kernel = cv2.getGaussianKernel(5, 0)  # OpenCV's 5 taps are 1, 4, 6, 4, 1 over 16
    assert np.allclose(kernel[:, 0] * 16, [1, 4, 6, 4, 1])
    for image, ours in zip(images, residual("laplacian", images), strict=True):
        blurred = cv2.sepFilter2D(image, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(ours, image - blurred, atol=1e-6)


def test_srm_answers_to_a_single_pixel_are_the_published_filters():
    images = np.full((1, 9, 9, 3), 0.5, "float32")
    images[0, 4, 4] += 0.01
    found = residual("srm", images)[0] / 0.01
    square5 = [[-1, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2]]
    np.testing.assert_allclose(found[2:5, 2:7, 0] * 12, square5, atol=1e-2)
    square3 = [[-1, 2, -1], [2, -4, 2], [-1, 2, -1]]
    np.testing.assert_allclose(found[3:6, 3:6, 1] * 4, square3, atol=1e-2)
    np.testing.assert_allclose(found[4, 2:7, 2] * 2, [0, 1, -2, 1, 0], atol=1e-2)
    assert np.abs(found[3, :, 2]).max() < 1e-3


def test_npr_is_the_difference_to_the_first_pixel_of_each_cell():
    images = pictures()
    expected = np.empty_like(images)
    for row in range(13):
        for column in range(10):
            first = images[:, row - row % 2, column - column % 2]
            expected[:, row, column] = images[:, row, column] - first
    np.testing.assert_allclose(residual("npr", images), expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_range_gradient_and_configuration(kind):
    layer = ResidualInput(kind)
    cut_off = np.asarray(layer(pictures(spread=0.5)))
    assert cut_off.min() == 0
    assert cut_off.max() == 1
    images = tf.constant(pictures())
    found = np.asarray(layer(images))
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(layer(images)[:, 3, 3])
    assert np.abs(tape.gradient(total, images)).max() > 0
    copy = ResidualInput.from_config(layer.get_config())
    np.testing.assert_array_equal(copy(images), found)


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_policies_leave_residuals_in_float32(kind):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        images = pictures()
        found = ResidualInput(kind)(images)
    finally:
        keras.config.set_dtype_policy(before)
    assert found.dtype == "float32"
    np.testing.assert_array_equal(found, ResidualInput(kind)(images))
