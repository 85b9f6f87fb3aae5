"""The GAN detector: which loss moves which network, and by how much."""

from unittest import mock

import h5py
import keras
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import expit, log_softmax, logsumexp, softmax

from dfd_tf.config.detectors import GanDetector as Settings
from dfd_tf.config.loading import load_experiment
from dfd_tf.detectors.gan import GanDetector
from dfd_tf.detectors.gan_collapse import collapse_warning
from dfd_tf.detectors.registry import build_detector, count_parameters
from dfd_tf.networks import resnet32 as resnet32_module
from pipelines.errors import InputError

SIZE = 8
LABELS = np.array([0, 1, 1, -1, 0], "int32")


@pytest.fixture(autouse=True)
def shallow(monkeypatch):
    """One block a stage instead of five: what is tested here does not depend on the depth."""
    monkeypatch.setattr(resnet32_module, "BLOCKS_PER_STAGE", 1)


def build(**settings):
    keras.utils.set_random_seed(3)
    return build_detector(
        Settings(**{"image_size": SIZE, "generator_width": 6, "latent": 4, **settings})
    )


def batch():
    images = np.random.default_rng(0).integers(0, 256, (len(LABELS), SIZE, SIZE, 3), "uint8")
    return images, {"label": LABELS, "domain": np.zeros(len(LABELS), "int32")}


def compiled(detector, discriminator_rate, generator_rate):
    """Plain gradient descent: a step moves each weight by its gradient times the rate."""
    rates = iter([discriminator_rate, generator_rate])
    detector.compile_phase(lambda: keras.optimizers.SGD(next(rates)))
    return detector


def step(detector, data=None):
    images, targets = data or batch()
    tensors = {name: keras.ops.convert_to_tensor(value) for name, value in targets.items()}
    logs = detector.train_step((keras.ops.convert_to_tensor(images), tensors))
    return {name: float(value) for name, value in logs.items()}


def copies(weights):
    return [np.array(weight) for weight in weights]


def moved(before, weights):
    return [not np.array_equal(old, new) for old, new in zip(before, copies(weights), strict=True)]


def passes(detector):
    """The logits and features of the step to come, of a twin so that nothing is moved."""
    twin = GanDetector.from_config(detector.get_config())
    twin.set_weights(detector.get_weights())
    twin.noise_seeds.state.assign(detector.noise_seeds.state)
    signed = batch()[0].astype("float32") / 255 * 2 - 1
    features = twin.stages(signed, training=True)
    noise = keras.random.normal((len(LABELS), twin.latent), seed=twin.noise_seeds)
    generated_features = twin.stages(twin.generator(noise, training=True), training=False)
    logits = [
        np.asarray(twin.head(keras.ops.mean(maps[-1], axis=(1, 2))), "float64")
        for maps in (features, generated_features)
    ]
    return *logits, features, generated_features


@pytest.mark.parametrize(
    ("mode", "count"), [("semi_supervised", 463_699), ("vanilla", 463_569), ("supervised", 463_634)]
)
def test_published_layout(mode, count, monkeypatch):
    monkeypatch.setattr(resnet32_module, "BLOCKS_PER_STAGE", 5)
    detector = build_detector(Settings(mode=mode))
    generator = 0 if mode == "supervised" else 3_576_704
    assert count_parameters(detector)[0] == count + generator
    assert sum(int(np.prod(v.shape)) for v in detector.discriminator_variables) == count


def test_score_is_the_logit_of_fake_among_the_classes_of_the_data():
    detector = build()
    images = batch()[0].astype("float32") / 255
    logits = np.asarray(detector(images), "float64")
    assert logits.shape == (5, 3)
    p_real, p_fake, _ = softmax(logits, axis=1).T
    np.testing.assert_allclose(expit(detector.score(images)), p_fake / (p_real + p_fake), rtol=1e-5)
    vanilla = build(mode="vanilla")
    np.testing.assert_array_equal(vanilla.score(images), vanilla(images)[:, 0])


