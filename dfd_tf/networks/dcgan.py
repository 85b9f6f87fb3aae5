"""Generator of the DCGAN: Radford, Metz and Chintala 2016, arXiv:1511.06434, section 3.

Noise (batch, latent) becomes images (batch, image_size, image_size, 3), float32 in [-1, 1]: a dense
layer to 4x4, then transposed 4x4 convolutions of stride 2, each doubling the side and halving the
channels. Only batch normalisation has biases: 3,576,704 weights at 64 pixels and width 512.
"""

from typing import Any

import keras
from keras import layers

from dfd_tf.networks.batch_normalization import BatchNormalization

FIRST_SIDE = 4
_INITIAL_DEVIATION = 0.02


def dcgan_generator(image_size: int, latent: int = 100, width: int = 512) -> keras.Model:
    """Builds the network.

    Args:
        image_size: Side of the images, pixels: 8, 16, 32, 64, ...
        latent: Length of a noise vector.
        width: Channels of the first, 4x4 feature map.

    Returns:
        Model from noise, meant to be standard normal, to images.
    """
    num_doublings = (image_size // FIRST_SIDE).bit_length() - 1
    if num_doublings < 1 or image_size != FIRST_SIDE * 2**num_doublings:
        raise ValueError(f"image_size must be 8, 16, 32, 64, ... Received: image_size={image_size}")
    if width >> (num_doublings - 1) == 0:
        raise ValueError(
            f"width must be {2 ** (num_doublings - 1)} or more at {image_size} pixels. "
            f"Received: width={width}"
        )
    inputs = keras.Input((latent,))
    x = layers.Dense(
        FIRST_SIDE * FIRST_SIDE * width, use_bias=False, kernel_initializer=_initializer()
    )(inputs)
    x = _normalized_relu(layers.Reshape((FIRST_SIDE, FIRST_SIDE, width))(x))
    for doubling in range(1, num_doublings):
        x = _normalized_relu(_doubled(x, width >> doubling))
    x = _doubled(x, 3)
    # float32: tanh in half precision would round the images to coarse steps.
    outputs = layers.Activation("tanh", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="generator")


def _doubled(x: Any, width: int) -> Any:
    return layers.Conv2DTranspose(
        width, 4, 2, "same", use_bias=False, kernel_initializer=_initializer()
    )(x)


def _normalized_relu(x: Any) -> Any:
    return layers.ReLU()(BatchNormalization(momentum=0.9, epsilon=1e-5)(x))


def _initializer() -> keras.initializers.Initializer:
    # A fresh one a layer: an instance draws the same values again.
    return keras.initializers.RandomNormal(stddev=_INITIAL_DEVIATION)
