"""A pool of decoding processes: one upload each at a time, killed and replaced when it goes wrong.

Spawned, never forked: TensorFlow hangs in the child of a process that ran it.
"""

import atexit
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle

from dfd_tf.serving.decoding_worker import Reading, ReadingTask, serve
from pipelines.errors import DfdError

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
"""What a process gets beyond its own time limit before it is killed from here."""
_START_SECONDS = 30.0
"""What a new process gets to start."""
_END_SECONDS = 1.0
_WAIT_SECONDS = 30.0
"""Longest wait for a free process."""


class DecodingFailed(DfdError):
    """An upload that no decoding process survived, or that took too long."""


class NoneFree(Exception):
    """No process became free in time, or none lived long enough to look at the upload."""


class _TookTooLong(Exception):
    """The process neither answered in time nor ended by itself."""


class _NeverStarted(Exception):
    """The process had ended before it saw the upload."""


class Cancelled(Exception):
    """The reading was not wanted any more."""


class _Worker:
    """One process and our end of its pipe."""

    def __init__(self, memory_bytes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self.is_ready = False
        self.connection: Connection
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, memory_bytes), daemon=True)
        signals = {signal.SIGINT, signal.SIGTERM}
        # Until it ignores them itself, a Ctrl-C would end it with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


class DecodingPool:
    """Processes that read uploads; `close` ends them.

    Args:
        workers: Their number.
        memory_bytes: Address space of each.
    """

    def __init__(self, workers: int, memory_bytes: int) -> None:
        self._num_workers = workers
        self._memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._all: set[_Worker] = set()
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        self._is_closed = False
        # Before multiprocessing's own, which would wait for workers that ignore its signal.
        atexit.register(self.close)
        for _ in range(workers):
            self._add_worker()

    def wait_until_ready(self) -> None:
        """Waits until the workers that are there have been started."""
        for worker in list(self._all):
            worker.connection.poll(None)

    def read(
        self,
        descriptor: int,
        task: ReadingTask,
        progress: Callable[[int, int], None] | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Reading:
        """Reads an upload in the next free process.

        Args:
            descriptor: An open regular file.
            task: What is to be read.
            progress: Takes the frames done and planned.
            is_cancelled: Asked now and then; if so, the process is killed.

        Raises:
            DecodingFailed: The process died, or took too long.
            Cancelled: `is_cancelled` said so, or the pool was closed.
            NoneFree: No process could look at it.
        """
        for _ in range(self._num_workers + 1):
            try:
                return self._read(descriptor, task, progress, is_cancelled)
            except _NeverStarted:
                continue
        raise NoneFree

    def _read(
        self,
        descriptor: int,
        task: ReadingTask,
        progress: Callable[[int, int], None] | None,
        is_cancelled: Callable[[], bool],
    ) -> Reading:
        worker = self._free_worker(is_cancelled)
        try:
            reading = _exchange(worker, descriptor, task, progress, is_cancelled)
        except _TookTooLong:
            self._replace(worker)
            raise DecodingFailed(_too_long(task.seconds)) from None
        except (EOFError, OSError):
            worker.process.join(_END_SECONDS)
            reason = _death(worker.process.exitcode, task.seconds)
            self._replace(worker)
            raise DecodingFailed(reason) from None
        except DecodingFailed:
            self._idle.put(worker)
            raise
        except BaseException:
            self._replace(worker)
            raise
        self._idle.put(worker)
        return reading

    def _free_worker(self, is_cancelled: Callable[[], bool]) -> _Worker:
        """Waits for a living worker that has nothing to do; dead ones are replaced meanwhile."""
        deadline = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < deadline:
            try:
                worker = self._idle.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                if is_cancelled():
                    raise Cancelled from None
                continue
            if worker is None:
                self._idle.put(None)
                raise Cancelled
            if worker.process.is_alive():
                return worker
            # Killed while it had nothing to do, by the kernel for memory perhaps.
            self._replace(worker)
        raise NoneFree

    def close(self) -> None:
        """Kills the workers; what they were reading is cancelled."""
        with self._lock:
            self._is_closed = True
            workers, self._all = self._all, set()
        self._idle.put(None)
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
        atexit.unregister(self.close)

    @property
    def process_ids(self) -> list[int]:
        with self._lock:
            return [worker.process.pid or 0 for worker in self._all]

    def _add_worker(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            worker = _Worker(self._memory_bytes)
            self._all.add(worker)
        self._idle.put(worker)

    def _replace(self, worker: _Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.kill()
        self._add_worker()


def _exchange(
    worker: _Worker,
    descriptor: int,
    task: ReadingTask,
    progress: Callable[[int, int], None] | None,
    is_cancelled: Callable[[], bool],
) -> Reading:
    connection = worker.connection
    is_started = False
    limit = task.seconds + _GRACE_SECONDS
    deadline = time.monotonic() + limit + (0.0 if worker.is_ready else _START_SECONDS)
    try:
        connection.send(task)
        send_handle(connection, descriptor, worker.process.pid)
        while True:
            while not connection.poll(_POLL_SECONDS):
                if is_cancelled():
                    raise Cancelled
                # Its own alarm does not go off in a process that is stopped.
                if time.monotonic() > deadline:
                    raise _TookTooLong
            name, *values = connection.recv()
            if name in ("ready", "started"):
                worker.is_ready = True
                is_started = name == "started"
                deadline = time.monotonic() + limit
            if name == "progress":
                if is_cancelled():
                    raise Cancelled
                if progress is not None:
                    progress(*values)
            elif name == "failed":
                raise DecodingFailed(f"the file cannot be used: {values[0]}")
            elif name == "done":
                return values[0]
    except (EOFError, OSError):
        if is_started:
            raise
        raise _NeverStarted from None


def _death(exit_code: int | None, seconds: float) -> str:
    if exit_code == -signal.SIGALRM:
        return _too_long(seconds)
    return "the file cannot be used: its decoder crashed"


def _too_long(seconds: float) -> str:
    return f"the file cannot be used: decoding it takes longer than {seconds:g} s"
