"""`dfd-tf calibrate`: thresholds and probabilities of a run, from validation data."""

import json
from pathlib import Path

import click


@click.command()
@click.argument("run")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Record folder; default: the training data."
)
def command(run: str, data: Path | None) -> None:
    """Fit thresholds and probabilities of RUN on the validation split and store them with it.

    Training does this at its end; call it again after preparing better validation data. The
    thresholds are printed to stdout as JSON.
    """
    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import progress_bar, warn
    from dfd_tf.evaluation.calibrate import calibrate_run

    with progress_bar("scoring validation data") as progress:
        calibration = calibrate_run(run, data, progress)
    for name, reason in calibration.missing.items():
        warn(f"operating point {name} was not set: {reason}")
    if calibration.probability is None:
        warn("scores have no probabilities: no labelled fakes in the validation split")
    thresholds = [threshold.model_dump(mode="json") for threshold in calibration.thresholds]
    click.echo(json.dumps(thresholds, indent=2))
