"""Calibration of a run: thresholds and probabilities from its validation split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfd_tf.evaluation.calibration_plot import calibration_plot, clip_calibration_plot
from dfd_tf.evaluation.calibrator_choice import choose_probability
from dfd_tf.evaluation.disjointness import num_seen
from dfd_tf.evaluation.model_card import write_model_card
from dfd_tf.evaluation.plots import PlotContext, png_bytes
from dfd_tf.evaluation.samples import ScoredSamples, image_level, video_level
from dfd_tf.evaluation.scoring import Progress, score_split
from dfd_tf.evaluation.stacking import cross_fitted_samples, is_stacked
from dfd_tf.evaluation.thresholds import conformal_thresholds, tied_points, youden_threshold
from dfd_tf.evaluation.trivial_data import picture_statistics, trivial_data_caveats
from dfd_tf.evaluation.video_calibration import (
    clip_caveats,
    fit_video_calibration,
    temporal_reference,
)
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.predictor import Predictor, load_predictor, read_calibration
from pipelines.bad_records import skipped_warning, without_bad_records
from pipelines.errors import InputError, ModelFileError
from pipelines.media_item import FAKE, REAL
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records

SPLIT = "val"
_SMALLEST_SPREAD = 1e-6


@dataclass(frozen=True)
class FittedCalibration:
    """A calibration and what it was fitted to.

    Args:
        calibration: What is stored.
        images: The labelled images, by key.
        held_out: (n,) probabilities of those by maps fitted without their person or video; None
            where there are none.
    """

    calibration: CalibrationFile
    images: ScoredSamples
    held_out: np.ndarray | None


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
    if predictor.experiment.data.on_bad_record == "skip":
        manifest = without_bad_records(records, manifest, [SPLIT])
    is_own = manifest.fingerprint() == predictor.records_fingerprint
    refuse_seen(predictor, records, manifest)
    domains = predictor.experiment.data.used_domains(manifest.domains) if is_own else ()
    cross_fitted = is_own and is_stacked(predictor)
    score = cross_fitted_samples if cross_fitted else score_split
    faces = score(predictor, records, manifest, SPLIT, progress, domains=domains)
    if not force:
        _refuse_fewer(predictor, faces, manifest)
    return write_calibration(
        faces, predictor, records, manifest, cross_fitted=cross_fitted, progress=progress
    )


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
    faces: ScoredSamples,
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    *,
    cross_fitted: bool,
    progress: Progress | None = None,
) -> CalibrationFile:
    """Fits a calibration to the face scores of a validation split, stores and draws it.

    Args:
        faces: Samples of level `face`.
        predictor: The run.
        records: The records they are of, looked at once more for pictures that are too easy.
        manifest: That of the records.
        cross_fitted: Whether the scores are of stacks that were fitted without the image's person.
        progress: Told how far the second look at real clips is.

    Raises:
        InputError: As `fit_calibration`.
        DatasetError: The records are damaged.
    """
    fitted = fit_calibration(image_level(faces), predictor, manifest, cross_fitted=cross_fitted)
    video = fit_video_calibration(
        faces,
        method=predictor.experiment.calibration.method,
        are_logits=predictor.detector.score_is_logit,
        seed=predictor.experiment.seed,
    )
    if video is not None:
        reference, missing = temporal_reference(
            faces, predictor, records, manifest, SPLIT, progress
        )
        video = video.model_copy(update={"temporal": reference, "temporal_missing": missing})
    domains = np.unique(faces.domains).tolist()
    statistics = picture_statistics(records, manifest, SPLIT, domains)
    caveats = (*fitted.calibration.caveats, *trivial_data_caveats(statistics))
    if video is not None:
        caveats = (*caveats, *clip_caveats(video))
    if warning := skipped_warning(records, manifest):
        caveats = (*caveats, warning)
    calibration = fitted.calibration.model_copy(
        update={"caveats": caveats, "records": str(records.resolve()), "video": video}
    )
    run = predictor.run
    run.write(run.calibration, calibration.to_json().encode())
    context = PlotContext(run.path.name, manifest.name, SPLIT)
    figure = calibration_plot(calibration, fitted.images, fitted.held_out, context)
    run.write(run.calibration_plot, png_bytes(figure))
    if video is not None and video.thresholds:
        clips = video_level(faces.labelled(), video.aggregation)
        assert clips is not None
        figure = clip_calibration_plot(calibration, clips, context)
        run.write(run.clip_calibration_plot, png_bytes(figure))
    else:
        run.clip_calibration_plot.unlink(missing_ok=True)
    write_model_card(run)
    return calibration


def fit_calibration(
    images: ScoredSamples,
    predictor: Predictor,
    manifest: Manifest,
    *,
    cross_fitted: bool = False,
) -> FittedCalibration:
    """Fits thresholds and, where both classes are labelled, probabilities.

    Equal scores give an equal calibration, whatever their order.

    Raises:
        InputError: There are no real images, or a method was asked for that needs fakes as well,
            or logits.
    """
    labelled = images.labelled()
    labelled = labelled.select(np.argsort(labelled.keys, kind="stable"))
    is_real = labelled.labels == REAL
    real, fake = labelled.scores[is_real], labelled.scores[~is_real]
    where = f"{manifest.name}/{SPLIT}"
    if len(real) == 0:
        raise InputError(f"{where}: no real images; thresholds rest on them")
    method = _checked_method(predictor, len(fake), where)
    num_clusters = len(np.unique(labelled.clusters[is_real]))
    thresholds, missing = conformal_thresholds(real, fake, num_clusters)
    caveats = tied_points(thresholds)
    if num_clusters < len(real):
        caveats.append(
            f"the {len(real)} real images are of {num_clusters} persons or videos: rates are"
            " promised for independent images, and hold less surely here"
        )
    if len(fake):
        thresholds.append(youden_threshold(real, fake))
    else:
        missing["optimal"] = "needs labelled fakes in the validation split"
    probability = held_out = None
    if method != "none" and len(fake):
        probability, held_out = choose_probability(
            method,
            labelled.scores,
            labelled.labels,
            labelled.clusters,
            are_logits=predictor.detector.score_is_logit,
            seed=predictor.experiment.seed,
        )
        if np.ptp(probability.apply(labelled.scores)) < _SMALLEST_SPREAD:
            caveats.append(
                "no signal: the fakes score no higher than the reals, so every image gets"
                " the same probability"
            )
    calibration = CalibrationFile(
        weights_sha256=predictor.model.sha256,
        dataset=manifest.name,
        dataset_fingerprint=manifest.fingerprint(),
        num_real=len(real),
        num_real_clusters=num_clusters,
        num_fake=len(fake),
        fake_methods=tuple(np.unique(labelled.methods[labelled.labels == FAKE]).tolist()),
        thresholds=tuple(thresholds),
        missing=missing,
        probability=probability,
        real_scores=tuple(np.sort(real).tolist()),
        fake_scores=tuple(np.sort(fake).tolist()),
        caveats=tuple(caveats),
        cross_fitted=cross_fitted,
    )
    return FittedCalibration(calibration, labelled, held_out)


def _checked_method(predictor: Predictor, num_fake: int, where: str) -> str:
    """Returns `calibration.method` of the run, after checking that it can be used."""
    method = predictor.experiment.calibration.method
    if method not in {"auto", "none"} and num_fake == 0:
        raise InputError(
            f"{where}: calibration.method {method} needs labelled fakes, found none; use auto or"
            " none"
        )
    if method == "temperature" and not predictor.detector.score_is_logit:
        raise InputError(
            f"calibration.method temperature needs logits, and the score of"
            f" {predictor.model.detector} is an error; use platt, isotonic or auto"
        )
    return method


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
