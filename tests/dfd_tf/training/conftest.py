import hashlib
import io
from pathlib import Path

import pytest
from rich.console import Console


class Killed(BaseException):
    """Ends a training where SIGKILL would, as far as files are concerned."""


def raise_killed():
    raise Killed


def fingerprints(run: Path) -> dict[str, str]:
    """sha256 of all that an uninterrupted and a resumed run must have in common."""
    states = sorted((run / "checkpoints").glob("*.state"))
    files = [states[-1], run / "history.csv", *sorted((run / "best").iterdir())]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def quiet():
    """A console whose text can be read with `quiet.file.getvalue()`."""
    return Console(file=io.StringIO(), width=10_000)


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The directory of the tiny training of `tiny_training.SETTINGS`, never interrupted."""
    from tiny_training import tiny_train

    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    tiny_train(run, console=Console(file=io.StringIO()))
    return run
