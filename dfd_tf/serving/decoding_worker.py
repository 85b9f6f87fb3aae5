"""The process that looks at untrusted bytes: decodes, finds faces, and may be killed for it.

It never imports TensorFlow. Uploads come as open files (memory, or an unlinked file of the spool)
and are read through `/proc/self/fd`: no name of a client's is ever a path.
"""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import Any

import cv2

from dfd_tf.inference.media_faces import FaceReader, FrameSampling, MediaFaces
from pipelines.media.images import read_bytes, read_header
from pipelines.settings import MediaLimits, PrepareSettings

_UPRIGHT_ORIENTATIONS = (1, 2, 3, 4)


@dataclass(frozen=True)
class ReadingTask:
    """What is to be read from an upload.

    Args:
        settings: How faces are found and cropped, once for each different way.
        seconds: Longest time it may take; then the process is killed.
        stability: Cut the faces out of re-delivered copies as well.
        sampling: Which frames of a video.
    """

    settings: tuple[PrepareSettings, ...]
    seconds: float
    stability: bool = False
    sampling: FrameSampling = field(default_factory=FrameSampling)


@dataclass(frozen=True)
class Reading:
    """What was read.

    Args:
        media: The faces, one for each of the task's settings.
        size: Width and height of the upright picture, pixels; None where it cannot be used.
    """

    media: tuple[MediaFaces, ...]
    size: tuple[int, int] | None


def serve(connection: Connection, memory_bytes: int) -> None:
    """The worker's life: reads uploads until the other end of the pipe is closed.

    Sends `("ready",)` first, then for each task `("started",)`, any number of
    `("progress", done, total)`, and one `("done", Reading)` or `("failed", reason)`.
    """
    # The server decides when a worker ends, also where a signal goes to the whole group.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(1)
    connection.send(("ready",))
    while True:
        try:
            task = connection.recv()
            descriptor = recv_handle(connection)
        except (EOFError, ConnectionResetError):
            return
        connection.send(("started",))
        # Not caught: it ends the process also inside a decoder that never returns.
        signal.setitimer(signal.ITIMER_REAL, task.seconds)
        try:
            answer = _answer(task, descriptor, connection)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            os.close(descriptor)
        connection.send(answer)


def _answer(task: ReadingTask, descriptor: int, connection: Connection) -> tuple[str, Any]:
    path = f"/proc/self/fd/{descriptor}"

    def progress(done: int, total: int) -> None:
        connection.send(("progress", done, total))

    try:
        media = tuple(_read(settings, task, path, progress) for settings in task.settings)
        size = _size(path, media[0], task.settings[0].limits)
    except MemoryError:
        return "failed", "it needs more memory than one upload may take"
    except Exception as error:
        return "failed", f"{type(error).__name__} while decoding"
    return "done", Reading(media, size)


def _read(
    settings: PrepareSettings,
    task: ReadingTask,
    path: str,
    progress: Callable[[int, int], None],
) -> MediaFaces:
    media = _reader(settings, task.stability, task.sampling).read(path, progress)
    media.path = "upload"
    return media


@lru_cache(maxsize=16)
def _reader(settings: PrepareSettings, stability: bool, sampling: FrameSampling) -> FaceReader:
    return FaceReader(settings, stability=stability, sampling=sampling)


def _size(path: str, media: MediaFaces, limits: MediaLimits) -> tuple[int, int] | None:
    if media.error is not None:
        return None
    if media.clip is not None:
        return media.clip.size
    header = read_header(read_bytes(path, limits), path, limits)
    is_upright = header.orientation in _UPRIGHT_ORIENTATIONS
    return (header.width, header.height) if is_upright else (header.height, header.width)
