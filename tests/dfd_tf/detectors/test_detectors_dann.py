"""The adversary's gradient, lambda in training, what is masked, and the explanation."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from dfd_tf.config.detectors import DannDetector
from dfd_tf.detectors.dann import DomainAdversarialDetector, strength_at
from dfd_tf.detectors.registry import build_detector
from dfd_tf.networks import backbones
from dfd_tf.networks.backbones import OwnNetwork
from dfd_tf.networks.weight_files import load_weight_file
from dfd_tf.training.position import Position
from dfd_tf.training.step_callbacks import Clock, StepCallbackList

SIZE = 32
NUM_DOMAINS = 3


def build(**settings):
    keras.utils.set_random_seed(6)
    settings = {"image_size": SIZE, "backbone": "squeezenet", "weights": "none"} | settings
    return build_detector(DannDetector(**settings), NUM_DOMAINS)


@pytest.fixture
def tiny_backbone(monkeypatch):
    """A network that compiles at once; XLA takes its time with larger ones."""

    def build_network(image_size):
        pictures = keras.Input((image_size, image_size, 3))
        return keras.Model(
            pictures, keras.layers.Conv2D(8, 3, strides=2, activation="relu")(pictures)
        )

    tiny = OwnNetwork(build_network, backbones.MINUS_ONE_TO_ONE, load_weight_file)
    monkeypatch.setattr(backbones, "OWN_NETWORKS", {"tiny": tiny})
    return "tiny"


def batch(count=8, seed=0):
    random = np.random.default_rng(seed)
    images = random.uniform(0, 1, (count, SIZE, SIZE, 3)).astype("float32")
    label = np.arange(count, dtype="int32") % 2
    return images, {"label": label, "domain": np.arange(count, dtype="int32") % NUM_DOMAINS}


def gradients(detector, loss_of):
    """Gradients of a loss of the outputs with respect to backbone and features, and to the head."""
    images, targets = batch()
    shared = [*detector.backbone.trainable_variables, *detector.features.trainable_variables]
    adversary = [
        *detector.domain_features.trainable_variables,
        *detector.domain_head.trainable_variables,
    ]
    with tf.GradientTape() as tape:
        loss = loss_of(detector(images, training=False), targets)
    found = tape.gradient(
        loss, [v.value for v in (*shared, *adversary)], unconnected_gradients="zero"
    )
    return found[: len(shared)], found[len(shared) :]


def domain_loss(outputs, targets):
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(targets["domain"], outputs["domain"])
    return tf.reduce_mean(losses)


def label_loss(outputs, targets):
    label = tf.cast(targets["label"], "float32")
    losses = tf.nn.sigmoid_cross_entropy_with_logits(label, outputs["label"])
    return tf.reduce_mean(losses)


def feature_gradients(detector, domain_weight):
    """Gradients of the label's and of the domains' loss at the features, without any reversal."""
    images, targets = batch()
    features = detector.embed(images)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(features)
        direction = features / tf.sqrt(tf.reduce_mean(features**2, axis=-1, keepdims=True) + 1e-6)
        domain = detector.domain_head(detector.domain_features(direction))
        losses = (
            label_loss({"label": detector.label_head(features)[:, 0]}, targets),
            domain_weight * domain_loss({"domain": domain}, targets),
        )
    return [tape.gradient(loss, features) for loss in losses]


DIVERGENCE = 0.49


# At 0.01 the domain's gradient is the shorter one by far, at 100 the longer one.
@pytest.mark.parametrize("domain_weight", [0.01, 100.0])
def test_the_features_get_minus_lambda_times_the_domain_gradient_as_long_as_the_distance_allows(
    domain_weight,
):
    detector = build()
    detector.divergence.assign(DIVERGENCE)
    of_label, of_domain = feature_gradients(detector, domain_weight)
    ratio = float(tf.norm(of_domain) / tf.norm(of_label))
    assert (ratio > 5) if domain_weight > 1 else (ratio < 0.2)

    def weighted(outputs, targets):
        return label_loss(outputs, targets) + domain_weight * domain_loss(outputs, targets)

    images, _ = batch()
    shared = [*detector.backbone.trainable_variables, *detector.features.trainable_variables]
    for strength in (0.0, 0.4, 1.0):
        detector.reversal.strength.assign(strength)
        combined = of_label - strength * min(1.0, DIVERGENCE**0.5 / ratio) * of_domain
        with tf.GradientTape() as tape:
            product = tf.reduce_sum(combined * detector.embed(images))
        expected = tape.gradient(product, [v.value for v in shared])
        found, of_head = gradients(detector, weighted)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
        _, plain = gradients(detector, lambda *pair: domain_weight * domain_loss(*pair))
        for one, other in zip(of_head, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_batch_without_labels_leaves_the_features_alone():
    detector = build()
    detector.divergence.assign(1.0)
    detector.reversal.strength.assign(1.0)
    shared, head = gradients(detector, domain_loss)
    assert all(not np.any(gradient) for gradient in shared)
    assert all(np.any(gradient) for gradient in head)


def test_an_adversary_at_chance_moves_the_features_no_further():
    detector = build()
    detector.divergence.assign(0.0)
    detector.reversal.strength.assign(1.0)

    def both(outputs, targets):
        return label_loss(outputs, targets) + domain_loss(outputs, targets)

    for found, plain in zip(
        gradients(detector, both)[0], gradients(detector, label_loss)[0], strict=True
    ):
        np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-8)


def test_divergence_follows_the_domain_loss_from_that_of_chance_to_none():
    # Below chance, the last one, is a divergence of 0: one bad step outweighs no good ones.
    detector = build()
    images, targets = batch()
    expected = 0.0
    for certainty in (0.0, 3.0, 50.0, -20.0):
        logits = certainty * np.eye(NUM_DOMAINS, dtype="float32")[targets["domain"]]
        outputs = {"label": tf.zeros(8), "domain": logits}
        detector.compute_loss(images, targets, outputs, training=False)
        assert float(detector.divergence) == pytest.approx(expected, abs=1e-6)
        detector.compute_loss(images, targets, outputs, training=True)
        entropy = math.log(math.exp(certainty) + NUM_DOMAINS - 1) - certainty
        expected = 0.9 * expected + 0.1 * max(0.0, 1 - entropy / math.log(NUM_DOMAINS))
        assert float(detector.divergence) == pytest.approx(expected, abs=1e-6)


def test_the_adversary_alone_trains_at_a_multiple_of_the_rate():
    detector = build(adversary_rate=7.0)
    factors = {v.path: getattr(v, "rate_factor", 1.0) for v in detector.trainable_variables}
    layers = (detector.domain_features, detector.domain_head)
    adversary = {v.path for layer in layers for v in layer.trainable_variables}
    assert factors == {path: 7.0 if path in adversary else 1.0 for path in factors}
    assert len(adversary) == 4


def test_loss_is_label_cross_entropy_plus_weighted_domain_cross_entropy():
    detector = build(domain_weight=0.3)
    images, targets = batch()
    outputs = detector(images, training=False)
    logits, label = np.float64(outputs["label"]), targets["label"]
    label_loss = np.mean(np.log1p(np.exp(np.where(label == 1, -logits, logits))))
    domain = np.float64(outputs["domain"])
    picked = domain[np.arange(8), targets["domain"]]
    domain_entropy = np.mean(np.log(np.exp(domain).sum(axis=1)) - picked)
    loss = detector.compute_loss(images, targets, outputs, training=True)
    np.testing.assert_allclose(loss, label_loss + 0.3 * domain_entropy, rtol=1e-5)
    # Validation watches the label alone: the domain loss ought to rise.
    loss = detector.compute_loss(images, targets, outputs, training=False)
    np.testing.assert_allclose(loss, label_loss, rtol=1e-5)


def test_unlabelled_images_count_for_the_domains_only():
    detector = build(domain_weight=0.5)
    images, targets = batch()
    targets["label"][[1, 2, 5]] = -1
    known = targets["label"] >= 0
    outputs = detector(images, training=False)

    def losses(chosen):
        kept = {name: value[chosen] for name, value in targets.items()}
        answers = {name: tf.boolean_mask(value, chosen) for name, value in outputs.items()}
        total, label = (
            float(detector.compute_loss(images[chosen], kept, answers, training=training))
            for training in (True, False)
        )
        detector.reset_metrics()
        detector.compute_metrics(images[chosen], kept, answers)
        return label, total - label, detector.get_metrics_result()

    everything = np.full(8, True)
    label, domain, metrics = losses(everything)
    label_without, domain_without, metrics_without = losses(known)
    assert label == pytest.approx(label_without, abs=1e-6)
    for name in ("label_loss", "accuracy"):
        assert float(metrics[name]) == pytest.approx(float(metrics_without[name]), abs=1e-6)
    assert abs(domain - domain_without) > 1e-4
    assert float(metrics["domain_loss"]) == pytest.approx(2 * domain, abs=1e-5)
    all_unknown = {**targets, "label": np.full(8, -1, "int32")}
    assert float(detector.compute_loss(images, all_unknown, outputs, training=False)) == 0.0
    assert math.isfinite(float(detector.compute_loss(images, all_unknown, outputs)))


def test_schedule_is_that_of_the_paper():
    # 2 / (1 + exp(-10 p)) - 1 = tanh(5 p)
    for progress in (0.0, 0.1, 0.5, 0.99):
        assert strength_at(progress) == pytest.approx(math.tanh(5 * progress), abs=1e-12)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_lambda_follows_the_schedule_inside_fit(jit_compile, tiny_backbone):
    detector = build(backbone=tiny_backbone, peak_lambda=0.8)
    images, targets = batch()
    planned_steps, seen = 10, []
    position = Position()

    class Record(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(logs["lambda"]))

    detector.compile(keras.optimizers.SGD(1e-3), jit_compile=jit_compile)
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4)
    history = detector.fit(
        data,
        epochs=3,
        shuffle=False,
        verbose=0,
        callbacks=StepCallbackList(
            [Clock(position, planned_steps), Record()], add_history=True, model=detector
        ),
    ).history
    expected = [0.8 * math.tanh(5 * step / planned_steps) for step in range(6)]
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    np.testing.assert_allclose(history["lambda"], expected[1::2], atol=1e-6)
    names = {"loss", "label_loss", "domain_loss", "accuracy", "domain_accuracy", "lambda"}
    assert set(history) == names


def test_without_lambda_the_adversary_trains_and_the_features_do_not_hear_of_it(tiny_backbone):
    detector = build(backbone=tiny_backbone, peak_lambda=0.0)
    images, targets = batch()
    targets["label"][:] = -1  # Only the domain loss is left.
    detector.set_progress(0.9)
    assert float(detector.reversal.strength) == 0.0
    before = [np.array(v) for v in detector.trainable_variables]
    detector.compile(keras.optimizers.SGD(0.1))
    detector.fit(images, targets, verbose=0)
    moved = {
        variable.path
        for old, variable in zip(before, detector.trainable_variables, strict=True)
        if not np.array_equal(old, variable)
    }
    adversary = {v.path for v in (detector.domain_features.kernel, detector.domain_head.kernel)}
    assert adversary <= moved
    heads = (*detector.domain_features.variables, *detector.domain_head.variables)
    assert moved <= {v.path for v in heads}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_explanation_is_grad_cam(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        detector = build()
    finally:
        keras.config.set_dtype_policy(before)
    images, _ = batch(5)
    found = tf.function(detector.explain)(images)
    maps = tf.cast(detector.backbone(images, training=False), "float32")
    with tf.GradientTape() as tape:
        tape.watch(maps)
        logit = detector.label_head(detector.features(detector.pooling(maps)))
    slopes = tf.reduce_mean(tape.gradient(logit, maps), axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(slopes * maps, axis=-1))
    peak = tf.reduce_max(cam, axis=(1, 2), keepdims=True)
    assert float(tf.reduce_max(peak)) > 0
    cam = tf.image.resize(tf.math.divide_no_nan(cam, peak)[..., None], (SIZE, SIZE))[..., 0]
    tolerance = 1e-4 if policy == "float32" else 2e-2
    np.testing.assert_allclose(found, np.clip(cam, 0, 1), atol=tolerance)


def test_embedding_is_what_both_heads_see_and_the_score_is_the_label_logit():
    detector = build()
    images, _ = batch(4)
    features = detector.embed(images)
    assert features.shape == (4, 256)
    np.testing.assert_allclose(
        detector.label_head(features)[:, 0], detector.score(images), rtol=1e-6
    )
    outputs = detector(images, training=False)
    assert outputs["domain"].shape == (4, NUM_DOMAINS)
    np.testing.assert_array_equal(outputs["label"], detector.score(images))


def test_number_of_domains_comes_from_the_data():
    config = build().get_config()
    assert config["num_domains"] == NUM_DOMAINS
    assert DomainAdversarialDetector(**config).domain_head.units == NUM_DOMAINS


def test_longer_features_do_not_move_the_adversary():
    """Their length once let the reversed gradient raise the domain loss to 1e8."""
    detector = build()
    images, _ = batch()
    before = detector(images)
    for variable in detector.features.trainable_variables:
        variable.assign(10.0 * variable)
    after = detector(images)
    np.testing.assert_allclose(after["domain"], before["domain"], rtol=1e-3, atol=1e-4)
    bias = float(detector.label_head.bias[0])
    np.testing.assert_allclose(after["label"] - bias, 10 * (before["label"] - bias), rtol=1e-4)
