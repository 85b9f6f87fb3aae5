"""Input normalisation that follows its weights.

`keras.layers.Normalization` copies its weights into constants when it is built or loaded from a
file; after `set_weights` or `assign`, which restore a training state, it goes on with the old ones.
"""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="dfd_tf")
class Normalization(keras.layers.Normalization):
    """`keras.layers.Normalization` over the last axis that reads its weights at every call."""

    def call(self, inputs: Any) -> Any:
        if self.input_mean is not None:
            return super().call(inputs)
        deviation = ops.maximum(ops.sqrt(self.adapt_variance), keras.config.epsilon())
        return (inputs - self.adapt_mean) / deviation
