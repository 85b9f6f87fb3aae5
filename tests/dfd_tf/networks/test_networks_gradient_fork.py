import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_tf.networks.gradient_fork import GradientFork

# Squares of smaller or larger numbers leave float32.
sizes = st.one_of(st.just(0.0), st.floats(1e-12, 1e12))


def gradient_of(first, second, limit):
    """Gradient at inputs whose branches receive `first` and `second`."""
    inputs = tf.ones_like(first)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        one, other = GradientFork()(inputs, limit=tf.constant(limit))
        loss = tf.reduce_sum(one * first) + tf.reduce_sum(other * second)
    return tape.gradient(loss, inputs)


def test_forward_is_the_identity_twice():
    inputs = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    for output in GradientFork()(inputs, limit=keras.ops.array(0.5)):
        np.testing.assert_array_equal(output, inputs)


@settings(deadline=None)
@given(sizes, sizes, st.floats(0, 4, width=32), st.integers(0, 2**32 - 1))
def test_the_second_gradient_is_shortened_to_the_limit_and_never_turned(size, other, limit, seed):
    random = np.random.default_rng(seed)
    first, second = (
        (scale * random.normal(size=(3, 4))).astype("float32") for scale in (size, other)
    )
    share = 1.0
    longest = limit * np.linalg.norm(np.float64(first))
    if np.linalg.norm(np.float64(second)) > longest:
        share = longest / np.linalg.norm(np.float64(second))
    found = gradient_of(tf.constant(first), tf.constant(second), limit)
    expected = np.float64(first) + share * np.float64(second)
    scale = np.abs(first).max() + share * np.abs(second).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_nothing_from_either_side_is_no_division_by_zero(jit_compile):
    zero, one = tf.zeros((2, 3)), tf.ones((2, 3))
    compiled = tf.function(lambda a, b: gradient_of(a, b, 1.0), jit_compile=jit_compile)
    np.testing.assert_array_equal(compiled(zero, zero), zero)
    np.testing.assert_array_equal(compiled(zero, one), zero)
    np.testing.assert_array_equal(compiled(one, zero), one)
    np.testing.assert_allclose(compiled(one, 3 * one), 2 * one)


def test_half_precision_gradients_keep_their_dtype():
    inputs = tf.ones((2, 3), "float16")
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        # The squares of the second gradient overflow float16.
        one, other = GradientFork(dtype="float16")(inputs, limit=tf.constant(1.0))
        loss = tf.reduce_sum(one) + 1000 * tf.reduce_sum(other)
    gradient = tape.gradient(loss, inputs)
    assert gradient.dtype == tf.float16
    np.testing.assert_allclose(gradient, np.full((2, 3), 2.0), rtol=1e-3)
