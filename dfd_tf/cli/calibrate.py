"""`dfd-tf calibrate`: thresholds and probabilities of a run, from validation data."""

import json
from pathlib import Path

import click


@click.command()
@click.argument("run")
@click.option(
    "--data", type=click.Path(path_type=Path), help="Record folder; default: the training data."
)
@click.option("--force", is_flag=True, help="Replace one that rests on more real images, too.")
def command(run: str, data: Path | None, force: bool) -> None:
    """Fit thresholds and probabilities of RUN on the validation split and store them with it.

    Training does this at its end; call it again after preparing better validation data. The
    thresholds are printed to stdout as JSON.
    """
    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import progress_bar, warn
    from dfd_tf.config.run_directory import RunDirectory
    from dfd_tf.evaluation.calibrate import calibrate_run

    with progress_bar("scoring validation data") as progress:
        calibration = calibrate_run(run, data, progress, force=force)
    for caveat in RunDirectory(run).read_model().caveats:
        warn(escape(caveat))
    for name, reason in calibration.missing.items():
        warn(escape(f"operating point {name} was not set: {reason}"))
    if calibration.probability is None:
        reason = "calibration.method is none" if calibration.num_fake else "no labelled fakes"
        warn(f"scores have no probabilities: {reason}")
    if calibration.num_real_clusters < calibration.num_real:
        warn(
            f"the {calibration.num_real} real images are of {calibration.num_real_clusters} persons"
            " or videos: rates are promised for independent images, and hold less surely here"
        )
    thresholds = [threshold.model_dump(mode="json") for threshold in calibration.thresholds]
    click.echo(json.dumps(thresholds, indent=2))
