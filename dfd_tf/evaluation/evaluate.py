"""Evaluation of a run on one dataset: figures with intervals at every level, as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfd_tf.evaluation.intervals import bootstrap_intervals, fresh_fpr_band, wilson_interval
from dfd_tf.evaluation.metrics import (
    TAIL_RATES,
    confusion,
    decision_metrics,
    probability_metrics,
    ranking_metrics,
)
from dfd_tf.evaluation.samples import ScoredSamples, image_level, video_level
from dfd_tf.evaluation.thresholds import TARGETS, conformal_rank
from dfd_tf.inference.calibration import CalibrationFile, Threshold, aggregation_of
from dfd_tf.inference.shift import score_shift
from pipelines.media_item import FAKE, REAL

Metric = dict[str, float | None]
"""`value`, `low` and `high`; None: undefined."""

MetricPath = tuple[str, ...]
"""Group and name of a metric, as in `("ranking", "auc")`, `("decisions", "balanced", "fpr")`."""

OF_CLIPS, OF_IMAGES = "clips", "single images"
"""What the limits of a level were set on."""

RATES = {"recall": FAKE, "fpr": REAL}
"""Decision metrics that are shares of one class."""


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
    faces: ScoredSamples, calibration: CalibrationFile | None, seed: int, *, fresh: bool = True
) -> Evaluation:
    """Judges face scores at image level, and at video level where there are videos.

    Args:
        faces: Samples of level `face`; those of unknown label are counted and left out.
        calibration: The run's; without it there are no decisions and no probabilities.
        seed: Seed of the bootstrap.
        fresh: Whether these are other images than those of the calibration; only then do false
            alarms say anything about its promise.
    """
    images = image_level(faces)
    levels = {"image": images.labelled()}
    videos = video_level(faces, aggregation_of(calibration)[0])
    if videos is not None:
        levels["video"] = videos.labelled()
    figures: dict[str, Any] = {"num_unlabelled": int(np.sum(images.labels < 0)), "levels": {}}
    for name, samples in levels.items():
        if len(samples):
            figures["levels"][name] = _level(samples, calibration_at(calibration, name), seed)
    if "video" in figures["levels"]:
        figures["levels"]["video"] |= {
            "aggregation": aggregation_of(calibration)[0],
            "limits": _limits(calibration),
        }
    if calibration is not None and fresh and len(levels["image"]):
        figures["levels"]["image"] |= _promise(levels["image"], calibration)
    return Evaluation(levels, figures)


def _limits(calibration: CalibrationFile | None) -> dict[str, str]:
    """Says of each operating point, and of probabilities, what those of clips were set on."""
    if calibration is None:
        return {}
    video = calibration.video
    own = {point.name for point in video.thresholds} if video else set()
    points = [point.name for point in calibration.of_clips().thresholds]
    limits = {name: OF_CLIPS if name in own else OF_IMAGES for name in points}
    if calibration.of_clips().probability is not None:
        has_own = video is not None and video.probability is not None
        limits["probabilities"] = OF_CLIPS if has_own else OF_IMAGES
    return limits


def calibration_at(calibration: CalibrationFile | None, level: str) -> CalibrationFile | None:
    """Returns the calibration with thresholds and probabilities of a level.

    For clips those are their own where the calibration had enough of them, else those of single
    images, as in `predict`.
    """
    return calibration.of_clips() if calibration is not None and level == "video" else calibration


def _level(
    samples: ScoredSamples, calibration: CalibrationFile | None, seed: int
) -> dict[str, Any]:
    measured = _measured(samples, calibration, seed)
    fake = samples.labels == FAKE
    domains = {name: samples.domains == name for name in np.unique(samples.domains).tolist()}
    # A method alone holds one class only: its fakes are set against all reals.
    methods = {
        name or "(not named)": ~fake | (samples.methods == name)
        for name in np.unique(samples.methods[fake]).tolist()
    }
    by_domain, by_method = (
        {
            name: counts(samples) | measured["ranking"]
            if mask.all()
            else _group(samples.select(mask), seed)
            for name, mask in groups.items()
        }
        for groups in (domains, methods)
    )
    figures: dict[str, Any] = {
        **counts(samples),
        "decisions": {},
        **measured,
        "by_domain": by_domain,
        "worst_domain": _worst(by_domain),
        "by_method": by_method,
        "worst_method": _worst(by_method),
    }
    for threshold in calibration.thresholds if calibration else ():
        figures["decisions"][threshold.name] |= _counted(samples, threshold)
    fill_rates(figures["decisions"], samples)
    return figures


def _measured(
    samples: ScoredSamples, calibration: CalibrationFile | None, seed: int
) -> dict[str, Any]:
    """Every metric with its interval, all from the same bootstrap replicates."""
    metrics = sample_metrics(samples, calibration)
    values = metrics(np.ones((1, len(samples))))
    intervals = bootstrap_intervals(metrics, samples.clusters, samples.labels, seed)
    return with_intervals({path: value[0] for path, value in values.items()}, intervals, samples)


def sample_metrics(
    samples: ScoredSamples, calibration: CalibrationFile | None
) -> Callable[[np.ndarray], dict[MetricPath, np.ndarray]]:
    """Returns the function from weights (replicates, n) to every metric, (replicates,) each.

    Args:
        samples: Of known label, one level.
        calibration: Gives probabilities and thresholds; None: neither.
    """
    thresholds = calibration.thresholds if calibration else ()
    probabilities = None
    if calibration is not None and calibration.probability is not None:
        probabilities = calibration.probability.apply(samples.scores)

    def metrics(weights: np.ndarray) -> dict[MetricPath, np.ndarray]:
        labels, scores = samples.labels, samples.scores
        found: dict[MetricPath, np.ndarray] = {
            ("ranking", name): value
            for name, value in ranking_metrics(labels, scores, weights).items()
        }
        if probabilities is not None:
            for name, value in probability_metrics(labels, probabilities, weights).items():
                found["probability", name] = value
        for threshold in thresholds:
            called = scores > threshold.value
            for name, value in decision_metrics(labels, called, weights).items():
                found["decisions", threshold.name, name] = value
        return found

    return metrics


def with_intervals(
    values: Mapping[MetricPath, float],
    intervals: Mapping[MetricPath, tuple[float, float] | None],
    samples: ScoredSamples,
) -> dict[str, Any]:
    """Turns metrics by path into nested dictionaries with their intervals, as reports hold them.

    The true positive rate at 1 % false positives has no interval below 200 persons, videos or lone
    images that are real, that at 5 % none below 40: the threshold then rests on fewer than two of
    them, and the bootstrap cannot vary what it has not seen. Simulated coverage of a 95 % interval
    at 1 % is 0.64 of 40, 0.83 of 100, 0.93 of 200.
    """
    num_real = len(np.unique(samples.clusters[samples.labels == REAL]))
    result: dict[str, Any] = {}
    for path, value in values.items():
        *groups, name = path
        place = result
        for group in groups:
            place = place.setdefault(group, {})
        too_few = name in TAIL_RATES and num_real < round(2 / TAIL_RATES[name])
        place[name] = metric(value, None if too_few else intervals[path])
    return result


def counts(samples: ScoredSamples) -> dict[str, Any]:
    """Counts samples, classes and clusters, with the share of fakes: what chance scores as AP."""
    reals, fakes = int(np.sum(samples.labels == REAL)), int(np.sum(samples.labels == FAKE))
    return {
        "num": len(samples),
        "num_real": reals,
        "num_fake": fakes,
        "num_clusters": len(np.unique(samples.clusters)),
        "positive_rate": fakes / len(samples),
    }


def _counted(samples: ScoredSamples, threshold: Threshold) -> dict[str, Any]:
    called = samples.scores > threshold.value
    cells = confusion(samples.labels, called, np.ones((1, len(samples))))[0]
    names = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    return {
        "threshold": threshold.value,
        **{name: int(cell) for name, cell in zip(names, cells, strict=True)},
    }


def fill_rates(decisions: Mapping[str, dict[str, Any]], samples: ScoredSamples) -> None:
    """Gives rates of 0 or 1, which no bootstrap can vary, Wilson's interval over their clusters.

    Args:
        decisions: Operating point -> metrics; changed in place.
        samples: What was measured.
    """
    for metrics in decisions.values():
        for name, label in RATES.items():
            fill_interval(metrics[name], samples.clusters[samples.labels == label])


def fill_interval(rate: Metric, clusters: np.ndarray) -> None:
    """Gives a rate of exactly 0 or 1 without an interval Wilson's over these clusters, in place."""
    if rate["low"] is None and rate["value"] in (0.0, 1.0):
        trials = len(np.unique(clusters))
        interval = wilson_interval(round(rate["value"] * trials), trials)
        rate |= {"low": interval.low, "high": interval.high}


