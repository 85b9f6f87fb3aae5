"""The uniform random numbers of one example, from one counter-based generator call."""

from collections.abc import Callable, Sequence

import tensorflow as tf


class Draws:
    """Hands out the uniform numbers of one example, in the order they are asked for.

    Args:
        seed: Int64 (2,), the example's own.
        count: Most numbers that will be asked for.
    """

    def __init__(self, seed: tf.Tensor, count: int) -> None:
        self._numbers = iter(tf.unstack(tf.random.stateless_uniform((count,), seed, alg="philox")))

    def between(self, low: float | tf.Tensor, high: float | tf.Tensor) -> tf.Tensor:
        return low + (high - low) * next(self._numbers)

    def integer(self, low: int, high: int) -> tf.Tensor:
        """Int32, both ends included."""
        return low + tf.cast(next(self._numbers) * float(high - low + 1), tf.int32)

    def chance(self, probability: float) -> tf.Tensor:
        return next(self._numbers) < probability

    def weighted(self, weights: Sequence[float]) -> tf.Tensor:
        """Int32 index, each as often as its share of the weights says."""
        total, passed, place = sum(weights), 0.0, next(self._numbers)
        index = tf.constant(0, tf.int32)
        for weight in weights[:-1]:
            passed += weight
            index += tf.cast(place * total >= passed, tf.int32)
        return index

    def maybe(
        self, probability: float, step: Callable[[tf.Tensor], tf.Tensor], image: tf.Tensor
    ) -> tf.Tensor:
        return tf.cond(self.chance(probability), lambda: step(image), lambda: image)
