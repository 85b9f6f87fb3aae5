"""What one evaluation leaves in `reports/<dataset>/`: metrics.json, scores.csv and pictures."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfd_tf.evaluation import plots
from dfd_tf.evaluation.evaluate import Evaluation
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.inference.calibration import CalibrationFile, Threshold
from dfd_tf.inference.predictor import Predictor
from pipelines.dataset import evaluation_batches
from pipelines.media_item import LABEL_NAMES
from pipelines.records.manifest import Manifest

NUM_CASES = 4
"""Pictures shown of each kind: lowest, borderline and highest scores."""


def write_report(
    folder: Path,
    evaluation: Evaluation,
    calibration: CalibrationFile | None,
    operating_point: str,
    context: plots.PlotContext,
) -> list[Path]:
    """Writes metrics.json, a CSV of scores and the plots of every level.

    Args:
        folder: Where; made when missing.
        evaluation: What was measured.
        calibration: The run's; None: no thresholds, reliability and confusion plots.
        operating_point: Threshold of the confusion matrix.
        context: What the plots are labelled with.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    metrics = folder / "metrics.json"
    metrics.write_text(json.dumps(evaluation.figures, indent=2, allow_nan=False) + "\n")
    written = [metrics]
    for level, samples in evaluation.levels.items():
        if len(samples) == 0:
            continue
        written.append(_write_scores(folder / f"{level}_scores.csv", samples, calibration))
        written += _write_plots(
            folder, level, samples, evaluation.figures["levels"][level], calibration,
            operating_point, context,
        )  # fmt: skip
    return written


def _write_scores(path: Path, samples: ScoredSamples, calibration: CalibrationFile | None) -> Path:
    probabilities: Sequence[float | str] = [""] * len(samples)
    if calibration is not None and calibration.probability is not None:
        probabilities = calibration.probability.apply(samples.scores).tolist()
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "label", "score", "probability", "domain", "method"])
        for row in zip(
            samples.keys.tolist(),
            [LABEL_NAMES[label] for label in samples.labels.tolist()],
            samples.scores.tolist(),
            probabilities,
            samples.domains.tolist(),
            samples.methods.tolist(),
            strict=True,
        ):
            writer.writerow(row)
    return path


def _write_plots(
    folder: Path,
    level: str,
    samples: ScoredSamples,
    figures: dict[str, Any],
    calibration: CalibrationFile | None,
    operating_point: str,
    context: plots.PlotContext,
) -> list[Path]:
    thresholds: Sequence[Threshold] = calibration.thresholds if calibration else ()
    made = {"histogram": plots.histogram_plot(samples, thresholds, context)}
    ranking = figures["ranking"]
    if ranking["auc"]["value"] is not None:
        made["roc"] = plots.roc_plot(samples, thresholds, _pair(ranking["auc"]), context)
        made["precision_recall"] = plots.precision_recall_plot(
            samples, _pair(ranking["average_precision"]), context
        )
    chosen = [threshold for threshold in thresholds if threshold.name == operating_point]
    if chosen:
        made["confusion"] = plots.confusion_plot(samples, chosen[0], context)
    if calibration is not None and calibration.probability is not None:
        probabilities = calibration.probability.apply(samples.scores)
        ece = figures["probability"]["ece"]["value"]
        made["reliability"] = plots.reliability_plot(samples, probabilities, ece, context)
    paths = []
    for name, figure in made.items():
        paths.append(folder / f"{level}_{name}.png")
        plots.save_figure(figure, paths[-1])
    return paths


def write_cases(
    path: Path,
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    faces: ScoredSamples,
    context: plots.PlotContext,
) -> Path:
    """Draws the faces of lowest, middle and highest score with their maps and reconstructions."""
    order = np.argsort(faces.scores, kind="stable")
    count = min(NUM_CASES, len(order))
    middle = (len(order) - count) // 2
    chosen = np.concatenate([order[:count], order[middle : middle + count], order[-count:]])
    images = _pictures(predictor, records, manifest, split, chosen)
    rows = [("face", images)]
    reconstruct = getattr(predictor.detector, "reconstruct", None)
    if reconstruct is not None:
        rows.append(("reconstruction", np.asarray(reconstruct(images))))
    rows.append(("explanation", np.asarray(predictor.detector.explain(images))))
    captions = [
        f"{LABEL_NAMES[int(faces.labels[index])]}\n{faces.scores[index]:.4g}" for index in chosen
    ]
    title = context.title("Lowest, middle and highest scores", faces)
    plots.save_figure(plots.picture_grid(rows, captions, title), path)
    return path


def _pictures(
    predictor: Predictor, records: Path, manifest: Manifest, split: str, chosen: np.ndarray
) -> np.ndarray:
    batches = evaluation_batches(
        records, manifest, split, predictor.image_size, predictor.batch_size
    )
    found: dict[int, np.ndarray] = {}
    wanted = set(chosen.tolist())
    start = 0
    for images, _ in batches.dataset:
        for index in wanted.intersection(range(start, start + len(images))):
            found[index] = images[index - start].numpy()
        start += len(images)
    return np.stack([found[index] for index in chosen.tolist()])


def _pair(metric: dict[str, float | None]) -> tuple[float, tuple[float, float] | None]:
    value, low, high = metric["value"], metric["low"], metric["high"]
    if value is None:
        raise ValueError("an undefined metric cannot be drawn")
    return value, None if low is None or high is None else (low, high)
