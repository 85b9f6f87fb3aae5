"""Logistic stacking: the weights of an ensemble, fitted on validation data.

Wolpert 1992; Breiman, "Stacked regressions", Machine Learning 24 (1996), for weights >= 0 and for
scores of models that have not seen the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dfd_tf.detectors.ensemble import Ensemble
from dfd_tf.evaluation.cross_fitting import TooFewClustersError, cluster_folds
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.evaluation.scoring import Progress, score_split
from dfd_tf.inference.predictor import Predictor
from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL
from pipelines.records.manifest import Manifest

REGULARISATION = 1.0
"""C of the L2 penalty, on standardised scores so that it means the same for every member."""


@dataclass(frozen=True)
class Stack:
    """A weighted sum of mapped member scores: log odds of fake.

    Args:
        weights: (members,) >= 0; all 0 where no member ranks fakes above reals.
        offset: The intercept.
    """

    weights: np.ndarray
    offset: float

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Combines mapped scores (n, members) to (n,) float64."""
        return scores @ self.weights + self.offset


def fit_stack(scores: np.ndarray, labels: np.ndarray) -> Stack:
    """Fits a logistic regression whose weights are not negative.

    A member of negative weight would count its own evidence of a fake against one: on a validation
    split of this size that is noise, or a detector that should not be in. The most negative one is
    taken out and the rest fitted again, until none is left.

    Args:
        scores: (n, members) mapped scores.
        labels: (n,) 0 real, 1 fake; both must occur.
    """
    used = np.arange(scores.shape[1])
    while len(used):
        scaler, regression = StandardScaler(), LogisticRegression(C=REGULARISATION, max_iter=1000)
        make_pipeline(scaler, regression).fit(scores[:, used], labels)
        found = regression.coef_[0] / scaler.scale_
        if found.min() >= 0:
            weights = np.zeros(scores.shape[1])
            weights[used] = found
            return Stack(weights, float(regression.intercept_[0] - found @ scaler.mean_))
        used = np.delete(used, found.argmin())
    shares = np.bincount(labels, minlength=2)
    return Stack(np.zeros(scores.shape[1]), float(np.log(shares[FAKE] / shares[REAL])))


def out_of_fold_scores(
    scores: np.ndarray, labels: np.ndarray, clusters: np.ndarray, where: str
) -> np.ndarray:
    """Scores every sample by a stack fitted without its person, video or image.

    Args:
        scores: (n, members) mapped scores.
        labels: (n,) 0 real, 1 fake, -1 unknown; the latter are scored, and never fitted on.
        clusters: (n,) names; samples of one are never parted.
        where: What holds them, for the message.

    Returns:
        (n,) float64.

    Raises:
        InputError: Fewer than two clusters of a class, or they cannot be parted.
    """
    try:
        fold, num_folds = cluster_folds(labels, clusters)
    except TooFewClustersError as error:
        hint = "a logistic stack needs persons or videos of both classes on either side; use mean"
        raise InputError(f"{where}: {error}; {hint}") from None
    combined = np.empty(len(scores))
    for number in range(num_folds):
        fitted, held = (fold != number) & (labels >= 0), fold == number
        combined[held] = fit_stack(scores[fitted], labels[fitted]).apply(scores[held])
    return combined


def member_scores(
    predictors: Sequence[Predictor],
    records: Path,
    manifest: Manifest,
    split: str,
    progress: Progress | None = None,
    *,
    domains: Sequence[str] = (),
) -> tuple[ScoredSamples, np.ndarray]:
    """Scores the faces of a split by each of some predictors.

    Returns:
        The samples with the scores of the first, and all scores (n, predictors) float64.
    """
    columns = []
    for number, predictor in enumerate(predictors):

        def advance(done: int, total: int, begun: int = number) -> None:
            if progress is not None:
                progress(begun * total + done, len(predictors) * total)

        columns.append(score_split(predictor, records, manifest, split, advance, domains=domains))
    return columns[0], np.stack([column.scores for column in columns], axis=1)


def is_stacked(predictor: Predictor) -> bool:
    """Whether a run's own weights were fitted on the validation split of its records."""
    detector = predictor.detector
    return isinstance(detector, Ensemble) and detector.combine == "logistic"


def cross_fitted_samples(
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    progress: Progress | None = None,
    *,
    domains: Sequence[str] = (),
) -> ScoredSamples:
    """Scores the split a logistic ensemble was fitted on as if it had not been.

    Raises:
        InputError: There are too few persons or videos to leave some out.
    """
    ensemble = predictor.detector
    assert isinstance(ensemble, Ensemble)
    alone = [replace(predictor, detector=member) for member in ensemble.members]
    faces, scores = member_scores(alone, records, manifest, split, progress, domains=domains)
    where = f"{manifest.name}/{split}"
    return replace(faces, scores=out_of_fold_scores(scores, faces.labels, faces.clusters, where))
