"""The command `dfd-tf`: a lazy group, and one place that turns errors into lines and exit codes."""

import importlib
import os
import sys
import traceback

import click

from dfd_tf import __version__
from pipelines.errors import DfdError

COMMANDS = {
    "demo": "The whole way in minutes on a laptop CPU, on faces it renders itself.",
    "doctor": "Show what this machine has: devices, precision, packages, write access.",
    "prepare": "Turn folders, CSV manifests, videos or datasets into TFRecords of faces.",
    "inspect": "Show what a record folder holds, with a contact sheet.",
    "audit": "Check records for shared content and for shortcuts, before training.",
    "train": "Train a detector from a configuration and a record folder.",
    "ensemble": "Combine trained runs into one.",
    "calibrate": "Fit thresholds and probabilities of a run on validation data.",
    "evaluate": "Judge a run on a record folder's test split.",
    "compare": "Compare runs on the same images, with paired tests.",
    "predict": "Score image and video files with a run.",
    "serve": "Serve runs as a web page and a JSON interface.",
    "config": "List, show and describe configurations.",
}


class LazyGroup(click.Group):
    """Imports a command's module when it is called: `--help` stays free of TensorFlow."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"dfd_tf.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("-v", "--verbose", is_flag=True, help="Show TensorFlow's own messages as well.")
@click.option("--debug", is_flag=True, help="Show a traceback with every error.")
@click.version_option(__version__, prog_name="dfd-tf")
def cli(verbose: bool, debug: bool) -> None:  # noqa: ARG001 - `main` reads debug from the context
    """Deepfake detection: from a folder of photos to a calibrated, tested detector."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "0" if verbose else "2"


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits with the code of the reliability contract."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Runs the command line and returns its exit code.

    Machine-readable results go to stdout; everything else, errors included, to stderr.
    """
    debug = "--debug" in arguments[: _first_command(arguments)]
    try:
        result = cli.main(args=arguments, prog_name="dfd-tf", standalone_mode=False)
        return result if isinstance(result, int) else 0
    except click.ClickException as error:
        return _usage_error(error)
    except (KeyboardInterrupt, click.Abort):
        return _report("stopped", 130, debug)
    except BrokenPipeError:
        # The reader of stdout has left (`| head`); nothing more can be said there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except DfdError as error:
        return _report(str(error), error.exit_code, debug)
    except Exception as error:
        reason = " ".join(str(error).split()) or "no message"
        hint = "" if debug else "; `dfd-tf --debug ...` shows the traceback"
        return _report(f"unexpected {type(error).__name__}: {reason[:500]}{hint}", 1, debug)


def _first_command(arguments: list[str]) -> int:
    positions = (i for i, argument in enumerate(arguments) if not argument.startswith("-"))
    return next(positions, len(arguments))


def _usage_error(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return 2
    context = getattr(error, "ctx", None)
    help_hint = f" (see `{context.command_path} --help`)" if context else ""
    message = " ".join(error.format_message().split())
    click.echo(f"dfd-tf: error: {message}{help_hint}", err=True)
    return 2


def _report(message: str, exit_code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    line = " ".join(message.splitlines())
    click.echo(f"dfd-tf: error: {line}", err=True)
    return exit_code


if __name__ == "__main__":
    main()
