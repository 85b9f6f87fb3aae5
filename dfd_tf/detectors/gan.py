"""GAN whose discriminator, a ResNet32, is the detector (DETECTORS 4).

Images (batch, image_size, image_size, 3) RGB float32 in [0, 1] are mapped to [-1, 1]. Three modes:
`semi_supervised` has logits for {real, dataset fake, generated} (Salimans et al. 2016,
arXiv:1606.03498, section 5, with K = 2), `vanilla` has one for generated against real (Goodfellow
et al. 2014, arXiv:1406.2661) and `supervised` has the first two and no generator: the baseline.
"""

# ruff: noqa: ARG002 - Keras fixes the arguments of compute_loss and compute_metrics.

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf
from keras import layers, ops

from dfd_tf.config.detectors import DetectorConfig
from dfd_tf.config.detectors import GanDetector as GanSettings
from dfd_tf.detectors.base import Detector, to_unit
from dfd_tf.detectors.explanation import explanation_map
from dfd_tf.detectors.family_losses import FamilyLosses
from dfd_tf.detectors.gan_collapse import collapse_warning
from dfd_tf.detectors.gan_losses import (
    data_loss,
    deception_loss,
    discriminator_loss,
    fake_score,
    feature_matching_loss,
)
from dfd_tf.detectors.supervision import labels_and_weights
from dfd_tf.networks.dcgan import dcgan_generator
from dfd_tf.networks.resnet32 import STAGE_WIDTHS, resnet32_stages

NUM_SAMPLES = 64
_SAMPLE_SEED = 64
_NUM_LOGITS = {"semi_supervised": 3, "vanilla": 1, "supervised": 2}


class _Unsaved:
    """Holds what Keras must not find: it would store an optimiser in the weights file."""

    optimizer: keras.optimizers.Optimizer | None = None


