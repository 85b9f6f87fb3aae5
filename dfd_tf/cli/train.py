"""`dfd-tf train`: from a configuration and a record folder to a run directory."""

from pathlib import Path

import click

PRECISIONS = ["auto", "float32", "mixed_float16", "mixed_bfloat16"]


@click.command()
@click.argument("config")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Record folder of `prepare`."
)
@click.option("--run", help="Run directory; default: runs/CONFIG.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value.")
@click.option("--resume", is_flag=True, help="Go on where the run was stopped.")
@click.option("--strategy", type=click.Choice(["auto", "cpu", "gpu", "mirrored"]))
@click.option("--precision", type=click.Choice(PRECISIONS))
@click.option("--threads", type=click.IntRange(min=1), help="Threads of TensorFlow.")
def command(
    config: str,
    data: Path,
    run: str | None,
    overrides: tuple[str, ...],
    resume: bool,
    strategy: str | None,
    precision: str | None,
    threads: int | None,
) -> None:
    """Train the detector of CONFIG (a YAML file or a shipped name) and calibrate it.

    Ctrl-C and SIGTERM finish the step, save and leave; `--resume` then continues to the very
    result an uninterrupted run would have had.
    """
    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import stderr, warn
    from dfd_tf.config.loading import load_experiment
    from dfd_tf.config.run_directory import RunDirectory
    from dfd_tf.inference.calibration import parse_calibration
    from dfd_tf.training.run import train

    flags = {"strategy": strategy, "precision": precision, "threads": threads}
    given = [f"training.{name}={value}" for name, value in flags.items() if value is not None]
    experiment = load_experiment(config, [*overrides, *given])
    folder = run or f"runs/{Path(config).stem}"
    train(experiment, data, folder, resume=resume, console=stderr)
    path = RunDirectory(folder).calibration
    for name, reason in parse_calibration(path.read_text(), str(path)).missing.items():
        warn(f"operating point {name} was not set: {reason}")
    stderr.print(f"run: {folder}", highlight=False, soft_wrap=True)
    stderr.print(f"next: dfd-tf evaluate {folder}", highlight=False, soft_wrap=True)
