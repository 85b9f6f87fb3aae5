"""Denoising autoencoder with perceptual scoring, trained on real faces only (DETECTORS 1).

Images (batch, image_size, image_size, 3) RGB float32 in [0, 1] are reconstructed from noisy copies
in training and from themselves when scored; what it has not seen in real faces it reconstructs
worse, in pixels, in patches and in the features of a frozen ResNet18.
"""

# ruff: noqa: ARG002 - Keras fixes the arguments of compute_loss.

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import keras
import numpy as np
from keras import layers, ops

from dfd_tf.detectors.base import Detector, to_unit
from dfd_tf.detectors.explanation import explanation_map
from dfd_tf.detectors.patches import patch_map, top_patch_mean
from dfd_tf.detectors.usual_evidence import MOST_IMAGES, UsualEvidence
from dfd_tf.networks.denoising import denoising_decoder, denoising_encoder
from dfd_tf.networks.perceptual import PerceptualDistance
from pipelines.errors import InputError

TERM_WEIGHTS = (0.4, 0.3, 0.3)
_WEIGHTS_OPTION = "perceptual_weights"


@keras.saving.register_keras_serializable(package="dfd_tf")
class DenoisingAutoencoder(Detector):
    """One-class detector scored by 0.4 global + 0.3 patch + 0.3 feature.

    With d = mean over channels of |x - reconstruction|: global is the mean of d, patch the mean of
    d's `top_patches` worst windows, feature the distance in ResNet18's features. The default layout
    has 2,445,731 trainable weights; the 2,782,784 of ResNet18 are frozen and saved with them.

    Args:
        image_size: Side of the input, pixels; a multiple of 2 ** len(widths).
        widths: Channels of the encoder's stages; the decoder mirrors them.
        latent: Length of the latent vector.
        noise: Standard deviation of the noise added in training, in units of the [0, 1] range.
        scoring: `standardized`: of each term, its median over real images is subtracted and the
            rest divided by their median absolute deviation, both set by `fit_score` (until then
            the terms count as they are). `raw`: the original's formula on the terms as they are.
        patch: Side of a window, pixels; windows start every half side.
        top_patches: Number of worst windows.
        perceptual_weights: Weights of ResNet18: `imagenet`, `none` (random) or a file; read by
            `load_initial_weights`.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1].
        training: Whether noise is added and batch statistics are used.

    Returns:
        Reconstructions of the same shape, float32 in [0, 1].

    Example:
        >>> detector = DenoisingAutoencoder(32, widths=(8, 16), perceptual_weights="none")
        >>> detector.score_terms(keras.ops.zeros((1, 32, 32, 3))).shape
        TensorShape([1, 3])
    """

    one_class = True

    def __init__(
        self,
        image_size: int = 128,
        widths: Sequence[int] = (32, 64, 128, 256),
        latent: int = 32,
        noise: float = 0.1,
        scoring: Literal["standardized", "raw"] = "standardized",
        patch: int = 16,
        top_patches: int = 3,
        perceptual_weights: str = "imagenet",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.widths = tuple(widths)
        self.latent = latent
        self.scoring = scoring
        self.patch = patch
        self.top_patches = top_patches
        # float32: half precision has fewer noise levels than the images have grey ones. Its random
        # state is a variable, so a resumed training draws the noise it would have drawn.
        self.noise = layers.GaussianNoise(noise, dtype="float32")
        self.encoder = denoising_encoder(image_size, self.widths, latent)
        self.decoder = denoising_decoder(image_size, self.widths, latent)
        self.perceptual = PerceptualDistance(image_size, perceptual_weights)
        self.pretrained = "random autoencoder; features of a " + self.perceptual.provenance(
            _WEIGHTS_OPTION
        )
        if perceptual_weights == "none":
            self.caveats = (
                "the feature term of the score comes from a random ResNet18, as asked for by "
                f"{_WEIGHTS_OPTION}: none",
            )
        self.term_medians = self._score_variable("zeros", "term_medians")
        self.term_scales = self._score_variable("ones", "term_scales")
        self.usual = UsualEvidence(image_size)
        self._absolute_error = keras.losses.MeanAbsoluteError(dtype="float32")
        self.built = True

    def load_initial_weights(self) -> None:
        self.perceptual.load_initial_weights(f"detector.{_WEIGHTS_OPTION}")

    def call(self, images: Any, training: bool | None = None) -> Any:
        noisy = ops.clip(self.noise(images, training=training), 0.0, 1.0)
        return self.decoder(self.encoder(noisy, training=training), training=training)

    def compute_loss(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Mean absolute error against the clean images."""
        return self._absolute_error(x, y_pred)

    def reconstruct(self, images: Any) -> Any:
        """Reconstructs images: same shape, float32 in [0, 1]."""
        return self(images, training=False)

    def embed(self, images: Any) -> Any:
        """Encodes images: (batch, latent) float32."""
        return ops.cast(self.encoder(images, training=False), "float32")

    def score_terms(self, images: Any) -> Any:
        """Returns (batch, 3) float32, the raw terms global, patch and feature."""
        reconstruction = self.reconstruct(images)
        errors = _errors(images, reconstruction)
        terms = [
            ops.mean(errors, axis=(1, 2)),
            top_patch_mean(errors, self.patch, self.top_patches),
            self.perceptual(images, reconstruction),
        ]
        return ops.stack(terms, axis=-1)

    def score(self, images: Any) -> Any:
        terms = self.score_terms(images)
        if self.scoring == "standardized":
            terms = (terms - self.term_medians) / self.term_scales
        return ops.sum(terms * ops.array(TERM_WEIGHTS, "float32"), axis=-1)

    def fit_score(self, real_images: Iterable[Any]) -> None:
        """Sets what is usual in real images: medians and scales of the terms, unless `scoring` is
        `raw`, and of the map.

        Raises:
            InputError: There is no real image.
        """
        terms, kept = [], []
        num_kept = 0
        for images in real_images:
            if not len(images):
                continue
            if self.scoring == "standardized":
                terms.append(ops.convert_to_numpy(self.score_terms(to_unit(images))))
            if num_kept < MOST_IMAGES:
                kept.append(images)
                num_kept += len(images)
        if self.scoring == "standardized":
            self._fit_terms(terms)
        # After the terms: their scales weigh the evidence.
        self.usual.fit(self._evidence(to_unit(images)) for images in kept)

    def _fit_terms(self, batches: Sequence[np.ndarray]) -> None:
        if not batches:
            raise InputError(
                "detector.scoring: standardized needs real images in the validation split, it has "
                "none; add some or choose `raw`"
            )
        terms = np.concatenate(batches)
        medians = np.median(terms, axis=0)
        deviations = np.median(np.abs(terms - medians), axis=0)
        self.term_medians.assign(medians)
        # Half of the images alike to the last bit leave no scale to measure with.
        self.term_scales.assign(np.where(deviations > 0, deviations, 1.0))

    def explain(self, images: Any) -> Any:
        """Error map of the score, above what is usual there in real faces (`UsualEvidence`): 0.7
        parts pixels, 0.3 parts features.

        Pixels are the absolute error averaged over the patch around each, with the weights of both
        the global and the patch term; features the distance at each location (`distance_map`), with
        the weight of the feature term. Each weight is divided by its term's scale as in the score.
        """
        return explanation_map(self.usual(self._evidence(images)), self.image_size)

    def _evidence(self, images: Any) -> Any:
        reconstruction = self.reconstruct(images)
        pixels = patch_map(_errors(images, reconstruction), self.patch)
        features = self.perceptual.distance_map(images, reconstruction)
        weights = ops.array(TERM_WEIGHTS, "float32")
        if self.scoring == "standardized":
            weights = weights / self.term_scales
        return (weights[0] + weights[1]) * pixels + weights[2] * features

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_size": self.image_size,
            "widths": self.widths,
            "latent": self.latent,
            "noise": self.noise.stddev,
            "scoring": self.scoring,
            "patch": self.patch,
            "top_patches": self.top_patches,
            "perceptual_weights": self.perceptual.weights_name,
        }

    def _score_variable(self, initializer: str, name: str) -> keras.Variable:
        shape = (len(TERM_WEIGHTS),)
        return self.add_weight(shape, initializer, dtype="float32", trainable=False, name=name)


def _errors(images: Any, reconstruction: Any) -> Any:
    """Absolute errors averaged over the channels, (batch, image_size, image_size) in [0, 1]."""
    return ops.mean(ops.abs(images - reconstruction), axis=-1)
