"""Domain-adversarial detector (DETECTORS 2; Ganin et al., JMLR 2016).

Images (batch, image_size, image_size, 3) RGB float32 in [0, 1] become features from which one head
tells fakes and another, behind a gradient reversal, tells the domain: the features learn to be of
no use to the second one, and what is left is hoped to hold in domains never seen.
"""

# ruff: noqa: ARG002 - Keras fixes the arguments of compute_loss and compute_metrics.

import math
from typing import Any, Self

import keras
from keras import layers, ops

from dfd_tf.config.detectors import DetectorConfig
from dfd_tf.detectors.backbone_detector import BackboneDetector
from dfd_tf.detectors.explanation import explanation_map
from dfd_tf.detectors.supervision import labels_and_weights
from dfd_tf.networks.gradient_fork import GradientFork
from dfd_tf.networks.gradient_reversal import GradientReversal

NUM_FEATURES = 256
NUM_DOMAIN_UNITS = 128
_DIVERGENCE_MOMENTUM = 0.9


@keras.saving.register_keras_serializable(package="dfd_tf")
class DomainAdversarialDetector(BackboneDetector):
    """Binary classifier of faces with an adversary that tells domains apart.

    Training minimises the cross-entropy of the labels, images of label -1 left out, plus
    `domain_weight` times that of the domains over all images. The adversary's gradient reaches the
    features times `-lambda`, and lambda rises with training (`strength_at`). The validation loss is
    the label's alone: the domain loss ought to rise, and no patience should run out over it.

    Left alone this game runs away, and ends with labels forgotten and domains named the wrong way
    round. Three things keep it at chance:

    - The reversed gradient is at most lambda * sqrt(d) times as long as the label's
      (`GradientFork`), where d, from 0 to 1, is how far the adversary's loss has lately been below
      that of chance: it estimates the Jensen-Shannon divergence of the domains (Goodfellow et al.
      2014, arXiv:1406.2661, theorem 1), whose root is a distance. At chance the features are let
      go, so they do not overshoot; the adversary never takes them over; and a batch without any
      label leaves them alone.
    - The adversary learns `adversary_rate` times as fast as the features: two time scales are what
      lets such a game settle (Heusel et al. 2017, arXiv:1706.08500), and ten times the rate is
      customary for new layers (Long et al. 2018, arXiv:1705.10667). A slow one is fooled by
      features that still hold the domain.
    - The adversary sees the direction of the features only: their length would let the reversed
      gradient raise its loss without end.

    Args:
        image_size: Side of the input, pixels.
        backbone: Name of the network (`dfd_tf.networks.backbones`).
        weights: Initial weights: `imagenet`, `none` or a file; read by `load_initial_weights`.
        dropout: Dropout rate of the features in front of the label head.
        domain_weight: Weight of the domain loss.
        peak_lambda: Largest lambda; 0: the adversary watches and changes nothing.
        adversary_rate: Learning rate of the adversary over that of everything else.
        num_domains: Domains told apart; their ids are 0 to `num_domains` - 1.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1].
        training: Whether dropout and, unless the backbone is frozen, batch statistics are used.

    Returns:
        `label`, (batch,) logits, higher = more likely fake, and `domain`, (batch, num_domains)
        logits; both float32.

    Example:
        >>> detector = DomainAdversarialDetector(
        ...     image_size=32, backbone="resnet32", weights="none", num_domains=2
        ... )
        >>> detector.embed(keras.ops.zeros((1, 32, 32, 3))).shape
        TensorShape([1, 256])

    Reference:
        Ganin et al., "Domain-adversarial training of neural networks", JMLR 17(59), 2016.
    """

    uses_unlabelled = True
    needs_domains = True

    def __init__(
        self,
        image_size: int = 224,
        backbone: str = "resnet50",
        weights: str = "imagenet",
        dropout: float = 0.2,
        domain_weight: float = 1.0,
        peak_lambda: float = 1.0,
        adversary_rate: float = 10.0,
        num_domains: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size, backbone, weights, dropout, **kwargs)
        self.domain_weight = domain_weight
        self.peak_lambda = peak_lambda
        self.adversary_rate = adversary_rate
        self.num_domains = num_domains
        self.features = _dense(NUM_FEATURES, self.backbone.num_channels, "relu")
        self.label_head = _dense(1, NUM_FEATURES)
        self.fork = GradientFork(dtype="float32")
        self.divergence = self.add_weight(
            name="divergence",
            shape=(),
            initializer="zeros",
            dtype="float32",
            trainable=False,
            autocast=False,
            aggregation="mean",
        )
        self.reversal = GradientReversal(0.0, dtype="float32")
        self.domain_features = _dense(NUM_DOMAIN_UNITS, NUM_FEATURES, "relu")
        self.domain_head = _dense(num_domains, NUM_DOMAIN_UNITS)
        for layer in (self.domain_features, self.domain_head):
            for variable in layer.trainable_variables:
                variable.rate_factor = adversary_rate
        self._label_entropy = keras.losses.BinaryCrossentropy(
            from_logits=True, reduction="mean_with_sample_weight", dtype="float32"
        )
        self._domain_entropy = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, dtype="float32"
        )
        metrics = keras.metrics
        self.label_loss = metrics.BinaryCrossentropy(name="label_loss", from_logits=True)
        self.domain_loss = metrics.SparseCategoricalCrossentropy(
            name="domain_loss", from_logits=True
        )
        self.domain_accuracy = metrics.SparseCategoricalAccuracy(name="domain_accuracy")
        self.built = True

    @classmethod
    def from_settings(cls, settings: DetectorConfig, num_domains: int) -> Self:
        fields = settings.model_dump(exclude={"name", "phases", "allow_confounded"})
        return cls(**fields, num_domains=num_domains)

    def set_progress(self, progress: float) -> None:
        self.reversal.strength.assign(self.peak_lambda * strength_at(progress))

    def call(self, images: Any, training: bool | None = None) -> dict[str, Any]:
        distance = ops.sqrt(self.divergence)
        features, watched = self.fork(
            self._features(images, training), limit=self.reversal.strength * distance
        )
        label = self.label_head(self.dropout(features, training=training))[:, 0]
        direction = ops.rms_normalization(self.reversal(watched), epsilon=1e-6)
        domain = self.domain_head(self.domain_features(direction))
        return {"label": label, "domain": domain}

    def train_step(self, data: Any) -> Any:
        strength = ops.convert_to_tensor(self.reversal.strength)
        return {**super().train_step(data), "lambda": strength}

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Label loss, in training plus `domain_weight` times the domain loss."""
        labels, weights = labels_and_weights(y)
        label_loss = self._label_entropy(labels, y_pred["label"][:, None], sample_weight=weights)
        if not training:
            return label_loss
        domain_loss = self._domain_entropy(y["domain"], y_pred["domain"])
        self._follow_divergence(domain_loss)
        return label_loss + self.domain_weight * domain_loss

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        labels, weights = labels_and_weights(y)
        for metric in (self.label_loss, self.accuracy):
            metric.update_state(labels, y_pred["label"][:, None], sample_weight=weights)
        for metric in (self.domain_loss, self.domain_accuracy):
            metric.update_state(y["domain"], y_pred["domain"])
        self.family_losses.update_from_logits(y, y_pred["label"])
        return self.get_metrics_result()

    def score(self, images: Any) -> Any:
        """Logits of the label head, (batch,); the adversary takes no part."""
        return self.label_head(self._features(images, training=False))[:, 0]

    def embed(self, images: Any) -> Any:
        """The features both heads see: (batch, 256) float32."""
        return self._features(images, training=False)

    def explain(self, images: Any) -> Any:
        """Grad-CAM of the label logit on the last feature map (Selvaraju et al. 2017).

        Between the map and the logit lie a mean, a linear layer, a ReLU and a linear layer, so the
        logit's gradient is the same at every location and known in closed form: the product of the
        two kernels, over the features that are not zero, divided by the number of locations.
        """
        maps = ops.cast(self.backbone(images, training=False), "float32")
        features = self.features(self.pooling(maps))
        passed = ops.cast(features > 0, "float32") * self.label_head.kernel[:, 0]
        gradients = ops.matmul(passed, ops.transpose(self.features.kernel))
        evidence = ops.relu(ops.sum(maps * gradients[:, None, None, :], axis=-1))
        return explanation_map(evidence, self.image_size)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "domain_weight": self.domain_weight,
            "peak_lambda": self.peak_lambda,
            "adversary_rate": self.adversary_rate,
            "num_domains": self.num_domains,
        }

    def _follow_divergence(self, domain_loss: Any) -> None:
        # Keras's loss objects divide by the replicas, because gradients are summed over them.
        domain_loss = domain_loss * self.distribute_strategy.num_replicas_in_sync
        # One bad step, far above chance, must not keep the adversary away for many good ones.
        chance = math.log(max(2, self.num_domains))
        divergence = ops.maximum(1.0 - ops.stop_gradient(domain_loss) / chance, 0.0)
        momentum = _DIVERGENCE_MOMENTUM
        self.divergence.assign(momentum * self.divergence + (1.0 - momentum) * divergence)

    def _features(self, images: Any, training: bool | None) -> Any:
        return self.features(self.pooling(self.backbone(images, training=training)))


def strength_at(progress: float) -> float:
    """Schedule of the reversal (Ganin et al., section 5.2.2): from 0 at the start towards 1.

    Args:
        progress: Share of training done, in [0, 1].
    """
    return 2.0 / (1.0 + math.exp(-10.0 * progress)) - 1.0


def _dense(units: int, num_inputs: int, activation: str | None = None) -> layers.Dense:
    layer = layers.Dense(units, activation=activation, dtype="float32")
    layer.build((None, num_inputs))
    return layer
