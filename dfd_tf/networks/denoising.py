"""Encoder and decoder of the denoising autoencoder (DETECTORS 1).

Each stage halves or doubles the sides by a 4x4 convolution of stride 2 without bias, followed by
batch normalisation and LeakyReLU 0.2 (encoder) or ReLU (decoder). At kernel 4 and stride 2 "same"
pads (1, 1), so the layout is that of the PyTorch original.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from dfd_tf.networks.batch_normalization import BatchNormalization


def denoising_encoder(image_size: int, widths: Sequence[int], latent: int) -> keras.Model:
    """Builds the encoder.

    Args:
        image_size: Side of the square input, pixels; a multiple of 2 ** len(widths).
        widths: Channels of the stages.
        latent: Length of the latent vector.

    Returns:
        Model from images (batch, image_size, image_size, 3) in [0, 1] to (batch, latent), linear.
    """
    inputs = keras.Input((image_size, image_size, 3))
    x: Any = inputs
    for width in widths:
        x = layers.Conv2D(width, 4, 2, "same", use_bias=False)(x)
        x = layers.LeakyReLU(0.2)(_normalization(x))
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(latent)(x), name="encoder")


def denoising_decoder(image_size: int, widths: Sequence[int], latent: int) -> keras.Model:
    """Builds the decoder, the mirror of `denoising_encoder` for the same arguments.

    Returns:
        Model from (batch, latent) to images (batch, image_size, image_size, 3), float32 in [0, 1].
    """
    side, remainder = divmod(image_size, 2 ** len(widths))
    if side == 0 or remainder:
        raise ValueError(
            f"image_size must be a multiple of {2 ** len(widths)} with {len(widths)} widths. "
            f"Received: image_size={image_size}"
        )
    inputs = keras.Input((latent,))
    x = layers.Dense(side * side * widths[-1])(inputs)
    x = layers.Reshape((side, side, widths[-1]))(x)
    for width in reversed(widths[:-1]):
        x = layers.Conv2DTranspose(width, 4, 2, "same", use_bias=False)(x)
        x = layers.ReLU()(_normalization(x))
    x = layers.Conv2DTranspose(3, 4, 2, "same")(x)
    # float32: a sigmoid in half precision would round the reconstruction to coarse steps.
    outputs = layers.Activation("sigmoid", dtype="float32")(x)
    return keras.Model(inputs, outputs, name="decoder")


def _normalization(x: Any) -> Any:
    return BatchNormalization(momentum=0.9, epsilon=1e-5)(x)
