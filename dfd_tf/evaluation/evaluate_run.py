"""From a run and a record folder to its report: the work of `dfd-tf evaluate`."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.evaluation.disjointness import num_seen
from dfd_tf.evaluation.evaluate import OF_IMAGES, Evaluation, evaluate_samples
from dfd_tf.evaluation.model_card import write_model_card
from dfd_tf.evaluation.plots import PlotContext
from dfd_tf.evaluation.report_cases import write_cases
from dfd_tf.evaluation.report_files import METRICS_NAME, Report, write_report
from dfd_tf.evaluation.report_page import write_page
from dfd_tf.evaluation.scoring import Progress, score_split
from dfd_tf.inference.calibration import aggregation_of
from dfd_tf.inference.predictor import Predictor
from dfd_tf.inference.shift import SHIFT_ALARM
from pipelines.bad_records import skipped_warning, without_bad_records
from pipelines.errors import InputError
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records


def evaluate_run(
    predictor: Predictor,
    records: Path,
    split: str,
    operating_point: str,
    progress: Progress | None = None,
    *,
    domains: Sequence[str] = (),
) -> tuple[Evaluation, list[epath.Path]]:
    """Scores a split, measures, and writes the report below the run.

    Args:
        predictor: The run.
        records: Record folder.
        split: The split to judge it on.
        operating_point: Threshold of the confusion matrix.
        progress: Told how far it is.
        domains: Names of the domains to judge it on; empty: all.

    Returns:
        The evaluation and the files written.

    Raises:
        InputError: The report cannot be written, or the split has no images of these domains.
        DatasetError: The split is empty, or damaged.
    """
    manifest = open_records([predictor], records, split)
    _check_domains(records, manifest, split, domains)
    faces = score_split(predictor, records, manifest, split, progress, domains=domains)
    measured = evaluate_samples(
        faces, predictor.calibration, predictor.experiment.seed, fresh=split == "test"
    )
    judged = np.unique(faces.domains).tolist()
    facts = evaluation_facts(predictor, records, manifest, split, operating_point, judged)
    facts["domains"] = judged
    facts["warnings"] += _unseen_warnings(predictor, manifest, facts["domains"])
    facts["warnings"] += figure_warnings(measured.figures)
    facts["warnings"] += filter(None, [skipped_warning(records, manifest)])
    evaluation = Evaluation(measured.levels, {**facts, **measured.figures})
    report = Report(
        run=predictor.run,
        folder=report_folder(predictor.run, manifest, split, domains),
        context=PlotContext(predictor.run.path.name, manifest.name, _part(split, domains)),
    )
    write_report(report, evaluation, predictor.calibration, operating_point)
    write_cases(report, predictor, records, manifest, split, faces, operating_point, domains)
    report.written.append(write_page(predictor.run, report.folder, records))
    write_model_card(predictor.run)
    return evaluation, report.written


def open_records(predictors: Sequence[Predictor], records: Path, split: str) -> Manifest:
    """Reads the manifest of a record folder that runs are to be judged on.

    Records that cannot be decoded are left out if one of the runs was told to leave out such.

    Raises:
        DatasetError: The folder is damaged, or holds too many of them.
    """
    manifest = verify_records(records, deep=False)
    if any(one.experiment.data.on_bad_record == "skip" for one in predictors):
        return without_bad_records(records, manifest, [split])
    return manifest


def evaluation_facts(
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    operating_point: str,
    domains: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns which run was judged on what, and how, as JSON types.

    Args:
        predictor: The run.
        records: Record folder.
        manifest: Its manifest.
        split: Its split.
        operating_point: Threshold of the decisions shown.
        domains: The domains judged; empty: all.
    """
    model = predictor.model
    aggregation, reason = aggregation_of(predictor.calibration)
    return {
        "run": str(predictor.run),
        "detector": model.detector,
        "weights_sha256": model.sha256,
        "pretrained": model.pretrained,
        "selection": _selection(model),
        "dataset": manifest.name,
        "dataset_fingerprint": manifest.fingerprint(),
        "split": split,
        "relation": relation(predictor, manifest, domains),
        "aggregation": {
            "image": "highest score of the faces of an image or frame",
            "video": "highest score of the persons that count; a person's is the"
            f" {aggregation} over the frames it is in ({reason})",
        },
        "operating_point": operating_point,
        "interval": "95 % percentile bootstrap over persons, videos or images; rates of 0 and 1:"
        " Wilson over the same",
        "items": item_counts(manifest),
        "warnings": warnings_of(predictor, records, manifest, split),
    }


def _selection(model: ModelFile) -> str:
    if model.selection == "members":
        return "none; the weights of each member were selected in its own run"
    return f"best {model.selection} on the validation split, epoch {model.epoch}"


def item_counts(manifest: Manifest) -> dict[str, Any]:
    """How many media items the dataset had, how many gave a face, and what went wrong by cause.

    A cause counts media items as well as single faces of items that gave others.
    """
    return {
        "found": sum(source.get("items", 0) for source in manifest.sources),
        "recorded": sum(source.get("recorded", 0) for source in manifest.sources),
        "not_used": manifest.failures,
    }


