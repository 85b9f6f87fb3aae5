"""ResNet32 of the CIFAR family 6n+2 (n = 5): He et al. 2016, arXiv:1512.03385, section 4.2.

A 3x3 convolution of 16 channels, three stages of five basic blocks (16, 32, 64 channels),
option A shortcuts. Images (batch, height, width, 3) become features
(batch, height / 4, width / 4, 64).
"""

from typing import Any

import keras
from keras import layers, ops

from dfd_tf.networks.batch_normalization import BatchNormalization

STAGE_WIDTHS = (16, 32, 64)
BLOCKS_PER_STAGE = 5


@keras.saving.register_keras_serializable(package="dfd_tf")
class ZeroPaddedShortcut(layers.Layer):
    """Option A shortcut: every second pixel, zeros in the new channels, no weights.

    The zeros go in equal parts before and after the old channels, as in the PyTorch ports whose
    weights are in circulation.

    Args:
        channels: Number of output channels.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels

    def call(self, inputs: Any) -> Any:
        added = self.channels - inputs.shape[-1]
        before = added // 2
        return ops.pad(inputs[:, ::2, ::2, :], ((0, 0), (0, 0), (0, 0), (before, added - before)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "channels": self.channels}


def resnet32(image_size: int, num_outputs: int | None = None) -> keras.Model:
    """Builds the network.

    Args:
        image_size: Side of the square input, pixels.
        num_outputs: Number of float32 logits after global average pooling; None: the features.

    Returns:
        Model from (batch, image_size, image_size, 3), meant for values in [-1, 1], to the features
        or to (batch, num_outputs).
    """
    inputs = keras.Input((image_size, image_size, 3))
    x = _stages(inputs)[-1]
    if num_outputs is not None:
        x = layers.GlobalAveragePooling2D(dtype="float32")(x)
        x = layers.Dense(num_outputs, dtype="float32")(x)
    return keras.Model(inputs, x, name="resnet32")


def resnet32_stages(image_size: int) -> keras.Model:
    """Builds the network without its top, as a model of three outputs: the features of each stage.

    Args:
        image_size: Side of the square input, pixels.

    Returns:
        Model from (batch, image_size, image_size, 3), meant for values in [-1, 1], to features of
        16, 32 and 64 channels, each of half the side of those before; the last are `resnet32`'s.
    """
    inputs = keras.Input((image_size, image_size, 3))
    return keras.Model(inputs, _stages(inputs), name="resnet32")


def _stages(inputs: Any) -> list[Any]:
    x = _convolution(inputs, STAGE_WIDTHS[0])
    x = layers.ReLU()(_normalization(x))
    outputs = []
    for width in STAGE_WIDTHS:
        for _ in range(BLOCKS_PER_STAGE):
            x = _basic_block(x, width)
        outputs.append(x)
    return outputs


def _basic_block(x: Any, width: int) -> Any:
    strides = 1 if x.shape[-1] == width else 2
    shortcut = x if strides == 1 else ZeroPaddedShortcut(width)(x)
    x = _convolution(x, width, strides)
    x = layers.ReLU()(_normalization(x))
    # Zero scale: each block starts as its shortcut, so depth does not blow the features up.
    x = _normalization(_convolution(x, width), gamma_initializer="zeros")
    return layers.ReLU()(layers.Add()([x, shortcut]))


def _convolution(x: Any, width: int, strides: int = 1) -> Any:
    padding = "same"
    if strides == 2:
        # "same" would pad (0, 1) at stride 2; the original pads (1, 1).
        x = layers.ZeroPadding2D(1)(x)
        padding = "valid"
    return layers.Conv2D(
        width, 3, strides, padding, use_bias=False, kernel_initializer="he_normal"
    )(x)


def _normalization(x: Any, gamma_initializer: str = "ones") -> Any:
    return BatchNormalization(momentum=0.9, epsilon=1e-5, gamma_initializer=gamma_initializer)(x)
