"""`dfd-tf serve` as a process of its own, asked over sockets: limits, slow clients, its end."""

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from served_runs import wait_until

from dfd_tf.cli.main import run
from dfd_tf.serving.http import make_server
from dfd_tf.serving.server import listen
from pipelines.errors import InputError

PREDICT = "/api/v1/predict"


def children(process):
    """Process ids of the children of a process."""
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def decoders(server):
    """Its decoding processes; multiprocessing keeps one more for itself."""
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children(server)}
    return [pid for pid, command in commands.items() if b"spawn_main" in command]


def resident_bytes(process):
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(process):
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def converse(port, *parts):
    """Sends bytes as they are and returns the status and the JSON that came back."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(60)
        for part in parts:
            connection.sendall(part)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, body = answer.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), json.loads(body), head


def head(path, *headers, version="1.1"):
    lines = (f"POST {path} HTTP/{version}", "Host: localhost", "Connection: close", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_predictions_and_the_page(live, web, portraits):
    files = {"file": ("x.jpg", portraits[0])}
    answer = web.post(f"{live.url}{PREDICT}", files=files)
    assert answer.status_code == 200
    assert answer.json()["results"][0]["status"] == "ok"
    assert answer.headers["Server"] == "dfd-tf"
    page = web.get(live.url)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "Content-Security-Policy" in page.headers
    assert web.get(f"{live.url}/readyz").status_code == 200


@pytest.mark.parametrize(("path", "mebibytes"), [(PREDICT, 2), ("/api/v1/jobs", 5)])
def test_d02_announced_bodies_over_the_limit(live, path, mebibytes):
    """413 comes without a byte of the body having been sent, and after all of it has been."""
    request = head(path, f"Content-Length: {mebibytes * 2**20}")
    status, body, raw = converse(live.port, request)
    assert (status, list(body)) == (413, ["error"])
    assert b"X-Content-Type-Options: nosniff" in raw
    status, _, _ = converse(live.port, request, b"x" * (mebibytes * 2**20))
    assert status == 413


def test_d02_what_expects_to_be_told_to_continue_is_told_no(live):
    request = head(PREDICT, f"Content-Length: {2**30}", "Expect: 100-continue")
    status, _, raw = converse(live.port, request)
    assert status == 413
    assert b"100 Continue" not in raw


def test_d02_other_addresses_take_small_bodies_only(live):
    status, _, _ = converse(live.port, head("/healthz", f"Content-Length: {2**20}"))
    assert status == 413


@pytest.mark.parametrize(("path", "mebibytes"), [(PREDICT, 2), ("/api/v1/jobs", 5)])
def test_d03_chunked_bodies_over_the_limit(live, path, mebibytes):
    chunk = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    parts = [chunk] * (mebibytes * 16) + [b"0\r\n\r\n"]
    status, body, _ = converse(live.port, head(path, "Transfer-Encoding: chunked"), *parts)
    assert (status, list(body)) == (413, ["error"])


def test_d03_chunked_bodies_within_the_limit(live, portraits):
    data = portraits[0]
    body = f"{len(data):x}\r\n".encode() + data + b"\r\n0\r\n\r\n"
    status, answer, _ = converse(live.port, head(PREDICT, "Transfer-Encoding: chunked"), body)
    assert (status, answer["kind"]) == (200, "image")


def test_d05_slow_clients_hold_nobody_up(live, web):
    slow = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(100)]
    try:
        for connection in slow[:50]:
            connection.sendall(b"POST /api/v1/predict HTTP/1.1\r\nHost: local")
        for connection in slow[50:]:
            connection.sendall(head(PREDICT, "Content-Length: 500000") + b"x" * 100)
        worst = 0.0
        for _ in range(20):
            started = time.monotonic()
            assert web.get(f"{live.url}/healthz").status_code == 200
            worst = max(worst, time.monotonic() - started)
            for connection in slow[50:]:
                connection.sendall(b"x")
        assert worst < 1.0
    finally:
        for connection in slow:
            connection.close()


def test_d05_a_request_must_arrive_in_time(app, service):
    server = make_server(app, service, listen("127.0.0.1", 0))
    server.adj.cleanup_interval = 0
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        with socket.create_connection(("127.0.0.1", server.effective_port)) as slow:
            slow.settimeout(60)
            slow.sendall(head(PREDICT, "Content-Length: 1000") + b"x")
            wait_until(lambda: any(c.request for c in list(server.active_channels.values())))
            (channel,) = server.active_channels.values()
            channel.request.seconds = 0
            assert slow.recv(100) == b""
    finally:
        server.leave()
        thread.join()
        server.task_dispatcher.shutdown()
        server.close()


def test_d05_bodies_together_have_a_budget(live, web, portraits):
    """32 images of the largest size may be on their way; what more is sent is refused."""
    slow = [socket.create_connection(("127.0.0.1", live.port)) for _ in range(40)]
    try:
        for connection in slow:
            connection.settimeout(60)
            connection.sendall(head(PREDICT, f"Content-Length: {2**20}") + b"x" * (2**20 - 1))
        answered, _, _ = select.select(slow, [], [], 60)
        assert answered[0].recv(65536).startswith(b"HTTP/1.1 503")
        assert web.get(f"{live.url}/healthz").status_code == 200
    finally:
        for connection in slow:
            connection.close()
    sent = {"file": ("x.jpg", portraits[0])}
    wait_until(lambda: web.post(f"{live.url}{PREDICT}", files=sent).status_code == 200)


def test_pipelined_requests_are_answered_one_after_another(live):
    """Thousands in one read are neither parsed nor answered before the client reads."""
    request = b"GET /static/card.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
    before, memory = open_files(live.process.pid), resident_bytes(live.process.pid)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", live.port))
        client.sendall(request * 1000)
        time.sleep(0.5)
        assert open_files(live.process.pid) <= before + 3
        assert resident_bytes(live.process.pid) - memory < 4 * 2**20
    last = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", live.port)) as client:
        client.settimeout(60)
        client.sendall(request * 20 + last + request)
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.count(b"HTTP/1.1 200 OK") == 21
    assert answer.endswith(b'{"status":"ok"}\n')


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.0\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 403),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (head(PREDICT, "Content-Length: minus"), 400),
    ],
)
def test_d21_odd_requests(live, request_bytes, status):
    found, body, raw = converse(live.port, request_bytes)
    assert found == status
    assert "error" in body or body == {"status": "ok"}
    assert b"waitress" not in raw


def test_d11_d04_d13_a_server_from_its_lazy_start_to_its_drained_end(
    start_server, served_run, web, portraits, tmp_path
):
    shutil.copytree(str(served_run), tmp_path / "run")
    weights = tmp_path / "run" / "best" / "model.weights.h5"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    server = start_server(tmp_path / "run", "--lazy", "--max-pending", 2, "--workers", 1)
    files = {"file": ("x.jpg", portraits[0])}

    def status(path):
        return web.get(f"{server.url}{path}").status_code

    # D-11: a damaged model is not served, and the server says so and lives.
    assert (status("/healthz"), status("/readyz")) == (200, 503)
    assert web.post(f"{server.url}{PREDICT}", files=files).status_code == 503
    weights.write_bytes(whole)
    wait_until(lambda: status("/readyz") == 200)
    assert web.get(f"{server.url}/api/v1/models").json()["models"][0]["name"] == "run"
    assert any("sha256" in line for line in server.log)
    assert web.post(f"{server.url}{PREDICT}", files=files).status_code == 200

    decoding = decoders(server.process.pid)
    for pid in decoding:
        os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as pool:
        stuck = [pool.submit(requests.post, f"{server.url}{PREDICT}", files=files) for _ in "12"]
        wait_until(lambda: "pending_predictions 2.0" in web.get(f"{server.url}/metrics").text)
        # D-04: one more is refused at once.
        started = time.monotonic()
        refused = web.post(f"{server.url}{PREDICT}", files=files)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert status("/healthz") == 200
        assert time.monotonic() - started < 5
        # D-13: what is under way is answered, what is new is refused.
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: status("/readyz") == 503)
        late = web.post(f"{server.url}{PREDICT}", files=files)
        assert (late.status_code, status("/healthz")) == (503, 200)
        time.sleep(1)
        for pid in decoding:
            os.kill(pid, signal.SIGCONT)
        assert [one.result().status_code for one in stuck] == [200, 200]
    started = time.monotonic()
    assert server.process.wait() == 0
    assert time.monotonic() - started < 20


def test_d11_damaged_and_missing_models_end_the_start(served_run, capsys, tmp_path):
    shutil.copytree(str(served_run), tmp_path / "run")
    weights = tmp_path / "run" / "best" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1])
    for folder, code in (("run", 5), ("none", 2)):
        assert run(["serve", str(tmp_path / folder), "--port", "0", "--workers", "1"]) == code
        assert re.fullmatch(r"dfd-tf: error: .*\n", capsys.readouterr().err)


def test_an_address_that_is_taken(live):
    with pytest.raises(InputError, match="cannot listen there"):
        listen("127.0.0.1", live.port)
    with pytest.raises(InputError, match="cannot listen there"):
        listen("no.such.host.invalid", 0)


def test_d14_a_killed_decoder_fails_its_own_request_only(live, web, portraits):
    files = {"file": ("x.jpg", portraits[0])}
    for pid in decoders(live.process.pid):
        os.kill(pid, signal.SIGKILL)
    codes = [web.post(f"{live.url}{PREDICT}", files=files).status_code for _ in range(6)]
    assert codes[-1] == 200
    assert set(codes) <= {200, 422}


def test_d18_d23_hundreds_of_mixed_requests(live, live_folder, web, portraits, clip):
    """Memory, descriptors and temporary files stay where they are; so does the server."""
    url = f"{live.url}{PREDICT}"

    def ask(number):
        kind = number % 10
        if kind == 0:
            return web.post(url, data=b"no image").status_code
        if kind == 1:
            return web.post(url, files={"file": ("x.jpg", portraits[0][:300])}).status_code
        if kind == 2:
            with socket.create_connection(("127.0.0.1", live.port)) as connection:
                connection.sendall(head(PREDICT, "Content-Length: 200000") + b"x" * 70_000)
            return 499
        if kind == 3:
            return web.post(url, data=b"x" * (2**20 + 2**17)).status_code
        if kind == 4:
            answer = web.post(f"{live.url}/api/v1/jobs", files={"file": ("x.mp4", clip)})
            if answer.status_code == 202:
                web.delete(f"{live.url}{answer.headers['Location'].removeprefix(live.url)}")
            return answer.status_code
        return web.post(url, files={"file": ("x.jpg", portraits[number % 8])}).status_code

    process = live.process.pid
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(60)))
        memory, files = resident_bytes(process), open_files(process)
        codes = list(pool.map(ask, range(240)))
    assert {200, 413, 422} <= set(codes) <= {200, 202, 413, 422, 499, 503}
    assert codes.count(200) >= 110
    wait_until(lambda: open_files(process) <= files + 20)
    assert resident_bytes(process) - memory < 50 * 2**20
    # One private folder, and no file of an upload in it, nor anything of TensorFlow's beside it.
    (folder,) = live_folder.iterdir()
    wait_until(lambda: [path.name for path in folder.iterdir()] == ["scratch"])
    assert web.get(f"{live.url}/healthz").status_code == 200


def test_a_job_is_cancelled_while_its_decoder_hangs(live, web, clip):
    stopped = decoders(live.process.pid)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    job = web.post(f"{live.url}/api/v1/jobs", files={"file": ("x.mp4", clip)}).json()["job"]
    address = f"{live.url}/api/v1/jobs/{job['id']}"
    wait_until(lambda: web.get(address).json()["job"]["state"] == "running")
    web.delete(address)
    wait_until(lambda: web.get(address).json()["job"]["state"] == "cancelled")
    wait_until(lambda: sum(not Path(f"/proc/{pid}").exists() for pid in stopped) == 1)
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_d25_tensorflow_is_never_forked(live):
    """Whatever the server started is a fresh interpreter without TensorFlow."""
    found = children(live.process.pid)
    assert len(decoders(live.process.pid)) == 3
    assert all("tensorflow" not in Path(f"/proc/{pid}/maps").read_text() for pid in found)


def test_d19_the_log_has_one_line_a_request(live, web, portraits):
    before = len(live.log)
    web.post(f"{live.url}{PREDICT}", files={"file": ("marker.jpg", portraits[0])})
    web.get(f"{live.url}/marker")
    wait_until(lambda: len(live.log) >= before + 2)
    lines = live.log[before:]
    assert [line.split()[3:6] for line in lines] == [
        ["POST", PREDICT, "200"], ["other", "(no", "route)"],
    ]  # fmt: skip
    assert not any("marker" in line for line in live.log)


def test_d13_d18_the_end_leaves_nothing(live, live_folder, web):
    """The last of this file: it ends the server."""
    pids = children(live.process.pid)
    assert live.stop(signal.SIGINT) == 0
    assert not list(live_folder.glob("dfd-tf-*"))
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    assert not any("Traceback" in line for line in live.log)
