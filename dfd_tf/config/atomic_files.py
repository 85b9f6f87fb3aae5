"""Files that are either whole or not there: written aside, flushed to disk, then renamed."""

import hashlib
import os
from collections.abc import Iterable

from etils import epath


def is_remote(path: epath.Path) -> bool:
    """Whether a path lies on an object store (`gs://` and the like) rather than on a disk."""
    return "://" in os.fspath(path)


def write_atomically(path: epath.Path, chunks: Iterable[bytes | memoryview]) -> str:
    """Writes a file so that a kill at any moment leaves the old content or the new one.

    Object stores commit an object whole when it is closed, so there the write goes straight to the
    name.

    Returns:
        sha256 of the content, hexadecimal.

    Raises:
        OSError: Disk full, no permission, ...; the old file is intact and nothing is left beside.
    """
    digest = hashlib.sha256()
    target = path if is_remote(path) else temporary_name(path)
    try:
        with target.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            if not is_remote(path):
                file.flush()
                os.fsync(file.fileno())
        if not is_remote(path):
            os.replace(target, path)  # noqa: PTH105 - epath's replace copies on some systems
            _sync_folder(path.parent)
    except BaseException:
        if not is_remote(path):
            target.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def temporary_name(path: epath.Path) -> epath.Path:
    """Where the content of `path` is written before it gets its name."""
    return path.parent / f".{path.name}.tmp-{os.getpid()}"


def remove_temporary_files(folder: epath.Path) -> None:
    """Deletes what killed writers left; the caller holds the lock of the directory."""
    for path in folder.glob(".*.tmp-*"):
        path.unlink()


def file_sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: epath.Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
