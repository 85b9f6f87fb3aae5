"""`dfd-tf serve` under load: throughput against the bare network, slow clients, a long mixed run.

    python -m benchmarks.serve_load RUN [--images FOLDER] [--seconds 60]
    python -m benchmarks.serve_load --random spatial          ResNet50, 224 px, random weights
    python -m benchmarks.serve_load --random spatial_small --faces haar

The server runs in a process of its own and is asked over loopback by clients in another, so they
share the cores with it. The bare network scores the server's own batch size and 32 images a call,
from memory, before and after; the best of both counts. Faces are rendered unless a folder is given.
"""

import argparse
import json
import multiprocessing
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
from rich.console import Console
from rich.table import Table

from benchmarks.untrained_run import write_untrained_run
from pipelines.sources.synthetic_portraits import render_face

PREDICT = "/api/v1/predict"
NUM_IMAGES = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="run directory")
    parser.add_argument("--random", metavar="CONFIG", help="a run of random weights instead")
    parser.add_argument("--faces", default="none", help="face detector of the random run")
    parser.add_argument("--images", type=Path, help="folder of JPEG files; rendered if not given")
    parser.add_argument("--side", type=int, default=256, help="of rendered images, pixels")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--mixed", type=int, default=2000, help="requests good and bad")
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="for the server")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serve-load-") as folder:
        run = options.run or random_run(Path(folder, f"random-{options.random}"), options)
        images = read_images(options.images, options.side)
        before = in_process(bare_network, run)
        server = Server(run, options.options, Path(folder, "tmp"))
        try:
            load = put_under_load(server, images, options)
            slow = slow_clients(server)
            mixed = mixed_requests(server, images, options.mixed) if options.mixed else {}
            server.stop()
        finally:
            server.process.kill()
        after = in_process(bare_network, run)
    report(
        run, options, {size: max(before[size], after[size]) for size in before}, load, slow, mixed
    )


def random_run(folder: Path, options: argparse.Namespace) -> str:
    """Writes a run as training would, but for the training."""
    in_process(write_untrained_run, str(folder), options.random, options.faces)
    return str(folder)


def read_images(folder: Path | None, side: int) -> list[bytes]:
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:NUM_IMAGES]]
    rendered = [render_face(7, person, 0, side).pixels for person in range(NUM_IMAGES)]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 90]
    encoded = [cv2.imencode(".jpg", pixels[..., ::-1], quality)[1] for pixels in rendered]
    return [data.tobytes() for data in encoded]


def in_process(function: Callable[..., Any], *arguments: object) -> Any:
    """Calls a function in a fresh process, so that its TensorFlow takes no memory here."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def bare_network(run: str) -> dict[int, tuple[float, float]]:
    """The network alone, by batch size: images a second, and milliseconds of CPU an image."""
    import numpy as np

    from dfd_tf.inference.predictor import BATCH_SIZE, load_predictor
    from dfd_tf.serving.settings import ServeSettings

    predictor = load_predictor(run)
    side = predictor.image_size
    speeds = {}
    for size in (ServeSettings().batch_size, BATCH_SIZE):
        sized = replace(predictor, batch_size=size)
        images = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), np.uint8)
        sized.score(images)
        sized.score(images)
        calls, started, computed = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - started < 6:
            sized.score(images)
            calls += 1
        scored = calls * size
        rate = scored / (time.perf_counter() - started)
        speeds[size] = rate, 1e3 * (time.process_time() - computed) / scored
    return speeds


class Server:
    """`dfd-tf serve` with temporary files of its own."""

    def __init__(self, run: str, options: list[str], folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        command = [sys.executable, "-m", "dfd_tf.cli.main", "serve", run, "--port", "0", *options]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"TMPDIR": str(folder)},
        )
        for line in self.process.stderr:
            if found := re.search(r"serving http://.*:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise SystemExit("the server did not start")
        threading.Thread(target=self._drop_log, daemon=True).start()

    def _drop_log(self) -> None:
        for _ in self.process.stderr:
            pass

    @property
    def mebibytes(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    @property
    def num_files(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    @property
    def temporary_files(self) -> int:
        """Left in the server's own folder; TensorFlow keeps generated code beside it."""
        return sum(path.is_file() for path in self.folder.glob("dfd-tf-*/**/*"))

    def cpu_seconds(self) -> dict[str, float]:
        """Time the server and its decoding processes have computed."""
        pid = self.process.pid
        children = []
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
        return {"server": _cpu_seconds(pid), "decoding": sum(map(_cpu_seconds, children))}

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == 0, "the server did not end cleanly"


