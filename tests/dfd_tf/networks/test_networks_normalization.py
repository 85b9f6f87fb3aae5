import keras
import numpy as np
import pytest

from dfd_tf.networks.normalization import Normalization


def test_follows_assigned_weights_inside_a_compiled_model():
    model = keras.Sequential([keras.Input((2, 2, 3)), Normalization(axis=-1)])
    x = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), x, atol=1e-6)
    mean, variance = np.array([1.0, 2.0, 3.0]), np.array([4.0, 9.0, 0.25])
    model.layers[0].adapt_mean.assign(mean)
    model.layers[0].adapt_variance.assign(variance)
    expected = (x - mean) / np.sqrt(variance)
    np.testing.assert_allclose(model.predict(x, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"mean": [1.0, 2.0, 3.0], "variance": [4.0, 9.0, 0.25]}])
def test_equals_keras(settings):
    x = np.random.default_rng(0).normal(size=(4, 2, 2, 3)).astype("float32")
    ours, parent = Normalization(**settings), keras.layers.Normalization(**settings)
    if not settings:
        ours.adapt(x)
        parent.adapt(x)
    np.testing.assert_allclose(ours(x), parent(x), rtol=1e-5, atol=1e-6)
