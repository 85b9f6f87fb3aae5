"""Where uploads lie while they are worked on: images in memory, videos in one private folder.

Files of the folder have no name from the start, so that nothing is left of them whatever happens to
the server; the folder itself is removed when the server ends, and those of killed servers when the
next one starts. A folder that has vanished (cleaners of `/tmp` take old ones) is made again.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
import threading
from pathlib import Path
from typing import IO

PREFIX = "dfd-tf-serve-"
_SCRATCH = "scratch"
_TRIAL_BYTES = 2**16


class Spool:
    """The folder of one server, readable by its user alone, locked while it lives."""

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        _remove_leftovers(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
        self.scratch = self.folder / _SCRATCH
        self._making = threading.Lock()
        self._lock = -1
        self._prepare()

    def file(self) -> IO[bytes]:
        """Opens a new file without a name.

        Raises:
            OSError: There is none to be had.
        """
        try:
            return tempfile.TemporaryFile(dir=self.folder)
        except FileNotFoundError:
            self._make_again()
            return tempfile.TemporaryFile(dir=self.folder)

    @property
    def is_writable(self) -> bool:
        """Whether an upload can be stored now."""
        try:
            with self.file() as file:
                file.write(bytes(_TRIAL_BYTES))
        except OSError:
            return False
        return True

    @property
    def free_bytes(self) -> int:
        """Room on the folder's disk; 0 where it cannot be told."""
        try:
            return shutil.disk_usage(self.folder.parent).free
        except OSError:
            return 0

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)

    def _make_again(self) -> None:
        with self._making:
            if self.folder.exists():
                return
            self.folder.mkdir(mode=0o700)
            os.close(self._lock)
            self._prepare()

    def _prepare(self) -> None:
        self.scratch.mkdir(mode=0o700)
        self._lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        # Some network disks have no locks; the process id in the name has to do there.
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def memory_file(data: bytes | memoryview) -> int:
    """Returns the descriptor of a file in memory that holds `data`; the caller closes it."""
    descriptor = os.memfd_create("upload")
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _remove_leftovers(parent: Path) -> None:
    for folder in parent.glob(f"{PREFIX}*-*"):
        # Anybody may have put anything there: it is no reason not to start.
        with contextlib.suppress(OSError, OverflowError, ValueError):
            if _is_leftover(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_leftover(folder: Path) -> bool:
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        return False
    if _is_alive(int(folder.name.removeprefix(PREFIX).split("-")[0])):
        return False
    # Process ids mean nothing between containers that share a folder; locks do.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)
    return True


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
