"""`dfd-tf compare`: several runs on the same images, with paired tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

METRICS = {
    "auc": "AUC",
    "average_precision": "AP",
    "eer": "EER",
    "log_loss": "log loss",
    "brier": "Brier",
    "balanced_accuracy": "balanced accuracy",
}
COLUMNS = {
    "dataset": "dataset",
    "n": "real + fake",
    "run": "run",
    **{name: f"{heading} [95 %]" for name, heading in METRICS.items()},
}
DIFFERENCE_COLUMNS = {
    "dataset": "dataset",
    "level": "level",
    "run": "run less first",
    "metric": "metric",
    "difference": "difference [95 %]",
    "p_value": "p",
    "p_holm": "p (Holm)",
    "method": "test",
}


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Record folder; may be given several times.",
)
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True)
@click.option("--operating-point", default="balanced", show_default=True)
@click.option(
    "--output", help="Folder for the files; default: FIRST_RUN/reports/comparison/OTHERS."
)
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def command(
    runs: tuple[str, ...],
    data: tuple[Path, ...],
    split: str,
    operating_point: str,
    output: str | None,
    output_format: str,
) -> None:
    """Compare RUNS on the same images: every figure with its interval, and tests with the first.

    AUCs are compared by DeLong's test where images are independent, else, as all other metrics, by
    the paired bootstrap over persons or videos. Several runs: p-values are corrected by Holm's
    method. Writes comparison.json, a picture of all AUCs and one of the ROC curves of each dataset.
    """
    import json

    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import figures_table, progress_bar, results_console, stderr, warn
    from dfd_tf.cli.evaluate import check_splits
    from dfd_tf.evaluation.compare_runs import compare_runs, comparison_folder, load_runs
    from dfd_tf.evaluation.comparison_files import write_comparison
    from dfd_tf.inference.prediction import missing_threshold
    from dfd_tf.inference.prediction import operating_point as check_operating_point

    predictors, names = load_runs(runs)
    for predictor in predictors:
        check_operating_point(predictor, operating_point)
        reason = missing_threshold(predictor, operating_point)
        if reason is not None:
            warn(escape(f"{predictor.run}: {reason}"))
    check_splits(data, split)
    compared = []
    for folder in data:
        with progress_bar(escape(f"scoring {folder.name}")) as progress:
            found = compare_runs(predictors, names, folder, split, operating_point, progress)
        for warning in found[0]["warnings"]:
            warn(escape(f"{folder.name}: {warning}"))
        compared.append(found)
    place = comparison_folder(predictors, names, output)
    files = write_comparison(predictors[0].run, place, compared)
    stderr.print(escape(f"comparison: {files[0].parent}"), highlight=False, soft_wrap=True)
    results = [figures for figures, _ in compared]
    if output_format == "json":
        click.echo(json.dumps(results, indent=2))
        return
    console = results_console()
    title = escape(f"{split} split, decisions at {operating_point!r}")
    console.print(figures_table(title, run_rows(results), COLUMNS))
    title = escape(f"paired tests against {names[0]}")
    console.print(figures_table(title, difference_rows(results), DIFFERENCE_COLUMNS))


def run_rows(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a dataset, level and run."""
    from rich.markup import escape

    rows = []
    for figures in results:
        for level, found in figures["levels"].items():
            for name, metrics in found["runs"].items():
                decisions = metrics.get("decisions", {}).get(figures["operating_point"], {})
                probability = metrics.get("probability", {})
                rows.append(
                    {
                        "dataset": escape(
                            f"{figures['dataset']} ({figures['runs'][name]['relation']})"
                        ),
                        "n": f"{found['num_real']} + {found['num_fake']} {level}s",
                        "run": escape(name),
                        **metrics["ranking"],
                        "log_loss": probability.get("log_loss", "no probabilities"),
                        "brier": probability.get("brier", "no probabilities"),
                        "balanced_accuracy": decisions.get("balanced_accuracy", "no threshold"),
                    }
                )
    return rows


def difference_rows(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a dataset, level, run and metric tested."""
    from rich.markup import escape

    rows = []
    for figures in results:
        for level, found in figures["levels"].items():
            for name, metrics in found["differences"].items():
                for metric, heading in METRICS.items():
                    tested = metrics[metric]
                    rows.append(
                        {
                            "dataset": escape(figures["dataset"]),
                            "level": level,
                            "run": escape(name),
                            "metric": heading,
                            "difference": _signed(tested),
                            "p_value": _p_value(tested["p_value"]),
                            "p_holm": _p_value(tested["p_holm"]),
                            "method": tested["method"],
                        }
                    )
    return rows


def _signed(tested: dict[str, Any]) -> str:
    if tested["value"] is None:
        return "undefined"
    if tested["low"] is None:
        return f"{tested['value']:+.3f}"
    return f"{tested['value']:+.3f} [{tested['low']:+.3f}, {tested['high']:+.3f}]"


def _p_value(value: float | None) -> str:
    if value is None:
        return "undefined"
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
