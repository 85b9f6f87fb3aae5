"""report.html: everything one evaluation found, on one page that needs nothing beside it.

The page is made from the files of the run, the report folder and the record folder alone, so its
figures are those of metrics.json, and it can be made again when a file (such as robustness.json)
has joined them.
"""

import json
from pathlib import Path
from typing import Any

from etils import epath

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.evaluation import audit_files, report_summary, report_tables
from dfd_tf.evaluation.evaluate import calibration_at
from dfd_tf.evaluation.html_page import inline_jpeg, inline_png, render
from dfd_tf.evaluation.plots import png_bytes
from dfd_tf.evaluation.report_cases import CASES_NAME
from dfd_tf.evaluation.report_files import METRICS_NAME
from dfd_tf.evaluation.report_history import history_plot, read_history
from dfd_tf.evaluation.robustness import ROBUSTNESS_NAME
from dfd_tf.evaluation.stored_figures import StoredAudit, StoredRobustness, checked_json
from dfd_tf.inference.calibration import CalibrationFile, parse_calibration
from pipelines.errors import printable
from pipelines.records.manifest import Manifest, load_manifest

PAGE_NAME = "report.html"
NUM_FAILED_SHOWN = 30
PLOTS = ("histogram", "roc", "precision_recall", "reliability", "confusion")


def write_page(run: RunDirectory, folder: epath.Path, records: Path) -> epath.Path:
    """Writes report.html into a report folder.

    Args:
        run: The run that was judged.
        folder: The report folder, `reports/<dataset>/<split>`.
        records: The record folder it was judged on.

    Raises:
        InputError: The folder holds no metrics.json.
        ModelFileError: A file of the run is damaged.
        DatasetError: The manifest of the records is damaged.
    """
    figures = run.read_json(folder / METRICS_NAME)
    manifest = load_manifest(records)
    model = run.read_model()
    provenance = run.read_json(run.provenance)
    calibration = None
    if run.calibration.is_file():
        calibration = parse_calibration(run.calibration.read_text(), str(run.calibration))
    trained_on = provenance["records"]
    audit = _audit(records, manifest)
    page = render(
        "report.html",
        run=run.path.name,
        figures=figures,
        part=folder.name,
        verdicts=_verdicts(figures, calibration),
        warnings=_warnings(figures, calibration, audit),
        levels=_levels(figures, folder),
        descriptions=report_tables.DESCRIPTIONS,
        rates=report_tables.RATES,
        glossary=report_tables.glossary,
        calibration=calibration,
        calibration_plot=_inlined(run.calibration_plot),
        calibration_facts=report_summary.calibration_facts(calibration),
        data=_data(manifest),
        audit=audit,
        robustness=_robustness(folder, model.sha256),
        cases=_cases(folder),
        training=_training(run, model.epoch),
        model=model,
        provenance=provenance,
        config=run.config.read_text(),
        limits=report_summary.limits(
            model, trained_on["settings"]["crop"], list(map(printable, trained_on["domains"]))
        ),
    )
    path = folder / PAGE_NAME
    # Names of files may hold bytes that are no text: they show as backslash escapes.
    run.write(path, page.encode("utf-8", "backslashreplace"))
    return path


def _verdicts(figures: dict[str, Any], calibration: CalibrationFile | None) -> list[dict[str, Any]]:
    verdicts = []
    for name, level in figures["levels"].items():
        ranking, ranks_badly = report_summary.ranking_verdict(name, level)
        at_level = calibration_at(calibration, name)
        decisions, decides_badly = report_summary.decision_verdict(figures, name, at_level)
        bad = ranks_badly or decides_badly
        verdicts.append({"level": name, "ranking": ranking, "decisions": decisions, "bad": bad})
    return verdicts


