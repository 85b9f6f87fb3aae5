"""The start and the end of a server."""

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

from served_runs import wait_until

from dfd_tf.serving import server as server_module
from dfd_tf.serving.server import _drain, raise_file_limit


def test_a_signal_during_the_start_leaves_nothing(served_run, tmp_path):
    command = [sys.executable, "-m", "dfd_tf.cli.main", "serve", str(served_run), "--port", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    try:
        wait_until(lambda: list(tmp_path.glob("dfd-tf-serve-*/scratch")))
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate()
    finally:
        process.kill()
    assert process.returncode == 143
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


def test_waiting_for_work_and_for_clients_has_one_end():
    settings = SimpleNamespace(drain_seconds=0.3)
    jobs = SimpleNamespace(num_active=1)
    service = SimpleNamespace(settings=settings, jobs=jobs, num_pending=1)
    left = threading.Event()
    started = time.monotonic()
    _drain(SimpleNamespace(has_work=True, leave=left.set), service)
    assert left.is_set()
    assert 0.3 <= time.monotonic() - started < 3


def test_as_many_files_as_may_be(monkeypatch):
    found = []
    fake = SimpleNamespace(
        RLIMIT_NOFILE=resource.RLIMIT_NOFILE,
        RLIM_INFINITY=resource.RLIM_INFINITY,
        getrlimit=lambda _: (1024, 4096),
        setrlimit=lambda _, limits: found.append(limits),
    )
    monkeypatch.setattr(server_module, "resource", fake)
    raise_file_limit()
    assert found == [(4096, 4096)]
