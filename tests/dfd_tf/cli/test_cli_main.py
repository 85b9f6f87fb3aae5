"""The command line's frame: lazy help, one-line errors, exit codes."""

import subprocess
import sys

import click
import pytest

from dfd_tf.cli import main
from pipelines.errors import CheckpointError, InputError, ModelFileError, Stopped


def test_help_lists_every_command_without_tensorflow():
    code = (
        "import sys; from dfd_tf.cli.main import run; code = run(['--help']);"
        "heavy = {'tensorflow', 'keras', 'cv2', 'sklearn', 'matplotlib', 'pydantic'};"
        "sys.exit(f'imported {heavy & sys.modules.keys()}' if heavy & sys.modules.keys() else code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    for name in main.COMMANDS:
        assert name in result.stdout


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help_without_tensorflow(name, capsys):
    modules_before = "tensorflow" in sys.modules
    assert main.run([name, "--help"]) == 0
    assert "Usage: dfd-tf" in capsys.readouterr().out
    assert ("tensorflow" in sys.modules) == modules_before


@pytest.mark.parametrize("arguments", [["nonsense"], ["config", "show"], ["--nonsense"]])
def test_bad_usage_is_one_line_and_exit_2(arguments, capsys):
    assert main.run(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("dfd-tf: error: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("a\nb"), 2),
        (CheckpointError("x"), 4),
        (ModelFileError("x"), 5),
        (Stopped("x", 143), 143),
        (KeyboardInterrupt(), 130),
        (RuntimeError("boom"), 1),
    ],
)
def test_errors_become_one_line_and_their_exit_code(monkeypatch, capsys, error, code):
    @click.command()
    def failing() -> None:
        raise error

    monkeypatch.setattr(main.cli, "get_command", lambda _context, _name: failing)
    assert main.run(["doctor"]) == code
    captured = capsys.readouterr().err.lstrip()  # click breaks the line after ^C
    # On Ctrl-C click first ends the line on which the terminal shows ^C.
    assert captured.strip("\n").count("\n") == 0
    assert "Traceback" not in captured
    main.run(["--debug", "doctor"])
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error():
    process = subprocess.run(
        f"{sys.executable} -m dfd_tf.cli.main config schema | head -n 1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == "{\n"
    assert process.stderr == ""
