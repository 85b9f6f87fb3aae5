"""`dfd-tf ensemble`: a run made of runs."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dfd_tf.config.detectors import CombineRule


def _parse_weights(
    context: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001
    text: str | None,
) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected numbers with commas, as in 1,2,1") from None


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Record folder whose validation split is used.",
)
@click.option("--run", "out", required=True, help="Run directory to make.")
@click.option(
    "--combine",
    type=click.Choice(["mean", "weighted", "logistic"]),
    default="mean",
    show_default=True,
)
@click.option("--weights", callback=_parse_weights, help="One a run, as in 1,2,1; for weighted.")
def command(
    runs: tuple[str, ...],
    data: Path,
    out: str,
    combine: "CombineRule",
    weights: list[float] | None,
) -> None:
    """Combine calibrated RUNS into one run, which every other command takes.

    Scores come to one scale through each run's own calibration; mean and weighted average them,
    logistic fits the weights on validation data with real and fake images. The new run holds all
    weights: those it was made of may be deleted.
    """
    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import progress_bar, stderr, warn
    from dfd_tf.config.run_directory import RunDirectory
    from dfd_tf.training.ensemble import make_ensemble

    with progress_bar("scoring validation data") as progress:
        calibration, warnings = make_ensemble(
            runs, data, out, combine=combine, weights=weights, progress=progress
        )
    missing = calibration.missing.items()
    warnings += [*RunDirectory(out).read_model().caveats, *calibration.caveats]
    warnings += [f"operating point {name} was not set: {reason}" for name, reason in missing]
    for warning in warnings:
        warn(escape(warning))
    stderr.print(escape(f"run: {out}"), highlight=False, soft_wrap=True)
    stderr.print(escape(f"next: dfd-tf evaluate {out}"), highlight=False, soft_wrap=True)
