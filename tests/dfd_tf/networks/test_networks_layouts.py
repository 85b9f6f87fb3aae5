"""The networks' numbers, checked against plain NumPy, and their parameter counts."""

import h5py
import keras
import numpy as np
import pytest

from dfd_tf.networks.residual import residual_decoder, residual_encoder
from dfd_tf.networks.resnet32 import resnet32
from dfd_tf.networks.squeezenet import CAFFE_MEAN_BGR, squeezenet
from dfd_tf.networks.weight_files import load_weight_file

WEIGHTS = "models/squeezenet_v1.1_imagenet_notop_tf.h5"


def convolve(x, kernel, stride=1, padding=0, bias=0.0):
    """Cross-correlation of (height, width, in) with (k, k, in, out), float64, zero padding."""
    x = np.pad(x, ((padding, padding), (padding, padding), (0, 0)))
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(0, 1))
    windows = windows[::stride, ::stride]  # (height, width, in, k, k)
    return np.einsum("hwcij,ijco->hwo", windows, kernel) + bias


def max_pool(x):
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))
    return windows[::2, ::2].max((-2, -1))


def relu(x):
    return np.maximum(x, 0.0)


def normalize(x, gamma, beta, mean, variance):
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def randomize(model, seed=0):
    random = np.random.default_rng(seed)
    for weight in model.weights:
        if weight.name == "kernel":
            values = random.normal(0, np.sqrt(2 / np.prod(weight.shape[:-1])), weight.shape)
        elif weight.name in {"gamma", "moving_variance"}:
            values = random.uniform(0.5, 1.5, weight.shape)
        else:
            values = random.normal(0, 0.1, weight.shape)
        weight.assign(values)


def trainable_count(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def numpy_resnet32(image, weights):
    """Weights in order of use: kernel, gamma, beta, mean, variance per convolution; head last."""
    weights = [np.asarray(weight, "float64") for weight in weights]
    *stack, head_kernel, head_bias = weights
    layers = iter([stack[i : i + 5] for i in range(0, len(stack), 5)])

    def convolution(x, stride=1):
        kernel, *normalization = next(layers)
        return normalize(convolve(x, kernel, stride, padding=1), *normalization)

    x = relu(convolution(image))
    for width in (16, 32, 64):
        for _ in range(5):
            shortcut, stride = x, 1
            if x.shape[-1] != width:
                added = (width - x.shape[-1]) // 2
                shortcut, stride = np.pad(x[::2, ::2], ((0, 0), (0, 0), (added, added))), 2
            x = relu(convolution(relu(convolution(x, stride))) + shortcut)
    assert next(layers, None) is None
    return x.mean((0, 1)) @ head_kernel + head_bias


def weights_in_order_of_use(model):
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    ordered = []
    for layer in convolutions:
        (node,) = layer._outbound_nodes
        ordered += [*layer.weights, *node.operation.weights]
    return [*ordered, *model.layers[-1].weights]


@pytest.mark.parametrize("image_size", [16, 18])
def test_resnet32_equals_numpy(image_size):
    model = resnet32(image_size, num_outputs=3)
    randomize(model)
    image = np.random.default_rng(1).uniform(-1, 1, (image_size, image_size, 3))
    expected = numpy_resnet32(image, weights_in_order_of_use(model))
    found = model(image[None].astype("float32"), training=False)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(("outputs", "count"), [(1, 463_569), (3, 463_699), (10, 464_154)])
def test_resnet32_counts(outputs, count):
    assert trainable_count(resnet32(32, outputs)) == count


def test_resnet32_starts_with_features_of_the_size_of_its_input():
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    assert float(np.abs(resnet32(32)(images)).max()) < 10


def numpy_squeezenet(image, file):
    """Arrays by their names in the port's file, and the port's layout."""

    def convolution(x, name, stride=1, padding=0):
        kernel, bias = (file[name][key][()] for key in file[name].attrs["weight_names"])
        return relu(convolve(x, kernel.astype("float64"), stride, padding, bias))

    x = max_pool(convolution(image, "conv1", stride=2))
    for number in range(2, 10):
        squeezed = convolution(x, f"fire{number}/squeeze1x1")
        narrow = convolution(squeezed, f"fire{number}/expand1x1")
        wide = convolution(squeezed, f"fire{number}/expand3x3", padding=1)
        x = np.concatenate([narrow, wide], axis=-1)
        if number in {3, 5}:
            x = max_pool(x)
    return x


def test_squeezenet_with_imagenet_weights_equals_numpy(shared_data):
    model = squeezenet(71)
    assert len(model.weights) == 50
    assert trainable_count(model) == 722_496
    load_weight_file(model, shared_data / WEIGHTS)
    image = np.random.default_rng(0).uniform(0, 255, (71, 71, 3)) - CAFFE_MEAN_BGR
    with h5py.File(shared_data / WEIGHTS) as file:
        expected = numpy_squeezenet(image, file)
    found = model(image[None].astype("float32"))[0]
    assert found.shape == expected.shape
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.max())


def test_squeezenet_refuses_images_too_small_for_its_pooling():
    with pytest.raises(ValueError, match="32 pixels or more. Received: 31"):
        squeezenet(31)
    assert squeezenet(32).output_shape == (None, 1, 1, 512)


def test_residual_autoencoder_counts():
    widths = (64, 128, 256, 512, 512)
    encoder, decoder = residual_encoder(128, widths, 512), residual_decoder(128, widths, 512)
    latent_dense, decoder_dense = 8192 * 512 + 512, 512 * 8192 + 8192
    assert trainable_count(encoder) == 13_226_944 + latent_dense
    assert trainable_count(decoder) == 13_225_411 + decoder_dense
    assert latent_dense + decoder_dense == 8_397_312
    moving = [w for model in (encoder, decoder) for w in model.non_trainable_weights]
    assert sum(int(np.prod(weight.shape)) for weight in moving) == 12_544


def test_residual_encoder_pads_one_pixel_on_each_side():
    """The first convolution, 4x4 of stride 2, against NumPy with padding (1, 1)."""
    encoder = residual_encoder(8, (4, 6), 3)
    randomize(encoder)
    first = next(layer for layer in encoder.layers if isinstance(layer, keras.layers.Conv2D))
    image = np.random.default_rng(0).normal(size=(8, 8, 3))
    kernel, bias = (np.asarray(weight, "float64") for weight in first.weights)
    expected = convolve(image, kernel, stride=2, padding=1, bias=bias)
    np.testing.assert_allclose(first(image[None].astype("float32"))[0], expected, atol=1e-5)


def test_residual_decoder_refuses_sizes_it_cannot_reach():
    with pytest.raises(ValueError, match="multiple of 8 with 3 widths. Received: image_size=36"):
        residual_decoder(36, (4, 4, 4), 2)
