"""Losses of the GAN detector, for logits of data and logits of generated images.

Logits (batch, 3) float32 are {real, dataset fake, generated}, (batch, 2) the first two of these,
(batch, 1) "generated" against "real".
All losses are float32 means over the batch.
"""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops


def fake_score(logits: Any) -> Any:
    """Returns the logit of "fake" against "real", (batch,): of {real, fake} alone, so that
    P(fake) = p_fake / (p_real + p_fake), or of "generated" where that is all there is.
    """
    return logits[:, 0] if logits.shape[-1] == 1 else logits[:, 1] - logits[:, 0]


def data_logit(logits: Any) -> Any:
    """Returns the logit of "an image of the data, not generated", (batch,).

    With three classes P(data) = (e^real + e^fake) / (e^real + e^fake + e^generated), so the logit
    is log(e^real + e^fake) - generated (Salimans et al. 2016, equation above 3).
    """
    if logits.shape[-1] == 1:
        return -logits[:, 0]
    return ops.logsumexp(logits[:, :2], axis=-1) - logits[:, 2]


def data_loss(logits: Any, smoothing: float) -> Any:
    """How far logits of data are from their target P(data) = 1 - smoothing.

    The cross-entropy less its smallest value, the entropy of the target: the gradients are the
    same, and 0 means that nothing is left to learn, whatever the smoothing.
    """
    logit = data_logit(logits)
    cross_entropy = ops.softplus(-logit) + smoothing * logit
    return ops.mean(cross_entropy) - _entropy(smoothing)


def discriminator_loss(data_logits: Any, generated_logits: Any, smoothing: float) -> Any:
    """Mean of the losses of data and of generated images: log 2 at chance without smoothing."""
    generated_loss = ops.mean(ops.softplus(data_logit(generated_logits)))
    return 0.5 * (data_loss(data_logits, smoothing) + generated_loss)


def deception_loss(generated_logits: Any) -> Any:
    """Cross-entropy of generated images taken for data: the generator's loss that does not fade
    when the discriminator wins (Goodfellow et al. 2014, section 3).
    """
    return ops.mean(ops.softplus(-data_logit(generated_logits)))


def feature_matching_loss(data_features: Sequence[Any], generated_features: Sequence[Any]) -> Any:
    """Mean squared difference of the mean feature maps (Salimans et al. 2016, section 3.1).

    Of several depths, the mean over them: the deepest alone are matched by noise that no deeper
    layer is there to reject, and no image ever comes of it.

    Args:
        data_features: (batch, height, width, channels) each, any float dtype; taken as given.
        generated_features: Same shapes.
    """
    differences = []
    for data, generated in zip(data_features, generated_features, strict=True):
        wanted = ops.stop_gradient(ops.mean(ops.cast(data, "float32"), axis=0))
        found = ops.mean(ops.cast(generated, "float32"), axis=0)
        differences.append(ops.mean(ops.square(found - wanted)))
    return ops.mean(ops.stack(differences))


def _entropy(probability: float) -> float:
    if probability == 0.0:
        return 0.0
    rest = 1.0 - probability
    return -probability * math.log(probability) - rest * math.log(rest)
