"""Opening media: regular files on disk only.

A FIFO would block, a device may never end and a URL would make a request on the user's behalf, so
everything but a regular file (or a link to one) is refused before it is opened.
"""

import errno
import io
import os
import re
import stat
from pathlib import Path

from pipelines.errors import Cause, MediaError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def open_regular(path: str | Path) -> io.BufferedReader:
    """Opens a regular file for reading; the caller closes it.

    Raises:
        MediaError: MISSING when it does not exist or may not be read, NOT_A_FILE when it is a
            directory, FIFO, socket, device, link loop or URL.
    """
    label = os.fspath(path)
    try:
        # Looked at before it is opened: opening some devices has effects of its own.
        _require_regular(label, os.stat(label).st_mode)  # noqa: PTH116 - the path may be "-x"
        descriptor = os.open(label, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _open_error(label, error) from None
    file = os.fdopen(descriptor, "rb")
    try:
        _require_regular(label, os.fstat(descriptor).st_mode)
    except MediaError:
        file.close()
        raise
    return file


def file_size(file: io.BufferedReader) -> int:
    """Returns the size of an open file in bytes."""
    return os.fstat(file.fileno()).st_size


def _require_regular(label: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise MediaError(label, Cause.NOT_A_FILE, "not a regular file (a directory)")
    if not stat.S_ISREG(mode):
        raise MediaError(label, Cause.NOT_A_FILE, "not a regular file")


def _open_error(label: str, error: OSError | ValueError) -> MediaError:
    if _URL.match(label):
        return MediaError(label, Cause.NOT_A_FILE, "a URL, expected a file on disk")
    if not isinstance(error, OSError):  # NUL in the name
        return MediaError(label, Cause.MISSING, f"cannot be opened ({error})")
    if error.errno == errno.ELOOP:
        return MediaError(label, Cause.NOT_A_FILE, "not a regular file (a loop of links)")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return MediaError(label, Cause.MISSING, "does not exist")
    return MediaError(label, Cause.MISSING, f"cannot be opened ({os.strerror(error.errno or 0)})")
