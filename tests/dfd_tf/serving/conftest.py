"""Runs, pictures, and a server: within the process, and as a process of its own."""

import os
import queue
import re
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field

import numpy as np
import pytest
import requests
from served_runs import TINY_NETWORK, as_clip, as_jpeg, write_run

from dfd_tf.serving.application import create_app
from dfd_tf.serving.service import Service
from dfd_tf.serving.settings import ServeSettings
from pipelines.settings import MediaLimits
from pipelines.sources.synthetic_portraits import render_face

LIMITS = MediaLimits(max_image_bytes=2**20, max_video_bytes=2**22, max_pixels=4_000_000)


@pytest.fixture(scope="session")
def served_run(tmp_path_factory):
    """An untrained run that takes whole images for faces."""
    return write_run(tmp_path_factory.mktemp("served") / "whole", *TINY_NETWORK)


@pytest.fixture(scope="session")
def haar_run(tmp_path_factory):
    """An untrained autoencoder on faces found by Haar, uncalibrated."""
    folder = tmp_path_factory.mktemp("served_haar") / "haar"
    changes = ("detector.image_size=32", "detector.perceptual_weights=none")
    return write_run(folder, *changes, config="dae_small", faces="haar", calibrated=False)


@pytest.fixture(scope="session")
def portraits():
    """Eight rendered people as JPEG files."""
    return [as_jpeg(render_face(31, person, 0, 200).pixels) for person in range(8)]


@pytest.fixture(scope="session")
def clip():
    """A clip of six frames with one face."""
    portrait = render_face(31, 3, 0, 200).pixels
    return as_clip([portrait, np.roll(portrait, 4, axis=1)] * 3)


@pytest.fixture(scope="session")
def service(served_run, haar_run, tmp_path_factory):
    """A service of both runs with small limits."""
    settings = ServeSettings(workers=2, max_pending=32, limits=LIMITS, image_seconds=60)
    started = Service([str(served_run), str(haar_run)], settings)
    started.start()
    yield started
    started.close()


@pytest.fixture(scope="session")
def app(service):
    return create_app(service)


@pytest.fixture
def client(app):
    return app.test_client()


@dataclass
class LiveServer:
    """`dfd-tf serve` in a process of its own."""

    process: subprocess.Popen
    log: list[str] = field(default_factory=list)
    _urls: queue.Queue = field(default_factory=queue.Queue)

    def __post_init__(self):
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self._urls.get()

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait()

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"serving (http://\S+)", line)
            if found:
                self._urls.put(found[1])
        self._urls.put("")


@pytest.fixture(scope="session")
def start_server():
    """Starts `dfd-tf serve RUN... --port 0 OPTIONS`; the url is empty where it ends instead."""
    started = []

    def start(*arguments, folder=None):
        environment = {**os.environ, "TMPDIR": str(folder)} if folder else None
        command = [sys.executable, "-m", "dfd_tf.cli.main", "serve", "--port", "0"]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        started.append(process)
        return LiveServer(process)

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture(scope="session")
def live_folder(tmp_path_factory):
    """Where the live server keeps its temporary files."""
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="session")
def live(start_server, served_run, live_folder):
    """A live server with small limits."""
    limits = ("--max-image-mib", 1, "--max-video-mib", 4, "--workers", 2)
    server = start_server(served_run, *limits, folder=live_folder)
    assert server.url, "".join(server.log)
    return server


@pytest.fixture
def web():
    """An HTTP client."""
    with requests.Session() as session:
        yield session
