"""`dfd-tf doctor`: what this machine has, and what is missing."""

import json
import os
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import click

PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "numpy",
    "scikit-learn",
    "opencv-python-headless",
    "pillow",
    "av",
    "click",
    "matplotlib",
    "tensorboard",
)


@click.command()
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
def command(output_format: str) -> int:
    """Show devices, precision, packages, pretrained weights and write access.

    Exits with 1 when something the toolkit cannot do without is missing.
    """
    checks = [*_machine(), *_packages(), *_tensorflow(), *_faces(), *_storage()]
    if output_format == "json":
        click.echo(json.dumps(checks, indent=2))
    else:
        _print_table(checks)
    return int(any(check["status"] == "missing" for check in checks))


def _check(area: str, name: str, value: Any, status: str = "ok") -> dict[str, Any]:
    return {"area": area, "name": name, "value": value, "status": status}


def _machine() -> list[dict[str, Any]]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return [
        _check("machine", "system", f"{platform.system()} {platform.machine()}"),
        _check("machine", "python", sys.version.split()[0]),
        _check("machine", "cores", len(os.sched_getaffinity(0))),
        _check("machine", "memory", f"{memory:.1f} GiB"),
    ]


def _packages() -> list[dict[str, Any]]:
    checks = []
    for name in PACKAGES:
        try:
            checks.append(_check("packages", name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            checks.append(_check("packages", name, "not installed", "missing"))
    return checks


def _tensorflow() -> list[dict[str, Any]]:
    from dfd_tf.cli.tensorflow_start import start_tensorflow

    try:
        start_tensorflow()
    except Exception as error:  # whatever is wrong with it, the other checks are still wanted
        reason = " ".join(str(error).split())[:200]
        return [_check("tensorflow", "import", f"{type(error).__name__}: {reason}", "missing")]
    import tensorflow as tf

    from dfd_tf.config.experiment import Training
    from dfd_tf.training.devices import open_devices

    names = [device.name for device in tf.config.list_physical_devices()]
    chosen = open_devices(Training())
    flags = _cpu_flags()
    fast = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags]
    return [
        _check("tensorflow", "devices", ", ".join(names)),
        _check("tensorflow", "cpu extensions", ", ".join(fast) or "none of avx2 and later"),
        _check("tensorflow", "strategy auto means", chosen.strategy),
        _check("tensorflow", "precision auto means", chosen.precision),
    ]


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return set()
    lines = (line for line in info.read_text().splitlines() if line.startswith("flags"))
    return set(next(lines, "").split())


def _faces() -> list[dict[str, Any]]:
    try:
        import cv2
        import cv2.data
    except ImportError as error:
        return [_check("faces", "Haar cascade", f"OpenCV: {error}", "missing")]
    cascade = Path(cv2.data.haarcascades) / "haarcascade_frontalface_default.xml"
    found = cascade.is_file()
    value = "found" if found else "OpenCV 5 has none: install opencv-python-headless<5"
    return [_check("faces", "Haar cascade", value, "ok" if found else "missing")]


def _storage() -> list[dict[str, Any]]:
    checks = []
    home = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    cached = sorted(path.name for path in home.glob("*.h5")) if home.is_dir() else []
    note = ", ".join(cached) or "none; `weights: imagenet` downloads or takes a file"
    checks.append(_check("storage", "cached ImageNet weights", note, "ok" if cached else "note"))
    for name, folder in (("working folder", Path.cwd()), ("temporary", tempfile.gettempdir())):
        writable = os.access(folder, os.W_OK)
        value = "writable" if writable else f"{folder} is not writable"
        checks.append(_check("storage", name, value, "ok" if writable else "note"))
    return checks


def _print_table(checks: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="dfd-tf doctor")
    for column in ("area", "what", "found", ""):
        table.add_column(column)
    marks = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "missing": "[red]missing[/]"}
    for check in checks:
        table.add_row(
            check["area"], check["name"], Text(str(check["value"])), marks[check["status"]]
        )
    Console().print(table)
