"""A fork of features: the identity forward; backward, the second branch may not outweigh the first.

Adam divides a gradient by its own size. Where a label's gradient is small, an adversary's decides
alone which way the weights go, however small the factor in front of it. Only their ratio counts,
so it is the ratio that is bounded, at the last layer both have in common; Esser et al. (CVPR 2021,
arXiv:2012.09841, section 3.1) weight their adversary by the same ratio.
Takes and returns tensors of any shape and float dtype.
"""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="dfd_tf")
class GradientFork(layers.Layer):
    """Returns its inputs twice; shortens the gradient that comes back through the second branch.

    The gradient of the inputs is `first + second * min(1, limit * |first| / |second|)`. The lengths
    are Euclidean, over the whole batch (of a replica, where there are several).

    Call arguments:
        inputs: Tensor of any shape and float dtype.
        limit: Scalar tensor >= 0, the largest ratio of the second length to the first.

    Returns:
        The inputs, twice.

    Example:
        >>> main, adversary = GradientFork()(keras.ops.ones((2, 3)), limit=keras.ops.array(0.5))
        >>> adversary.shape
        TensorShape([2, 3])
    """

    def call(self, inputs: Any, limit: Any) -> Any:
        return _fork(inputs, limit)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape, input_shape


@ops.custom_gradient
def _fork(inputs: Any, limit: Any) -> Any:
    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
        first, second = (ops.cast(g, "float32") for g in (args if upstream is None else upstream))
        longest = ops.cast(limit, "float32") * _length(first)
        length = _length(second)
        share = ops.where(length > longest, longest / ops.maximum(length, 1e-30), 1.0)
        return ops.cast(first + share * second, inputs.dtype), ops.zeros_like(limit)

    return (inputs, inputs), gradient


def _length(gradient: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(gradient)))
