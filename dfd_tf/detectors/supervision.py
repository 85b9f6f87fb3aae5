"""What detectors with a label head share: labels and their weights, and where weights are from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras import ops


def labels_and_weights(targets: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns the labels, (batch, 1) float32, and which of them are known, (batch,) 0 or 1.

    Args:
        targets: `label` is int32 (batch,), 1 fake, 0 real, -1 unknown.
    """
    labels = ops.cast(targets["label"], "float32")[:, None]
    return labels, ops.cast(targets["label"] >= 0, "float32")


def backbone_provenance(backbone: str, weights: str) -> str:
    """Says where a backbone's initial weights come from; the heads are always random."""
    if weights == "none":
        return "random (asked for by weights: none)"
    if weights == "imagenet":
        return (
            f"ImageNet weights of {'keras-hub' if backbone == 'resnet18' else 'keras.applications'}"
        )
    return f"backbone weights from {Path(weights).name}"
