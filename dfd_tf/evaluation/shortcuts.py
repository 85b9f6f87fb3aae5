"""Shortcut audit: how well do nuisances alone tell real from fake?

Each nuisance, and all together, is given to a small model that may learn any smooth dependence
(quantile ranks, cubic splines, logistic regression with an L2 penalty; names are one-hot), because
a class may as well be the one in the middle: JPEG quality 75 against 60 and 95. The model is judged
by cross-validation on media that share nothing with those it was fitted on, so its AUC needs no
direction and chance does not inflate it. A value that is missing is a value: a PNG has no JPEG
quality.

What decides is the lower end of the 95 % interval of the AUC (cluster bootstrap), not the AUC.
A nuisance of no effect passes a limit of 0.65 only if its AUC errs by 0.15 and twice its own
standard error besides: some 3.5 standard errors with 20 media a class, 3.1 with 10, the fewest that
are judged. Over all nuisances together that is a false alarm in fewer than one of fifty folders
without any shortcut, with no correction for their number; with more media it is rarer still. What
is above the limit by less than its interval is not called a shortcut, and collecting more decides.

The default limit of 0.65 is a convention: it is about what features of an untrained backbone make
of expert composites, so a detector of real difficulty would rather learn such a nuisance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import QuantileTransformer, SplineTransformer

from dfd_tf.evaluation.cross_fitting import TooFewClustersError, cluster_folds
from dfd_tf.evaluation.intervals import (
    CONFIDENCE,
    bootstrap_replicates,
    percentile_interval,
    wilson_interval,
)
from dfd_tf.evaluation.metrics import score_curve
from pipelines.media_item import FAKE, REAL
from pipelines.nuisances import FORMAT, NUISANCES, NUMERIC
from pipelines.shared_content import AuditedMedium

LIMIT = 0.65
TOGETHER = "together"
MIN_CLUSTERS = 10
"""Clusters a class must have for a verdict."""

_SEED = 0
_NUM_RANKS = 100
_NUM_KNOTS = 4

Verdict = Literal["over", "below", "undecided", "undefined"]


@dataclass(frozen=True)
class Shortcut:
    """How well one nuisance, or all together, tells the classes apart.

    Args:
        name: Of the nuisance, or `together`.
        auc: Cross-validated area under ROC; None where it is undefined.
        low: Lower end of its 95 % interval, None where there is none.
        high: Upper end.
        verdict: `over` the limit with its whole interval, `below`; `undecided` (too few media);
            `undefined` (a class is missing, or nobody has a value).
        reason: Why there is no verdict; empty where there is one.
    """

    name: str
    auc: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    reason: str = ""


def measure_shortcuts(media: Sequence[AuditedMedium], limit: float = LIMIT) -> list[Shortcut]:
    """Returns a verdict for each of `NUISANCES`, and for all together at the end.

    Args:
        media: What to look at; those of unknown label are left out.
        limit: Largest AUC tolerated, in (0.5, 1).
    """
    labelled = [medium for medium in media if medium.label in (REAL, FAKE)]
    names = [nuisance.name for nuisance in NUISANCES]
    labels = np.array([medium.label for medium in labelled], np.int64)
    clusters = np.array([medium.cluster for medium in labelled], np.int64).astype(str)
    try:
        fold, _ = cluster_folds(labels, clusters, seed=_SEED)
    except TooFewClustersError as error:
        return [_undefined(name, str(error)) for name in [*names, TOGETHER]]
    columns = nuisance_columns(labelled)
    known = {name: values for name, values in columns.items() if _varies(values)}
    if known:
        known[TOGETHER] = np.concatenate(list(known.values()), axis=1)
    scores = {name: _held_out_scores(values, labels, fold) for name, values in known.items()}
    found = _intervals(scores, labels, clusters)
    few = min(len(np.unique(clusters[labels == label])) for label in (REAL, FAKE)) < MIN_CLUSTERS
    return [
        _judged(name, *found[name], limit, few)
        if name in found
        else _undefined(name, "no value recorded" if _empty(columns.get(name)) else "constant")
        for name in [*names, TOGETHER]
    ]


def nuisance_columns(media: Sequence[AuditedMedium]) -> dict[str, np.ndarray]:
    """Returns nuisance -> (n, k) float64; k is 1, or the number of names there are."""
    values = np.array([medium.values for medium in media])
    formats = sorted({medium.source_format for medium in media})
    columns = {name: values[:, [place]] for place, name in enumerate(NUMERIC)}
    columns[FORMAT] = np.array(
        [[float(medium.source_format == name) for name in formats] for medium in media]
    )
    return columns


def _varies(values: np.ndarray) -> bool:
    return not all(np.array_equal(row, values[0], equal_nan=True) for row in values)


def _empty(values: np.ndarray | None) -> bool:
    return values is not None and bool(np.isnan(values).all())


def _held_out_scores(values: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Log odds of fake, (n,), each by a model that has not seen its fold."""
    scores = np.zeros(len(labels))
    for number in np.unique(fold):
        held = fold == number
        model = _model(int(np.sum(~held)))
        model.fit(values[~held], labels[~held])
        scores[held] = model.decision_function(values[held])
    return scores


def _model(num_samples: int) -> Pipeline:
    return make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True),
        QuantileTransformer(n_quantiles=min(_NUM_RANKS, num_samples)),
        SplineTransformer(n_knots=_NUM_KNOTS),
        # A few Newton steps: ten times as fast here as L-BFGS.
        LogisticRegression(solver="newton-cholesky"),
    )


def _intervals(
    scores: Mapping[str, np.ndarray], labels: np.ndarray, clusters: np.ndarray
) -> dict[str, tuple[float, tuple[float, float] | None]]:
    """AUC and interval of each nuisance; all from the same bootstrap draws."""

    def areas(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {name: _auc(labels, values, weights) for name, values in scores.items()}

    if not scores:
        return {}
    exact = areas(np.ones((1, len(labels))))
    replicates = bootstrap_replicates(areas, clusters, labels, _SEED)
    pairs = min(len(np.unique(clusters[labels == label])) for label in (REAL, FAKE))
    found: dict[str, tuple[float, tuple[float, float] | None]] = {}
    for name, values in replicates.items():
        auc, interval = float(exact[name][0]), percentile_interval(values)
        if interval is None and auc > 1.0 - 1e-9:
            # Not one error to draw. Pairs of a real and a fake cluster, none used twice, are
            # independent trials of which every one was ranked right.
            wilson = wilson_interval(pairs, pairs)
            interval = wilson.low, wilson.high
        found[name] = auc, interval
    return found


def _auc(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    curve = score_curve(labels, scores, weights)
    return np.trapezoid(curve.true_positive_rate, curve.false_positive_rate, axis=1)


def _judged(
    name: str, auc: float, interval: tuple[float, float] | None, limit: float, few: bool
) -> Shortcut:
    low, high = interval if interval is not None else (None, None)
    if few:
        reason = f"fewer than {MIN_CLUSTERS} independent media of a class"
        return Shortcut(name, auc, low, high, "undecided", reason)
    over = low is not None and low > limit
    return Shortcut(name, auc, low, high, "over" if over else "below")


def _undefined(name: str, reason: str) -> Shortcut:
    return Shortcut(name, None, None, None, "undefined", reason)


__all__ = ["CONFIDENCE", "LIMIT", "TOGETHER", "Shortcut", "measure_shortcuts", "nuisance_columns"]
