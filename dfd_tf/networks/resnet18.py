"""ResNet18: He et al. 2016, arXiv:1512.03385, in the layout of torchvision.

Layers are named by torchvision's keys with `_` for `.` (`layer2_0_downsample_1` holds
`layer2.0.downsample.1.weight`, ...). Strided windows are padded explicitly by half the kernel on
both sides: "same" at stride 2 would pad (0, 1) and give other features for the same weights.
Images (batch, height, width, 3), standardised by ImageNet's mean and deviation, become
(batch, height / 4, width / 4, 64) after `layer1`, then half the sides and twice the channels after
each of `layer2`, `layer3` and `layer4`.
"""

from typing import Any

import keras
from keras import layers

from dfd_tf.networks.batch_normalization import BatchNormalization

STAGE_WIDTHS = (64, 128, 256, 512)
BLOCKS_PER_STAGE = 2


def resnet18(image_size: int, num_outputs: int | None = None) -> keras.Model:
    """Builds the network: 11,176,512 trainable weights without outputs.

    Args:
        image_size: Side of the square input, pixels.
        num_outputs: Number of float32 logits after global average pooling (1000 give the
            11,689,512 weights of the paper's network); None: the features.

    Returns:
        Model from (batch, image_size, image_size, 3) to the features of `layer4` or to
        (batch, num_outputs).
    """
    inputs = keras.Input((image_size, image_size, 3))
    x = _stages(inputs, len(STAGE_WIDTHS), None)[-1]
    if num_outputs is not None:
        x = layers.GlobalAveragePooling2D(dtype="float32", name="avgpool")(x)
        x = layers.Dense(num_outputs, dtype="float32", name="fc")(x)
    return keras.Model(inputs, x, name="resnet18")


def resnet18_stages(image_size: int, num_stages: int, dtype: str | None = None) -> keras.Model:
    """Builds the first stages: 2,782,784 trainable weights for three of them.

    Args:
        image_size: Side of the square input, pixels.
        num_stages: Number of stages, 1 to 4.
        dtype: Policy of the layers; None: the global one.

    Returns:
        Model from (batch, image_size, image_size, 3) to the list of the features after each stage.
    """
    if not 1 <= num_stages <= len(STAGE_WIDTHS):
        raise ValueError(f"num_stages must be 1 to {len(STAGE_WIDTHS)}. Received: {num_stages}")
    inputs = keras.Input((image_size, image_size, 3))
    return keras.Model(inputs, _stages(inputs, num_stages, dtype), name="resnet18")


def _stages(inputs: Any, num_stages: int, dtype: str | None) -> list[Any]:
    x = _convolution(inputs, 64, 7, 2, dtype, "conv1")
    x = layers.ReLU(dtype=dtype, name="relu")(_normalization(x, dtype, "bn1"))
    # Nothing is below zero after ReLU, so zeros around it are as good as torchvision's -inf.
    x = layers.ZeroPadding2D(1, dtype=dtype, name="maxpool_pad")(x)
    x = layers.MaxPooling2D(3, 2, dtype=dtype, name="maxpool")(x)
    outputs = []
    for stage, width in enumerate(STAGE_WIDTHS[:num_stages], 1):
        for block in range(BLOCKS_PER_STAGE):
            strides = 2 if stage > 1 and block == 0 else 1
            x = _basic_block(x, width, strides, dtype, f"layer{stage}_{block}")
        outputs.append(x)
    return outputs


def _basic_block(x: Any, width: int, strides: int, dtype: str | None, name: str) -> Any:
    shortcut = x
    if strides != 1:
        shortcut = _convolution(x, width, 1, strides, dtype, f"{name}_downsample_0")
        shortcut = _normalization(shortcut, dtype, f"{name}_downsample_1")
    y = _convolution(x, width, 3, strides, dtype, f"{name}_conv1")
    y = layers.ReLU(dtype=dtype, name=f"{name}_relu")(_normalization(y, dtype, f"{name}_bn1"))
    y = _normalization(_convolution(y, width, 3, 1, dtype, f"{name}_conv2"), dtype, f"{name}_bn2")
    y = layers.Add(dtype=dtype, name=f"{name}_add")([shortcut, y])
    return layers.ReLU(dtype=dtype, name=f"{name}_out")(y)


def _convolution(
    x: Any, width: int, kernel: int, strides: int, dtype: str | None, name: str
) -> Any:
    if kernel > 1 and strides > 1:
        x = layers.ZeroPadding2D(kernel // 2, dtype=dtype, name=f"{name}_pad")(x)
    return layers.Conv2D(
        width,
        kernel,
        strides,
        "same" if strides == 1 else "valid",
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=dtype,
        name=name,
    )(x)


def _normalization(x: Any, dtype: str | None, name: str) -> Any:
    return BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype, name=name)(x)