def test_semi_supervised_losses_by_hand():
    detector = compiled(build(label_smoothing=0.2), 0.0, 0.0)
    logits, generated, features, generated_features = passes(detector)
    known = LABELS >= 0
    log_p = log_softmax(logits[known, :2], axis=1)
    targets = np.where(LABELS[known] == 1, 0.9, 0.1)
    supervised = -(targets * log_p[:, 1] + (1 - targets) * log_p[:, 0]).mean()
    z = logsumexp(logits[:, :2], axis=1) - logits[:, 2]
    z_generated = logsumexp(generated[:, :2], axis=1) - generated[:, 2]
    of_data = -(0.8 * np.log(expit(z)) + 0.2 * np.log(expit(-z))).mean()
    of_data += 0.8 * np.log(0.8) + 0.2 * np.log(0.2)
    discriminator = 0.5 * (of_data - np.log(expit(-z_generated)).mean())
    matching = np.mean(
        [
            (
                (np.mean(a, axis=0, dtype="float64") - np.mean(b, axis=0, dtype="float64")) ** 2
            ).mean()
            for a, b in zip(features, generated_features, strict=True)
        ]
    )
    logs = step(detector)
    assert logs["supervised_loss"] == pytest.approx(supervised, rel=1e-4)
    assert logs["discriminator_loss"] == pytest.approx(discriminator, rel=1e-4)
    assert logs["loss"] == pytest.approx(supervised + discriminator, rel=1e-4)
    assert logs["generator_loss"] == pytest.approx(matching, rel=1e-4)
    assert logs["accuracy"] == pytest.approx(np.mean((log_p[:, 1] > log_p[:, 0]) == LABELS[known]))


def test_vanilla_losses_by_hand():
    detector = compiled(build(mode="vanilla", label_smoothing=0.0), 0.0, 0.0)
    logits, generated, _, _ = passes(detector)
    logs = step(detector)
    expected = 0.5 * (-np.log(expit(-logits)).mean() - np.log(expit(generated)).mean())
    assert logs["discriminator_loss"] == pytest.approx(expected, rel=1e-4)
    assert logs["loss"] == logs["discriminator_loss"]
    assert logs["generator_loss"] == pytest.approx(-np.log(expit(-generated)).mean(), rel=1e-4)
    assert set(logs) == {"loss", "discriminator_loss", "generator_loss"}


def test_the_discriminator_moves_by_the_gradient_of_its_own_loss():
    """The head's bias: its gradient is the mean error of each logit."""
    detector = compiled(build(label_smoothing=0.0), 1.0, 1.0)
    logits, generated, _, _ = passes(detector)
    known = LABELS >= 0
    of_two = softmax(logits[:, :2], axis=1)
    p, p_generated = softmax(logits, axis=1), softmax(generated, axis=1)
    errors = (of_two - np.eye(2)[LABELS])[known].mean(0)
    # d/dl -log(p_real + p_fake) = p - (p_real, p_fake) / (p_real + p_fake); d/dl -log p_generated.
    of_data = (p - np.pad(of_two, ((0, 0), (0, 1)))).mean(0)
    of_generated = (p_generated - [0, 0, 1]).mean(0)
    expected = np.pad(errors, (0, 1)) + 0.5 * (of_data + of_generated)
    before = np.array(detector.head.bias)
    step(detector)
    np.testing.assert_allclose(before - np.array(detector.head.bias), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["semi_supervised", "vanilla"])
def test_each_optimiser_moves_its_network_only(mode):
    detector = compiled(build(mode=mode), 0.0, 0.1)
    discriminator = copies(detector.discriminator_variables)
    generator = copies(detector.generator.trainable_variables)
    step(detector)
    assert not any(moved(discriminator, detector.discriminator_variables))
    assert all(moved(generator, detector.generator.trainable_variables))
    compiled(detector, 0.1, 0.0)
    generator = copies(detector.generator.trainable_variables)
    step(detector)
    # Behind the zero scales that residual blocks begin with, no gradient arrives yet.
    assert sum(moved(discriminator, detector.discriminator_variables)) > len(discriminator) / 3
    assert not any(moved(generator, detector.generator.trainable_variables))


