"""Spatial-artifact detector: backbone, pooling, dropout, one logit (DETECTORS 5).

Images (batch, image_size, image_size, 3) RGB float32 in [0, 1] become one logit each. Trained in
phases: first the head on a frozen backbone, then everything.
"""

# ruff: noqa: ARG002 - Keras fixes the arguments of compute_loss and compute_metrics.

from typing import Any, Literal

import keras
from keras import layers, ops

from dfd_tf.detectors.backbone_detector import BackboneDetector
from dfd_tf.detectors.explanation import explanation_map
from dfd_tf.detectors.location_loss import mean_location_loss
from dfd_tf.detectors.supervision import labels_and_weights
from dfd_tf.networks.residual_inputs import ResidualInput, ResidualKind


@keras.saving.register_keras_serializable(package="dfd_tf")
class SpatialDetector(BackboneDetector):
    """Binary classifier of faces.

    The score is the raw logit: a sigmoid in float32 rounds to 1 above 17, and ties among the surest
    fakes would cost AUC. Calibration turns logits into probabilities.

    Args:
        image_size: Side of the input, pixels.
        backbone: Name of the network (`dfd_tf.networks.backbones`).
        weights: Initial weights: `imagenet`, `none` or a file; read by `load_initial_weights`.
        input_residual: What the backbone sees (`dfd_tf.networks.residual_inputs`).
        pooling: `average`: the logit of the mean feature. `top_k`: the mean of the highest logits
            of the locations.
        top_k: Share of the locations averaged by `top_k`.
        location_weight: Weight of the loss at every location of pseudo-fakes and their real images
            (`location_loss`).
        dropout: Dropout rate in front of the logit.
        label_smoothing: Training and validation labels are drawn towards 1/2 by this much.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1].
        training: Whether dropout and, unless the backbone is frozen, batch statistics are used.

    Returns:
        `label`, (batch,) logits, higher = more likely fake, and `locations`, (batch, rows, columns)
        logits of the last feature map; both float32.

    Example:
        >>> detector = SpatialDetector(image_size=32, backbone="resnet32", weights="none")
        >>> detector.score(keras.ops.zeros((1, 32, 32, 3))).shape
        TensorShape([1])
    """

    def __init__(
        self,
        image_size: int = 224,
        backbone: str = "resnet50",
        weights: str = "imagenet",
        input_residual: ResidualKind = "none",
        pooling: Literal["average", "top_k"] = "average",
        top_k: float = 0.1,
        location_weight: float = 1.0,
        dropout: float = 0.2,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size, backbone, weights, dropout, **kwargs)
        self.label_smoothing = label_smoothing
        self.residual_input = ResidualInput(input_residual)
        self.pooling_name = pooling
        self.top_k = top_k
        self.location_weight = location_weight
        # Features may be large, and default weights would make logits in the tens of them: the
        # first hundred steps then undo that, and what the backbone knew.
        small = keras.initializers.RandomNormal(stddev=0.001)
        self.head = layers.Dense(1, kernel_initializer=small, dtype="float32")
        self.head.build((None, self.backbone.num_channels))
        self._cross_entropy = keras.losses.BinaryCrossentropy(
            from_logits=True,
            label_smoothing=label_smoothing,
            reduction="mean_with_sample_weight",
            dtype="float32",
        )
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> dict[str, Any]:
        features = self._features(images, training=training)
        locations = self.head(self.dropout(features, training=training))[..., 0]
        if self.pooling_name == "average":
            pooled = self.dropout(self.pooling(features), training=training)
            return {"label": self.head(pooled)[:, 0], "locations": locations}
        return {"label": ops.mean(self._highest(locations), axis=-1), "locations": locations}

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Mean binary cross-entropy of the labelled images; label -1 (unknown) has no weight.

        Of pseudo-fakes and their real images also that of where they differ.
        """
        labels, weights = labels_and_weights(y)
        loss = self._cross_entropy(labels, y_pred["label"][:, None], sample_weight=weights)
        if "changed" not in y or not self.location_weight:
            return loss
        # Gradients are summed over the replicas; Keras's loss objects have divided already.
        weight = self.location_weight / self.distribute_strategy.num_replicas_in_sync
        return loss + weight * mean_location_loss(y_pred["locations"], y["changed"])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        labels, weights = labels_and_weights(y)
        self.accuracy.update_state(labels, y_pred["label"][:, None], sample_weight=weights)
        self.family_losses.update_from_logits(y, y_pred["label"])
        if self.location_weight:
            self.family_losses.update_from_locations(y, y_pred["locations"])
        return self.get_metrics_result()

    def score(self, images: Any) -> Any:
        return self(images, training=False)["label"]

    def explain(self, images: Any) -> Any:
        """Evidence for `fake` at each location of the last feature map: the positive part of its
        logit without the bias, of the locations that the score is made of.

        This is HiResCAM (Draelos & Carin 2020, arXiv:2011.08891), features times the score's
        gradient at each location, in closed form: the gradient is the layer's kernel over the
        number of locations averaged, and 0 at the locations that `top_k` leaves out. For average
        pooling it equals Grad-CAM (Selvaraju et al. 2017, section 3.1); for `top_k` Grad-CAM would
        spread the gradient over locations without any influence on the score.
        """
        features = self._features(images, training=False)
        logits = ops.squeeze(ops.matmul(features, self.head.kernel), axis=-1)
        evidence = ops.relu(logits)
        if self.pooling_name == "top_k":
            lowest = self._highest(logits)[:, -1]
            evidence = ops.where(logits >= lowest[:, None, None], evidence, 0.0)
        return explanation_map(evidence, self.image_size)

    def embed(self, images: Any) -> Any:
        """The mean features of the last map: (batch, channels of the backbone) float32."""
        return self.pooling(self._features(images, training=False))

    def _highest(self, locations: Any) -> Any:
        """The `top_k` highest of the logits (batch, rows, columns), falling."""
        num_locations = locations.shape[1] * locations.shape[2]
        logits = ops.reshape(locations, (-1, num_locations))
        return ops.top_k(logits, max(1, round(self.top_k * num_locations)))[0]

    def _features(self, images: Any, *, training: bool | None) -> Any:
        features = self.backbone(self.residual_input(images), training=training)
        return ops.cast(features, "float32")

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "input_residual": self.residual_input.kind,
            "pooling": self.pooling_name,
            "top_k": self.top_k,
            "location_weight": self.location_weight,
            "label_smoothing": self.label_smoothing,
        }
