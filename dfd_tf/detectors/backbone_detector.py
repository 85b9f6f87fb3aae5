"""What the binary classifiers on a backbone share: the backbone, its phases, and their figures."""

from typing import Any

import keras
from keras import layers

from dfd_tf.config.detectors import Phase
from dfd_tf.detectors.base import Detector
from dfd_tf.detectors.family_losses import FamilyLosses
from dfd_tf.detectors.supervision import backbone_provenance
from dfd_tf.networks.backbones import Backbone


class BackboneDetector(Detector):
    """Base of detectors that have a backbone, average pooling and dropout in front of a logit.

    A subclass adds its heads and sets `built`.

    Args:
        image_size: Side of the input, pixels.
        backbone: Name of the network (`dfd_tf.networks.backbones`).
        weights: Initial weights: `imagenet`, `none` or a file; read by `load_initial_weights`.
        dropout: Dropout rate in front of the label's logit.
    """

    one_class = False

    def __init__(
        self, image_size: int, backbone: str, weights: str, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.pretrained = backbone_provenance(backbone, weights)
        self.backbone = Backbone(backbone, image_size, weights)
        # float32 from here on: half precision would saturate sums and round logits.
        self.pooling = layers.GlobalAveragePooling2D(dtype="float32")
        self.dropout = layers.Dropout(dropout, dtype="float32")
        self.accuracy = keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
        self.family_losses = FamilyLosses()

    def load_initial_weights(self) -> None:
        self.backbone.load_initial_weights()

    def begin_phase(self, phase: Phase) -> None:
        self.backbone.trainable = not phase.freeze_backbone

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_size": self.image_size,
            "backbone": self.backbone.architecture,
            "weights": self.backbone.weights_name,
            "dropout": self.dropout.rate,
        }