def test_only_data_move_the_statistics_that_scoring_uses():
    detector = compiled(build(), 0.0, 0.0)
    twin = compiled(build(mode="supervised"), 0.0, 0.0)
    twin.stages.set_weights(detector.stages.get_weights())
    step(detector), step(twin)
    statistics = [w for w in detector.stages.non_trainable_weights if "seed" not in w.path]
    assert all(np.any(w.numpy() != w.numpy().flat[0]) for w in statistics)
    for found, expected in zip(statistics, twin.stages.non_trainable_weights, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_step_draws_new_noise_and_samples_keep_theirs():
    detector = compiled(build(), 0.0, 0.0)
    samples = np.asarray(detector.generate())
    assert samples.shape == (64, SIZE, SIZE, 3)
    assert samples.min() >= 0
    assert samples.max() <= 1
    assert len(np.unique(samples.reshape(64, -1), axis=0)) == 64
    before = np.array(detector.noise_seeds.state)
    np.testing.assert_array_equal(detector.generate(), samples)
    np.testing.assert_array_equal(detector.noise_seeds.state, before)
    step(detector)
    assert not np.array_equal(detector.noise_seeds.state, before)
    assert any(variable is detector.noise_seeds.state for variable in detector.variables)


def test_optimisers_are_the_ones_asked_for_and_step_once_a_batch():
    detector = build()
    detector.compile_phase(lambda: keras.optimizers.Adam(1e-3, beta_1=0.5))
    (extra,) = detector.extra_optimizers()
    for optimizer, variables in (
        (detector.optimizer, detector.discriminator_variables),
        (extra, detector.generator.trainable_variables),
    ):
        assert type(optimizer) is keras.optimizers.Adam
        assert optimizer.built
        assert len(optimizer.variables) == 2 + 2 * len(variables)
    for _ in range(2):
        step(detector)
    assert detector.optimizer.iterations == 2
    assert extra.iterations == 2


def test_both_losses_are_scaled_under_half_precision():
    """Unscaled, the gradients divided by the scale of 2 ** 15 would move nothing."""
    expected = compiled(build(), 0.1, 0.1)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        detector = compiled(build(), 0.1, 0.1)
    finally:
        keras.config.set_dtype_policy(before)
    starts = [
        (copies(d.discriminator_variables), copies(d.generator.trainable_variables))
        for d in (expected, detector)
    ]
    optimizers = (detector.optimizer, *detector.extra_optimizers())
    assert [type(x).__name__ for x in optimizers] == ["LossScaleOptimizer"] * 2
    step(expected), step(detector)
    for optimizer in optimizers:
        assert optimizer.iterations == 1
        assert optimizer.dynamic_scale == 2**15
    ends = [
        (copies(d.discriminator_variables), copies(d.generator.trainable_variables))
        for d in (expected, detector)
    ]
    for network in (0, 1):
        movements = [
            np.concatenate(
                [(b - a).ravel() for a, b in zip(start[network], end[network], strict=True)]
            )
            for start, end in zip(starts, ends, strict=True)
        ]
        assert np.corrcoef(*movements)[0, 1] > 0.9
        assert np.linalg.norm(movements[1]) == pytest.approx(np.linalg.norm(movements[0]), rel=0.2)


@pytest.mark.parametrize("mode", ["semi_supervised", "vanilla", "supervised"])
def test_validation_never_generates(mode):
    detector = compiled(build(mode=mode), 0.0, 0.0)
    images, targets = batch()
    tensors = {name: keras.ops.convert_to_tensor(value) for name, value in targets.items()}
    if mode == "supervised":
        assert detector.generate() is None
        assert detector.extra_optimizers() == ()
        logs = detector.test_step((keras.ops.convert_to_tensor(images), tensors))
    else:
        with mock.patch.object(detector.generator, "call", side_effect=AssertionError):
            logs = detector.test_step((keras.ops.convert_to_tensor(images), tensors))
    logits = np.asarray(detector(images.astype("float32") / 255), "float64")
    if mode == "vanilla":
        assert set(logs) == {"loss"}
        z = -logits[:, 0]
        cross_entropy = -(0.9 * np.log(expit(z)) + 0.1 * np.log(expit(-z))).mean()
        expected = cross_entropy + 0.9 * np.log(0.9) + 0.1 * np.log(0.1)
    else:
        extra = {"supervised_loss"} if mode == "semi_supervised" else set()
        assert set(logs) == {"loss", "accuracy"} | extra
        known = LABELS >= 0
        score = (logits[:, 1] - logits[:, 0])[known]
        target = np.where(LABELS[known] == 1, 0.95, 0.05)
        expected = -(target * np.log(expit(score)) + (1 - target) * np.log(expit(-score))).mean()
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-4)