def _promise(images: ScoredSamples, calibration: CalibrationFile) -> dict[str, Any]:
    """How the calibration's promise about real images held on these."""
    reals = images.select(images.labels == REAL)
    if not len(reals):
        return {}
    # Images of one person or video score alike: each counts once, or they would seem a shift.
    names, cluster = np.unique(reals.clusters, return_inverse=True)
    medians = [np.median(reals.scores[cluster == number]) for number in range(len(names))]
    shift = score_shift(np.array(medians), calibration)
    independent = len(names) == len(reals)
    return {
        "false_alarms": {
            name: _false_alarms(reals.scores, calibration, name, independent)
            for name in TARGETS
            if name not in calibration.missing
        },
        "shift": {"num": shift.num, "distance": shift.distance, "p_value": shift.p_value},
    }


def _false_alarms(
    real_scores: np.ndarray, calibration: CalibrationFile, name: str, independent: bool
) -> dict[str, Any]:
    """Real images above a conformal threshold, beside the band their number should lie in.

    The band supposes exchangeable images: there is none where several show one person or video.
    """
    count = int(np.sum(real_scores > calibration.threshold(name).value))
    found: dict[str, Any] = {"count": count, "num_real": len(real_scores), "band_999": None}
    if independent:
        rank = conformal_rank(calibration.num_real, TARGETS[name])
        low, high = fresh_fpr_band(calibration.num_real, rank, len(real_scores))
        found |= {"band_999": [low, high], "inside": low <= count <= high}
    return found


def _group(samples: ScoredSamples, seed: int) -> dict[str, Any]:
    return {**counts(samples), **_measured(samples, None, seed)["ranking"]}


def _worst(groups: dict[str, Any]) -> str | None:
    """The group of lowest AUC, where there are several to choose from."""
    ranked = {name: group["auc"]["value"] for name, group in groups.items()}
    defined = {name: value for name, value in ranked.items() if value is not None}
    return min(defined, key=lambda name: defined[name]) if len(defined) > 1 else None


def metric(value: float, interval: tuple[float, float] | None) -> Metric:
    """Makes the figure of a metric; NaN is undefined."""
    low, high = interval or (None, None)
    return {"value": None if np.isnan(value) else float(value), "low": low, "high": high}
