"""Residual convolutional autoencoder trained on real faces only (DETECTORS 3).

Images (batch, image_size, image_size, 3) RGB float32 in [0, 1] are mapped to [-1, 1], encoded to a
latent vector and reconstructed; what it has not seen in real faces it reconstructs worse.
"""

# ruff: noqa: ARG002 - Keras fixes the arguments of compute_loss and compute_metrics.

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
from keras import ops

from dfd_tf.detectors.base import Detector, to_unit
from dfd_tf.detectors.explanation import explanation_map
from dfd_tf.detectors.patches import patch_map, top_patch_mean
from dfd_tf.detectors.usual_evidence import UsualEvidence
from dfd_tf.networks.residual import residual_decoder, residual_encoder


@keras.saving.register_keras_serializable(package="dfd_tf")
class ResidualAutoencoder(Detector):
    """One-class detector scored by its reconstruction error, in the [-1, 1] space.

    The default layout has 34,849,667 trainable weights and 12,544 moving statistics; 32,768
    figures of real faces are kept for the map.

    Args:
        image_size: Side of the input, pixels; a multiple of 2 ** len(widths).
        widths: Channels of the encoder's stages; the decoder mirrors them.
        latent: Length of the latent vector.
        score: `mse`: mean squared error per image. `top_patches`: mean of the errors of the
            `top_patches` worst windows of side `patch` at steps of half a window.
        patch: Side of a window, pixels.
        top_patches: Number of worst windows.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1].
        training: Whether batch statistics are used.

    Returns:
        Reconstructions of the same shape, float32 in [-1, 1].

    Example:
        >>> detector = ResidualAutoencoder(image_size=32, widths=(8, 16), latent=4)
        >>> detector.embed(keras.ops.zeros((1, 32, 32, 3))).shape
        TensorShape([1, 4])
    """

    one_class = True

    def __init__(
        self,
        image_size: int = 128,
        widths: Sequence[int] = (64, 128, 256, 512, 512),
        latent: int = 512,
        score: Literal["mse", "top_patches"] = "mse",
        patch: int = 16,
        top_patches: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.widths = tuple(widths)
        self.latent = latent
        self.score_name = score
        self.patch = patch
        self.top_patches = top_patches
        self.pretrained = "random (this network has no pretrained weights)"
        self.encoder = residual_encoder(image_size, self.widths, latent)
        self.decoder = residual_decoder(image_size, self.widths, latent)
        self.usual = UsualEvidence(image_size)
        self._mean_squared_error = keras.losses.MeanSquaredError(dtype="float32")
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        latent = self.encoder(_to_signed(images), training=training)
        return self.decoder(latent, training=training)

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Mean squared error in the [-1, 1] space."""
        return self._mean_squared_error(_to_signed(x), y_pred)

    def reconstruct(self, images: Any) -> Any:
        """Reconstructs images: same shape, float32 in [0, 1]."""
        return (self(images, training=False) + 1.0) / 2.0

    def embed(self, images: Any) -> Any:
        """Encodes images: (batch, latent) float32."""
        return ops.cast(self.encoder(_to_signed(images), training=False), "float32")

    def score(self, images: Any) -> Any:
        errors = self._errors(images)
        if self.score_name == "mse":
            return ops.mean(errors, axis=(1, 2))
        return top_patch_mean(errors, self.patch, self.top_patches)

    def fit_score(self, real_images: Iterable[Any]) -> None:
        """Sets what the map shows nothing of; the score needs no reference."""
        self.usual.fit(self._evidence(to_unit(images)) for images in real_images if len(images))

    def explain(self, images: Any) -> Any:
        """Squared error averaged over the patch around each pixel, above what is usual there in
        real faces (`UsualEvidence`).
        """
        return explanation_map(self.usual(self._evidence(images)), self.image_size)

    def _evidence(self, images: Any) -> Any:
        return patch_map(self._errors(images), self.patch)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_size": self.image_size,
            "widths": self.widths,
            "latent": self.latent,
            "score": self.score_name,
            "patch": self.patch,
            "top_patches": self.top_patches,
        }

    def _errors(self, images: Any) -> Any:
        """Squared errors averaged over the channels, (batch, image_size, image_size) in [0, 4]."""
        difference = _to_signed(images) - self(images, training=False)
        return ops.mean(ops.square(difference), axis=-1)


def _to_signed(images: Any) -> Any:
    return images * 2.0 - 1.0
