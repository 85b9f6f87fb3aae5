"""Where uploads lie while they are worked on: images in memory, videos in one private folder.

Files of the folder have no name from the start, so that nothing is left of them whatever happens to
the server; the folder itself is removed when the server ends, and those of killed servers when the
next one starts.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

PREFIX = "dfd-tf-serve-"


class Spool:
    """The folder of one server, readable by its user alone."""

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        _remove_leftovers(parent)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))

    def file(self) -> IO[bytes]:
        """Opens a new file without a name."""
        return tempfile.TemporaryFile(dir=self.folder)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


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
        number = folder.name.removeprefix(PREFIX).split("-")[0]
        if number.isdigit() and not _is_alive(int(number)) and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
