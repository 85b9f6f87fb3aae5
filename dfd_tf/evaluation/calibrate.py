"""Calibration of a run: thresholds and probabilities from its validation split."""

from pathlib import Path

import numpy as np

from dfd_tf.evaluation.calibrators import fit_probability
from dfd_tf.evaluation.disjointness import num_seen
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

    The test split is never scored. Of the run's own dataset only the domains it was trained on
    are used: one that was left out must not set thresholds.

    Args:
        run: The run directory; a calibration it has, also a damaged one, is replaced.
        records: Record folder; None: that of the training.
        progress: Told how far it is.

    Raises:
        InputError: The run is not trained, the split holds no real images, or other records share
            images with those the run was trained or will be tested on.
        DatasetError: The records are damaged.
    """
    predictor = load_predictor(run, calibrated=False)
    records = predictor.records if records is None else records
    manifest = verify_records(records, deep=False)
    is_own = manifest.fingerprint() == predictor.records_fingerprint
    if not is_own:
        _refuse_seen(records, manifest, predictor.records)
    domains = predictor.experiment.data.domains if is_own else ()
    faces = score_split(predictor, records, manifest, SPLIT, progress, domains=domains)
    method = predictor.experiment.calibration.method
    calibration = fit_calibration(image_level(faces), predictor, manifest, method)
    predictor.run.write(predictor.run.calibration, calibration.to_json().encode())
    return calibration


def fit_calibration(
    images: ScoredSamples, predictor: Predictor, manifest: Manifest, method: str
) -> CalibrationFile:
    """Fits thresholds and, where both classes are labelled, probabilities.

    Raises:
        InputError: There are no real images, or a method was asked for that needs fakes as well,
            or logits.
    """
    is_real = images.labels == 0
    real, fake = images.scores[is_real], images.scores[images.labels == 1]
    if len(real) == 0:
        raise InputError(f"{manifest.name}/{SPLIT}: no real images; thresholds rest on them")
    if method not in {"auto", "none"} and len(fake) == 0:
        raise InputError(
            f"{manifest.name}/{SPLIT}: calibration.method {method} needs labelled fakes, found"
            " none; use auto or none"
        )
    are_logits = not predictor.detector.one_class
    if method == "temperature" and not are_logits:
        raise InputError(
            f"calibration.method temperature needs logits, and the score of"
            f" {predictor.model.detector} is an error; use platt, isotonic or auto"
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
        probability = fit_probability(name, labelled.scores, labelled.labels, are_logits=are_logits)
    return CalibrationFile(
        weights_sha256=predictor.model.sha256,
        dataset=manifest.name,
        dataset_fingerprint=manifest.fingerprint(),
        num_real=len(real),
        num_real_clusters=len(np.unique(images.clusters[is_real])),
        num_fake=len(fake),
        fake_methods=tuple(np.unique(images.methods[images.labels == 1]).tolist()),
        thresholds=tuple(thresholds),
        missing=missing,
        probability=probability,
        real_scores=tuple(np.sort(real).tolist()),
    )


def _refuse_seen(records: Path, manifest: Manifest, training: Path) -> None:
    if not manifest.split_proof.get("leak_free", False):
        raise InputError(f"{records}: its splits share content; prepare it again without")
    seen = num_seen(records, manifest, SPLIT, training, ("train", "test"))
    if seen:
        raise InputError(
            f"{records}: {seen} of its {SPLIT} images are in the train or test split of"
            f" {training}; calibrate on images that are in neither"
        )