@keras.saving.register_keras_serializable(package="dfd_tf")
class GanDetector(Detector):
    """Detector trained beside a generator of images.

    The score is l_fake - l_real, so P(fake) = sigmoid(score) = p_fake / (p_real + p_fake) whatever
    the third logit says; in mode `vanilla` it is the logit of "generated".

    A step takes both gradients at the same weights, with one pass over the data and one over the
    generated images. The data are normalised by their batch; generated images, like all that is
    scored, by the moving statistics of the data. Normalised by their own batch they would have the
    mean features of the data whatever they look like, and nothing would be left to match; mixed
    into one batch, each side would be normalised by the other (virtual batch normalisation,
    Salimans et al. 2016, section 3.4, is for the same reason).

    Args:
        image_size: Side of the input, pixels: 8, 16, 32, 64, ...
        mode: `semi_supervised`, `vanilla` or `supervised`.
        latent: Length of the generator's noise vector.
        generator_width: Channels of the generator's first feature map.
        label_smoothing: Labels are drawn towards 1/2 by this much, and the target of "the data are
            no generated images" is 1 minus this (one-sided: that of generated ones stays 0).

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1].
        training: Whether batch statistics are used.

    Returns:
        Logits (batch, 3), (batch, 1) or (batch, 2) float32, by mode.

    Example:
        >>> detector = GanDetector(image_size=16, generator_width=16)
        >>> detector.score(keras.ops.zeros((1, 16, 16, 3))).shape
        TensorShape([1])
    """

    uses_unlabelled = True

    def __init__(
        self,
        image_size: int = 64,
        mode: Literal["semi_supervised", "vanilla", "supervised"] = "semi_supervised",
        latent: int = 100,
        generator_width: int = 512,
        label_smoothing: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.mode = mode
        self.latent = latent
        self.generator_width = generator_width
        self.label_smoothing = label_smoothing
        self.one_class = mode == "vanilla"
        self.pretrained = "random (this network has no pretrained weights)"
        if mode == "vanilla":
            self.caveats = (
                "gan in mode vanilla tells real images from those of its own generator: it has seen"
                " no fakes of a dataset and does not detect them",
            )
        self.stages = resnet32_stages(image_size)
        self.pooling = layers.GlobalAveragePooling2D(dtype="float32")
        self.head = layers.Dense(_NUM_LOGITS[mode], dtype="float32")
        self.head.build((None, STAGE_WIDTHS[-1]))
        self._cross_entropy = keras.losses.BinaryCrossentropy(
            from_logits=True,
            label_smoothing=label_smoothing,
            reduction="mean_with_sample_weight",
            dtype="float32",
        )
        if mode != "vanilla":
            self.accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
            self.family_losses = FamilyLosses()
        if mode == "semi_supervised":
            self.supervised_loss = keras.metrics.Mean(name="supervised_loss")
        self.generator: Any = None
        self._beside = _Unsaved()
        if mode != "supervised":
            self.generator = dcgan_generator(image_size, latent, generator_width)
            self.noise_seeds = keras.random.SeedGenerator()
            self.discriminator_loss = keras.metrics.Mean(name="discriminator_loss")
            self.generator_loss = keras.metrics.Mean(name="generator_loss")
        self.built = True

    @classmethod
    def is_one_class(cls, settings: DetectorConfig) -> bool:
        return isinstance(settings, GanSettings) and settings.mode == "vanilla"

    @property
    def discriminator_variables(self) -> list[keras.Variable]:
        """What the discriminator's optimiser trains."""
        return [*self.stages.trainable_variables, *self.head.trainable_variables]

    def call(self, images: Any, training: bool | None = None) -> Any:
        return self._logits_and_features(_to_signed(images), training)[0]

    def compile_phase(self, make_optimizer: Callable[[], keras.optimizers.Optimizer]) -> None:
        self.compile(optimizer=make_optimizer())
        self.optimizer.build(self.discriminator_variables)
        if self.generator is None:
            return
        optimizer = make_optimizer()
        # `compile` wraps the first one only.
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(self.generator.trainable_variables)
        self._beside.optimizer = optimizer

    def extra_optimizers(self) -> tuple[keras.optimizers.Optimizer, ...]:
        return () if self._beside.optimizer is None else (self._beside.optimizer,)

    def train_step(self, data: Any) -> Any:
        if self.generator is None:
            return super().train_step(data)
        images, targets = data
        images = to_unit(images)
        (generator_optimizer,) = self.extra_optimizers()
        with tf.GradientTape(persistent=True) as tape:
            logits, loss, adversarial_loss, generator_loss = self._step_losses(images, targets)
            scaled = self.optimizer.scale_loss(loss)
            generator_scaled = generator_optimizer.scale_loss(generator_loss)
        # Both gradients first: each network moves as the other was in this step.
        variables = self.discriminator_variables
        generator_variables = self.generator.trainable_variables
        gradients = tape.gradient(scaled, variables)
        generator_gradients = tape.gradient(generator_scaled, generator_variables)
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        generator_optimizer.apply_gradients(
            zip(generator_gradients, generator_variables, strict=True)
        )
        for tracker, value in (
            (self._loss_tracker, loss),
            (self.discriminator_loss, adversarial_loss),
            (self.generator_loss, generator_loss),
        ):
            tracker.update_state(value * self._num_replicas, ops.shape(images)[0])
        self._update_data_metrics(targets, logits)
        return self.get_metrics_result()

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Cross-entropy of the labelled images over {real, fake}; the loss of validation.

        In mode `vanilla`, which uses no labels, the discriminator's loss of the (real) images.
        """
        if self.mode == "vanilla":
            return data_loss(y_pred, self.label_smoothing) / self._num_replicas
        labels, weights = labels_and_weights(y)
        loss = self._cross_entropy(labels, fake_score(y_pred)[:, None], sample_weight=weights)
        if self.mode == "semi_supervised":
            self.supervised_loss.update_state(loss * self._num_replicas, ops.sum(weights))
        return loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Figures of the data; those of generated images belong to training alone."""
        self._update_data_metrics(y, y_pred)
        results = self.get_metrics_result()
        return {
            n: v for n, v in results.items() if n not in {"discriminator_loss", "generator_loss"}
        }

    def score(self, images: Any) -> Any:
        return fake_score(self(images, training=False))

    def explain(self, images: Any) -> Any:
        """Class activation map of the score (Zhou et al. 2016, arXiv:1512.04150)."""
        _, features = self._logits_and_features(_to_signed(images), training=False)
        direction = fake_score(ops.convert_to_tensor(self.head.kernel))[:, None]
        evidence = ops.relu(ops.matmul(ops.cast(features[-1], "float32"), direction)[..., 0])
        return explanation_map(evidence, self.image_size)

    def embed(self, images: Any) -> Any:
        """The discriminator's mean features: (batch, 64) float32."""
        _, features = self._logits_and_features(_to_signed(images), training=False)
        return self.pooling(features[-1])

    def generate(self) -> Any:
        if self.generator is None:
            return None
        noise = keras.random.normal((NUM_SAMPLES, self.latent), seed=_SAMPLE_SEED)
        return (self.generator(noise, training=False) + 1.0) / 2.0

    def trouble(self, history: Sequence[Mapping[str, Any]]) -> str | None:
        return None if self.generator is None else collapse_warning(history)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_size": self.image_size,
            "mode": self.mode,
            "latent": self.latent,
            "generator_width": self.generator_width,
            "label_smoothing": self.label_smoothing,
        }

    @property
    def _num_replicas(self) -> int:
        # Keras's loss objects divide by it, because gradients are summed over the replicas.
        return self.distribute_strategy.num_replicas_in_sync

    def _step_losses(self, images: Any, targets: dict[str, Any]) -> tuple[Any, Any, Any, Any]:
        """Returns the data's logits, the discriminator's loss, the adversarial part of that, and
        the generator's loss.
        """
        logits, features = self._logits_and_features(_to_signed(images), training=True)
        noise = keras.random.normal((ops.shape(images)[0], self.latent), seed=self.noise_seeds)
        generated = self.generator(noise, training=True)
        generated_logits, generated_features = self._logits_and_features(generated, training=False)
        loss = discriminator_loss(logits, generated_logits, self.label_smoothing)
        adversarial_loss = loss = loss / self._num_replicas
        if self.mode == "vanilla":
            generator_loss = deception_loss(generated_logits)
        else:
            loss = adversarial_loss + self.compute_loss(images, targets, logits)
            generator_loss = feature_matching_loss(features, generated_features)
        return logits, loss, adversarial_loss, generator_loss / self._num_replicas

    def _logits_and_features(self, signed: Any, training: bool | None) -> tuple[Any, list[Any]]:
        features = self.stages(signed, training=training)
        return self.head(self.pooling(features[-1])), features

    def _update_data_metrics(self, targets: dict[str, Any], logits: Any) -> None:
        if self.mode != "vanilla":
            labels, weights = labels_and_weights(targets)
            scores = fake_score(logits)
            self.accuracy.update_state(labels, scores[:, None], sample_weight=weights)
            self.family_losses.update_from_logits(targets, scores)


def _to_signed(images: Any) -> Any:
    return images * 2.0 - 1.0
