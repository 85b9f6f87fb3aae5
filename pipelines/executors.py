"""Runs tasks over processes: results in order, a bounded queue, and a clean end.

A task and its result are plain picklable values, so another executor can send them elsewhere.
Workers are spawned, never forked: TensorFlow hangs in the child of a process that ran it, and a
fresh process that does not import it starts quickly.
"""

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Protocol, TypeVar

from pipelines.errors import DfdError, InputError

Task = TypeVar("Task")
Result = TypeVar("Result")

# Tasks that may be ahead of the one whose result is due, per worker: a slow one must not let
# finished results pile up.
AHEAD = 4


class WorkerDied(DfdError):
    """A worker process was killed, most likely for want of memory."""

    exit_code = 1


class Executor(Protocol):
    """Where tasks run."""

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yields `function(task)` for each task, in order; raises what a task raises."""
        ...


class LocalExecutor:
    """Runs tasks in spawned processes of this machine, or within this one.

    Interrupted, failing or abandoned runs end the workers at once; killed parents take them along.

    Args:
        workers: Number of processes; 1 runs the tasks in the calling process.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise InputError(f"workers: got {workers}, expected at least 1")
        self.workers = workers

    def run(self, function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
        """Yields `function(task)` for each task, in order.

        Args:
            function: A picklable callable, such as a module's function or a `partial` of one.
            tasks: Picklable values.

        Raises:
            WorkerDied: a worker was killed.
            Exception: whatever a task raised.
        """
        if self.workers == 1 or len(tasks) <= 1:
            return map(function, tasks)
        return _run_spawned(function, tasks, min(self.workers, len(tasks)))


def _run_spawned(
    function: Callable[[Task], Result], tasks: Sequence[Task], workers: int
) -> Iterator[Result]:
    processes: dict[Connection, SpawnProcess] = {}
    try:
        with _interrupts_ignored():
            for _ in range(workers):
                connection, process = _start_worker(function)
                processes[connection] = process
        yield from _in_order(tasks, processes)
    finally:
        for connection, process in processes.items():
            process.terminate()
            connection.close()
        for process in processes.values():
            process.join()


def _in_order(tasks: Sequence[Task], processes: dict[Connection, SpawnProcess]) -> Iterator[Any]:
    idle = list(processes)
    finished: dict[int, Any] = {}
    busy: set[Connection] = set()
    started = due = 0
    while due < len(tasks):
        while idle and started < min(len(tasks), due + AHEAD * len(processes)):
            connection = idle.pop()
            _send(connection, processes[connection], (started, tasks[started]))
            busy.add(connection)
            started += 1
        ready = wait(busy)
        for connection in [c for c in busy if c in ready]:
            index, result, error = _receive(connection, processes[connection])
            if error is not None:
                raise error
            finished[index] = result
            busy.remove(connection)
            idle.append(connection)
        while due in finished:
            yield finished.pop(due)
            due += 1


def _start_worker(function: Callable) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, function), daemon=True)
    process.start()
    theirs.close()
    return ours, process


def _send(connection: Connection, process: SpawnProcess, message: Any) -> None:
    try:
        connection.send(message)
    except (BrokenPipeError, ConnectionResetError):
        raise _death(process) from None


def _receive(connection: Connection, process: SpawnProcess) -> tuple:
    try:
        return connection.recv()
    except (EOFError, ConnectionResetError):
        raise _death(process) from None


def _death(process: SpawnProcess) -> WorkerDied:
    process.join()
    code = process.exitcode or 0
    killed = f"was killed by signal {-code} (out of memory?)"
    how = killed if code < 0 else f"ended with exit code {code}"
    return WorkerDied(
        f"worker process {process.pid} {how}: finished work is kept, run the same "
        "command again to go on, with fewer workers if memory is short"
    )


def _serve(connection: Connection, function: Callable) -> None:
    """The worker's life: answers tasks until the other end of the pipe is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            index, task = connection.recv()
        except EOFError:
            return
        answer: tuple[int, Any, Exception | None]
        try:
            answer = (index, function(task), None)
        except DfdError as error:
            answer = (index, None, error)
        except Exception as error:
            # Exceptions of libraries need not survive pickling; their traceback never does.
            text = f"{type(error).__name__} in a worker: {error}\n{traceback.format_exc()}"
            answer = (index, None, RuntimeError(text))
        connection.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Lets children start with SIGINT ignored, also while they still import: the parent ends them.

    Only the main thread may set signals; started from another one, children print a traceback.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
