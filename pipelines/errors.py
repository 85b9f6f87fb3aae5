"""Errors a user can act on: one line each, and the exit code the command line ends with.

Exit codes are those of the reliability contract: 0 fine, 1 a failed check or a bug, 2 bad usage,
configuration or single input, 3 a batch finished with failed items, 4 dataset or checkpoint
damaged, 5 model file refused, 130/143 after a clean stop by SIGINT/SIGTERM.
"""

from enum import StrEnum


class DfdError(Exception):
    """Base of every error that is the input's fault: what, where, found, expected, fix."""

    exit_code = 2


class InputError(DfdError):
    """Bad usage, configuration or single input."""


class CheckFailed(DfdError):
    """A check the user asked for did not hold (overlapping splits, audit over its limit)."""

    exit_code = 1


class DatasetError(DfdError):
    """A record folder is damaged, incomplete or edited."""

    exit_code = 4


class CheckpointError(DfdError):
    """A training state or run directory is damaged or cannot be written."""

    exit_code = 4


class ModelFileError(DfdError):
    """A model file or its calibration is not what its run directory wrote."""

    exit_code = 5


class Stopped(DfdError):
    """A clean stop on SIGINT (130) or SIGTERM (143), state saved."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Cause(StrEnum):
    """Why a media item or a face was dropped: the keys of the manifest's `failures` table."""

    MISSING = "missing"
    NOT_A_FILE = "not_a_file"
    EMPTY = "empty"
    TOO_MANY_BYTES = "too_many_bytes"
    NOT_MEDIA = "not_media"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    BAD_ASPECT = "bad_aspect"
    ANIMATED = "animated"
    DAMAGED = "damaged"
    NO_FACE = "no_face"
    FACE_TOO_SMALL = "face_too_small"
    TRUNCATED = "truncated"
    TOO_LONG = "too_long"
    UNLABELLED = "unlabelled"
    BAD_ROW = "bad_row"
    OVERLAP = "overlap"


class MediaError(InputError):
    """One media file that cannot be used; in a batch it becomes that item's result.

    Args:
        path: The file as the user named it.
        cause: Key under which the failure is counted.
        reason: What was found and what was expected, without the path.
    """

    def __init__(self, path: str, cause: Cause, reason: str) -> None:
        super().__init__(f"{printable(path)}: {reason}")
        self.path = path
        self.cause = cause
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, Cause, str]]:
        return type(self), (self.path, self.cause, self.reason)


def printable(path: str) -> str:
    """Returns a path on one line: control characters and undecodable bytes are escaped."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in path
    )
