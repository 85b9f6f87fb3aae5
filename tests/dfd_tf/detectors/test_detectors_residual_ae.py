import keras
import numpy as np
import pytest
from pydantic import ValidationError

from dfd_tf.config.detectors import Phase, ResidualAutoencoderDetector
from dfd_tf.config.loading import load_experiment, shipped_configs
from dfd_tf.detectors.registry import build_detector, count_parameters


def build(**settings):
    keras.utils.set_random_seed(5)
    tiny = {"image_size": 32, "widths": (4, 6, 8), "latent": 5}
    return build_detector(ResidualAutoencoderDetector(**{**tiny, **settings}))


def images(count=3, size=32):
    shape = (count, size, size, 3)
    return np.random.default_rng(0).uniform(0, 1, shape).astype("float32")


def signed_errors(detector, batch):
    """Squared errors per pixel in the [-1, 1] space, from the public reconstruction."""
    reconstruction = np.asarray(detector.reconstruct(batch), "float64")
    return np.square(2 * (batch - reconstruction)).mean(-1)


def test_published_layout():
    trainable, frozen = count_parameters(build_detector(ResidualAutoencoderDetector()))
    assert trainable == 34_849_667
    assert frozen == 12_544 + 2 * 128**2  # moving statistics; medians and spreads of the map


def test_reconstruction_and_latent():
    detector = build()
    reconstruction = np.asarray(detector.reconstruct(images()))
    assert reconstruction.shape == (3, 32, 32, 3)
    assert reconstruction.min() >= 0
    assert reconstruction.max() <= 1
    latent = detector.embed(images())
    assert latent.shape == (3, 5)
    signed = detector.decoder(latent, training=False)
    np.testing.assert_allclose(reconstruction, (signed + 1) / 2, atol=1e-6)


def test_reconstruction_is_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        detector = build()
        signed = detector(images())
    finally:
        keras.config.set_dtype_policy(before)
    assert signed.dtype == "float32"
    coarse = keras.ops.cast(keras.ops.cast(signed, "bfloat16"), "float32")
    assert np.mean(np.asarray(signed) != np.asarray(coarse)) > 0.5
    assert detector.embed(images()).dtype == "float32"


def test_mse_score_and_loss_by_hand():
    detector = build()
    batch = images()
    expected = signed_errors(detector, batch).mean((1, 2))
    np.testing.assert_allclose(detector.score(batch), expected, rtol=1e-4)
    detector.compile(optimizer=None)
    targets = {"label": np.zeros(3, "int32"), "domain": np.zeros(3, "int32")}
    loss = detector.evaluate(batch, targets, batch_size=3, verbose=0)
    assert loss == pytest.approx(expected.mean(), rel=1e-4)


@pytest.mark.parametrize(("patch", "top"), [(8, 3), (7, 2), (32, 1)])
def test_patch_score_by_hand(patch, top):
    detector = build(score="top_patches", patch=patch, top_patches=top)
    batch = images()
    errors = signed_errors(detector, batch)
    starts = range(0, 32 - patch + 1, patch // 2)
    windows = np.stack(
        [errors[:, i : i + patch, j : j + patch].mean((1, 2)) for i in starts for j in starts], 1
    )
    expected = np.sort(windows, axis=1)[:, -top:].mean(1)
    np.testing.assert_allclose(detector.score(batch), expected, rtol=1e-4)


@pytest.mark.parametrize("score", ["mse", "top_patches"])
def test_explanation_is_the_error_of_the_patch_around_each_pixel(score):
    detector = build(score=score, patch=8)
    batch = images()
    errors = signed_errors(detector, batch)
    # 3 pixels before and 4 after, cut off at the border.
    windows = [slice(max(0, place - 3), place + 5) for place in range(32)]
    means = [[errors[:, rows, columns].mean((1, 2)) for columns in windows] for rows in windows]
    means = np.moveaxis(np.array(means), -1, 0)
    expected = means / means.max((1, 2), keepdims=True)
    np.testing.assert_allclose(detector.explain(batch), expected, atol=1e-4)


def test_learns_to_reconstruct():
    detector = build(image_size=16, widths=(8, 16), latent=16)
    batch = images(8, 16) * 0.2 + np.linspace(0, 0.8, 8, dtype="float32")[:, None, None, None]
    detector.begin_phase(Phase(name="all", epochs=1, learning_rate=1e-2))
    detector.compile(optimizer=keras.optimizers.Adam(1e-2))
    targets = {"label": np.zeros(8, "int32"), "domain": np.zeros(8, "int32")}
    losses = detector.fit(batch, targets, batch_size=8, epochs=40, verbose=0).history["loss"]
    # The mean image leaves 0.29 here (variance of the brightness steps); noise alone 0.013.
    assert losses[-1] < 0.1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 100}, r"image_size 100 must be a multiple of 32 \(2 to the number of wid"),
        (
            {"image_size": 64, "patch": 96, "score": "top_patches"},
            "top_patches 3 must be at most 0",
        ),
        (
            {"image_size": 64, "patch": 48, "score": "top_patches"},
            "top_patches 3 must be at most 1",
        ),
        (
            {"phases": [{"name": "p", "epochs": 1, "learning_rate": 1, "freeze_backbone": True}]},
            "phase p: residual_ae has no backbone to freeze",
        ),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        ResidualAutoencoderDetector(**settings)


@pytest.mark.parametrize("name", [n for n in shipped_configs() if n not in {"spatial", "dann"}])
def test_shipped_configurations_build(name):
    config = load_experiment(name).detector
    detector = build_detector(config, initial_weights=False)
    scores = detector.score(images(1, config.image_size))
    assert np.isfinite(scores).all()
