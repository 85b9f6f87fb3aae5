"""Order, failure, death and interruption of local workers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.errors import Cause, InputError, MediaError
from pipelines.executors import LocalExecutor, WorkerDied

REPOSITORY = Path(__file__).resolve().parents[2]


def slow_first(task: int) -> tuple[int, int]:
    time.sleep(0.3 if task == 0 else 0.0)
    return task * task, os.getpid()


def refuse_three(task: int) -> int:
    if task == 3:
        raise MediaError("a/b.jpg", Cause.DAMAGED, "broken")
    return task


def fail_on_two(task: int) -> int:
    return 1 // (task - 2)


def die_on_two(task: int) -> int:
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def has_tensorflow(task: int) -> bool:
    return "tensorflow" in sys.modules


@pytest.mark.parametrize("workers", [1, 3])
def test_results_come_in_the_order_of_the_tasks(workers):
    results = list(LocalExecutor(workers).run(slow_first, range(20)))
    assert [square for square, _ in results] == [task * task for task in range(20)]
    processes = {process for _, process in results}
    assert (processes == {os.getpid()}) == (workers == 1)
    # While the first task sleeps, the others go on.
    assert len(processes) >= min(2, workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_ours_arrives_as_it_was_raised(workers):
    results = LocalExecutor(workers).run(refuse_three, range(8))
    with pytest.raises(MediaError, match=r"a/b\.jpg: broken") as caught:
        list(results)
    assert caught.value.cause is Cause.DAMAGED


def test_any_other_error_arrives_with_its_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)ZeroDivisionError.*fail_on_two"):
        list(LocalExecutor(2).run(fail_on_two, range(8)))


def test_a_killed_worker_is_one_clear_line():
    with pytest.raises(WorkerDied, match=r"killed by signal 9 .*run the same command") as caught:
        list(LocalExecutor(2).run(die_on_two, range(8)))
    assert "\n" not in str(caught.value)


def test_an_abandoned_run_ends_its_workers():
    results = LocalExecutor(2).run(slow_first, range(100))
    _, pid = next(results)
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_no_workers_are_refused():
    with pytest.raises(InputError, match="got 0, expected at least 1"):
        LocalExecutor(0)


SLEEPERS = """
import os, signal, sys, time
from pathlib import Path
from pipelines.executors import LocalExecutor

# A shell starts background jobs with SIGINT ignored, and tests may run in one.
signal.signal(signal.SIGINT, signal.default_int_handler)

def sleep(task):
    Path(sys.argv[1], f"{os.getpid()}").touch()
    time.sleep(60)

if __name__ == "__main__":
    try:
        list(LocalExecutor(2).run(sleep, range(4)))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_their_parent(tmp_path, sent):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    pids = tmp_path / "pids"
    pids.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(script), str(pids)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    wait_until(lambda: len(list(pids.iterdir())) == 2)
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # as a terminal does: the whole group
    else:
        process.kill()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == (130 if sent == signal.SIGINT else -signal.SIGKILL)
    assert errors == b""
    workers = [int(path.name) for path in pids.iterdir()]
    wait_until(lambda: not any(runs(pid) for pid in workers))


def runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"  # a zombie waits for an init that may not reap


def wait_until(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
