"""SqueezeNet v1.1 without its classifier: Iandola et al. 2016, arXiv:1602.07360.

The layout, names aside, of github.com/rcmalli/keras-squeezenet, whose ImageNet weights were
converted from the authors' Caffe model: they want BGR in [0, 255] less `CAFFE_MEAN_BGR`.
722,496 weights; (batch, height, width, 3) becomes (batch, about height / 16, width / 16, 512).
"""

from typing import Any

import keras
from keras import layers

CAFFE_MEAN_BGR = (104.006, 116.669, 122.679)

# Channels of a fire module's squeeze and of each of its expansions, by pooling stage.
FIRE_STAGES = (
    ((16, 64), (16, 64)),
    ((32, 128), (32, 128)),
    ((48, 192), (48, 192), (64, 256), (64, 256)),
)


def squeezenet(image_size: int) -> keras.Model:
    """Builds the feature extractor.

    Args:
        image_size: Side of the square input, pixels, at least 32.

    Returns:
        Model from (batch, image_size, image_size, 3) to the features of the last fire module,
        all of them >= 0.
    """
    if image_size < 32:
        raise ValueError(f"squeezenet needs images of 32 pixels or more. Received: {image_size}")
    inputs = keras.Input((image_size, image_size, 3))
    # Strided windows are "valid" here, as in the port: no "same" padding to disagree about.
    x = _convolution(inputs, 64, 3, "conv1", strides=2, padding="valid")
    number = 2
    for stage in FIRE_STAGES:
        x = layers.MaxPooling2D(3, 2)(x)
        for squeeze, expand in stage:
            x = _fire(x, squeeze, expand, f"fire{number}")
            number += 1
    return keras.Model(inputs, x, name="squeezenet")


def _fire(x: Any, squeeze: int, expand: int, name: str) -> Any:
    x = _convolution(x, squeeze, 1, f"{name}_squeeze1x1")
    narrow = _convolution(x, expand, 1, f"{name}_expand1x1")
    wide = _convolution(x, expand, 3, f"{name}_expand3x3")
    return layers.Concatenate(name=f"{name}_concat")([narrow, wide])


def _convolution(
    x: Any, width: int, kernel: int, name: str, strides: int = 1, padding: str = "same"
) -> Any:
    return layers.Conv2D(
        width,
        kernel,
        strides,
        padding,
        activation="relu",
        kernel_initializer="he_normal",
        name=name,
    )(x)