def _warnings(
    figures: dict[str, Any], calibration: CalibrationFile | None, audit: dict[str, Any] | None
) -> list[str]:
    """What evaluation, calibration and audit say must be known, each once."""
    found = [*figures["warnings"], *(calibration.caveats if calibration else ())]
    if audit is not None and audit["damaged"]:
        found.append("the audit of these records is damaged: run `dfd-tf audit` again")
    elif audit is not None and not audit["passed"]:
        found.append(f"the audit of these records failed: {audit['headline']}")
    return list(dict.fromkeys(found))


def _levels(figures: dict[str, Any], folder: epath.Path) -> list[dict[str, Any]]:
    levels = []
    for name, level in figures["levels"].items():
        pictures = [(plot, folder / f"{name}_{plot}.png") for plot in PLOTS]
        levels.append(
            {
                "name": name,
                "aggregation": figures["aggregation"][name],
                "n": report_summary.level_counts(level),
                "figures": level,
                "metrics": report_tables.whole_level(level),
                "plots": {
                    plot: inline_png(path.read_bytes()) for plot, path in pictures if path.is_file()
                },
                "captions": _captions(level, figures["operating_point"]),
            }
        )
    return levels


def _captions(level: dict[str, Any], operating_point: str) -> dict[str, str]:
    interval = report_summary.interval_text
    captions = {
        "histogram": "score histogram with the stored thresholds",
        "roc": f"ROC; AUC {interval(level['ranking']['auc'])}",
        "precision_recall": (
            f"precision over recall; AP {interval(level['ranking']['average_precision'])},"
            f" chance {level['positive_rate']:.3f}"
        ),
        "confusion": f"decisions at operating point {operating_point}",
    }
    if "probability" in level:
        captions["reliability"] = (
            f"reliability of the probabilities; ECE {interval(level['probability']['ece'])}"
        )
    return captions


def _data(manifest: Manifest) -> dict[str, Any]:
    failed = [
        {"key": printable(one.key), "cause": one.cause, "reason": printable(one.reason)}
        for one in manifest.failed[:NUM_FAILED_SHOWN]
    ]
    return {
        "counts": report_tables.count_rows(manifest.counts()),
        "failed": failed,
        "num_failed": len(manifest.failed),
        "proof": manifest.split_proof,
        "settings": manifest.settings,
        "name": printable(manifest.name),
    }


def _audit(records: Path, manifest: Manifest) -> dict[str, Any] | None:
    """The audit beside the records; None where there is none, or one of other content."""
    path = epath.Path(records) / audit_files.FOLDER / audit_files.SUMMARY_NAME
    if not path.is_file():
        return None
    try:
        found = checked_json(path.read_bytes(), StoredAudit)
    except ValueError:
        return {"damaged": True}
    same = found["records_fingerprint"] == manifest.fingerprint()
    return found | {"damaged": False} if same else None


def _cases(folder: epath.Path) -> dict[str, Any] | None:
    path = folder / CASES_NAME
    if not path.is_file():
        return None
    cases: dict[str, Any] = json.loads(path.read_bytes())
    for group in cases["groups"]:
        for case in group["cases"]:
            case["pictures"] = {
                kind: inline_jpeg((folder / name).read_bytes())
                for kind, name in case["pictures"].items()
            }
    return cases


def _training(run: RunDirectory, best_epoch: int) -> dict[str, Any] | None:
    if not run.history.is_file():
        return None
    try:
        rows = read_history(run.history.read_bytes().decode())
    except ValueError:
        return {"damaged": True}
    picture = png_bytes(history_plot(rows, best_epoch, run.path.name))
    return {"damaged": False, "epochs": len(rows), "picture": inline_png(picture)}


def _robustness(folder: epath.Path, weights_sha256: str) -> dict[str, Any] | None:
    path = folder / ROBUSTNESS_NAME
    if not path.is_file():
        return None
    try:
        found = checked_json(path.read_bytes(), StoredRobustness)
    except ValueError:
        return {"damaged": True}
    if found["weights_sha256"] != weights_sha256:
        return None
    return {"damaged": False, "figures": found, "picture": _inlined(folder / "robustness.png")}


def _inlined(path: epath.Path) -> str | None:
    return inline_png(path.read_bytes()) if path.is_file() else None
