"""What a robustness sweep leaves in the report folder: JSON, CSV, curves, and the report page."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfd_tf.evaluation.comparison_plots import robustness_plot
from dfd_tf.evaluation.evaluate_run import open_records, report_folder
from dfd_tf.evaluation.plots import png_bytes
from dfd_tf.evaluation.report_page import write_page
from dfd_tf.evaluation.robustness import DEFAULT_IMAGES, measure_robustness
from dfd_tf.evaluation.scoring import Progress
from dfd_tf.inference.predictor import Predictor

FIGURES = ("auc", "auc_change", "flip_rate", "fpr", "recall")
WORST_COLUMNS = {
    "perturbation": "perturbation",
    "level": "at its worst (AUC)",
    "auc": "AUC [95 %]",
    "auc_change": "change from clean [95 %]",
    "flip_level": "at its worst (flips)",
    "flip_rate": "decisions that flip [95 %]",
    "fpr": "FPR there [95 %]",
    "recall": "recall there [95 %]",
}


def report_robustness(
    predictor: Predictor,
    records: Path,
    split: str,
    operating_point: str,
    *,
    perturbations: Sequence[str] = (),
    num_images: int = DEFAULT_IMAGES,
    domains: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures robustness, as `measure_robustness`, beside a report that is there already.

    Returns:
        Content of robustness.json.
    """
    run, manifest = predictor.run, open_records([predictor], records, split)
    folder = report_folder(run, manifest, split, domains)
    figures = measure_robustness(
        predictor,
        records,
        manifest,
        split,
        operating_point,
        folder,
        perturbations=perturbations,
        num_images=num_images,
        domains=domains,
        progress=progress,
    )
    run.write(folder / "robustness.csv", robustness_table(figures))
    if figures["perturbations"]:
        title = (
            f"Robustness: {run.path.name} on {manifest.name}/{folder.name}\nimage level,"
            f" {figures['num_real']} real, {figures['num_fake']} fake of"
            f" {figures['num_images_of_split']} images; decisions at {operating_point!r}"
            f"\n{worst_text(figures)}"
        )
        run.write(folder / "robustness.png", png_bytes(robustness_plot(figures, title)))
    write_page(run, folder, records)
    return figures


def robustness_table(figures: dict[str, Any]) -> bytes:
    """Makes the CSV: one row a perturbation and level, undefined values left empty."""
    text = io.StringIO()
    writer = csv.writer(text)
    ends = ("value", "low", "high")
    names = [name if end == "value" else f"{name}_{end}" for name in FIGURES for end in ends]
    writer.writerow(["perturbation", "level", *names])
    rows = [("clean", "", figures["clean"])]
    for name, entry in figures["perturbations"].items():
        rows += [(name, found["level"], found) for found in entry["levels"]]
    for name, level, found in rows:
        values = [found[figure][end] for figure in FIGURES for end in ends]
        writer.writerow([name, level, *("" if value is None else value for value in values)])
    return text.getvalue().encode()


def worst_text(figures: dict[str, Any]) -> str:
    """Names the worst cases in a line."""
    auc, flips = (figures["worst"][name] for name in ("auc", "flip_rate"))
    parts = []
    if auc is not None:
        parts.append(f"lowest AUC: {auc['perturbation']} {auc['level']:g} ({auc['auc']:.3f})")
    if flips is not None:
        case = f"{flips['perturbation']} {flips['level']:g}"
        parts.append(f"most flips: {case} ({flips['flip_rate']:.3f})")
    return "; ".join(parts) or "AUC and flip rate are undefined"


def worst_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for the clean images, then each perturbation's levels of lowest AUC and most flips.

    The lowest AUC and the highest flip rate of all are marked.
    """
    clean = figures["clean"]
    unmoved = {"auc_change": "", "flip_rate": "", "level": "", "flip_level": ""}
    rows: list[dict[str, Any]] = [{**clean, **unmoved, "perturbation": "none"}]
    for name, entry in figures["perturbations"].items():
        levels = entry["levels"]
        ranked = [found for found in levels if found["auc"]["value"] is not None]
        flipped = [found for found in levels if found["flip_rate"]["value"] is not None]
        by_auc = min(ranked, key=lambda found: found["auc"]["value"], default=levels[-1])
        by_flips = max(flipped, key=lambda found: found["flip_rate"]["value"], default=levels[-1])
        rows.append(
            {
                "perturbation": name,
                "level": _marked(figures, "auc", name, by_auc["level"]),
                "auc": by_auc["auc"],
                "auc_change": by_auc["auc_change"],
                "flip_level": _marked(figures, "flip_rate", name, by_flips["level"]),
                **{figure: by_flips[figure] for figure in ("flip_rate", "fpr", "recall")},
            }
        )
    return rows


def _marked(figures: dict[str, Any], figure: str, name: str, level: float) -> str:
    worst = figures["worst"][figure]
    is_worst = worst is not None and (worst["perturbation"], worst["level"]) == (name, level)
    return f"{level:g} (worst of all)" if is_worst else f"{level:g}"
