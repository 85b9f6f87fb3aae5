import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from dfd_tf.config.detectors import DaeDetector, Phase
from dfd_tf.detectors.registry import build_detector, count_parameters
from pipelines.errors import InputError

SIZE = 32
PHASE = Phase(name="all", epochs=1, learning_rate=1e-2)


def build(**settings):
    keras.utils.set_random_seed(5)
    tiny = {"image_size": SIZE, "widths": (4, 8), "latent": 5, "perceptual_weights": "none"}
    return build_detector(DaeDetector(**{**tiny, **settings}))


@pytest.fixture(scope="module")
def detector():
    return build()


def images(count=6, size=SIZE, seed=0):
    shape = (count, size, size, 3)
    return np.random.default_rng(seed).uniform(0, 1, shape).astype("float32")


def targets(count=6):
    return {"label": np.zeros(count, "int32"), "domain": np.zeros(count, "int32")}


def errors(detector, batch):
    """The local error d, from the public reconstruction."""
    return np.abs(batch - np.asarray(detector.reconstruct(batch), "float64")).mean(-1)


def test_published_layout():
    detector = build_detector(DaeDetector(perceptual_weights="none"))
    trainable, frozen = count_parameters(detector)
    assert trainable == 2_445_731
    # ResNet18 through layer3 and its moving statistics (twice its 2,400 channels normalised), the
    # autoencoder's moving statistics, and medians and scales of three terms and of the map.
    channels = 64 + 4 * 64 + 5 * 128 + 5 * 256
    moving = 2 * (32 + 64 + 128 + 256 + 128 + 64 + 32)
    assert frozen == 2_782_784 + 2 * channels + moving + 6 + 2 * 128**2
    assert detector.embed(images(1, 128)).shape == (1, 32)


def test_terms_by_hand(detector):
    batch = images()
    d = errors(detector, batch)
    windows = np.stack([d[:, i : i + 16, j : j + 16] for i in (0, 8, 16) for j in (0, 8, 16)], 1)
    windows = windows.mean((2, 3))
    assert windows.shape == (6, 9)
    pair = [batch, np.asarray(detector.reconstruct(batch))]
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    stages = [
        detector.perceptual.network(((one - mean) / deviation).astype("f4"), training=False)
        for one in pair
    ]
    distances = []
    for first, second in zip(*stages, strict=True):
        first, second = np.asarray(first, "f8"), np.asarray(second, "f8")
        first = first / np.linalg.norm(first, axis=-1, keepdims=True)
        second = second / np.linalg.norm(second, axis=-1, keepdims=True)
        distances.append(((first - second) ** 2).sum(-1).mean((1, 2)))
    assert len(distances) == 3
    expected = np.stack(
        [d.mean((1, 2)), np.sort(windows, 1)[:, -3:].mean(1), np.mean(distances, 0)], 1
    )
    found = np.asarray(detector.score_terms(images()))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=2e-4)
    # A mean over windows that tile the image would be the global term once more.
    assert (found[:, 1] > 1.01 * found[:, 0]).all()


def test_features_without_any_activation_are_at_distance_zero(detector):
    flat = np.zeros((1, SIZE, SIZE, 3), "float32")
    np.testing.assert_array_equal(detector.perceptual(flat, flat), [0])
    network = build().perceptual
    network.network.set_weights([np.zeros_like(w) for w in network.network.get_weights()])
    np.testing.assert_array_equal(network(images(2), images(2, seed=1)), [0, 0])


def test_terms_do_not_depend_on_the_batch(detector):
    batch = images()
    together = np.asarray(detector.score_terms(batch))
    alone = np.concatenate([detector.score_terms(batch[i : i + 1]) for i in range(6)])
    np.testing.assert_allclose(alone, together, rtol=1e-4)


def test_raw_score_is_the_original_formula():
    detector = build(scoring="raw")
    terms = np.asarray(detector.score_terms(images()))
    expected = 0.4 * terms[:, 0] + 0.3 * terms[:, 1] + 0.3 * terms[:, 2]
    before = np.asarray(detector.score(images()))
    np.testing.assert_allclose(before, expected, rtol=1e-6)
    detector.fit_score(iter([images(seed=4)]))
    np.testing.assert_array_equal(detector.score(images()), before)


def byte_batches():
    pixels = (images(15, seed=2) * 255).astype("uint8")
    return [tf.constant(pixels[:8]), tf.constant(pixels[:0]), tf.constant(pixels[8:])]


