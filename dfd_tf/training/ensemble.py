"""A run made of runs: the work of `dfd-tf ensemble`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dfd_tf.config.detectors import CombineRule, EnsembleDetector
from dfd_tf.config.experiment import Data, Experiment
from dfd_tf.config.provenance import provenance
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.ensemble import Ensemble
from dfd_tf.detectors.registry import build_detector
from dfd_tf.evaluation.calibrate import SPLIT, calibrate_run, write_calibration
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.evaluation.scoring import Progress
from dfd_tf.evaluation.stacking import (
    REGULARISATION,
    fit_stack,
    member_scores,
    out_of_fold_scores,
)
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.predictor import Predictor, load_predictor
from dfd_tf.training.best_weights import save_best
from dfd_tf.training.data import record_facts
from dfd_tf.training.ensemble_members import (
    check_members,
    check_records,
    common_domains,
    load_members,
    member_facts,
    member_settings,
    scale_warnings,
)
from dfd_tf.training.selection import Selection
from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records

_SELECTION = Selection("members", "the weights of each member were selected in its own run")


@dataclass(frozen=True)
class Combination:
    """What goes into a score with which weight, and how that was found.

    Args:
        weights: One a member, >= 0.
        offset: Added to the weighted sum.
        rule: How they were found, in words.
        calibration: On which scores thresholds and probabilities are fitted, in words.
        faces: For a stack: the validation faces with their cross-fitted scores.
    """

    weights: Sequence[float]
    offset: float
    rule: str
    calibration: str
    faces: ScoredSamples | None = None


def make_ensemble(
    runs: Sequence[str],
    records: Path,
    out: str,
    *,
    combine: CombineRule = "mean",
    weights: Sequence[float] | None = None,
    progress: Progress | None = None,
) -> tuple[CalibrationFile, list[str]]:
    """Combines trained, calibrated runs into a new, self-contained one, and calibrates it.

    Args:
        runs: Run directories, at least two.
        records: Record folder whose validation split the combination is fitted and calibrated on.
        out: The new run directory.
        combine: `mean`, `weighted` (by `weights`) or `logistic` (weights fitted).
        weights: One positive number a run; only their ratios count.
        progress: Told how far the scoring is.

    Returns:
        The calibration, and warnings in words.

    Raises:
        InputError: Runs that cannot be combined, unsuitable data, or `out` is not empty.
        DatasetError: The records are damaged.
        ModelFileError: The files of a run are not those it wrote.
    """
    directory = RunDirectory(out)
    if directory.is_started():
        raise InputError(f"{directory}: not empty; choose another --run")
    given = _given_weights(len(runs), combine, weights)
    manifest = verify_records(records, deep=False)
    check_records(records, manifest)
    members = load_members(runs)
    warnings = check_members(members, records, manifest)
    domains = common_domains(members, manifest)
    if combine == "logistic":
        found = _fit(members, records, manifest, domains, progress)
    else:
        rule = "equal" if combine == "mean" else "given by the user"
        found = Combination(given, 0.0, rule, f"scores of {manifest.name}/{SPLIT}")
    detector = EnsembleDetector(
        combine=combine, members=member_settings(members, found.weights), offset=found.offset
    )
    warnings += [
        f"{one.name}: left out, beside the others it adds nothing or points the wrong way"
        for one in detector.members
        if one.weight == 0
    ]
    warnings += scale_warnings(detector, members)

    experiment = Experiment(detector=detector, data=Data(domains=domains, augment=None))
    facts: dict[str, Any] = {
        **provenance(),
        "seed": experiment.seed,
        "selection": {"metric": _SELECTION.metric, "rule": _SELECTION.reason},
        "records": record_facts(records, manifest),
        "combination": {
            "combine": combine,
            "weights": {one.name: one.weight for one in detector.members},
            "offset": detector.offset,
            "rule": found.rule,
            "calibration": found.calibration,
        },
        "members": [
            member_facts(one.name, member)
            for one, member in zip(detector.members, members, strict=True)
        ],
        "warnings": warnings,
    }
    with directory.opened():
        directory.write_experiment(experiment)
        directory.write_json(directory.provenance, facts)
        save_best(
            directory,
            _build(detector, members),
            detector_name=detector.name,
            num_domains=1,
            phase="none",
            epoch=0,
            selection=_SELECTION,
            logs={_SELECTION.metric: None},
        )
        if found.faces is None:
            return calibrate_run(out, records, progress), warnings
        # What `calibrate_run` would score again, to the same file.
        predictor = load_predictor(out, calibrated=False)
        calibration = write_calibration(
            found.faces, predictor, records, manifest, cross_fitted=True
        )
        return calibration, warnings


def _given_weights(num_runs: int, combine: str, weights: Sequence[float] | None) -> Sequence[float]:
    if (weights is not None) != (combine == "weighted"):
        raise InputError("--weights goes with --combine weighted, and the other way round")
    if weights is None:
        return [1.0 / num_runs] * num_runs
    if len(weights) != num_runs:
        raise InputError(f"--weights: {len(weights)} weights for {num_runs} runs")
    if not all(np.isfinite(weight) and weight > 0 for weight in weights):
        raise InputError("--weights: every one must be above 0; leave out a run that is not wanted")
    return [weight / sum(weights) for weight in weights]


def _fit(
    members: Sequence[Predictor],
    records: Path,
    manifest: Manifest,
    domains: Sequence[str],
    progress: Progress | None,
) -> Combination:
    """Stacks the members' scores of the validation split.

    Raises:
        InputError: It lacks a class, or holds too few persons or videos, or no member is of use.
    """
    where = f"{manifest.name}/{SPLIT}"
    equal = member_settings(members, [1.0 / len(members)] * len(members))
    ensemble = _build(EnsembleDetector(combine="logistic", members=equal), members)
    # As the members of the ensemble see them: scaled down from its size, not decoded to their own.
    alone = [
        replace(member, detector=own) for member, own in zip(members, ensemble.members, strict=True)
    ]
    faces, scores = member_scores(alone, records, manifest, SPLIT, progress, domains=domains)
    cross_fitted = out_of_fold_scores(scores, faces.labels, faces.clusters, where)
    known = faces.labels >= 0
    stack = fit_stack(scores[known], faces.labels[known])
    if not stack.weights.any():
        raise InputError(f"{where}: no run scores its fakes above its reals, nothing to combine")
    num_real, num_fake = (int(np.sum(faces.labels == label)) for label in (REAL, FAKE))
    return Combination(
        stack.weights.tolist(),
        stack.offset,
        f"logistic regression (L2, C = {REGULARISATION:g} on standardised scores, weights >= 0) on"
        f" {num_real} real and {num_fake} fake faces of {where}",
        f"scores of the same faces of {where}, each by a stack fitted without its person or video",
        replace(faces, scores=cross_fitted),
    )


def _build(settings: EnsembleDetector, members: Sequence[Predictor]) -> Ensemble:
    """Builds the ensemble with the weights of the members' runs."""
    ensemble = build_detector(settings, initial_weights=False)
    assert isinstance(ensemble, Ensemble)
    for own, member in zip(ensemble.members, members, strict=True):
        own.detector.load_weights(str(member.run.verified_weights()))
    ensemble.pretrained = "; ".join(
        f"{own.settings.name}: {member.model.pretrained}"
        for own, member in zip(ensemble.members, members, strict=True)
    )
    return ensemble
