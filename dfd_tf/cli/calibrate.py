"""`dfd-tf calibrate`: thresholds and probabilities of a run, from validation data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dfd_tf.inference.calibration import CalibrationFile

POINT_COLUMNS = {
    "name": "operating point",
    "value": "threshold",
    "target_fpr": "promised FPR",
    "fpr": "FPR here [95 %]",
    "observed_tpr": "TPR here",
    "fake_floor": "real below",
    "target_miss": "promised miss",
}
MAP_COLUMNS = {
    "method": "probability map",
    "log_loss": "log loss",
    "excess": "over the best ± SE",
    "brier": "Brier",
    "ece": "ECE",
    "chosen": "",
}


@click.command()
@click.argument("run")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Record folder; default: the training data."
)
@click.option("--force", is_flag=True, help="Replace one that rests on more real images, too.")
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def command(run: str, data: Path | None, force: bool, output_format: str) -> None:
    """Fit thresholds and probabilities of RUN on the validation split and store them with it.

    Training does this at its end; call it again after preparing better validation data. Writes
    calibration.json and its picture, calibration.png; calibration_clips.png where there are clips.
    """
    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import progress_bar, stderr, warn
    from dfd_tf.config.run_directory import RunDirectory
    from dfd_tf.evaluation.calibrate import calibrate_run

    with progress_bar("scoring validation data") as progress:
        calibration = calibrate_run(run, data, progress, force=force)
    directory = RunDirectory(run)
    for warning in (*directory.read_model().caveats, *warnings_of(calibration)):
        warn(escape(warning))
    if output_format == "json":
        scores = {"real_scores": True, "fake_scores": True}
        left_out: dict[str, Any] = {**scores, "video": {**scores, "temporal": {"statistics"}}}
        click.echo(json.dumps(calibration.model_dump(mode="json", exclude=left_out), indent=2))
    else:
        show(run, calibration)
    for picture in (directory.calibration_plot, directory.clip_calibration_plot):
        if picture.is_file():
            stderr.print(escape(f"picture: {picture}"), highlight=False, soft_wrap=True)


def warnings_of(calibration: "CalibrationFile") -> list[str]:
    """Says what a calibration lacks, and what is doubtful about it."""
    found = [*calibration.caveats]
    for name, reason in calibration.missing.items():
        found.append(f"operating point {name} was not set: {reason}")
    if calibration.probability is None:
        reason = "calibration.method is none" if calibration.num_fake else "no labelled fakes"
        found.append(f"scores have no probabilities: {reason}")
    return found


def show(run: str, calibration: "CalibrationFile") -> None:
    """Prints the operating points, and the probability maps that were compared."""
    from rich.markup import escape

    from dfd_tf.cli.console import figures_table, results_console
    from dfd_tf.evaluation.report_summary import video_facts

    console = results_console()
    title = (
        f"{run}: {calibration.num_real} real, {calibration.num_fake} fake images of"
        f" {calibration.dataset}/{calibration.split}"
    )
    console.print(figures_table(escape(title), _point_rows(calibration), POINT_COLUMNS))
    for fact in video_facts(calibration):
        console.print(escape(fact), highlight=False)
    probability = calibration.probability
    if probability is None:
        return
    if probability.candidates:
        rows = _map_rows(calibration)
        console.print(figures_table("judged on images they were not fitted on", rows, MAP_COLUMNS))
    figures = {
        "before": probability.ece_before,
        "cross-fitted": probability.ece_after_cross_fitted,
        "on its own images": probability.ece_after,
    }
    known = [f"{name} {value:.3f}" for name, value in figures.items() if value is not None]
    console.print(escape(probability.reason), highlight=False)
    console.print(escape(f"expected calibration error: {', '.join(known)}"), highlight=False)


def _point_rows(calibration: "CalibrationFile") -> list[dict[str, Any]]:
    rows = []
    for point in calibration.thresholds:
        interval = point.observed_fpr_interval
        row = {name: _or_none(getattr(point, name, None)) for name in POINT_COLUMNS}
        row["fpr"] = {"value": point.observed_fpr, "low": interval.low, "high": interval.high}
        rows.append(row)
    return rows


def _map_rows(calibration: "CalibrationFile") -> list[dict[str, Any]]:
    assert calibration.probability is not None
    chosen = calibration.probability.method
    return [
        {
            **candidate.model_dump(),
            "excess": f"{candidate.excess:.4f} ± {candidate.excess_error:.4f}",
            "chosen": "chosen" if candidate.method == chosen else "",
        }
        for candidate in calibration.probability.candidates
    ]


def _or_none(value: Any) -> Any:
    return "none" if value is None else value