def _cpu_seconds(pid: int | str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """What clients saw."""

    rate: float
    milliseconds: list[float]
    codes: dict[str, int]
    mebibytes: tuple[float, float, float]
    cpu: dict[str, float]
    batch: float


def put_under_load(server: Server, images: list[bytes], options: argparse.Namespace) -> Load:
    ask(server.port, images[0])
    at_start = server.mebibytes
    clients = multiprocessing.get_context("spawn").Pool(1)
    warm = clients.apply_async(_clients, (server.port, images, options.clients, 10.0))
    warm.get()
    after_10 = server.mebibytes
    cpu, batches = server.cpu_seconds(), batch_counts(server)
    seconds, codes = clients.apply(
        _clients, (server.port, images, options.clients, options.seconds)
    )
    spent = {name: value - cpu[name] for name, value in server.cpu_seconds().items()}
    calls, scored = (now - then for now, then in zip(batch_counts(server), batches, strict=True))
    clients.close()
    clients.join()
    return Load(
        rate=codes["200"] / options.seconds,
        milliseconds=[1e3 * one for one in seconds],
        codes=dict(codes),
        mebibytes=(at_start, after_10, server.mebibytes),
        cpu=spent,
        batch=scored / max(1, calls),
    )


def batch_counts(server: Server) -> tuple[float, float]:
    connection = HTTPConnection("127.0.0.1", server.port)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    calls = re.search(r"^dfd_batch_images_count (\S+)", text, re.M)[1]
    images = re.search(r"^dfd_batch_images_sum (\S+)", text, re.M)[1]
    return float(calls), float(images)


def _clients(
    port: int, images: list[bytes], count: int, seconds: float
) -> tuple[list[float], Counter]:
    """Asks from `count` threads for a while; times of the answers, and their codes."""
    end = time.monotonic() + seconds
    times: list[float] = []
    codes: Counter = Counter()

    def run(number: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        while time.monotonic() < end:
            started = time.monotonic()
            try:
                connection.request("POST", PREDICT, images[number % len(images)])
                answer = connection.getresponse()
                answer.read()
                codes[str(answer.status)] += 1
            except OSError as error:
                codes[type(error).__name__] += 1
                connection.close()
            times.append(time.monotonic() - started)
            number += 1
        connection.close()

    threads = [threading.Thread(target=run, args=(7 * n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, codes


def ask(port: int, data: bytes, path: str = PREDICT, method: str = "POST") -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, data or None)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def slow_clients(server: Server) -> dict[str, float]:
    """Worst time of /healthz in seconds while 50 clients dribble headers, and 50 bodies."""
    head = b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n"
    slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    for connection in slow[50:]:
        connection.sendall(head + b"\r\n")
    worst, end = 0.0, time.monotonic() + 10
    while time.monotonic() < end:
        for place, connection in enumerate(slow):
            connection.sendall(head[:1] if place < 50 else b"x")
        started = time.monotonic()
        assert ask(server.port, b"", "/healthz", "GET") == 200
        worst = max(worst, time.monotonic() - started)
        time.sleep(0.1)
    for connection in slow:
        connection.close()
    return {"worst": worst}


def mixed_requests(server: Server, images: list[bytes], count: int) -> dict[str, Any]:
    """Good and bad requests from 8 clients; what is left of them in the server."""
    codes: Counter = Counter()

    def run(numbers: range) -> None:
        for number in numbers:
            codes[_mixed(server.port, images, number)] += 1

    def all_of(numbers: range) -> None:
        threads = [threading.Thread(target=run, args=(numbers[n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    all_of(range(200))
    time.sleep(2)
    mebibytes, files = server.mebibytes, server.num_files
    codes.clear()
    all_of(range(count))
    time.sleep(8)  # connections that were refused linger for 5 s
    return {
        "requests": count,
        "growth MiB": server.mebibytes - mebibytes,
        "files": server.num_files - files,
        "temporary files": server.temporary_files,
        "codes": dict(sorted(codes.items())),
    }


def _mixed(port: int, images: list[bytes], number: int) -> str:
    good = images[number % len(images)]
    kind = number % 10
    if kind == 0:
        return str(ask(port, b"no image at all"))
    if kind == 1:
        return str(ask(port, good[: len(good) // 2]))
    if kind == 2:
        return str(ask(port, good, f"{PREDICT}?model=nobody"))
    if kind == 3:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            request = f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
            connection.sendall(request.encode() + good[:5000])
        return "aborted"
    if kind == 4:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            size = 2**30
            request = (
                f"POST {PREDICT} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
            )
            connection.sendall(request.encode())
            return connection.recv(12).decode().split()[1]
    if kind == 5:
        return str(ask(port, good, "/api/v1/jobs"))
    return str(ask(port, good, f"{PREDICT}?explain=true" if kind == 6 else PREDICT))


def report(
    run: str,
    options: argparse.Namespace,
    bare: dict[int, tuple[float, float]],
    load: Load,
    slow: dict[str, float],
    mixed: dict[str, Any],
) -> None:
    table = Table(title=f"{Path(run).name}, {options.clients} clients, {options.seconds:g} s")
    table.add_column("figure")
    table.add_column("value", justify="right")
    times = statistics.quantiles(load.milliseconds, n=100)
    (own, (own_rate, own_cpu)), (large, (large_rate, large_cpu)) = sorted(bare.items())
    server, decoding = (1e3 * load.cpu[who] / len(load.milliseconds) for who in load.cpu)
    rows = {
        "requests/s": f"{load.rate:.1f}",
        f"bare network, batches of {large}, images/s": f"{large_rate:.1f}",
        f"bare network, batches of {own}, images/s": f"{own_rate:.1f}",
        f"ratio to batches of {large}": f"{load.rate / large_rate:.2f}",
        f"ratio to batches of {own}": f"{load.rate / own_rate:.2f}",
        "images a network call": f"{load.batch:.1f}",
        "p50 / p95 / p99, ms": " / ".join(f"{times[n - 1]:.0f}" for n in (50, 95, 99)),
        "answers": json.dumps(load.codes),
        f"bare network, batches of {large} / {own}, CPU ms an image": (
            f"{large_cpu:.1f} / {own_cpu:.1f}"
        ),
        "CPU ms a request, server / decoding": f"{server:.1f} / {decoding:.1f}",
        "ratio of CPU time": f"{large_cpu / (server + decoding):.2f}",
        "server RSS at start / 10 s / end, MiB": " / ".join(f"{one:.0f}" for one in load.mebibytes),
        "worst /healthz beside 100 slow clients, s": f"{slow['worst']:.3f}",
        **{f"mixed: {name}": str(value) for name, value in mixed.items()},
    }
    for name, value in rows.items():
        table.add_row(name, value)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
