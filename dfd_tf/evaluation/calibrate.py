"""Calibration of a run: thresholds and probabilities from its validation split."""

from pathlib import Path

import numpy as np

from dfd_tf.evaluation.calibrators import fit_probability
from dfd_tf.evaluation.disjointness import num_seen
from dfd_tf.evaluation.samples import ScoredSamples, image_level
from dfd_tf.evaluation.scoring import Progress, score_split
from dfd_tf.evaluation.stacking import cross_fitted_samples, is_stacked
from dfd_tf.evaluation.thresholds import conformal_thresholds, youden_threshold
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.predictor import Predictor, load_predictor, read_calibration
from pipelines.errors import InputError, ModelFileError
from pipelines.media_item import REAL
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records

SPLIT = "val"


def calibrate_run(
    run: str,
    records: Path | None = None,
    progress: Progress | None = None,
    *,
    force: bool = False,
) -> CalibrationFile:
    """Scores a validation split and writes the run's `calibration.json`.

    The test split is never scored. Of the run's own dataset only the domains it was trained on
    are used: one that was left out must not set thresholds.

    Args:
        run: The run directory; a calibration of no use to it, such as a damaged one, is replaced.
        records: Record folder; None: that of the training.
        progress: Told how far it is.
        force: Also replace a calibration that rests on more real images than the new one would.

    Raises:
        InputError: The run is not trained, the split holds no real images, or fewer than the
            calibration there is rests on, or other records share images with those the run was
            trained or will be tested on.
        DatasetError: The records are damaged.
    """
    predictor = load_predictor(run, calibrated=False)
    records = predictor.records if records is None else records
    manifest = verify_records(records, deep=False)
    is_own = manifest.fingerprint() == predictor.records_fingerprint
    refuse_seen(predictor, records, manifest)
    domains = predictor.experiment.data.used_domains(manifest.domains) if is_own else ()
    cross_fitted = is_own and is_stacked(predictor)
    score = cross_fitted_samples if cross_fitted else score_split
    faces = score(predictor, records, manifest, SPLIT, progress, domains=domains)
    if not force:
        _refuse_fewer(predictor, faces, manifest)
    return write_calibration(faces, predictor, manifest, cross_fitted=cross_fitted)


def _refuse_fewer(predictor: Predictor, faces: ScoredSamples, manifest: Manifest) -> None:
    try:
        there = read_calibration(predictor.run, predictor.model)
    except ModelFileError:
        return
    num_real = len(np.unique(faces.keys[faces.labels == REAL]))
    if there is not None and num_real < there.num_real:
        raise InputError(
            f"{manifest.name}/{SPLIT}: {num_real} real images, and the calibration of"
            f" {predictor.run} rests on {there.num_real} ({there.dataset}); add --force to replace"
            " it all the same"
        )


def write_calibration(
    faces: ScoredSamples, predictor: Predictor, manifest: Manifest, *, cross_fitted: bool
) -> CalibrationFile:
    """Fits a calibration to face scores and stores it with the run, as `fit_calibration` raises."""
    method = predictor.experiment.calibration.method
    calibration = fit_calibration(
        image_level(faces), predictor, manifest, method, cross_fitted=cross_fitted
    )
    predictor.run.write(predictor.run.calibration, calibration.to_json().encode())
    return calibration


def fit_calibration(
    images: ScoredSamples,
    predictor: Predictor,
    manifest: Manifest,
    method: str,
    *,
    cross_fitted: bool = False,
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
    are_logits = predictor.detector.score_is_logit
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
        cross_fitted=cross_fitted,
    )


def refuse_seen(predictor: Predictor, records: Path, manifest: Manifest) -> list[Path]:
    """Refuses records whose validation images a run has trained or will be tested on.

    Within the run's own records the split proof has shown that already.

    Returns:
        Folders of records the run has learnt from that are not there any more to be looked at.

    Raises:
        InputError: There are such images, or the splits of these records share content.
    """
    gone = []
    for seen in predictor.seen:
        if seen.fingerprint == manifest.fingerprint():
            continue
        if not manifest.split_proof.get("leak_free", False):
            raise InputError(f"{records}: its splits share content; prepare it again without")
        count = num_seen(records, manifest, SPLIT, seen.folder, ("train", "test"))
        if count is None:
            gone.append(seen.folder)
        elif count:
            raise InputError(
                f"{records}: {count} of its {SPLIT} images are in the train or test split of"
                f" {seen.folder}; calibrate on images that are in neither"
            )
    return gone
