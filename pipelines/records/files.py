"""Files that exist under their final name only when they are whole."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipelines.errors import DatasetError

_TEMPORARY = "tmp-"


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file to be written aside and renamed to `path` when the block ends without error.

    On any error, a full disk included, nothing is left, and what was at `path` before still is.

    Raises:
        DatasetError: The file system refused: full, too large, read-only.
    """
    temporary = path.with_name(f"{path.name}.{_TEMPORARY}{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DatasetError(f"{path}: cannot be written ({error.strerror}); nothing kept") from error
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file so that it is whole or not there."""
    with atomic_file(path) as file:
        file.write(data)


def is_temporary(name: str) -> bool:
    """Whether a file is what a killed writer left."""
    suffix = name.rpartition(".")[2]
    return suffix.startswith(_TEMPORARY) and suffix.removeprefix(_TEMPORARY).isdecimal()


def remove_temporary_files(folder: Path) -> list[str]:
    """Deletes what killed writers left in a folder; call it while holding the folder's lock.

    Returns the names of the files deleted, sorted.
    """
    names = sorted(path.name for path in folder.iterdir() if is_temporary(path.name))
    for name in names:
        (folder / name).unlink(missing_ok=True)
    return names


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
