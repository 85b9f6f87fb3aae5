"""Metrics of scores against labels, for one weighting of the samples or many at once.

Every function takes weights of shape (replicates, n): ones for the figure itself, bootstrap counts
for its interval, so that both come from the same code. A metric that is undefined (a class is
missing) is NaN here and "undefined" in every report. Checked against scikit-learn in the tests.
"""

from dataclasses import dataclass

import numpy as np

NUM_BINS = 15
"""Equal-width probability bins of the calibration error (Guo et al., ICML 2017, section 2)."""

TAIL_RATES = {"tpr_at_fpr_1": 0.01, "tpr_at_fpr_5": 0.05}
"""Metrics of the ROC's far end -> the false positive rate they are taken at."""
RANKING = ("auc", "average_precision", "eer", *TAIL_RATES)
PROBABILITY = ("log_loss", "brier", "ece")
DECISION = ("balanced_accuracy", "accuracy", "precision", "recall", "f1", "fpr")
HIGHER_IS_BETTER = {
    **dict.fromkeys(("auc", "average_precision", "tpr_at_fpr_1", "tpr_at_fpr_5"), True),
    **dict.fromkeys(("balanced_accuracy", "accuracy", "precision", "recall", "f1"), True),
    **dict.fromkeys(("eer", "log_loss", "brier", "ece", "fpr"), False),
}


@dataclass(frozen=True)
class Curve:
    """Cumulative weights of fakes and reals called fake, as the threshold falls.

    Args:
        thresholds: (t,) distinct scores, descending.
        true_positives: (replicates, t + 1), starting at 0.
        false_positives: (replicates, t + 1), starting at 0.
    """

    thresholds: np.ndarray
    true_positives: np.ndarray
    false_positives: np.ndarray

    @property
    def true_positive_rate(self) -> np.ndarray:
        return _divide(self.true_positives, self.true_positives[:, -1:])

    @property
    def false_positive_rate(self) -> np.ndarray:
        return _divide(self.false_positives, self.false_positives[:, -1:])


def score_curve(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> Curve:
    """Sorts by descending score; tied scores enter together."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    fake = labels[order] == 1
    sorted_weights = weights[:, order]

    def cumulated(mask: np.ndarray) -> np.ndarray:
        sums = np.cumsum(sorted_weights * mask, axis=1)[:, ends]
        return np.pad(sums, ((0, 0), (1, 0)))

    return Curve(ordered[ends], cumulated(fake), cumulated(~fake))


def ranking_metrics(
    labels: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics of the order of the scores.

    Args:
        labels: (n,) 0 real, 1 fake.
        scores: (n,) higher = more likely fake.
        weights: (replicates, n).

    Returns:
        `RANKING` -> (replicates,): area under ROC, average precision, equal error rate (where the
        linearly joined ROC crosses FPR = 1 - TPR), highest TPR at an FPR of at most 1 % and 5 %.
    """
    curve = score_curve(labels, scores, weights)
    tpr, fpr = curve.true_positive_rate, curve.false_positive_rate
    called = curve.true_positives + curve.false_positives
    # No sample called fake: precision has no weight there, its value does not matter.
    precision = np.divide(curve.true_positives, called, out=np.zeros_like(called), where=called > 0)
    undefined = np.isnan(tpr[:, -1]) | np.isnan(fpr[:, -1])
    values = {
        "auc": np.trapezoid(tpr, fpr, axis=1),
        "average_precision": np.sum(np.diff(tpr, axis=1) * precision[:, 1:], axis=1),
        "eer": _equal_error_rate(tpr, fpr),
        **{name: _tpr_at(tpr, fpr, rate) for name, rate in TAIL_RATES.items()},
    }
    return {name: np.where(undefined, np.nan, value) for name, value in values.items()}


def probability_metrics(
    labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics of probabilities: log loss (nats), Brier score, expected calibration error."""
    clipped = np.clip(probabilities, np.finfo(np.float64).eps, 1 - np.finfo(np.float64).eps)
    losses = -np.where(labels == 1, np.log(clipped), np.log1p(-clipped))
    total = weights.sum(axis=1)
    gaps = np.zeros((len(labels), NUM_BINS))
    gaps[np.arange(len(labels)), probability_bins(probabilities)] = labels - probabilities
    fakes = weights @ (labels == 1).astype(np.float64)
    undefined = (fakes == 0) | (fakes == total)
    values = {
        "log_loss": weights @ losses / total,
        "brier": weights @ np.square(probabilities - labels) / total,
        "ece": np.abs(weights @ gaps).sum(axis=1) / total,
    }
    return {name: np.where(undefined, np.nan, value) for name, value in values.items()}


def probability_bins(probabilities: np.ndarray) -> np.ndarray:
    """Index of each probability's bin among `NUM_BINS` of equal width."""
    return np.minimum((probabilities * NUM_BINS).astype(np.int64), NUM_BINS - 1)


def decision_metrics(
    labels: np.ndarray, called_fake: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Metrics of decisions: `DECISION` -> (replicates,); `called_fake` is (n,) bool."""
    tp, fp, tn, fn = confusion(labels, called_fake, weights).T
    recall = _divide(tp, tp + fn)
    fpr = _divide(fp, fp + tn)
    return {
        "balanced_accuracy": (recall + 1 - fpr) / 2,
        "accuracy": _divide(tp + tn, tp + tn + fp + fn),
        "precision": _divide(tp, tp + fp),
        "recall": recall,
        "f1": np.where(tp + fn > 0, _divide(2 * tp, 2 * tp + fp + fn), np.nan),
        "fpr": fpr,
    }


def confusion(labels: np.ndarray, called_fake: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(replicates, 4) weights of true positives, false positives, true and false negatives."""
    fake = labels == 1
    cells = (called_fake & fake, called_fake & ~fake, ~called_fake & ~fake, ~called_fake & fake)
    return weights @ np.stack(cells, axis=1).astype(np.float64)


def _equal_error_rate(tpr: np.ndarray, fpr: np.ndarray) -> np.ndarray:
    gap = fpr - (1 - tpr)
    after = np.argmax(gap >= 0, axis=1)
    rows = np.arange(len(gap))
    before = np.maximum(after - 1, 0)
    rise = gap[rows, after] - gap[rows, before]
    share = np.divide(-gap[rows, before], rise, out=np.zeros_like(rise), where=rise > 0)
    return fpr[rows, before] + share * (fpr[rows, after] - fpr[rows, before])


def _tpr_at(tpr: np.ndarray, fpr: np.ndarray, limit: float) -> np.ndarray:
    # The tolerance keeps 1 false alarm of 100 at a limit of 1 %.
    return np.max(np.where(fpr <= limit + 1e-12, tpr, 0.0), axis=1)


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    denominator = np.broadcast_to(denominator, numerator.shape)
    undefined = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=undefined, where=denominator > 0)
