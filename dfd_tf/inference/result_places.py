"""Where results are written, and that inputs do not lie there: none may be replaced."""

import os
from collections.abc import Sequence
from pathlib import Path

from pipelines.errors import InputError, printable


def check_apart(inputs: Sequence[str], output: Path | None, explanations: Path | None) -> None:
    """Looks that nothing a user names would be replaced.

    Args:
        inputs: Files and folders as the user named them.
        output: The file of results, if there is one.
        explanations: The folder of explanations, if there is one; neither needs to exist.

    Raises:
        InputError: The output or an input lies in the folder, or an input is the output.
    """
    if explanations is not None:
        folder = printable(str(explanations))
        inside = next((path for path in inputs if _lies_in(path, explanations)), None)
        if inside is not None:
            raise InputError(
                f"--explain {folder}: the input {printable(inside)} lies in it; choose a folder"
                " without inputs"
            )
        if output is not None and _lies_in(output, explanations):
            raise InputError(
                f"--output {printable(str(output))}: lies in the folder of --explain {folder},"
                " where files are replaced; choose a file outside"
            )
    if output is not None and any(_lies_in(path, output) for path in inputs):
        raise InputError(
            f"--output {printable(str(output))}: is an input and would be replaced; choose another"
            " file"
        )


def without_results(
    files: Sequence[str], output: Path | None, explanations: Path | None
) -> list[str]:
    """Returns the files below input folders that no call before has written as its results."""
    places = [place for place in (output, explanations) if place is not None]
    return [file for file in files if not any(_lies_in(file, place) for place in places)]


def _lies_in(path: str | Path, place: Path) -> bool:
    """Whether a path is a place or lies in it, as it is written or with links followed."""
    # Not Path.resolve, which raises where links go in circles.
    whole = Path(os.path.realpath(place))
    found = Path(os.path.realpath(path)), Path(os.path.abspath(path))  # noqa: PTH100 - links stay
    return any(whole in (one, *one.parents) for one in found)
