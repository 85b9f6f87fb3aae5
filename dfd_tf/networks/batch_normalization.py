"""Batch normalisation through TensorFlow's fused kernel.

Keras 3 computes moments and normalisation as separate operations; one fused kernel does both about
a third faster in training on a CPU. Ioffe and Szegedy 2015, arXiv:1502.03167.
Tensors: (batch, height, width, channels), float32, float16 or bfloat16.
"""

from typing import Any

import keras
import tensorflow as tf

FUSED_DTYPES = ("float32", "float16", "bfloat16")


@keras.saving.register_keras_serializable(package="dfd_tf")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the same numbers, computed by a fused kernel.

    Falls back to the parent wherever the kernel does not apply: another backend, statistics
    synchronised over replicas, masks, renormalisation, a normalised axis that is not the last of
    four, float64. Arguments, weights and their names are the parent's.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if mask is not None or not self._fusable(inputs):
            return super().call(inputs, training=training, mask=mask)
        if not (training and self.trainable):
            return self._normalize(inputs, self.moving_mean, self.moving_variance)[0]
        nothing = tf.zeros((0,), "float32")
        outputs, mean, variance = self._normalize(inputs, nothing, nothing, training=True)
        # The kernel returns the unbiased variance; Keras keeps the biased one. One value per
        # channel has none, and some kernels then return 0 / 0.
        count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], "float32")
        variance = tf.math.multiply_no_nan(variance, (count - 1.0) / count)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance)
        return outputs

    def _fusable(self, inputs: Any) -> bool:
        return (
            keras.backend.backend() == "tensorflow"
            and not self.synchronized
            and not self.renorm
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.compute_dtype in FUSED_DTYPES
            and keras.backend.standardize_dtype(inputs.dtype) == self.compute_dtype
        )

    def _normalize(
        self, inputs: Any, mean: Any, variance: Any, training: bool = False
    ) -> tuple[Any, Any, Any]:
        channels = inputs.shape[-1]
        scale = self.gamma if self.scale else tf.ones((channels,), "float32")
        offset = self.beta if self.center else tf.zeros((channels,), "float32")
        return tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.convert_to_tensor(scale),
            offset=tf.convert_to_tensor(offset),
            mean=tf.convert_to_tensor(mean),
            variance=tf.convert_to_tensor(variance),
            epsilon=self.epsilon,
            is_training=training,
        )[:3]

    def _move(self, average: Any, value: Any) -> None:
        average.assign(average * self.momentum + value * (1.0 - self.momentum))


def synchronize(model: keras.Model) -> None:
    """Makes every batch normalisation of a model take its statistics over all replicas.

    For training under a strategy of several replicas; call it before `compile`.
    """
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True
