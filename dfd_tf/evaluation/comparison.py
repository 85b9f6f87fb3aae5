"""Several runs on the same items: every metric with its interval, and paired tests.

Every run is tested against the first. The areas under the ROC curve are compared by DeLong's test
where items are independent; where clusters hold several items, and for every other metric, by the
paired bootstrap over the clusters (Davison & Hinkley 1997, chapter 4): both runs are measured on
the same replicates, and the p-value is twice the smaller share of differences on one side of 0.
Holm's method (Scandinavian Journal of Statistics 6, 1979) corrects the p-values of a metric for
the number of runs tested, not for the number of metrics.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from dfd_tf.evaluation.delong import Difference, delong_difference
from dfd_tf.evaluation.evaluate import (
    MetricPath,
    counts,
    fill_rates,
    sample_metrics,
    with_intervals,
)
from dfd_tf.evaluation.intervals import (
    NUM_REPLICATES,
    bootstrap_replicates,
    percentile_interval,
)
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.inference.calibration import CalibrationFile
from pipelines.errors import DatasetError, printable

DELONG, BOOTSTRAP = "DeLong", "paired cluster bootstrap"
HOLM = "Holm, over the runs compared with the first, for each metric and level"


@dataclass(frozen=True)
class JudgedRun:
    """A run's scores of the items all runs are judged on.

    Args:
        name: Distinct name.
        samples: Of one level and known label.
        calibration: The run's; None: no thresholds and no probabilities.
    """

    name: str
    samples: ScoredSamples
    calibration: CalibrationFile | None


def compared_metrics(operating_point: str) -> dict[str, MetricPath]:
    """Returns the metrics that are tested: name in tables -> path."""
    return {
        "auc": ("ranking", "auc"),
        "average_precision": ("ranking", "average_precision"),
        "eer": ("ranking", "eer"),
        "log_loss": ("probability", "log_loss"),
        "brier": ("probability", "brier"),
        "balanced_accuracy": ("decisions", operating_point, "balanced_accuracy"),
    }


def compare_level(
    runs: Sequence[JudgedRun],
    operating_point: str,
    seed: int,
    num_replicates: int = NUM_REPLICATES,
) -> dict[str, Any]:
    """Compares runs on one level.

    Args:
        runs: Two at least, all scores of the same items in the same order.
        operating_point: Where balanced accuracy is compared, each run at its own threshold.
        seed: Seed of the bootstrap.
        num_replicates: Its replicates.

    Returns:
        JSON types: the counts of the samples, `independent` (no cluster holds several), `runs`
        (name -> all metrics), `differences` (name, but the first -> compared metric ->
        `Difference`, `method` and `p_holm`; None where undefined). Where items are not
        independent `auc_delong` is what DeLong's test says for all that, for information.

    Raises:
        DatasetError: The runs were not scored on the same items.
    """
    first = runs[0]
    for run in runs[1:]:
        check_same_items(first, run)
    samples = first.samples
    functions = {run.name: sample_metrics(run.samples, run.calibration) for run in runs}

    def metrics(weights: np.ndarray) -> dict[tuple[str, MetricPath], np.ndarray]:
        return {
            (name, path): value
            for name, function in functions.items()
            for path, value in function(weights).items()
        }

    values = {key: found[0] for key, found in metrics(np.ones((1, len(samples)))).items()}
    replicates = bootstrap_replicates(
        metrics, samples.clusters, samples.labels, seed, num_replicates
    )
    figures = {}
    for run in runs:
        paths = [path for name, path in values if name == run.name]
        figures[run.name] = with_intervals(
            {path: values[run.name, path] for path in paths},
            {path: percentile_interval(replicates[run.name, path]) for path in paths},
            run.samples,
        )
        fill_rates(figures[run.name].get("decisions", {}), run.samples)
    independent = len(np.unique(samples.clusters)) == len(samples)
    differences: dict[str, dict[str, Any]] = {run.name: {} for run in runs[1:]}
    for name, path in compared_metrics(operating_point).items():
        for run in runs[1:]:
            pair = (first.name, path), (run.name, path)
            found = None
            if all(key in values for key in pair):
                before, after = (replicates[key] for key in pair)
                found = _bootstrapped(values[pair[1]] - values[pair[0]], after - before)
            method = BOOTSTRAP
            if name == "auc":
                by_delong = delong_difference(
                    samples.labels, first.samples.scores, run.samples.scores
                )
                if independent:
                    method, found = DELONG, by_delong
                else:
                    differences[run.name]["auc_delong"] = _as_dict(by_delong, DELONG)
            differences[run.name][name] = _as_dict(found, method)
    _correct(differences)
    return {
        **counts(samples),
        "independent": independent,
        "runs": figures,
        "differences": differences,
    }


def check_same_items(first: JudgedRun, second: JudgedRun) -> None:
    """Checks that two runs have scores of the same items.

    Raises:
        DatasetError: They have not: the records changed meanwhile.
    """
    for column in ("keys", "labels", "clusters"):
        ours, theirs = getattr(first.samples, column), getattr(second.samples, column)
        if not np.array_equal(ours, theirs):
            raise DatasetError(
                f"{printable(first.name)} and {printable(second.name)} were scored on different"
                f" {first.samples.level}s ({len(ours)} and {len(theirs)}); compare on one dataset"
            )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values by Holm's method; the order is kept."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(np.argsort(p_values, kind="stable").tolist()):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _bootstrapped(value: float, differences: np.ndarray) -> Difference | None:
    """A difference with its percentile interval and p-value from paired replicates."""
    if np.isnan(value):
        return None
    found = Difference(float(value), None, None, None)
    interval = percentile_interval(differences)
    if interval is None:
        return found
    defined = differences[~np.isnan(differences)]
    # The sample itself counts as one more replicate: no p-value is 0.
    sides = (np.sum(defined <= 0) + 1, np.sum(defined >= 0) + 1)
    p_value = min(1.0, 2.0 * float(min(sides)) / (len(defined) + 1))
    return replace(found, low=interval[0], high=interval[1], p_value=p_value)


def _as_dict(found: Difference | None, method: str) -> dict[str, Any]:
    empty = dict.fromkeys(("value", "low", "high", "p_value"))
    return {**(asdict(found) if found else empty), "method": method, "p_holm": None}


def _correct(differences: dict[str, dict[str, Any]]) -> None:
    """Fills in `p_holm`, metric by metric over the runs whose p-value is defined."""
    for name in {name for of_run in differences.values() for name in of_run}:
        tested = [
            found[name] for found in differences.values() if found[name]["p_value"] is not None
        ]
        for entry, adjusted in zip(tested, holm([one["p_value"] for one in tested]), strict=True):
            entry["p_holm"] = adjusted
