import keras
import numpy as np
import pytest
import tensorflow as tf

from dfd_tf.config.detectors import Phase, SpatialDetector
from dfd_tf.detectors.registry import build_detector, count_parameters
from pipelines.errors import InputError

WEIGHTS = "models/squeezenet_v1.1_imagenet_notop_tf.h5"
HEAD = Phase(name="head", epochs=1, learning_rate=1e-2, freeze_backbone=True)
ALL = Phase(name="all", epochs=1, learning_rate=1e-3)


def build(backbone="resnet32", size=32, **settings):
    keras.utils.set_random_seed(3)
    settings = {"weights": "none", **settings}
    return build_detector(SpatialDetector(backbone=backbone, image_size=size, **settings))


def batch(size=32, count=8, seed=0):
    images = np.random.default_rng(seed).uniform(0, 1, (count, size, size, 3)).astype("float32")
    return images, {
        "label": np.arange(count, dtype="int32") % 2,
        "domain": np.zeros(count, "int32"),
    }


def fit(detector, phase):
    detector.begin_phase(phase)
    detector.compile(optimizer=keras.optimizers.Adam(phase.learning_rate))
    detector.fit(*batch(), batch_size=4, epochs=1, verbose=0)


def snapshot(model):
    return {weight.path: np.array(weight) for weight in model.weights}


def test_phases_move_what_they_should():
    detector = build()
    start, head = snapshot(detector.backbone), snapshot(detector.head)
    fit(detector, HEAD)
    frozen = snapshot(detector.backbone)
    assert all(np.array_equal(start[path], frozen[path]) for path in start)
    assert not any(np.array_equal(head[p], value) for p, value in snapshot(detector.head).items())
    assert count_parameters(detector)[0] == detector.backbone.num_channels + 1

    fit(detector, ALL)
    thawed = snapshot(detector.backbone)
    changed = {path for path in start if not np.array_equal(start[path], thawed[path])}
    statistics = {path for path in start if "moving" in path}
    assert len(statistics) == 62
    assert statistics <= changed
    assert len(changed) > 0.9 * len(start)


@pytest.mark.parametrize("backbone", ["resnet32", "mobilenetv3small"])
def test_frozen_backbone_runs_on_moving_statistics_and_keeps_them(backbone):
    """keras#20285: a frozen network called in training mode would let its statistics drift."""
    detector = build(backbone, dropout=0.0)
    images, _ = batch()
    start = snapshot(detector.backbone)
    detector.begin_phase(HEAD)
    np.testing.assert_array_equal(detector(images, training=True)["label"], detector.score(images))
    kept = snapshot(detector.backbone)
    assert all(np.array_equal(start[path], kept[path]) for path in start)
    detector.begin_phase(ALL)
    assert not np.allclose(detector(images, training=True)["label"], detector.score(images))
    moved = snapshot(detector.backbone)
    statistics = [path for path in start if "moving" in path]
    assert statistics
    assert not any(np.array_equal(start[path], moved[path]) for path in statistics)


def reference_loss(logits, labels, smoothing):
    targets = labels * (1 - smoothing) + smoothing / 2
    probabilities = 1 / (1 + np.exp(-logits.astype("float64")))
    return -np.mean(targets * np.log(probabilities) + (1 - targets) * np.log1p(-probabilities))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_and_accuracy_by_hand_leave_unknown_labels_out(smoothing):
    detector = build(label_smoothing=smoothing)
    images, targets = batch()
    targets["label"] = np.array([0, 1, -1, 1, 0, -1, 1, 0], "int32")
    detector.compile(optimizer=None)
    logits = np.asarray(detector.score(images))
    known = targets["label"] >= 0
    result = detector.evaluate(images, targets, batch_size=8, verbose=0, return_dict=True)
    expected = reference_loss(logits[known], targets["label"][known], smoothing)
    assert result["loss"] == pytest.approx(expected, rel=1e-4)
    accuracy = np.mean((logits[known] > 0) == targets["label"][known])
    assert result["accuracy"] == pytest.approx(accuracy)


def test_score_is_the_logit_of_the_label_fake():
    """Trained on black real and white fake images, fakes score higher; no sigmoid saturates."""
    detector = build("squeezenet", dropout=0.0)
    images = np.concatenate([np.zeros((4, 32, 32, 3)), np.ones((4, 32, 32, 3))]).astype("float32")
    label = np.array([0] * 4 + [1] * 4, "int32")
    detector.begin_phase(HEAD)
    detector.compile(optimizer=keras.optimizers.Adam(0.1))
    targets = {"label": label, "domain": np.zeros(8, "int32")}
    detector.fit(images, targets, batch_size=8, epochs=30, verbose=0)
    scores = np.asarray(detector.score(images))
    assert scores[4] > 1
    assert scores[0] < scores[4] - 2


