"""The page in Chromium, before `dfd-tf serve` with two small runs.

Without Chromium, playwright or axe-core the tests are skipped, or fail where
DFD_TF_REQUIRE_BROWSER=1 says that they have to run.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browser_media import write_media
from browser_page import Visit

ROOT = Path(__file__).resolve().parents[2]
AXE = ROOT / ".ci" / "node" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def pytest_collection_modifyitems(items):
    missing = missing_programs()
    if not missing or os.environ.get("DFD_TF_REQUIRE_BROWSER") == "1":
        return
    skip = pytest.mark.skip(reason=f"needs {', '.join(missing)}: run .ci/browser")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(skip)


def missing_programs():
    """Names what the tests need and this machine does not have."""
    found = {
        "chromium": chromium(),
        "playwright": importlib.util.find_spec("playwright"),
        f"axe-core in {AXE.relative_to(ROOT)}": AXE.is_file(),
    }
    return [name for name, there in found.items() if not there]


def chromium():
    return next(filter(None, map(shutil.which, CHROMIUM)), None)


@pytest.fixture(scope="session")
def browser():
    missing = missing_programs()
    if missing:
        pytest.fail(f"DFD_TF_REQUIRE_BROWSER=1, and missing: {', '.join(missing)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def axe_source():
    return AXE.read_text()


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("browser_media"))


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """A calibrated `spatial` with two operating points, an uncalibrated `dae`; both untrained."""
    sys.path.append(str(ROOT / "tests" / "dfd_tf" / "serving"))
    from browser_runs import write_runs

    return write_runs(tmp_path_factory.mktemp("browser_runs"))


@pytest.fixture(scope="session")
def url(runs, tmp_path_factory):
    """The address of the server."""
    log = tmp_path_factory.mktemp("browser_server") / "log.txt"
    command = [sys.executable, "-m", "dfd_tf.cli.main", "serve", "--port", "0", "--workers", "1"]
    with log.open("w") as file:
        process = subprocess.Popen([*command, *map(str, runs)], stdout=file, stderr=file)
        try:
            yield serving_at(log, process)
        finally:
            process.kill()
            process.wait()


def serving_at(log, process):
    while process.poll() is None:
        found = re.search(r"serving (http://\S+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.1)
    raise RuntimeError(log.read_text())


@pytest.fixture
def visit(browser, url, media, axe_source):
    """Opens the page as asked; what the browser complained about fails the test in the end."""
    visits = []

    def open_page(**options):
        visits.append(Visit(browser, url, media, axe_source, **options))
        return visits[-1]

    yield open_page
    for one in visits:
        one.close()
