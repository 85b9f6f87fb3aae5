"""High-frequency residuals of images, in front of a backbone: manipulations show there first.

- `srm`: three filters of the spatial rich models (Fridrich & Kodovsky, IEEE TIFS 2012), the ones of
  Zhou et al., "Learning Rich Features for Image Manipulation Detection", CVPR 2018, fig. 4, of the
  mean of the colours.
- `npr`: neighbouring pixel relationships (Tan et al., CVPR 2024, section 3.2): the difference to
  the first pixel of each 2 x 2 cell, where up-sampling leaves its trace.
- `laplacian`: the difference to a 5 x 5 binomial blur, the finest level of a Laplacian pyramid
  (Burt & Adelson 1983).
"""

from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops

ResidualKind = Literal["none", "srm", "npr", "laplacian"]

_LIMIT = 16 / 255
"""Residuals beyond it are cut off: edges of the face would drown the traces."""

_SQUARE_5X5 = (
    np.array(
        [
            [-1, 2, -2, 2, -1],
            [2, -6, 8, -6, 2],
            [-2, 8, -12, 8, -2],
            [2, -6, 8, -6, 2],
            [-1, 2, -2, 2, -1],
        ]
    )
    / 12
)
_SQUARE_3X3 = np.pad([[-1, 2, -1], [2, -4, 2], [-1, 2, -1]], 1) / 4
_SECOND_ORDER = np.pad([[1.0, -2.0, 1.0]], ((2, 2), (1, 1))) / 2
_BINOMIAL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


@keras.saving.register_keras_serializable(package="dfd_tf")
class ResidualInput(layers.Layer):
    """Replaces images by a residual, scaled so that a backbone can take it for an image.

    Args:
        kind: `none` (the image as it is), `srm`, `npr` or `laplacian`.

    Call arguments:
        images: (batch, height, width, 3) float32 in [0, 1].

    Returns:
        The same shape, float32 in [0, 1]; 1/2 is no residual, 0 and 1 are 16 grey levels of it or
        more. The three channels are the colours, or the filters of `srm`.

    Example:
        >>> float(ResidualInput("laplacian")(keras.ops.ones((1, 8, 8, 3)))[0, 4, 4, 0])
        0.5
    """

    def __init__(self, kind: ResidualKind, **kwargs: Any) -> None:
        # Half precision would round the residuals away.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.kind = kind
        self.built = True

    def call(self, images: Any) -> Any:
        if self.kind == "none":
            return images
        residual = {"srm": _srm, "npr": _npr, "laplacian": _laplacian}[self.kind](images)
        return ops.clip(0.5 + residual / (2.0 * _LIMIT), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


def _srm(images: Any) -> Any:
    filters = np.stack([_SQUARE_5X5, _SQUARE_3X3, _SECOND_ORDER], axis=-1)[:, :, None]
    return _filtered(ops.mean(images, axis=-1, keepdims=True), filters)


def _npr(images: Any) -> Any:
    height, width = images.shape[1:3]
    first = images[:, ::2, ::2]
    repeated = ops.repeat(ops.repeat(first, 2, axis=1), 2, axis=2)
    return images - repeated[:, :height, :width]


def _laplacian(images: Any) -> Any:
    channels = ops.transpose(images, (0, 3, 1, 2))
    flat = ops.reshape(channels, (-1, *images.shape[1:3], 1))
    kernel = -_BINOMIAL
    kernel[2, 2] += 1.0
    residual = ops.reshape(_filtered(flat, kernel[:, :, None, None]), (-1, 3, *images.shape[1:3]))
    return ops.transpose(residual, (0, 2, 3, 1))


def _filtered(images: Any, kernel: np.ndarray) -> Any:
    """Convolves with 5 x 5 kernels; the border is reflected, so that it shows no edge."""
    padded = ops.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    return ops.conv(padded, ops.array(kernel, "float32"), padding="valid")
