"""`dfd-tf train`: from a configuration and a record folder to a run directory."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dfd_tf.config.experiment import Experiment
    from dfd_tf.config.run_directory import RunDirectory

PRECISIONS = ["auto", "float32", "mixed_float16", "mixed_bfloat16"]


@click.command()
@click.argument("config")
@click.option(
    "--data", type=click.Path(path_type=Path), required=True, help="Record folder of `prepare`."
)
@click.option("--run", help="Run directory; default: runs/CONFIG.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value.")
@click.option("--resume", is_flag=True, help="Go on where the run was stopped.")
@click.option(
    "--force",
    is_flag=True,
    help="With --resume: go on although settings changed; the run keeps what changed, and when.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    help="Train this many runs, with the configured seed and those after it, into RUN/seed_N.",
)
@click.option(
    "--leave-one-domain-out",
    "leave_one_out",
    is_flag=True,
    help="Train one run without each domain, into RUN/without_DOMAIN.",
)
@click.option(
    "--on-bad-record",
    type=click.Choice(["stop", "skip"]),
    help="What happens to records that cannot be decoded: stop at the first, or look for them"
    " beforehand and leave out up to 0.1 %.  [default: stop]",
)
@click.option("--strategy", type=click.Choice(["auto", "cpu", "gpu", "mirrored"]))
@click.option("--precision", type=click.Choice(PRECISIONS))
@click.option("--threads", type=click.IntRange(min=1), help="Threads of TensorFlow.")
def command(
    config: str,
    data: Path,
    run: str | None,
    overrides: tuple[str, ...],
    resume: bool,
    force: bool,
    seeds: int | None,
    leave_one_out: bool,
    on_bad_record: str | None,
    strategy: str | None,
    precision: str | None,
    threads: int | None,
) -> None:
    """Train the detector of CONFIG (a YAML file or a shipped name) and calibrate it.

    Ctrl-C and SIGTERM finish the step, save and leave; `--resume` then continues to the very
    result an uninterrupted run would have had. That goes for groups of runs (--seeds,
    --leave-one-domain-out) as well, which `dfd-tf evaluate RUN` judges as one.
    """
    if seeds is not None and leave_one_out:
        raise click.UsageError("give --seeds or --leave-one-domain-out, not both")
    if force and not resume:
        raise click.UsageError("--force goes with --resume")
    if force and (seeds is not None or leave_one_out):
        raise click.UsageError(
            "--force is for one run; a group's settings are those of all its runs: train a new"
            " group with the changed ones in another --run"
        )
    from rich.markup import escape

    from dfd_tf.cli.tensorflow_start import start_tensorflow

    start_tensorflow()
    from dfd_tf.cli.console import progress_bar, stderr, warn
    from dfd_tf.config.loading import load_experiment
    from dfd_tf.config.run_directory import RunDirectory
    from dfd_tf.config.run_group import read_group
    from dfd_tf.evaluation.audit_files import failed_audit
    from dfd_tf.training.run import train
    from pipelines.errors import InputError

    flags = {"strategy": strategy, "precision": precision, "threads": threads}
    given = [f"training.{name}={value}" for name, value in flags.items() if value is not None]
    if on_bad_record is not None:
        given.append(f"data.on_bad_record={on_bad_record}")
    experiment = load_experiment(config, [*overrides, *given])
    if (finding := failed_audit(data)) is not None:
        warn(escape(finding))
    folder = run or f"runs/{Path(config).stem}"
    if seeds is not None or leave_one_out:
        _train_group(experiment, data, folder, seeds, resume)
        return
    if read_group(folder) is not None:
        raise InputError(
            f"{folder}: holds a group of runs; give --seeds or --leave-one-domain-out again, or"
            " choose another --run"
        )
    train(
        experiment,
        data,
        folder,
        resume=resume,
        force=force,
        console=stderr,
        progress_bar=progress_bar,
    )
    _warn_of_calibration(RunDirectory(folder))
    next_command = f"dfd-tf evaluate {shlex.quote(folder)}"
    stderr.print(escape(f"run: {folder}"), highlight=False, soft_wrap=True)
    stderr.print(escape(f"next: {next_command}"), highlight=False, soft_wrap=True)


def _warn_of_calibration(run: "RunDirectory", prefix: str = "") -> None:
    """Prints the caveats of a run's calibration and the operating points that were not set."""
    from rich.markup import escape

    from dfd_tf.cli.console import warn
    from dfd_tf.inference.calibration import parse_calibration

    calibration = parse_calibration(run.calibration.read_text(), str(run.calibration))
    for caveat in calibration.caveats:
        warn(escape(f"{prefix}{caveat}"))
    for name, reason in calibration.missing.items():
        warn(escape(f"{prefix}operating point {name} was not set: {reason}"))


def _train_group(
    experiment: "Experiment", data: Path, folder: str, seeds: int | None, resume: bool
) -> None:
    """Trains a group of runs; prints what to know of each, and what chose its epoch."""
    from rich.markup import escape

    from dfd_tf.cli.console import (
        figures_table,
        formatted,
        progress_bar,
        results_console,
        stderr,
    )
    from dfd_tf.config.run_directory import RunDirectory
    from dfd_tf.config.run_group import SEEDS
    from dfd_tf.evaluation.group_evaluation import spread
    from dfd_tf.training.groups import plan_group, train_group, validation_figures

    group = plan_group(experiment, data, seeds)
    train_group(group, data, folder, resume=resume, console=stderr, progress_bar=progress_bar)
    for member in group.members:
        _warn_of_calibration(
            RunDirectory(RunDirectory(folder).path / member.name), f"{member.name}: "
        )
    rows = validation_figures(group, folder)
    over_all = spread([row["value"] for row in rows])
    # Without another domain each time the validation images differ: no spread to speak of.
    if group.kind == SEEDS and over_all["std"] is not None:
        text = f"{formatted(over_all['mean'])} ± {over_all['std']:.2g}"
        rows.append({"name": "mean ± standard deviation", "value": text, "epoch": ""})
    columns = {"name": "run", "value": f"best {rows[0]['selection']}", "epoch": "of epoch"}
    table = figures_table(escape(f"{folder}: best epochs, validation split"), rows, columns)
    results_console().print(table)
    stderr.print(
        escape(
            "validation figures chose the epochs and are too good; next: dfd-tf evaluate "
            + shlex.quote(folder)
        ),
        highlight=False,
        soft_wrap=True,
    )
