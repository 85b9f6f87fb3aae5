"""MODEL_CARD.md of a run: what it is, was trained on, achieves and must not be used for.

Made from the run's files alone, after training and after every evaluation, never by hand. The YAML
head follows the metadata that model hubs read (github.com/huggingface/hub-docs, modelcard.md):
`model-index` holds one result for every level of every evaluation, figures equal to metrics.json.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import yaml
from etils import epath

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.evaluation import report_summary, report_tables
from dfd_tf.evaluation.evaluate import calibration_at
from dfd_tf.evaluation.report_files import METRICS_NAME
from dfd_tf.evaluation.stored_figures import StoredEvaluation, checked_json
from dfd_tf.inference.calibration import parse_calibration
from pipelines.errors import printable

TASK = "image-classification"

METRIC_TYPES = {
    "auc": "roc_auc",
    "average_precision": "average_precision",
    "eer": "equal_error_rate",
    "tpr_at_fpr_1": "true_positive_rate_at_1_percent_false_positives",
    "tpr_at_fpr_5": "true_positive_rate_at_5_percent_false_positives",
    "log_loss": "log_loss",
    "brier": "brier_score",
    "ece": "expected_calibration_error",
    "balanced_accuracy": "balanced_accuracy",
    "recall": "recall",
    "fpr": "false_positive_rate",
}
"""Our names of metrics -> those of the YAML head."""

_DECISIONS = ("balanced_accuracy", "recall", "fpr")


def write_model_card(run: RunDirectory) -> epath.Path:
    """Writes MODEL_CARD.md into a trained run, from what is known of it so far.

    Raises:
        InputError: The run has no trained weights, or no provenance.
        ModelFileError: A file of the run is damaged.
    """
    model = run.read_model()
    provenance = run.read_json(run.provenance)
    calibration = None
    if run.calibration.is_file():
        calibration = parse_calibration(run.calibration.read_text(), str(run.calibration))
    evaluations, damaged = _evaluations(run, model.sha256)
    trained_on = provenance["records"]
    domains = [printable(name) for name in trained_on["domains"]]
    card = (
        _environment()
        .get_template("model_card.md")
        .render(
            head=_head(run.path.name, model.detector, trained_on["name"], evaluations),
            run=run.path.name,
            model=model,
            provenance=provenance,
            records=trained_on,
            faces=report_tables.count_rows(trained_on.get("counts", {})),
            experiment=run.read_experiment(),
            calibration=calibration,
            calibration_facts=report_summary.calibration_facts(calibration),
            evaluations=evaluations,
            damaged=damaged,
            verdict=report_summary.ranking_verdict,
            decisions=lambda figures, level: report_summary.decision_verdict(
                figures, level, calibration_at(calibration, level)
            ),
            interval=report_summary.interval_text,
            counts=report_summary.level_counts,
            metrics=report_tables.whole_level,
            descriptions=report_tables.DESCRIPTIONS,
            limits=report_summary.limits(model, trained_on["settings"]["crop"], domains),
        )
    )
    run.write(run.model_card, card.encode("utf-8", "backslashreplace"))
    return run.model_card


def _evaluations(run: RunDirectory, weights_sha256: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Contents of the reports' metrics.json, each with its `part`; those of other weights left out.

    Returns:
        The contents, and the names of the files that are damaged and left out, below the run.
    """
    found, damaged = [], []
    for path in sorted(run.reports.glob(f"*/*/{METRICS_NAME}"), key=str):
        try:
            figures = checked_json(path.read_bytes(), StoredEvaluation)
        except ValueError:
            damaged.append("/".join(path.parts[-4:]))
            continue
        if figures["weights_sha256"] == weights_sha256:
            found.append(figures | {"part": path.parent.name})
    return found, damaged


def _head(run: str, detector: str, trained_on: str, evaluations: list[dict[str, Any]]) -> str:
    results = [
        _result(figures, name, level)
        for figures in evaluations
        for name, level in figures["levels"].items()
    ]
    results = [result for result in results if result["metrics"]]
    used = {metric["type"] for result in results for metric in result["metrics"]}
    head: dict[str, Any] = {
        "license": "unknown",
        "library_name": "keras",
        "pipeline_tag": TASK,
        "tags": ["deepfake-detection", "dfd-tf", detector],
        "datasets": [printable(trained_on)],
    }
    if results:
        head["metrics"] = [name for name in METRIC_TYPES.values() if name in used]
        head["model-index"] = [{"name": printable(run), "results": results}]
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=1000)


def _result(figures: Mapping[str, Any], name: str, level: Mapping[str, Any]) -> dict[str, Any]:
    point = figures["operating_point"]
    dataset = printable(figures["dataset"])
    found = dict(report_tables.whole_level(level))
    decisions = level["decisions"].get(point, {})
    metrics = [_metric(key, value) for key, value in found.items() if value["value"] is not None]
    metrics += [
        _metric(key, decisions[key], point)
        for key in _DECISIONS
        if key in decisions and decisions[key]["value"] is not None
    ]
    counts = report_summary.level_counts(level)
    return {
        "task": {"type": TASK, "name": f"Deepfake detection, {name} level, {counts}"},
        "dataset": {
            "type": dataset,
            "name": f"{dataset}, {figures['part']}",
            "split": figures["split"],
            "revision": figures["dataset_fingerprint"],
        },
        "metrics": metrics,
    }


def _metric(
    key: str, metric: Mapping[str, float | None], point: str | None = None
) -> dict[str, Any]:
    name = report_tables.DESCRIPTIONS[key].short
    if point is not None:
        name += f" at operating point {point}"
    if metric["low"] is not None and metric["high"] is not None:
        name += f" (95 % interval {metric['low']:.3f} to {metric['high']:.3f})"
    return {"type": METRIC_TYPES[key], "value": metric["value"], "name": name}


def markdown_text(text: object) -> str:
    """Returns text that Markdown and HTML show as it is, on one line."""
    plain = printable(str(text).replace(report_summary.SPACE, " "))
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|])", r"\\\1", plain)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dfd_tf.evaluation"),
        autoescape=False,  # Markdown: names go through `text`
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = markdown_text
    return environment
