import keras
import numpy as np
import pytest
import tensorflow as tf

from dfd_tf.networks.batch_normalization import BatchNormalization, synchronize

EPSILON = 1e-3
MOMENTUM = 0.8


@pytest.fixture(params=["float32", "mixed_bfloat16", "mixed_float16"])
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


def example(shape=(4, 5, 6, 3), seed=0):
    random = np.random.default_rng(seed)
    return random.normal(2.0, 3.0, shape).astype("float32")


def layer_pair(channels=3, **settings):
    """Ours and Keras's, with the same weights, none of them at its default."""
    random = np.random.default_rng(1)
    pair = []
    for cls in (BatchNormalization, keras.layers.BatchNormalization):
        layer = cls(momentum=MOMENTUM, epsilon=EPSILON, **settings)
        layer.build((None, None, None, channels))
        pair.append(layer)
    values = [random.uniform(0.5, 2.0, weight.shape) for weight in pair[0].weights]
    for layer in pair:
        layer.set_weights(values)
    return pair


def run(layer, x, training):
    """Outputs, gradients of a weighted sum by input and weights, and the moving statistics."""
    x = tf.cast(x, layer.compute_dtype)
    weights = tf.cast(example(tuple(x.shape), seed=2), "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 2 * weights)
    sources = [x, *[weight.value for weight in layer.trainable_weights]]
    gradients = tape.gradient(loss, sources)
    statistics = [layer.moving_mean, layer.moving_variance]
    return outputs, gradients, statistics


def compiled(layer, x, training):
    """`run` inside tf.function, where an assignment that is not ordered would be lost."""
    return tf.function(run, autograph=False)(layer, x, training)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("execute", [run, compiled])
def test_equals_keras(policy, training, execute):
    ours, parent = layer_pair()
    x = example()
    found, expected = execute(ours, x, training), execute(parent, x, training)
    assert found[0].dtype == expected[0].dtype == ours.compute_dtype
    # One unit in the last place of the compute dtype, of outputs up to about 6.
    tolerance = {"float32": 2e-6, "mixed_bfloat16": 2**-7, "mixed_float16": 2**-10}[policy]
    for ours_value, parent_value in zip(
        tf.nest.flatten(found[:2]), tf.nest.flatten(expected[:2]), strict=True
    ):
        reference = np.asarray(parent_value, "float32")
        scale = max(1.0, float(np.abs(reference).max()))
        np.testing.assert_allclose(
            np.asarray(ours_value, "float32"), reference, rtol=0, atol=2 * tolerance * scale
        )
    for ours_value, parent_value in zip(found[2], expected[2], strict=True):
        np.testing.assert_allclose(
            np.asarray(ours_value, "float32"), np.asarray(parent_value, "float32"), rtol=1e-5
        )


def test_moving_statistics_are_the_biased_ones_by_hand():
    layer = BatchNormalization(momentum=MOMENTUM)
    x = example((2, 2, 1, 3))
    layer(x, training=True)
    flat = x.reshape(-1, 3).astype("float64")
    np.testing.assert_allclose(layer.moving_mean, (1 - MOMENTUM) * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(
        layer.moving_variance, MOMENTUM + (1 - MOMENTUM) * flat.var(0, ddof=0), rtol=1e-5
    )


def test_one_value_per_channel_has_no_variance():
    layer = BatchNormalization(momentum=MOMENTUM)
    outputs = layer(example((1, 1, 1, 3)), training=True)
    np.testing.assert_allclose(outputs, np.zeros((1, 1, 1, 3)))
    np.testing.assert_allclose(layer.moving_variance, [MOMENTUM] * 3)


def test_frozen_layer_runs_in_inference_mode_and_does_not_move():
    layer = BatchNormalization()
    layer.build((None, None, None, 3))
    layer.trainable = False
    x = example()
    np.testing.assert_allclose(layer(x, training=True), x / np.sqrt(1 + EPSILON), rtol=1e-5)
    np.testing.assert_array_equal(layer.moving_mean, np.zeros(3))


@pytest.mark.parametrize("settings", [{"scale": False}, {"center": False}])
def test_without_scale_or_offset(settings):
    ours, parent = layer_pair(**settings)
    x = example()
    np.testing.assert_allclose(
        ours(x, training=True), parent(x, training=True), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "shape", "fused"),
    [
        ({}, (4, 5, 6, 3), True),
        ({"axis": 3}, (4, 5, 6, 3), True),
        ({"axis": 1}, (4, 5, 6, 3), False),
        ({"synchronized": True}, (4, 5, 6, 3), False),
        ({"dtype": "float64"}, (4, 5, 6, 3), False),
        ({}, (4, 3), False),
    ],
)
def test_the_kernel_runs_where_it_applies_and_keras_elsewhere(settings, shape, fused):
    layer = BatchNormalization(**settings)
    layer.build((None, *shape[1:]))
    function = tf.function(lambda x: layer(x, training=True), autograph=False)
    x = tf.cast(example(shape), layer.compute_dtype)
    operations = {op.type for op in function.get_concrete_function(x).graph.get_operations()}
    assert ("FusedBatchNormV3" in operations) == fused
    parent = keras.layers.BatchNormalization(**settings)
    np.testing.assert_allclose(function(x), parent(x, training=True), rtol=1e-4, atol=1e-5)


def test_synchronize_reaches_nested_layers():
    inner = keras.Sequential([keras.Input((4, 4, 2)), BatchNormalization()])
    model = keras.Sequential([keras.Input((4, 4, 2)), inner, BatchNormalization()])
    synchronize(model)
    assert [inner.layers[0].synchronized, model.layers[1].synchronized] == [True, True]


def test_config_round_trip():
    layer = BatchNormalization(momentum=0.7, epsilon=1e-4, scale=False)
    clone = BatchNormalization.from_config(layer.get_config())
    assert clone.get_config() == layer.get_config()
