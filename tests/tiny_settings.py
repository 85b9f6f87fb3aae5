"""Overrides that make shipped configurations train in seconds."""

TINY = {
    "spatial": [
        "detector.backbone=resnet32",
        "detector.weights=none",
        "detector.image_size=32",
        "detector.phases=[{name: all, epochs: 2, learning_rate: 0.002}]",
    ],
    "residual_ae": [
        "detector.image_size=32",
        "detector.widths=[8, 16, 16]",
        "detector.latent=16",
        "detector.phases=[{name: all, epochs: 2, learning_rate: 0.002}]",
    ],
}
"""By configuration: the name is that of the detector."""
