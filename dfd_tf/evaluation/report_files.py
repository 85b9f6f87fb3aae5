"""What one evaluation leaves in `reports/<dataset>/<split>`: metrics, scores and pictures."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.base import to_unit
from dfd_tf.evaluation import plots
from dfd_tf.evaluation.evaluate import Evaluation, Metric
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.inference.calibration import CalibrationFile, Threshold
from dfd_tf.inference.predictor import Predictor
from pipelines.errors import InputError, printable
from pipelines.media_item import LABEL_NAMES
from pipelines.records.manifest import Manifest
from pipelines.records.shards import iter_records

METRICS_NAME = "metrics.json"
NUM_CASES = 4
"""Pictures shown of each kind: lowest, borderline and highest scores."""


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
        self.run.write(self.folder / name, content)
        self.written.append(self.folder / name)


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
    text = json.dumps(evaluation.figures, indent=2, allow_nan=False) + "\n"
    report.add(METRICS_NAME, text.encode())
    for level, figures in evaluation.figures["levels"].items():
        samples = evaluation.levels[level]
        report.add(f"{level}_scores.csv", _score_table(samples, calibration))
        for name, picture in _plots(
            samples, figures, calibration, operating_point, report.context
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
        probabilities = calibration.probability.apply(samples.scores)
        made["reliability"] = plots.reliability_plot(samples, probabilities, ece, context)
    return made


def write_cases(
    report: Report,
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    faces: ScoredSamples,
    domains: Sequence[str] = (),
) -> None:
    """Draws the faces of lowest, middle and highest score with their maps and reconstructions.

    Args:
        report: Where to.
        predictor: The run.
        records: Record folder.
        manifest: Its manifest.
        split: The split that was scored.
        faces: Its scores, in record order.
        domains: The domains scored; empty: all.
    """
    chosen = _spread(np.argsort(faces.scores, kind="stable"))
    pixels = predictor.decode(_encoded(records, manifest, split, domains, chosen.tolist()))
    images = np.asarray(to_unit(pixels))
    rows = [("face", images)]
    reconstruct = getattr(predictor.detector, "reconstruct", None)
    if reconstruct is not None:
        rows.append(("reconstruction", np.asarray(reconstruct(images))))
    rows.append(("explanation", np.asarray(predictor.detector.explain(images))))
    captions = [
        f"{LABEL_NAMES[int(faces.labels[index])]}\n{faces.scores[index]:.4g}" for index in chosen
    ]
    title = report.context.title("Lowest, middle and highest scores", faces)
    report.add("cases.png", plots.png_bytes(plots.picture_grid(rows, captions, title)))


def _spread(order: np.ndarray) -> np.ndarray:
    """The first, middle and last `NUM_CASES` of an order, each at most once."""
    middle = (len(order) - NUM_CASES) // 2
    places = np.concatenate(
        [
            np.arange(NUM_CASES),
            np.arange(middle, middle + NUM_CASES),
            np.arange(len(order) - NUM_CASES, len(order)),
        ]
    )
    return order[np.unique(places[(places >= 0) & (places < len(order))])]


def _encoded(
    records: Path, manifest: Manifest, split: str, domains: Sequence[str], chosen: list[int]
) -> list[bytes]:
    """The face crops at some places among those of a split and its domains, in that order."""
    wanted = set(chosen)
    found: dict[int, bytes] = {}
    start = 0
    for shard in manifest.split_shards(split):
        number = sum(
            count
            for key, count in shard.counts.items()
            if not domains or key.partition("|")[2] in domains
        )
        if wanted.intersection(range(start, start + number)):
            kept = (
                record
                for record in iter_records(records / shard.file)
                if not domains or record.domain in domains
            )
            for index, record in enumerate(kept, start):
                if index in wanted:
                    found[index] = record.encoded
        start += number
    return [found[index] for index in chosen]


def _pair(metric: Metric) -> tuple[float, tuple[float, float] | None]:
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None:
        raise ValueError("an undefined metric cannot be drawn")
    return value, None if low is None or high is None else (low, high)