def test_standardised_terms_have_median_0_and_deviation_1_over_the_data(tmp_path):
    detector = build()
    detector.fit_score(iter(byte_batches()))
    real = np.concatenate([batch.numpy() for batch in byte_batches()]).astype("f4") / 255
    terms = np.asarray(detector.score_terms(real), "f8")
    standardised = (terms - detector.term_medians.numpy()) / detector.term_scales.numpy()
    np.testing.assert_allclose(np.median(standardised, 0), 0, atol=2e-2)
    np.testing.assert_allclose(np.median(np.abs(standardised), 0), 1, rtol=2e-2)
    scores = np.asarray(detector.score(real))
    np.testing.assert_allclose(scores, standardised @ [0.4, 0.3, 0.3], rtol=1e-3, atol=1e-3)
    # Deterministic, and saved with the weights.
    medians = detector.term_medians.numpy()
    detector.fit_score(byte_batches())
    np.testing.assert_array_equal(detector.term_medians, medians)
    detector.save_weights(tmp_path / "model.weights.h5")
    loaded = build()
    loaded.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(loaded.score(real), scores)


def test_equal_images_leave_the_scale_alone():
    detector = build()
    detector.fit_score([np.repeat(images(1), 5, axis=0)])
    np.testing.assert_array_equal(detector.term_scales, [1, 1, 1])
    assert np.isfinite(detector.score(images())).all()


def test_no_real_image_is_an_error(detector):
    with pytest.raises(InputError, match=r"standardized needs real images .* or choose `raw`"):
        detector.fit_score([images(0)])


def test_noise_in_training_only():
    detector = build(noise=0.1)
    batch = np.full((4, SIZE, SIZE, 3), 0.5, "float32")
    seen = []
    encoder = detector.encoder

    class Spy(keras.layers.Layer):
        def call(self, inputs, training=None):
            seen.append(np.asarray(inputs))
            return encoder(inputs, training=training)

    detector.encoder = Spy()
    detector(batch, training=False)
    detector.score_terms(batch)
    for inputs in seen:
        np.testing.assert_array_equal(inputs, batch)
    seen.clear()
    detector(batch, training=True)
    detector(batch, training=True)
    noise = seen[0] - batch
    assert noise.std() == pytest.approx(0.1, rel=0.05)
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert not np.array_equal(seen[0], seen[1])
    seen.clear()
    detector(np.ones_like(batch), training=True)
    assert seen[0].max() == 1
    assert seen[0].min() < 0.9


def test_restored_variables_continue_the_noise():
    detector = build()
    detector(images(), training=True)
    captured = [variable.numpy() for variable in detector.variables]
    following = np.asarray(detector(images(), training=True))
    assert not np.array_equal(detector(images(), training=True), following)
    for variable, value in zip(detector.variables, captured, strict=True):
        variable.assign(value)
    np.testing.assert_array_equal(detector(images(), training=True), following)


def test_loss_is_the_absolute_error_against_the_clean_images():
    detector = build(noise=0.5)
    detector.compile(optimizer=None)
    loss = detector.evaluate(images(), targets(), batch_size=6, verbose=0)
    assert loss == pytest.approx(errors(detector, images()).mean(), rel=1e-4)
    clean, noisy = images(), np.clip(images() + 0.2, 0, 1)
    found = detector.compute_loss(clean, targets(), noisy)
    assert float(found) == pytest.approx(np.abs(clean - noisy).mean(), rel=1e-5)