def warnings_of(predictor: Predictor, records: Path, manifest: Manifest, split: str) -> list[str]:
    """Says what a reader must know of run and dataset before believing a figure."""
    found = [*predictor.model.caveats]
    if split != "test":
        found.append(f"figures of the {split} split, which training or selection has seen")
    calibration = predictor.calibration
    if calibration is None:
        found.append("uncalibrated: no thresholds, no probabilities")
    elif calibration.probability is None:
        found.append(
            "scores are not calibrated to probabilities (no labelled fakes, or none asked)"
        )
    if calibration is not None:
        found += calibration.caveats
    if not manifest.split_proof.get("leak_free", False):
        found.append("the dataset's splits share content: figures may be too good")
    found += _seen_warnings(predictor, records, manifest, split)
    items = item_counts(manifest)
    missing = items["found"] - items["recorded"]
    if items["not_used"]:
        causes = ", ".join(f"{cause} {count}" for cause, count in items["not_used"].items())
        found.append(
            f"figures leave out what gave no face: {missing} of the dataset's {items['found']}"
            f" items, in all splits (items and faces by cause: {causes})"
        )
    return found


def _seen_warnings(
    predictor: Predictor, records: Path, manifest: Manifest, split: str
) -> list[str]:
    """Says which media files the run was fitted to, as far as equal bytes show it."""
    looked_at: list[tuple[str, str, str, tuple[str, ...], str]] = [
        (seen.fingerprint, str(seen.folder), "training", ("train", "val"), "trained or selected")
        for seen in predictor.seen
    ]
    calibration = predictor.calibration
    known = {seen.fingerprint for seen in predictor.seen}
    if calibration is not None and calibration.dataset_fingerprint not in known:
        fingerprint, folder = calibration.dataset_fingerprint, calibration.records
        looked_at.append((fingerprint, folder, "calibration", (calibration.split,), "calibrated"))
    found = []
    for fingerprint, folder, what, splits, done in looked_at:
        if fingerprint == manifest.fingerprint():
            continue
        count = num_seen(records, manifest, split, Path(folder), splits) if folder else None
        if count is None:
            found.append(
                f"the {what} records ({folder or 'folder not known'}) are gone: whether the run"
                " has seen these images cannot be checked"
            )
        elif count:
            found.append(f"the run was {done} on {count} of these media files")
    return found


def figure_warnings(figures: dict[str, Any]) -> list[str]:
    """Says what the figures themselves show to be doubtful."""
    found = []
    levels = figures["levels"]
    if not levels:
        found.append("no labelled images: nothing could be measured")
    for name, level in levels.items():
        if not level["num_real"] or not level["num_fake"]:
            only = "real" if level["num_real"] else "fake"
            found.append(f"{name} level: only {only} ones; what needs both is undefined")
    limits = levels.get("video", {}).get("limits", {})
    if borrowed := ", ".join(name for name, origin in limits.items() if origin == OF_IMAGES):
        found.append(f"video level: set on {OF_IMAGES}, not on clips: {borrowed}")
    shift = levels.get("image", {}).get("shift")
    if shift and shift["p_value"] < SHIFT_ALARM:
        found.append(
            "the scores of these real images do not look like those of the calibration data"
            f" (Kolmogorov-Smirnov distance {shift['distance']:.2f}): promised rates do not hold"
        )
    return found


def report_folder(
    run: RunDirectory, manifest: Manifest, split: str, domains: Sequence[str] = ()
) -> epath.Path:
    """Returns `reports/<dataset>/<split>`; another dataset of the same name gets its own.

    A part of the domains gets a folder of its own, `<split>_<domain>`.
    """
    # The manifest may be somebody else's: its name must not lead out of the run.
    name = _file_name(manifest.name).lstrip(".") or "dataset"
    fingerprint = manifest.fingerprint()
    for candidate in (name, f"{name}-{fingerprint[:8]}"):
        folder = run.reports / candidate / _file_name(_part(split, domains))
        try:
            found = json.loads((folder / METRICS_NAME).read_bytes())["dataset_fingerprint"]
        except (OSError, ValueError, KeyError, TypeError):
            break
        if found == fingerprint:
            break
    return folder


def _part(split: str, domains: Sequence[str]) -> str:
    return "_".join([split, *sorted(set(domains))])


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]", "_", text)


def _check_domains(records: Path, manifest: Manifest, split: str, domains: Sequence[str]) -> None:
    present = {key.partition("|")[2] for key, n in manifest.counts()[split].items() if n}
    if absent := sorted(set(domains) - present):
        raise InputError(
            f"{records}: its {split} split has no images of domain {', '.join(absent)} "
            f"(it has {', '.join(sorted(present)) or 'none'})"
        )


def relation(predictor: Predictor, manifest: Manifest, domains: Sequence[str] = ()) -> str:
    """Says what a dataset is to a run.

    Returns:
        `in-domain`: the run has learnt from its training split; `left-out domain`: of the same
        records, but of domains it was kept away from; `partly left out`; `cross-dataset`.
    """
    if manifest.fingerprint() not in {seen.fingerprint for seen in predictor.seen}:
        return "cross-dataset"
    judged = domains or manifest.domains
    unseen = _unseen(predictor, manifest, judged)
    if not unseen:
        return "in-domain"
    return "left-out domain" if len(unseen) == len(judged) else "partly left out"


def _unseen(predictor: Predictor, manifest: Manifest, judged: Sequence[str]) -> list[str]:
    """Domains judged that the training on these very records left out."""
    if manifest.fingerprint() != predictor.records_fingerprint:
        return []
    return sorted(set(judged) - set(predictor.experiment.data.used_domains(manifest.domains)))


def _unseen_warnings(predictor: Predictor, manifest: Manifest, judged: list[str]) -> list[str]:
    """Says where figures mix domains the run has seen with others of its own dataset."""
    unseen = _unseen(predictor, manifest, judged)
    if not unseen or len(unseen) == len(judged):
        return []
    names = ", ".join(unseen)
    return [f"figures mix trained domains with {names}, which training left out: see by_domain"]
