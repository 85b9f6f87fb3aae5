import keras
import numpy as np
import pytest

from dfd_tf.networks.dcgan import dcgan_generator


def trainable_count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_published_layout():
    generator = dcgan_generator(64)
    assert trainable_count(generator) == 3_576_704
    assert generator.output_shape == (None, 64, 64, 3)
    kernels = [weight.shape for weight in generator.trainable_weights if weight.name == "kernel"]
    # Keras has (side, side, out, in) for transposed convolutions.
    doublings = [(256, 512), (128, 256), (64, 128), (3, 64)]
    assert kernels == [(100, 8192), *[(4, 4, *channels) for channels in doublings]]
    assert {weight.name for weight in generator.trainable_weights} == {"kernel", "gamma", "beta"}


@pytest.mark.parametrize(("size", "channels"), [(8, [3]), (32, [8, 4, 3]), (128, [8, 4, 2, 1, 3])])
def test_other_sizes_take_other_numbers_of_layers(size, channels):
    generator = dcgan_generator(size, latent=5, width=16)
    found = [layer for layer in generator.layers if isinstance(layer, keras.layers.Conv2DTranspose)]
    assert [layer.filters for layer in found] == channels
    images = np.asarray(generator(np.random.default_rng(0).normal(size=(3, 5))))
    assert images.shape == (3, size, size, 3)
    assert np.abs(images).max() <= 1


def test_images_are_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        generator = dcgan_generator(8, latent=3, width=4)
    finally:
        keras.config.set_dtype_policy(before)
    last = generator.trainable_weights[-1]
    last.assign(last * 100.0)  # Where tanh bends: near 0 it returns the half-precision input.
    images = generator(np.random.default_rng(0).normal(size=(2, 3)))
    assert images.dtype == "float32"
    coarse = keras.ops.cast(keras.ops.cast(images, "float16"), "float32")
    assert np.mean(np.asarray(images) != np.asarray(coarse)) > 0.5


def test_doubling_is_that_of_padding_one():
    """ConvTranspose2d(kernel 4, stride 2, padding 1) against its definition."""
    generator = dcgan_generator(8, latent=3, width=4)
    layer = next(x for x in generator.layers if isinstance(x, keras.layers.Conv2DTranspose))
    kernel = np.asarray(layer.kernel, "float64")  # (4, 4, out, in)
    features = np.random.default_rng(0).normal(size=(4, 4, 4))
    spread = np.zeros((10, 10, 3))
    for row in range(4):
        for column in range(4):
            patch = np.einsum("ijoc,c->ijo", kernel, features[row, column])
            spread[2 * row : 2 * row + 4, 2 * column : 2 * column + 4] += patch
    found = layer(features[None].astype("float32"))[0]
    np.testing.assert_allclose(found, spread[1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize("size", [0, 4, 7, 9, 48, 65])
def test_sizes_without_a_layout_are_refused(size):
    with pytest.raises(ValueError, match=f"must be 8, 16, 32, 64, ... Received: image_size={size}"):
        dcgan_generator(size)


def test_a_width_too_small_to_halve_is_refused():
    with pytest.raises(ValueError, match="width must be 8 or more at 64 pixels. Received: width=7"):
        dcgan_generator(64, width=7)
    assert dcgan_generator(64, latent=2, width=8).output_shape == (None, 64, 64, 3)
