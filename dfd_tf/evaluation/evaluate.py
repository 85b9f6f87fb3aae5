"""Evaluation of a run on one dataset: figures with intervals at every level, as JSON."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfd_tf.evaluation.intervals import bootstrap_intervals, fresh_fpr_band
from dfd_tf.evaluation.metrics import decision_metrics, probability_metrics, ranking_metrics
from dfd_tf.evaluation.samples import ScoredSamples, image_level, video_level
from dfd_tf.evaluation.thresholds import TARGETS, conformal_rank
from dfd_tf.inference.calibration import CalibrationFile, Threshold

Metric = dict[str, float | None]
"""`value`, `low` and `high`; None: undefined."""


@dataclass(frozen=True)
class Evaluation:
    """Everything measured on one split.

    Args:
        levels: The samples judged, per level: `image`, and `video` where there are videos.
        figures: What goes into `metrics.json`.
    """

    levels: dict[str, ScoredSamples]
    figures: dict[str, Any]


def evaluate_samples(
    faces: ScoredSamples, calibration: CalibrationFile | None, seed: int
) -> Evaluation:
    """Judges face scores at image level, and at video level where there are videos.

    Args:
        faces: Samples of level `face`; those of unknown label are counted and left out.
        calibration: The run's; without it there are no decisions and no probabilities.
        seed: Seed of the bootstrap.
    """
    images = image_level(faces)
    levels = {"image": images.labelled()}
    videos = video_level(images)
    if videos is not None:
        levels["video"] = videos.labelled()
    figures: dict[str, Any] = {"num_unlabelled": int(np.sum(images.labels < 0)), "levels": {}}
    for name, samples in levels.items():
        if len(samples):
            figures["levels"][name] = _level(samples, calibration, seed)
    return Evaluation(levels, figures)


def _level(
    samples: ScoredSamples, calibration: CalibrationFile | None, seed: int
) -> dict[str, Any]:
    figures: dict[str, Any] = {
        **_counts(samples),
        "ranking": _with_intervals(
            samples, lambda w: ranking_metrics(samples.labels, samples.scores, w), seed
        ),
        "by_domain": _groups(samples, samples.domains),
        "by_method": _method_groups(samples),
    }
    if calibration is None:
        return figures
    figures["decisions"] = {
        threshold.name: _decisions(samples, threshold, seed) for threshold in calibration.thresholds
    }
    figures["false_alarms"] = {
        name: _false_alarms(samples, calibration, name)
        for name in TARGETS
        if name not in calibration.missing
    }
    if calibration.probability is not None:
        probabilities = calibration.probability.apply(samples.scores)
        figures["probability"] = _with_intervals(
            samples, lambda w: probability_metrics(samples.labels, probabilities, w), seed
        )
    return figures


def _counts(samples: ScoredSamples) -> dict[str, Any]:
    reals, fakes = int(np.sum(samples.labels == 0)), int(np.sum(samples.labels == 1))
    return {
        "num": len(samples),
        "num_real": reals,
        "num_fake": fakes,
        "num_clusters": len(np.unique(samples.clusters)),
        "positive_rate": fakes / len(samples),
    }


def _decisions(samples: ScoredSamples, threshold: Threshold, seed: int) -> dict[str, Any]:
    called = samples.scores > threshold.value
    metrics = _with_intervals(samples, lambda w: decision_metrics(samples.labels, called, w), seed)
    return {"threshold": threshold.value, **metrics}


def _false_alarms(
    samples: ScoredSamples, calibration: CalibrationFile, name: str
) -> dict[str, Any]:
    """Real images above a conformal threshold, beside the band their number must lie in."""
    threshold = calibration.threshold(name)
    real = samples.scores[samples.labels == 0]
    rank = conformal_rank(calibration.num_real, TARGETS[name])
    low, high = fresh_fpr_band(calibration.num_real, rank, len(real)) if len(real) else (0, 0)
    count = int(np.sum(real > threshold.value))
    return {
        "count": count,
        "num_real": len(real),
        "band_999": [low, high],
        "inside": low <= count <= high,
    }


def _groups(samples: ScoredSamples, names: np.ndarray) -> dict[str, Any]:
    """Counts and point figures per group."""
    return {str(name): _point(samples.select(names == name)) for name in np.unique(names)}


def _method_groups(samples: ScoredSamples) -> dict[str, Any]:
    """Each method's fakes against all reals: a method alone holds one class only."""
    methods = np.unique(samples.methods[samples.labels == 1])
    real = samples.labels == 0
    return {
        str(name) or "(not named)": _point(
            samples.select(real | ((samples.labels == 1) & (samples.methods == name)))
        )
        for name in methods
    }


def _point(samples: ScoredSamples) -> dict[str, Any]:
    ranking = ranking_metrics(samples.labels, samples.scores, np.ones((1, len(samples))))
    return {**_counts(samples), **{name: _number(value[0]) for name, value in ranking.items()}}


def _with_intervals(
    samples: ScoredSamples, metrics: Callable[[np.ndarray], dict[str, np.ndarray]], seed: int
) -> dict[str, Metric]:
    values = metrics(np.ones((1, len(samples))))
    intervals = bootstrap_intervals(metrics, samples.clusters, samples.labels, seed)
    result: dict[str, Metric] = {}
    for name, value in values.items():
        low, high = intervals[name] or (None, None)
        result[name] = {"value": _number(value[0]), "low": low, "high": high}
    return result


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
