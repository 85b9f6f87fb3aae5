"""`dfd-tf evaluate`: figures with intervals, plots, and a report folder below the run."""

from pathlib import Path
from typing import Any

import click

from pipelines.errors import printable

COLUMNS = {
    "dataset": "dataset",
    "split": "split",
    "level": "level",
    "n": "real + fake",
    "auc": "AUC [95 %]",
    "average_precision": "AP [95 %]",
    "positive_rate": "positive rate",
    "eer": "EER [95 %]",
    "balanced_accuracy": "balanced accuracy [95 %]",
    "fpr": "FPR [95 %]",
}


@click.command()
@click.argument("run")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Record folder; may be given several times. Default: the training data.",
)
@click.option("--split", type=click.Choice(["test", "val"]), default="test", show_default=True)
@click.option(
    "--domain",
    "domains",
    multiple=True,
    help="Only images of this domain, in a report of its own; may be given several times.",
)
@click.option("--operating-point", default="balanced", show_default=True)
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def command(
    run: str,
    data: tuple[Path, ...],
    split: str,
    domains: tuple[str, ...],
    operating_point: str,
    output_format: str,
) -> None:
    """Judge RUN on the test split of one or more record folders.

    Writes metrics.json, scores and plots to RUN/reports/DATASET/SPLIT.
    """
    import json

    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import figures_table, progress_bar, results_console, stderr, warn
    from dfd_tf.evaluation.evaluate_run import evaluate_run
    from dfd_tf.inference.prediction import missing_threshold
    from dfd_tf.inference.prediction import operating_point as check_operating_point
    from dfd_tf.inference.predictor import load_predictor
    from pipelines.errors import InputError
    from pipelines.records.manifest import load_manifest

    predictor = load_predictor(run)
    check_operating_point(predictor, operating_point)
    reason = missing_threshold(predictor, operating_point)
    if reason is not None:
        warn(escape(reason))
    folders = data or (predictor.records,)
    for folder in folders:
        if not any(shard.records for shard in load_manifest(folder).split_shards(split)):
            raise InputError(
                f"{folder}: its {split} split is empty; prepare more people, or use another --split"
            )
    rows: list[dict[str, Any]] = []
    results = []
    for folder in folders:
        with progress_bar(escape(f"scoring {folder.name}")) as progress:
            evaluation, files = evaluate_run(
                predictor, folder, split, operating_point, progress, domains=domains
            )
        results.append(evaluation.figures)
        rows += summary_rows(evaluation.figures)
        for warning in evaluation.figures["warnings"]:
            warn(escape(f"{folder.name}: {warning}"))
        stderr.print(escape(f"report: {files[0].parent}"), highlight=False, soft_wrap=True)
    if output_format == "json":
        click.echo(json.dumps(results, indent=2))
    else:
        title = escape(f"{run} at {operating_point!r}")
        console = results_console()
        console.print(figures_table(title, rows, COLUMNS))


def summary_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a level, then one a domain where there are several, for rich's table.

    Names in brackets are escaped.
    """
    from rich.markup import escape

    rows = []
    for level, values in figures["levels"].items():
        decisions = values.get("decisions", {}).get(figures["operating_point"], {})
        origin = {
            "run": escape(Path(figures["run"]).name),
            "dataset": escape(figures["dataset"]),
            "split": figures["split"],
        }
        rows.append(
            {
                **origin,
                "level": level,
                "n": f"{values['num_real']} + {values['num_fake']}",
                "positive_rate": values["positive_rate"],
                **values["ranking"],
                "balanced_accuracy": decisions.get("balanced_accuracy", "no threshold"),
                "fpr": decisions.get("fpr", "no threshold"),
            }
        )
        by_domain = values["by_domain"] if len(values["by_domain"]) > 1 else {}
        for name, group in by_domain.items():
            rows.append(
                {
                    **origin,
                    **group,
                    "level": escape(f"{level}, domain {printable(name)}"),
                    "n": f"{group['num_real']} + {group['num_fake']}",
                    "balanced_accuracy": "",
                    "fpr": "",
                }
            )
    return rows
