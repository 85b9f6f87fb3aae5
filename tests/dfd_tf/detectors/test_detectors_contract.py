"""What every registered detector keeps: a new one is tested the day it is registered."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from dfd_tf.config.detectors import (
    DaeDetector,
    DannDetector,
    EnsembleDetector,
    EnsembleMember,
    GanDetector,
    Phase,
    ResidualAutoencoderDetector,
    SpatialDetector,
)
from dfd_tf.config.score_maps import LogOdds, RobustZScore
from dfd_tf.detectors.registry import DETECTORS, build_detector, count_parameters, detector_class

SIZE = 32
TINY = {
    "dae": DaeDetector(image_size=SIZE, widths=(4, 6), latent=5, perceptual_weights="none"),
    "dann": DannDetector(image_size=SIZE, backbone="squeezenet", weights="none"),
    "spatial": SpatialDetector(image_size=SIZE, backbone="squeezenet", weights="none"),
    "gan": GanDetector(image_size=SIZE, generator_width=8, latent=6),
    "residual_ae": ResidualAutoencoderDetector(
        image_size=SIZE, widths=(4, 6), latent=5, score="top_patches", patch=8
    ),
}
TINY["ensemble"] = EnsembleDetector(
    combine="weighted",
    members=(
        EnsembleMember(
            name="supervised",
            detector=TINY["spatial"],
            score_map=LogOdds(slope=0.5, offset=-1.0),
            weight=0.75,
        ),
        EnsembleMember(
            name="one-class",
            detector=ResidualAutoencoderDetector(image_size=SIZE // 2, widths=(4, 6), latent=5),
            score_map=RobustZScore(median=0.5, spread=0.5),
            weight=0.25,
        ),
    ),
)
PHASE = Phase(name="all", epochs=1, learning_rate=1e-3)
POLICIES = ["float32", "mixed_bfloat16", "mixed_float16"]
# Batches of another size may be convolved in another order.
TOLERANCE = {"float32": 1e-5, "mixed_bfloat16": 2e-2, "mixed_float16": 2e-3}


def test_every_detector_has_a_tiny_config_here():
    assert set(TINY) == set(DETECTORS)


@pytest.fixture(params=POLICIES)
def policy(request):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy(before)


@pytest.fixture
def float32():
    """Only names the policy the test counts on: the default one."""
    assert keras.config.dtype_policy().name == "float32"


def batch(count=6, seed=0):
    random = np.random.default_rng(seed)
    images = random.uniform(0, 1, (count, SIZE, SIZE, 3)).astype("float32")
    label = np.arange(count, dtype="int32") % 2
    return images, {"label": label, "domain": np.zeros(count, "int32")}


def build(name):
    keras.utils.set_random_seed(7)
    return build_detector(TINY[name])


def check_training(detector, images, targets):
    before = [np.array(weight) for weight in detector.trainable_weights]
    detector.begin_phase(PHASE)
    # A finite dataset of 4 + 2 images: the last batch is a partial one.
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
    detector.compile_phase(lambda: keras.optimizers.AdamW(1e-3))
    history = detector.fit(data, shuffle=False, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    assert "loss" in history
    moved = [
        not np.array_equal(old, new)
        for old, new in zip(before, detector.trainable_weights, strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    assert detector.optimizer.iterations == 2


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_trains_scores_and_explains(name, policy):
    detector = build(name)
    images, targets = batch()
    if detector.fitted:
        check_training(detector, images, targets)

    scores = detector.score(images)
    assert scores.shape == (6,)
    assert scores.dtype == "float32"
    assert np.isfinite(scores).all()
    assert np.unique(scores).size == 6
    tolerance = TOLERANCE[policy] * max(1.0, float(np.abs(scores).max()))
    alone = detector.score(images[4:5])
    np.testing.assert_allclose(alone, scores[4:5], rtol=0, atol=tolerance)

    latents = np.asarray(detector.embed(images))
    assert latents.dtype == np.float32
    assert latents.shape == (6, latents.shape[1])
    assert np.isfinite(latents).all()
    assert len(np.unique(latents, axis=0)) == 6
    alone = np.asarray(detector.embed(images[4:5]))
    tolerance = TOLERANCE[policy] * max(1.0, float(np.abs(latents).max()))
    np.testing.assert_allclose(alone, latents[4:5], rtol=0, atol=tolerance)

    maps = np.asarray(detector.explain(images))
    assert maps.shape == (6, SIZE, SIZE)
    assert maps.dtype == np.float32
    assert maps.min() >= 0
    assert maps.max() <= 1


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_compiled_functions_give_what_eager_ones_give(name, float32):
    detector = build(name)
    images, _ = batch()
    signature = [tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)]
    for method in (detector.score, detector.explain, detector.embed):
        expected = np.asarray(method(images))
        found = tf.function(method, input_signature=signature)(images)
        assert found.shape[1:] == expected.shape[1:]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_configuration_round_trip(name, float32):
    detector = build(name)
    config = detector.get_config()
    # What decides about training, not about the network, is no argument of the constructor.
    fields = set(type(TINY[name]).model_fields) - {"name", "phases", "allow_confounded"}
    assert set(config) - {"name", "num_domains"} == fields
    restored = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(detector))
    assert type(restored) is detector_class(name)
    assert restored.get_config() == config
    images, _ = batch()
    assert not np.allclose(restored.score(images), detector.score(images))
    restored.set_weights(detector.get_weights())
    np.testing.assert_array_equal(restored.score(images), detector.score(images))


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_saved_weights_give_equal_scores_in_a_detector_built_without_initial_weights(
    name, float32, tmp_path
):
    detector = build(name)
    images, targets = batch()
    if detector.fitted:
        detector.begin_phase(PHASE)
        detector.compile_phase(lambda: keras.optimizers.Adam(1e-2))
        detector.fit(images, targets, verbose=0)
    detector.save_weights(tmp_path / "model.weights.h5")
    loaded = build_detector(TINY[name], initial_weights=False)
    assert not np.allclose(loaded.score(images), detector.score(images))
    loaded.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(loaded.score(images), detector.score(images))
    assert loaded.pretrained == detector.pretrained


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_same_seed_same_weights(name, float32):
    first, second = build(name), build(name)
    keras.utils.set_random_seed(8)
    other = build_detector(TINY[name])
    kernels = [
        (a, b, c)
        for a, b, c in zip(first.weights, second.weights, other.weights, strict=True)
        if a.name == "kernel"
    ]
    assert kernels
    for a, b, c in kernels:
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_says_where_its_weights_came_from(name):
    assert "random" in build(name).pretrained


def test_count_parameters_follows_the_flags():
    model = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()]
    )
    assert count_parameters(model) == (3 * 2 + 2 + 4, 4)
    model.layers[0].trainable = False
    assert count_parameters(model) == (4, 12)
