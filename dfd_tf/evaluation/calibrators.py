"""Maps from scores to probabilities, fitted on validation data.

Temperature: Guo et al., ICML 2017, section 4.2. Platt: Platt 1999, section 2. Isotonic: Zadrozny &
Elkan, KDD 2002. All three are fitted to Platt's smoothed targets, 1 / (reals + 2) and
1 - 1 / (fakes + 2): with hard ones, images that the scores part without an error would give a
temperature of almost 0 and probabilities of 0 and 1, which no number of images can show. Nor does a
map go beyond these targets where a score lies beyond all it was fitted on.
"""

import numpy as np
from scipy import optimize
from scipy.special import logit
from sklearn.isotonic import IsotonicRegression

from dfd_tf.evaluation.metrics import probability_metrics
from dfd_tf.inference.calibration import Probability


def fit_probability(
    method: str, scores: np.ndarray, labels: np.ndarray, *, are_logits: bool = True
) -> Probability:
    """Fits `platt`, `temperature` or `isotonic`.

    Args:
        method: Name of the map.
        scores: (n,) validation scores.
        labels: (n,) 0 real, 1 fake; both must occur.
        are_logits: Whether sigmoid(score) means to be a probability. Otherwise there is no
            calibration error to better, and no temperature to find.

    Raises:
        ValueError: A class is missing, or a temperature is wanted of scores that are no logits.
    """
    if len(np.unique(labels)) != 2:
        raise ValueError("probabilities need real and fake validation images, found one class")
    if method == "temperature" and not are_logits:
        raise ValueError("a temperature needs logits")
    targets = _smoothed(labels)
    fitted = {"platt": _platt, "temperature": _temperature, "isotonic": _isotonic}[method](
        np.asarray(scores, np.float64), targets
    )
    fitted = fitted.model_copy(update={"least": float(targets.min()), "most": float(targets.max())})
    return fitted.model_copy(
        update={
            "ece_before": expected_error(sigmoid(scores), labels) if are_logits else None,
            "ece_after": expected_error(fitted.apply(scores), labels),
        }
    )


def sigmoid(scores: np.ndarray) -> np.ndarray:
    """Probabilities that logits (n,) mean to be."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(scores, np.float64)))


def expected_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error of probabilities (n,) in [0, 1]."""
    weights = np.ones((1, len(labels)))
    return float(probability_metrics(labels, probabilities, weights)["ece"][0])


def _platt(scores: np.ndarray, targets: np.ndarray) -> Probability:
    # Standardised scores keep the search well conditioned for mean squared errors of 1e-3.
    center, spread = float(np.mean(scores)), float(np.std(scores)) or 1.0
    standardised = (scores - center) / spread

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        value, residual = _cross_entropy(parameters[0] * standardised + parameters[1], targets)
        return value, np.array([residual @ standardised, residual.sum()]) / len(scores)

    start = np.array([1.0, logit(targets.mean())])
    # A negative slope would turn the score around: higher must stay more likely fake.
    best = optimize.minimize(loss, start, jac=True, bounds=[(0, None), (None, None)])
    slope, offset = best.x[0] / spread, best.x[1] - best.x[0] * center / spread
    return Probability(method="platt", slope=float(slope), offset=float(offset))


def _temperature(scores: np.ndarray, targets: np.ndarray) -> Probability:
    def loss(log_slope: float) -> float:
        return _cross_entropy(np.exp(log_slope) * scores, targets)[0]

    best = optimize.minimize_scalar(loss, bounds=(-8, 8), method="bounded")
    return Probability(method="temperature", slope=float(np.exp(best.x)))


def _isotonic(scores: np.ndarray, targets: np.ndarray) -> Probability:
    regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    regression.fit(scores, targets)
    knots = zip(regression.X_thresholds_.tolist(), regression.y_thresholds_.tolist(), strict=True)
    return Probability(method="isotonic", knots=tuple(knots))


def _smoothed(labels: np.ndarray) -> np.ndarray:
    """Platt's targets: what one more real and one more fake image would leave of 0 and 1."""
    fakes = np.sum(np.asarray(labels) == 1)
    reals = len(labels) - fakes
    return np.where(np.asarray(labels) == 1, (fakes + 1) / (fakes + 2), 1 / (reals + 2))


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean cross-entropy, nats, and sigmoid(logits) - targets."""
    value = np.mean(np.logaddexp(0.0, logits) - targets * logits)
    return float(value), sigmoid(logits) - targets