@pytest.mark.parametrize("thawed_by_hand", [False, True])
def test_perceptual_network_never_changes(thawed_by_hand):
    detector = build()
    before = detector.perceptual.network.get_weights()
    if thawed_by_hand:
        detector.trainable = False
        detector.trainable = True
    frozen = {id(weight) for weight in detector.perceptual.network.weights}
    assert len(frozen) == 75
    detector.begin_phase(PHASE)
    detector.compile_phase(lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    assert not frozen & {id(weight) for weight in detector.trainable_weights}
    assert detector.trainable_weights
    detector.fit(images(), targets(), batch_size=3, epochs=2, verbose=0)
    detector.perceptual(images(), images(seed=1))
    for old, new in zip(before, detector.perceptual.network.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_float32_where_it_matters_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        detector = build()
        reconstruction = detector(images(), training=True)
        terms = detector.score_terms(images())
    finally:
        keras.config.set_dtype_policy(before)
    for value in (reconstruction, terms):
        coarse = keras.ops.cast(keras.ops.cast(value, "bfloat16"), "float32")
        assert value.dtype == "float32"
        assert np.mean(np.asarray(value) != np.asarray(coarse)) > 0.5
    assert detector.embed(images()).dtype == "float32"
    assert detector.encoder.layers[1].compute_dtype == "bfloat16"
    assert all(layer.compute_dtype == "float32" for layer in detector.perceptual.network.layers[1:])


@pytest.mark.parametrize("scoring", ["raw", "standardized"])
def test_explanation_weighs_pixel_and_feature_errors_as_the_score_does(scoring):
    detector = build(patch=8, scoring=scoring)
    batch = images()
    d = errors(detector, batch)
    detector.term_scales.assign([0.5, 0.25, 0.1])
    scales = [0.5, 0.25, 0.1] if scoring == "standardized" else [1, 1, 1]
    # The window around pixel (row, column), cut off at the border: 3 before, 4 after.
    expected = np.array(
        [
            [
                [one[max(0, r - 3) : r + 5, max(0, c - 3) : c + 5].mean() for c in range(SIZE)]
                for r in range(SIZE)
            ]
            for one in d
        ]
    )
    features = np.asarray(detector.perceptual.distance_map(batch, detector.reconstruct(batch)))
    expected = (0.4 / scales[0] + 0.3 / scales[1]) * expected + 0.3 / scales[2] * features
    expected /= expected.max((1, 2), keepdims=True)
    np.testing.assert_allclose(detector.explain(batch), expected, atol=1e-3)


def test_mean_of_the_feature_error_map_is_the_feature_distance():
    detector = build()
    first, second = images(seed=1), images(seed=2)
    found = np.asarray(detector.perceptual.distance_map(first, second))
    assert found.shape == first.shape[:3]
    np.testing.assert_allclose(found.mean((1, 2)), detector.perceptual(first, second), rtol=1e-5)
    # Half of the image is the same in both; the deepest layer sees everything everywhere.
    half = np.concatenate([first[:, :, : SIZE // 2], second[:, :, SIZE // 2 :]], axis=2)
    found = np.asarray(detector.perceptual.distance_map(first, half)).mean(1)
    assert (found[:, -8:].mean(1) > 2 * found[:, :8].mean(1)).all()


def test_learns_to_reconstruct():
    detector = build(widths=(8, 16), latent=16, noise=0.02)
    batch = images(8) * 0.2 + np.linspace(0, 0.8, 8, dtype="float32")[:, None, None, None]
    detector.begin_phase(PHASE)
    detector.compile_phase(lambda: keras.optimizers.Adam(1e-2))
    detector.fit(batch, targets(8), batch_size=8, epochs=40, verbose=0)
    # The mean image leaves 0.23 (steps of brightness), a right brightness 0.05 (the texture).
    losses = detector.history.history["loss"]
    assert losses[0] > 0.2
    assert losses[-1] < 0.13


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("none", "random ResNet18 (asked for by perceptual_weights: none)"),
        ("imagenet", "ResNet18 with ImageNet weights of keras-hub"),
        ("some/where/r18.pth", "ResNet18 with weights from r18.pth"),
    ],
)
def test_provenance(weights, words):
    config = DaeDetector(image_size=32, widths=(2,), latent=2, perceptual_weights=weights)
    detector = build_detector(config, initial_weights=False)
    assert detector.pretrained == f"random autoencoder; features of a {words}"
    assert ["random ResNet18" in line for line in detector.caveats] == [True] * (weights == "none")


def test_missing_weights_are_an_error_that_names_the_option(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"^detector\.perceptual_weights: .*`none` \(random\)"):
        build(perceptual_weights="imagenet")
    with pytest.raises(InputError, match=r"^gone\.pth: no such weights file"):
        build(perceptual_weights="gone.pth")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 100}, r"image_size 100 must be a multiple of 16 \(2 to the number of wid"),
        ({"image_size": 16}, "top_patches 3 must be at most 1"),
        (
            {"phases": [{"name": "p", "epochs": 1, "learning_rate": 1, "freeze_backbone": True}]},
            "phase p: dae has no backbone to freeze",
        ),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        DaeDetector(**settings)
