"""The choice of the map from scores to probabilities, by cross-fitted log loss.

Every map is fitted on some persons, videos and lone images and judged on the others. The simplest
map whose log loss is within one standard error of the best one's is taken: the one-standard-error
rule (Breiman et al. 1984, section 3.4.3; Hastie et al. 2009, section 7.10), on paired differences
with the best, since all maps err on the same hard images. Log loss is what the maps minimise and
punishes false certainty, and no map can win by certainty that happens to be right: all are bound by
the same smoothed targets (`calibrators`). The Brier score and the calibration error are reported
beside it; no tie is left for them to break: of equals the simpler map wins. The score as it is, the
sigmoid of a logit, is reported but never chosen, even where its log loss is the lowest.
"""

import numpy as np

from dfd_tf.evaluation.calibrators import expected_error, fit_probability, sigmoid
from dfd_tf.evaluation.cross_fitting import TooFewClustersError, cluster_folds
from dfd_tf.inference.calibration import Candidate, Probability

SIMPLEST_FIRST = ("temperature", "platt", "isotonic")
"""One parameter, two, as many as the data has steps."""
_SMALLEST = np.finfo(np.float64).eps


def choose_probability(
    method: str,
    scores: np.ndarray,
    labels: np.ndarray,
    clusters: np.ndarray,
    *,
    are_logits: bool,
    seed: int,
) -> tuple[Probability, np.ndarray | None]:
    """Fits the best map, or the one asked for, on all samples.

    Args:
        method: `auto`, or the name of a map.
        scores: (n,) validation scores.
        labels: (n,) 0 real, 1 fake; both must occur.
        clusters: (n,) names; samples of one are never on both sides of a fit.
        are_logits: Whether sigmoid(score) means to be a probability; only then is there a
            temperature.
        seed: Of the folds.

    Returns:
        The map with its figures, and the cross-fitted probabilities (n,) of that kind of map; None
        where there are too few persons or videos to leave some out.
    """
    methods = [name for name in SIMPLEST_FIRST if are_logits or name != "temperature"]
    if method != "auto":
        methods = [method]
    try:
        folds = cluster_folds(labels, clusters, seed)
    except TooFewClustersError as error:
        name = "platt" if method == "auto" else method
        fitted = fit_probability(name, scores, labels, are_logits=are_logits)
        return fitted.model_copy(update={"reason": f"{name}: nothing to compare on, {error}"}), None
    probabilities = {
        name: _cross_fitted(name, scores, labels, *folds, are_logits=are_logits) for name in methods
    }
    judged = dict(probabilities)
    if are_logits:
        judged["uncalibrated"] = sigmoid(scores)
    candidates = compare(judged, labels, clusters)
    chosen, reason = _chosen(candidates, method)
    fitted = fit_probability(chosen, scores, labels, are_logits=are_logits)
    figures = {
        "ece_after_cross_fitted": expected_error(probabilities[chosen], labels),
        "candidates": tuple(candidates),
        "reason": reason,
    }
    return fitted.model_copy(update=figures), probabilities[chosen]


def compare(
    probabilities: dict[str, np.ndarray], labels: np.ndarray, clusters: np.ndarray
) -> list[Candidate]:
    """Judges probabilities (n,) of several maps on the same samples; the best is a map of ours."""
    losses = {name: _log_losses(values, labels) for name, values in probabilities.items()}
    best = min(
        (name for name in SIMPLEST_FIRST if name in losses), key=lambda name: losses[name].mean()
    )
    return [
        Candidate(
            method=name,  # type: ignore[arg-type]
            log_loss=float(losses[name].mean()),
            excess=float((losses[name] - losses[best]).mean()),
            excess_error=standard_error(losses[name] - losses[best], clusters),
            brier=float(np.mean(np.square(values - labels))),
            ece=expected_error(values, labels),
        )
        for name, values in probabilities.items()
    ]


def standard_error(values: np.ndarray, clusters: np.ndarray) -> float:
    """Standard error of the mean of `values` (n,), whose clusters are independent, not they."""
    names, inverse = np.unique(clusters, return_inverse=True)
    sums = np.bincount(inverse, values - values.mean())
    count = len(names)
    return float(np.sqrt(np.sum(np.square(sums)) * count / (count - 1)) / len(values))


def _chosen(candidates: list[Candidate], method: str) -> tuple[str, str]:
    if method != "auto":
        return method, f"{method}: asked for by calibration.method"
    maps = [one for one in candidates if one.method != "uncalibrated"]
    chosen = next(one for one in maps if one.excess <= one.excess_error)
    if chosen.excess == 0:
        return chosen.method, f"{chosen.method}: lowest cross-fitted log loss of the fitted maps"
    best = min(maps, key=lambda one: one.log_loss)
    return chosen.method, (
        f"{chosen.method}: the simplest map within one standard error"
        f" ({chosen.excess_error:.2g}) of the lowest cross-fitted log loss of the fitted maps, that"
        f" of {best.method}"
    )


def _cross_fitted(
    method: str,
    scores: np.ndarray,
    labels: np.ndarray,
    fold: np.ndarray,
    num_folds: int,
    *,
    are_logits: bool,
) -> np.ndarray:
    found = np.empty(len(scores))
    for number in range(num_folds):
        held = fold == number
        fitted = fit_probability(method, scores[~held], labels[~held], are_logits=are_logits)
        found[held] = fitted.apply(scores[held])
    return found


def _log_losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    right = np.where(labels == 1, probabilities, 1 - probabilities)
    return -np.log(np.maximum(right, _SMALLEST))
