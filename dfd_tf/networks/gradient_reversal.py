"""Gradient reversal: the identity forward, the gradient times a negative number backward.

Ganin et al., "Domain-adversarial training of neural networks", JMLR 2016, section 4.2. Takes and
returns tensors of any shape and float dtype.
"""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable(package="dfd_tf")
class GradientReversal(layers.Layer):
    """Returns its inputs and multiplies their gradient by `-strength`.

    `strength` is a variable, not a number: it can change between two steps of a compiled training,
    and it is saved with the weights.

    Args:
        strength: First value of the strength; 0 lets no gradient through.

    Call arguments:
        inputs: Tensor of any shape and float dtype.

    Returns:
        The inputs, bit for bit, in the layer's compute dtype.

    Example:
        >>> GradientReversal(0.5)(keras.ops.ones((2, 3))).shape
        TensorShape([2, 3])

    Reference:
        Ganin et al., JMLR 17(59), 2016.
    """

    def __init__(self, strength: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initial_strength = strength
        # Half precision would round the schedule: always float32.
        self.strength = self.add_weight(
            name="strength",
            shape=(),
            initializer=keras.initializers.Constant(strength),
            dtype="float32",
            trainable=False,
            autocast=False,
        )
        self.built = True

    def call(self, inputs: Any) -> Any:
        # Read here and handed on as a tensor: a variable inside a custom gradient would need
        # gradients of its own.
        return _reverse(inputs, ops.convert_to_tensor(self.strength))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "strength": self.initial_strength}


@ops.custom_gradient
def _reverse(inputs: Any, strength: Any) -> Any:
    def gradient(*args: Any, upstream: Any = None) -> tuple[Any, Any]:
        if upstream is None:
            (upstream,) = args
        reversed_gradient = ops.cast(upstream, "float32") * -strength
        return ops.cast(reversed_gradient, upstream.dtype), ops.zeros_like(strength)

    return inputs, gradient
