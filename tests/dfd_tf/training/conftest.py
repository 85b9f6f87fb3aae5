import io

import pytest
from rich.console import Console


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
