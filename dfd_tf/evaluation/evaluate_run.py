"""From a run and a record folder to its report: the work of `dfd-tf evaluate`."""

from pathlib import Path
from typing import Any

from dfd_tf.evaluation.evaluate import Evaluation, evaluate_samples
from dfd_tf.evaluation.plots import PlotContext
from dfd_tf.evaluation.report_files import write_cases, write_report
from dfd_tf.evaluation.scoring import Progress, score_split
from dfd_tf.inference.predictor import Predictor
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records


def evaluate_run(
    predictor: Predictor,
    records: Path,
    split: str,
    operating_point: str,
    progress: Progress | None = None,
) -> tuple[Evaluation, list[Path]]:
    """Scores a split, measures, and writes the report below the run.

    Returns:
        The evaluation and the files written.

    Raises:
        InputError: The split is empty.
        DatasetError: The records are damaged.
    """
    manifest = verify_records(records, deep=False)
    faces = score_split(predictor, records, manifest, split, progress)
    measured = evaluate_samples(faces, predictor.calibration, predictor.experiment.seed)
    facts = _facts(predictor, manifest, split, operating_point)
    evaluation = Evaluation(measured.levels, {**facts, **measured.figures})
    folder = Path(predictor.run.reports, manifest.name, split)
    context = PlotContext(predictor.run.path.name, manifest.name, split)
    files = write_report(folder, evaluation, predictor.calibration, operating_point, context)
    cases = folder / "cases.png"
    files.append(write_cases(cases, predictor, records, manifest, split, faces, context))
    return evaluation, files


def _facts(
    predictor: Predictor, manifest: Manifest, split: str, operating_point: str
) -> dict[str, Any]:
    model = predictor.model
    return {
        "run": str(predictor.run),
        "detector": model.detector,
        "weights_sha256": model.sha256,
        "pretrained": model.pretrained,
        "selection": f"best {model.selection} on the validation split, epoch {model.epoch}",
        "dataset": manifest.name,
        "dataset_fingerprint": manifest.fingerprint(),
        "split": split,
        "aggregation": {
            "image": "highest score of the faces of an image or frame",
            "video": "mean over frames",
        },
        "operating_point": operating_point,
        "interval": "95 % percentile bootstrap over videos, identities or images",
        "warnings": warnings_of(predictor, manifest, split),
    }


def warnings_of(predictor: Predictor, manifest: Manifest, split: str) -> list[str]:
    """Says what a reader must know before believing a figure."""
    found = []
    if split != "test":
        found.append(f"figures of the {split} split, which training or selection has seen")
    if predictor.calibration is None:
        found.append("uncalibrated: no thresholds, no probabilities")
    elif predictor.calibration.probability is None:
        found.append(
            "scores are not calibrated to probabilities (no labelled fakes, or none asked)"
        )
    if not manifest.split_proof.get("leak_free", False):
        found.append("the dataset's splits share content: figures may be too good")
    return found