@pytest.mark.parametrize(("backbone", "size"), [("resnet32", 32), ("squeezenet", 48)])
def test_explanation_is_grad_cam(backbone, size):
    """Against Grad-CAM by its definition: a gradient tape on the last feature map."""
    detector = build(backbone, size)
    images, _ = batch(size, count=3)
    with tf.GradientTape() as tape:
        features = detector.backbone(images, training=False)
        tape.watch(features)
        logits = detector.head(detector.pooling(features))
    gradients = np.asarray(tape.gradient(logits, features))
    weights = gradients.mean((1, 2))[:, None, None, :]
    cam = np.maximum((np.asarray(features) * weights).sum(-1), 0)
    peaks = cam.max((1, 2), keepdims=True)
    cam = np.divide(cam, peaks, out=np.zeros_like(cam), where=peaks > 0)
    expected = tf.image.resize(cam[..., None], (size, size))[..., 0]
    assert cam.max() == 1
    np.testing.assert_allclose(detector.explain(images), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["none", "srm"])
def test_explanation_of_top_k_is_features_times_the_gradient_of_the_score(kind):
    """HiResCAM by its definition, with a tape over the score itself."""
    detector = build("resnet32", 32, pooling="top_k", top_k=0.1, input_residual=kind)
    images, _ = batch(32, count=3)
    features = tf.convert_to_tensor(detector._features(images, training=False))
    with tf.GradientTape() as tape:
        tape.watch(features)
        score = tf.reduce_mean(detector._highest(detector.head(features)[..., 0]), axis=-1)
    np.testing.assert_allclose(score, detector.score(images), rtol=1e-5)
    cam = np.maximum((tape.gradient(score, features) * features).numpy().sum(-1), 0)
    assert ((cam > 0).sum((1, 2)) <= 6).all()  # a tenth of 8 x 8 places
    peaks = cam.max((1, 2), keepdims=True)
    cam = np.divide(cam, peaks, out=np.zeros_like(cam), where=peaks > 0)
    assert cam.max() == 1
    expected = tf.image.resize(cam[..., None], (32, 32))[..., 0]
    np.testing.assert_allclose(detector.explain(images), expected, atol=1e-4)


def test_no_evidence_of_a_fake_gives_an_empty_map():
    detector = build("squeezenet", 48)
    detector.head.kernel.assign(-np.abs(detector.head.kernel))  # SqueezeNet's features are >= 0.
    np.testing.assert_array_equal(detector.explain(batch(48)[0]), np.zeros((8, 48, 48)))


def test_squeezenet_file_is_named_and_loaded(shared_data):
    path = str(shared_data / WEIGHTS)
    detector = build("squeezenet", 64, weights=path)
    assert detector.pretrained == "backbone weights from squeezenet_v1.1_imagenet_notop_tf.h5"
    assert count_parameters(detector) == (723_009, 0)
    images, _ = batch(64)
    loaded = build_detector(
        SpatialDetector(backbone="squeezenet", image_size=64, weights=path), initial_weights=False
    )
    assert not np.allclose(loaded.score(images), detector.score(images))
    loaded.set_weights(detector.get_weights())
    np.testing.assert_array_equal(loaded.score(images), detector.score(images))


def test_missing_weights_are_an_error_and_not_needed_to_load_trained_ones(tmp_path):
    config = SpatialDetector(
        backbone="squeezenet", image_size=32, weights=str(tmp_path / "gone.h5")
    )
    with pytest.raises(InputError, match=r"gone\.h5: no such weights file"):
        build_detector(config)
    assert build_detector(config, initial_weights=False).pretrained.endswith("gone.h5")


def test_top_k_pooling_is_the_mean_of_the_highest_logits_of_the_locations():
    detector = build("squeezenet", size=64, pooling="top_k", top_k=0.5)
    images, _ = batch(64)
    features = np.asarray(detector.backbone(images, training=False))
    assert features.shape == (8, 3, 3, 512)
    logits = features.reshape(8, 9, 512) @ np.asarray(detector.head.kernel)
    logits = logits[..., 0] + np.asarray(detector.head.bias)
    expected = np.sort(logits, axis=1)[:, -4:].mean(axis=1)  # round(0.5 * 9) = 4, to even
    np.testing.assert_allclose(detector.score(images), expected, rtol=1e-4, atol=1e-6)


def test_residual_input_is_what_the_backbone_sees():
    plain, residual = (build("squeezenet", input_residual=kind) for kind in ("none", "laplacian"))
    residual.set_weights(plain.get_weights())
    images, _ = batch()
    seen = residual.residual_input(images)
    assert not np.allclose(seen, images)
    np.testing.assert_allclose(residual.score(images), plain.score(seen), rtol=1e-5, atol=1e-6)
