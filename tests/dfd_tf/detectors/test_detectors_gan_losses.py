"""The GAN's losses by hand, in float64 NumPy and from the definitions of the papers."""

import numpy as np
import pytest
from scipy.special import softmax

from dfd_tf.detectors.gan_losses import (
    data_logit,
    data_loss,
    deception_loss,
    discriminator_loss,
    feature_matching_loss,
)

DATA = np.array([[1.0, -0.5, 0.3], [0.2, 2.0, -1.0], [-3.0, 0.1, 4.0]], "float32")
GENERATED = np.array([[0.0, 0.0, 0.0], [-1.0, 0.5, 2.5]], "float32")


def probability_of_data(logits):
    """p(real) + p(fake) of three classes; 1 - sigmoid of the one logit, which says generated."""
    if logits.shape[1] == 3:
        return softmax(logits.astype("float64"), axis=1)[:, :2].sum(1)
    return 1 / (1 + np.exp(logits[:, 0].astype("float64")))


@pytest.mark.parametrize("columns", [[0, 1, 2], [0]], ids=["three", "one"])
def test_losses_are_cross_entropies_of_data_against_generated(columns):
    data, generated = DATA[:, columns], GENERATED[:, columns]
    p_data, p_generated = probability_of_data(data), probability_of_data(generated)
    np.testing.assert_allclose(
        data_logit(data), np.log(p_data) - np.log1p(-p_data), rtol=1e-5, atol=1e-6
    )
    # Salimans et al. 2016, section 5: the unsupervised loss, halved as in their code.
    expected = 0.5 * (-np.log(p_data).mean() - np.log1p(-p_generated).mean())
    assert float(discriminator_loss(data, generated, 0.0)) == pytest.approx(expected, rel=1e-5)
    expected = -np.log(p_generated).mean()
    assert float(deception_loss(generated)) == pytest.approx(expected, rel=1e-5)


def test_loss_at_chance():
    zeros = np.zeros((4, 1), "float32")
    assert float(discriminator_loss(zeros, zeros, 0.0)) == pytest.approx(np.log(2), rel=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.3])
def test_smoothed_loss_is_the_divergence_from_the_target(smoothing):
    p = probability_of_data(DATA)
    divergence = (1 - smoothing) * np.log((1 - smoothing) / p) + smoothing * np.log(
        smoothing / (1 - p)
    )
    assert float(data_loss(DATA, smoothing)) == pytest.approx(divergence.mean(), rel=1e-5)
    # At the target nothing is left to learn.
    perfect = np.full((2, 1), np.log(smoothing / (1 - smoothing)), "float32")
    assert float(data_loss(perfect, smoothing)) == pytest.approx(0, abs=1e-6)


def test_losses_stay_finite_where_probabilities_would_not():
    sure = np.array([[300.0], [-300.0]], "float32")
    losses = (
        data_loss(sure, 0.1),
        discriminator_loss(sure, sure, 0.1),
        deception_loss(sure),
        discriminator_loss(np.diag([300.0] * 3).astype("float32"), GENERATED, 0.1),
    )
    assert np.isfinite(np.array(losses)).all()


def test_feature_matching_by_hand():
    random = np.random.default_rng(0)
    data = [random.normal(size=(5, 4, 4, 2)), random.normal(size=(5, 2, 2, 3))]
    generated = [random.normal(size=(7, 4, 4, 2)), random.normal(size=(7, 2, 2, 3))]
    expected = np.mean(
        [((a.mean(0) - b.mean(0)) ** 2).mean() for a, b in zip(data, generated, strict=True)]
    )
    assert float(feature_matching_loss(data, generated)) == pytest.approx(expected, rel=1e-5)
    assert float(feature_matching_loss(data, data)) == 0
