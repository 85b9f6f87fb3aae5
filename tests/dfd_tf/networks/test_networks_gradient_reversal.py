"""The reversal: identity forward, minus strength times the gradient backward, at any precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dfd_tf.networks.gradient_reversal import GradientReversal

POLICIES = ["float32", "mixed_bfloat16", "mixed_float16"]
# Half a unit in the last place of the compute dtype, which gradients are rounded to.
ROUNDING = {"float32": 1e-6, "mixed_bfloat16": 2.0**-8, "mixed_float16": 2.0**-11}


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("policy", POLICIES)
def test_identity_forward_and_reversed_gradient_without_retracing(policy, jit_compile):
    layer = GradientReversal(dtype=policy)
    random = np.random.default_rng(0)
    x = tf.constant(random.normal(0, 3, (5, 7)), layer.compute_dtype)
    weights = tf.constant(random.normal(0, 2, (5, 7)), "float32")
    traced = []

    def plain(x):
        return tf.reduce_sum(tf.cast(x, "float32") ** 3 * weights)

    @tf.function(jit_compile=jit_compile)
    def values_and_gradients(x):
        traced.append(1)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(x)
            y = layer(x)
            direct, through = plain(x), plain(y)
        return y, tape.gradient(direct, x), tape.gradient(through, x)

    for strength in (1.0, 0.3, 0.77123, 0.0, 2.5):
        layer.strength.assign(strength)
        y, gradient, reversed_gradient = values_and_gradients(x)
        assert y.dtype == layer.compute_dtype
        np.testing.assert_array_equal(tf.cast(y, "float64"), tf.cast(x, "float64"))
        expected = -np.float64(np.float32(strength)) * tf.cast(gradient, "float64")
        np.testing.assert_allclose(
            tf.cast(reversed_gradient, "float64"), expected, rtol=ROUNDING[policy], atol=1e-30
        )
    assert len(traced) == 1


@pytest.mark.parametrize("policy", POLICIES)
def test_strength_is_a_float32_variable_that_does_not_train(policy):
    layer = GradientReversal(0.1, dtype=policy)
    assert layer.trainable_variables == []
    assert [variable.dtype for variable in layer.non_trainable_variables] == ["float32"]
    assert float(layer.strength) == np.float32(0.1)


def test_rebuilt_from_its_configuration_and_saved_with_the_weights(tmp_path):
    model = keras.Sequential([keras.Input((3,)), GradientReversal(0.25)])
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model))
    assert float(copy.layers[0].strength) == 0.25
    model.layers[0].strength.assign(0.75)
    model.save_weights(tmp_path / "model.weights.h5")
    copy.load_weights(tmp_path / "model.weights.h5")
    assert float(copy.layers[0].strength) == 0.75