def test_explanation_is_the_evidence_of_the_score():
    """The mean of the signed map over the locations, plus the bias, is the score."""
    detector = build()
    images = batch()[0].astype("float32") / 255
    detector.head.bias.assign([0.5, -0.25, 9.0])
    features = np.asarray(detector.stages(images * 2 - 1, training=False)[-1], "float64")
    kernel = np.asarray(detector.head.kernel, "float64")
    evidence = features @ (kernel[:, 1] - kernel[:, 0])
    np.testing.assert_allclose(evidence.mean((1, 2)) - 0.75, detector.score(images), rtol=1e-4)
    positive = np.maximum(evidence, 0)
    maps = np.asarray(detector.explain(images))
    peaks = positive.max((1, 2)) > 0
    assert peaks.any()
    # Each location of the 2 x 2 map is the middle of a quarter of the picture.
    np.testing.assert_allclose(maps.max((1, 2)), peaks, atol=1e-5)
    order = positive.reshape(len(images), -1).argmax(1)
    quarters = np.stack([maps[:, :4, :4], maps[:, :4, 4:], maps[:, 4:, :4], maps[:, 4:, 4:]], 1)
    np.testing.assert_array_equal(
        quarters.mean((2, 3)).argmax(1)[peaks],
        order[peaks],
    )


def test_weights_file_holds_no_optimiser(tmp_path):
    detector = build()
    detector.compile_phase(lambda: keras.optimizers.Adam(1e-3))
    step(detector)
    detector.optimizer = None  # As `save_best` does with the one that Keras knows of.
    detector.save_weights(tmp_path / "model.weights.h5")
    names = []
    with h5py.File(tmp_path / "model.weights.h5") as file:
        file.visit(names.append)
        arrays = [name for name in names if isinstance(file[name], h5py.Dataset)]
    assert any(name.startswith("generator/") for name in names)
    assert not [name for name in names if "optim" in name or "beside" in name]
    metrics = sum(len(metric.variables) for metric in detector.metrics)
    assert len(arrays) <= len(detector.weights) + metrics


@pytest.mark.parametrize(
    ("losses", "warns"),
    [
        ([0.7, 0.04, 0.03, 0.01], True),
        ([0.04, 0.03], False),
        ([0.01, 0.01, 0.05], False),
        ([0.01, 0.01, 0.01, 0.06, 0.01, 0.01], False),
    ],
)
def test_collapse_is_warned_of(losses, warns):
    history = [{"epoch": i, "discriminator_loss": loss} for i, loss in enumerate(losses)]
    warning = collapse_warning(history)
    assert (warning is not None) == warns
    assert build().trouble(history) == warning
    if warns:
        assert "loss was under 0.05 for 3 epochs" in warning
        assert "\n" not in warning
    assert build(mode="supervised").trouble([{"loss": 0.0}] * 5) is None


def test_vanilla_is_trained_on_real_images_and_says_what_it_does_not_do():
    assert build(mode="vanilla").one_class
    assert GanDetector.is_one_class(Settings(mode="vanilla"))
    assert "does not detect" in build(mode="vanilla").caveats[0]
    for mode in ("semi_supervised", "supervised"):
        assert not build(mode=mode).one_class
        assert not GanDetector.is_one_class(Settings(mode=mode))
        assert build(mode=mode).caveats == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_size": 48}, "image_size 48 must be 8, 16, 32, 64, 128"),
        ({"image_size": 4}, "image_size 4 must be 8"),
        ({"generator_width": 7}, "generator_width 7 must be 8 or more at 64 pixels"),
        (
            {"phases": [{"name": "p", "epochs": 1, "learning_rate": 1, "freeze_backbone": True}]},
            "phase p: gan has no backbone to freeze",
        ),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Settings(**settings)


def test_losses_of_pseudo_fake_families_are_logged():
    detector = compiled(build(), 0.0, 0.0)
    images, targets = batch()
    logs = step(detector, (images, {**targets, "family": np.array([0, 1, 1, 0, 0], "int32")}))
    logits = passes(detector)[0]  # The moving statistics have moved, the weights have not.
    scores = logits[:, 1] - logits[:, 0]
    real = -np.log(expit(-scores[[0, 4]])).mean()
    assert logs["loss_dataset"] == pytest.approx(real, rel=1e-4)
    assert logs["loss_self_blend"] == pytest.approx(-np.log(expit(scores[1:3])).mean(), rel=1e-4)


def test_an_average_of_the_weights_is_refused_in_one_line():
    with pytest.raises(InputError, match="optimizer.ema must be null for gan") as refusal:
        load_experiment("gan_small", ["training.optimizer.ema=0.99"])
    assert "\n" not in str(refusal.value)
    alone = ["training.optimizer.ema=0.99", "detector.mode=supervised"]
    assert load_experiment("gan_small", alone).detector.mode == "supervised"
