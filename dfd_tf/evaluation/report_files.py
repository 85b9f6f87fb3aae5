"""What one evaluation leaves in `reports/<dataset>/<split>`: metrics, scores and pictures."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from etils import epath
from matplotlib.figure import Figure

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.evaluation import plots
from dfd_tf.evaluation.evaluate import Evaluation, Metric, calibration_at
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.inference.calibration import CalibrationFile, Threshold
from pipelines.errors import InputError, printable
from pipelines.media_item import LABEL_NAMES

METRICS_NAME = "metrics.json"
LEVELS = ("image", "video")


@dataclass
class Report:
    """A report folder that is being filled; every file in it is whole or not there.

    Args:
        run: The run it belongs to.
        folder: Where; made when missing.
        context: What the plots are labelled with.
        written: The files written so far.

    Raises:
        InputError: The folder cannot be made.
    """

    run: RunDirectory
    folder: epath.Path
    context: plots.PlotContext
    written: list[epath.Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be made ({error.strerror})") from None

    def add(self, name: str, content: bytes) -> None:
        """Writes a file; CheckpointError when the disk is full, or the like."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.run.write(path, content)
        self.written.append(path)

    def remove(self, pattern: str) -> None:
        """Deletes what an earlier evaluation left under this pattern."""
        for path in self.folder.glob(pattern):
            path.unlink()


def write_report(
    report: Report,
    evaluation: Evaluation,
    calibration: CalibrationFile | None,
    operating_point: str,
) -> None:
    """Writes metrics.json, a CSV of scores and the plots of every level.

    Args:
        report: Where to.
        evaluation: What was measured.
        calibration: The run's; None: no thresholds, reliability and confusion plots.
        operating_point: Threshold of the confusion matrix.
    """
    for level in LEVELS:
        report.remove(f"{level}_*")
    text = json.dumps(evaluation.figures, indent=2, allow_nan=False) + "\n"
    report.add(METRICS_NAME, text.encode())
    for level, figures in evaluation.figures["levels"].items():
        samples = evaluation.levels[level]
        of_level = calibration_at(calibration, level)
        report.add(f"{level}_scores.csv", _score_table(samples, of_level))
        for name, picture in _plots(
            samples, figures, of_level, operating_point, report.context
        ).items():
            report.add(f"{level}_{name}.png", plots.png_bytes(picture))


def _score_table(samples: ScoredSamples, calibration: CalibrationFile | None) -> bytes:
    probabilities: Sequence[float | str] = [""] * len(samples)
    if calibration is not None and calibration.probability is not None:
        probabilities = calibration.probability.apply(samples.scores).tolist()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["key", "label", "score", "probability", "video", "domain", "method"])
    for key, label, score, probability, *origin in zip(
        samples.keys.tolist(),
        samples.labels.tolist(),
        samples.scores.tolist(),
        probabilities,
        samples.videos.tolist(),
        samples.domains.tolist(),
        samples.methods.tolist(),
        strict=True,
    ):
        names = [printable(name) for name in origin]
        writer.writerow([printable(key), LABEL_NAMES[label], score, probability, *names])
    return text.getvalue().encode()


def _plots(
    samples: ScoredSamples,
    figures: dict[str, Any],
    calibration: CalibrationFile | None,
    operating_point: str,
    context: plots.PlotContext,
) -> dict[str, Figure]:
    thresholds: Sequence[Threshold] = calibration.thresholds if calibration else ()
    made = {"histogram": plots.histogram_plot(samples, thresholds, context)}
    ranking = figures["ranking"]
    if ranking["auc"]["value"] is not None:
        made["roc"] = plots.roc_plot(samples, thresholds, _pair(ranking["auc"]), context)
        made["precision_recall"] = plots.precision_recall_plot(
            samples, _pair(ranking["average_precision"]), context
        )
    for threshold in thresholds:
        if threshold.name == operating_point:
            made["confusion"] = plots.confusion_plot(samples, threshold, context)
    ece = figures.get("probability", {}).get("ece", {"value": None})["value"]
    if calibration is not None and calibration.probability is not None and ece is not None:
        made["reliability"] = plots.reliability_plot(samples, calibration.probability, ece, context)
    return made


def _pair(metric: Metric) -> tuple[float, tuple[float, float] | None]:
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None:
        raise ValueError("an undefined metric cannot be drawn")
    return value, None if low is None or high is None else (low, high)
