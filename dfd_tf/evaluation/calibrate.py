"""Calibration of a run: thresholds and probabilities from its validation split."""

from pathlib import Path

import numpy as np

from dfd_tf.evaluation.calibrators import fit_probability
from dfd_tf.evaluation.samples import ScoredSamples, image_level
from dfd_tf.evaluation.scoring import Progress, score_split
from dfd_tf.evaluation.thresholds import conformal_thresholds, youden_threshold
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.errors import InputError
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records

SPLIT = "val"


def calibrate_run(
    run: str, records: Path | None = None, progress: Progress | None = None
) -> CalibrationFile:
    """Scores a validation split and writes the run's `calibration.json`.

    The test split is never opened.

    Args:
        run: The run directory.
        records: Record folder; None: that of the training.
        progress: Told how far it is.

    Raises:
        InputError: The run is not trained, or the split holds no real images.
        DatasetError: The records are damaged.
    """
    predictor = load_predictor(run)
    records = predictor.records if records is None else records
    manifest = verify_records(records, deep=False)
    faces = score_split(predictor, records, manifest, SPLIT, progress)
    method = predictor.experiment.calibration.method
    calibration = fit_calibration(image_level(faces), predictor, manifest, method)
    predictor.run.write(predictor.run.calibration, calibration.to_json().encode())
    return calibration


def fit_calibration(
    images: ScoredSamples, predictor: Predictor, manifest: Manifest, method: str
) -> CalibrationFile:
    """Fits thresholds and, where both classes are labelled, probabilities.

    Raises:
        InputError: There are no real images, or a method was asked for that needs fakes as well.
    """
    real = images.scores[images.labels == 0]
    fake = images.scores[images.labels == 1]
    if len(real) == 0:
        raise InputError(f"{manifest.name}/{SPLIT}: no real images; thresholds rest on them")
    if method not in {"auto", "none"} and len(fake) == 0:
        raise InputError(
            f"{manifest.name}/{SPLIT}: calibration.method {method} needs labelled fakes, found"
            " none; use auto or none"
        )
    thresholds, missing = conformal_thresholds(real, fake)
    if len(fake):
        thresholds.append(youden_threshold(real, fake))
    else:
        missing["optimal"] = "needs labelled fakes in the validation split"
    probability = None
    if method != "none" and len(fake):
        labelled = images.labelled()
        name = "platt" if method == "auto" else method
        probability = fit_probability(name, labelled.scores, labelled.labels)
    return CalibrationFile(
        weights_sha256=predictor.model.sha256,
        dataset=manifest.name,
        dataset_fingerprint=manifest.fingerprint(),
        num_real=len(real),
        num_fake=len(fake),
        fake_methods=tuple(np.unique(images.methods[images.labels == 1]).tolist()),
        thresholds=tuple(thresholds),
        missing=missing,
        probability=probability,
        real_scores=tuple(np.sort(real).tolist()),
    )
