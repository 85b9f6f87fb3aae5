"""`dfd-tf evaluate`: figures with intervals, plots, and a report folder below the run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dfd_tf.cli.evaluation_rows import COLUMNS, summary_rows

if TYPE_CHECKING:
    from dfd_tf.inference.predictor import Predictor

__all__ = ["command", "summary_rows"]


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
@click.option(
    "--robustness",
    is_flag=True,
    help="Also measure how figures and decisions change under compression, resizing, noise, ...",
)
@click.option(
    "--perturbation",
    "perturbations",
    multiple=True,
    metavar="NAME",
    help="Only this one, such as jpeg or blur; may be given several times. Implies --robustness.",
)
@click.option(
    "--robustness-images",
    type=click.IntRange(min=2),
    help="Images it uses at most, half of each class.  [default: 400]",
)
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def command(
    run: str,
    data: tuple[Path, ...],
    split: str,
    domains: tuple[str, ...],
    operating_point: str,
    robustness: bool,
    perturbations: tuple[str, ...],
    robustness_images: int | None,
    output_format: str,
) -> None:
    """Judge RUN on the test split of one or more record folders.

    Writes metrics.json, scores and plots to RUN/reports/DATASET/SPLIT; with several folders also
    RUN/reports/cross_dataset_SPLIT.json and .png. RUN may be a group of runs, as `train --seeds`
    and `train --leave-one-domain-out` make them.
    """
    import json

    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import figures_table, progress_bar, results_console, stderr, warn
    from dfd_tf.config.run_group import read_group
    from dfd_tf.evaluation.cross_dataset import write_cross_dataset
    from dfd_tf.evaluation.evaluate_run import evaluate_run
    from dfd_tf.evaluation.perturbations import check_names
    from dfd_tf.inference.prediction import missing_threshold
    from dfd_tf.inference.prediction import operating_point as check_operating_point
    from dfd_tf.inference.predictor import load_predictor

    robustness = robustness or bool(perturbations) or robustness_images is not None
    check_names(perturbations)
    group = read_group(run)
    if group is not None:
        from dfd_tf.cli.evaluate_group import evaluate_members

        if domains or robustness:
            raise click.UsageError(f"{run} is a group: --domain and --robustness take one run")
        evaluate_members(run, group, data, split, operating_point, output_format)
        return
    predictor = load_predictor(run)
    check_operating_point(predictor, operating_point)
    reason = missing_threshold(predictor, operating_point)
    if reason is not None:
        warn(escape(reason))
    folders = data or (predictor.records,)
    check_splits(folders, split)
    rows: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for folder in folders:
        with progress_bar(escape(f"scoring {folder.name}")) as progress:
            evaluation, files = evaluate_run(
                predictor, folder, split, operating_point, progress, domains=domains
            )
        figures = evaluation.figures
        rows += summary_rows(figures)
        for warning in figures["warnings"]:
            warn(escape(f"{folder.name}: {warning}"))
        if robustness:
            options = {"perturbations": perturbations, "num_images": robustness_images}
            figures = figures | {
                "robustness": _sweep(predictor, folder, split, operating_point, domains, options)
            }
        results.append(figures)
        stderr.print(escape(f"report: {files[-1]}"), highlight=False, soft_wrap=True)
    if len(folders) > 1:
        (_, picture) = write_cross_dataset(predictor, results, split)
        stderr.print(escape(f"all datasets: {picture}"), highlight=False, soft_wrap=True)
    if output_format == "json":
        click.echo(json.dumps(results, indent=2))
    else:
        title = escape(f"{run} at {operating_point!r}")
        console = results_console()
        console.print(figures_table(title, rows, COLUMNS))
        for figures in results:
            if "robustness" in figures:
                console.print(_worst_table(figures["robustness"]))


def check_splits(folders: tuple[Path, ...], split: str) -> None:
    """Refuses record folders whose split is empty before any work is done.

    Raises:
        InputError: There is one.
    """
    from pipelines.errors import InputError
    from pipelines.records.manifest import load_manifest

    for folder in folders:
        if not any(shard.records for shard in load_manifest(folder).split_shards(split)):
            raise InputError(
                f"{folder}: its {split} split is empty; prepare more people, or use another --split"
            )


def _sweep(
    predictor: "Predictor",
    folder: Path,
    split: str,
    operating_point: str,
    domains: tuple[str, ...],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Measures robustness and shows what could not be measured."""
    from rich.markup import escape

    from dfd_tf.cli.console import progress_bar, warn
    from dfd_tf.evaluation.robustness_report import report_robustness

    given = {name: value for name, value in options.items() if value is not None}
    with progress_bar(escape(f"degrading {folder.name}")) as progress:
        figures = report_robustness(
            predictor, folder, split, operating_point, domains=domains, progress=progress, **given
        )
    for name, reason in figures["not_measured"].items():
        warn(escape(f"{name} was not measured: {reason}"))
    return figures


def _worst_table(figures: dict[str, Any]) -> Any:
    """One row a perturbation: its worst levels."""
    from rich.markup import escape

    from dfd_tf.cli.console import figures_table
    from dfd_tf.evaluation.robustness_report import WORST_COLUMNS, worst_rows

    title = (
        f"{figures['dataset']}/{figures['split']}: robustness, {figures['num_real']} real +"
        f" {figures['num_fake']} fake images, decisions at {figures['operating_point']!r}"
    )
    return figures_table(escape(title), worst_rows(figures), WORST_COLUMNS)
