"""The runs an ensemble is made of: which ones can be combined, and on what scale."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dfd_tf.config.detectors import EnsembleDetector, EnsembleMember
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.config.score_maps import IsotonicLogOdds, LogOdds, RobustZScore, ScoreMap
from dfd_tf.evaluation.calibrate import SPLIT, refuse_seen
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.errors import InputError
from pipelines.media_item import REAL
from pipelines.records.manifest import Manifest
from pipelines.settings import PrepareSettings, prepare_settings

_NORMAL_MAD = 1.4826


def load_members(runs: Sequence[str]) -> list[Predictor]:
    """Loads at least two different runs.

    Raises:
        InputError: They are not.
        ModelFileError: The files of a run are not those it wrote.
    """
    if len(runs) < 2:
        raise InputError("an ensemble needs at least two runs")
    places = [str(RunDirectory(run).path.resolve()) for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{run}: given twice")
    return [load_predictor(run) for run in runs]


def check_records(records: Path, manifest: Manifest) -> None:
    """Checks that an ensemble can be calibrated on some records.

    Raises:
        InputError: Their splits leak, or there are no real images to validate on.
    """
    if not manifest.split_proof.get("leak_free", False):
        raise InputError(f"{records}: its splits share content; prepare it again without")
    if not any(key.startswith(f"{REAL}|") for key in manifest.counts()[SPLIT]):
        raise InputError(f"{records}: no real images in its {SPLIT} split; thresholds rest on them")


def check_members(members: Sequence[Predictor], records: Path, manifest: Manifest) -> list[str]:
    """Checks that some runs can be combined and calibrated on some records.

    Returns:
        Warnings, in words.

    Raises:
        InputError: The crops differ, or validation images were trained on or will be tested on.
    """
    warnings = []
    wanted = _crop(prepare_settings(manifest.settings))
    for member in members:
        for name, found in _crop(member.settings).items():
            if found != wanted[name]:
                raise InputError(
                    f"{member.run}: was trained on crops of {name} {found}, those of {records} have"
                    f" {name} {wanted[name]}; an ensemble takes one kind of crop"
                )
        warnings += [
            f"{folder} is gone: whether {member.run} was trained on images of {records} cannot be"
            " checked"
            for folder in refuse_seen(member, records, manifest)
        ]
    return warnings


def _crop(settings: PrepareSettings) -> dict[str, Any]:
    faces = settings.faces
    return {
        "faces": faces.detector,
        "margin": faces.margin,
        "align": faces.align,
        "size": settings.crop.size,
        "carrier": settings.crop.carrier,
    }


def common_domains(members: Sequence[Predictor], manifest: Manifest) -> tuple[str, ...]:
    """Returns the domains that no member trained on these records has left out; empty: all.

    A domain left out is to show what a detector makes of the unknown; weights and thresholds must
    not know it either.

    Raises:
        InputError: There is none.
    """
    used = manifest.domains
    for member in members:
        if member.records_fingerprint == manifest.fingerprint():
            own = member.experiment.data.used_domains(manifest.domains)
            used = tuple(name for name in used if name in own)
    if not used:
        raise InputError(f"{manifest.name}: every domain was left out by one run or another")
    return () if used == manifest.domains else used


def member_settings(
    members: Sequence[Predictor], weights: Sequence[float]
) -> tuple[EnsembleMember, ...]:
    """Makes what the ensemble's configuration holds of its members, by distinct names.

    Raises:
        InputError: A member is not calibrated, or an ensemble itself.
    """
    settings: list[EnsembleMember] = []
    for member, weight in zip(members, weights, strict=True):
        detector, calibration = member.experiment.detector, member.calibration
        if isinstance(detector, EnsembleDetector):
            raise InputError(f"{member.run}: an ensemble already; give the runs it was made of")
        if calibration is None:
            raise InputError(
                f"{member.run}: not calibrated, so its scores share no scale with others; run"
                f" `dfd-tf calibrate {member.run}`"
            )
        plain = name = member.run.path.name
        number = 1
        while any(other.name == name for other in settings):
            number += 1
            name = f"{plain}-{number}"
        settings.append(
            EnsembleMember(
                name=name,
                detector=detector,
                num_domains=member.model.num_domains,
                score_map=score_map_of(calibration, str(member.run)),
                weight=weight,
            )
        )
    return tuple(settings)


def score_map_of(calibration: CalibrationFile, run: str) -> ScoreMap:
    """Turns a calibration into the map that brings its run's scores to the common scale.

    Raises:
        InputError: There is no probability, and the real scores are all but equal.
    """
    probability = calibration.probability
    if probability is None:
        real = np.asarray(calibration.real_scores)
        median = float(np.median(real))
        spread = _NORMAL_MAD * float(np.median(np.abs(real - median)))
        if spread == 0:
            raise InputError(
                f"{run}: more than half of its {len(real)} real calibration scores are equal and"
                " give no scale; calibrate it on other records"
            )
        return RobustZScore(median=median, spread=spread)
    if probability.method == "isotonic":
        num_images = calibration.num_real + calibration.num_fake
        return IsotonicLogOdds(knots=probability.knots, num_images=num_images)
    return LogOdds(slope=probability.slope, offset=probability.offset)


def scale_warnings(settings: EnsembleDetector, members: Sequence[Predictor]) -> list[str]:
    """Says which members weigh other than their weight says."""
    found = []
    by_kind: dict[bool, list[str]] = {True: [], False: []}
    for one in settings.members:
        by_kind[isinstance(one.score_map, RobustZScore)].append(one.name)
        if isinstance(one.score_map, LogOdds) and one.score_map.slope == 0:
            found.append(f"{one.name}: its calibration found no signal, it adds a constant")
    if settings.combine != "logistic" and by_kind[True] and by_kind[False]:
        found.append(
            f"{', '.join(by_kind[True])} has no probabilities: its robust z-scores are added to the"
            f" log odds of {', '.join(by_kind[False])}, which is no common unit; with labelled"
            " fakes, calibrate it or use --combine logistic"
        )
    for one, member in zip(settings.members, members, strict=True):
        calibration = member.calibration
        if isinstance(one.score_map, IsotonicLogOdds) and calibration is not None:
            found.append(
                f"{one.name}: its isotonic map follows its calibration images"
                f" ({calibration.dataset}/{calibration.split}) closely; on those its scores are"
                " better than on others"
            )
    return found


def member_facts(name: str, member: Predictor) -> dict[str, Any]:
    """Returns what provenance says of a member."""
    calibration = member.calibration
    own = member.run.read_json(member.run.provenance)
    return {
        "name": name,
        "run": str(member.run),
        "detector": member.model.detector,
        "weights_sha256": member.model.sha256,
        "pretrained": member.model.pretrained,
        "selection": own.get("selection"),
        "epoch": member.model.epoch,
        "records": own["records"],
        "calibration": calibration
        and {
            "dataset": calibration.dataset,
            "dataset_fingerprint": calibration.dataset_fingerprint,
            "num_real": calibration.num_real,
            "num_fake": calibration.num_fake,
            "method": calibration.probability and calibration.probability.method,
        },
    }
