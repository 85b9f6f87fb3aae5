"""All five detectors and their ensemble, trained on several sets and judged on several others.

    python benchmarks/detectors_table.py --out FOLDER --weights squeezenet_notop.h5 \\
        --train ciplab=R1,R1_AND_UNLABELLED --train real=R2 --test ciplab=R1 --test stylegan2=R3

A training set is NAME=RECORDS, or NAME=RECORDS,RECORDS_OF_DANN where `dann`, which needs two
domains, takes others (say, the same ones with unlabelled images of the target). Supervised
detectors get pseudo-fakes where the records hold no fakes; `spatial` has a recipe of its own there.
What is trained already is kept, so an interrupted table goes on where it stopped.
`*`: the interval holds 0.5, chance.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.media_item import FAKE
from pipelines.records.manifest import load_manifest

CONFIGS = {
    "spatial": "spatial_small",
    "dann": "dann_small",
    "gan": "gan_small",
    "dae": "dae_small",
    "residual_ae": "residual_ae_small",
}
WITHOUT_FAKES = "spatial_blends_small"
BACKBONES = ("spatial", "dann")
SUPERVISED = ("spatial", "dann", "gan")
FINE_TUNING = (
    'detector.phases=[{"name": "head", "epochs": 1, "learning_rate": 1.0e-3,'
    ' "freeze_backbone": true},'
    ' {"name": "all", "epochs": 8, "learning_rate": 1.0e-4, "early_stop_patience": 5}]'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="where the runs go")
    parser.add_argument("--train", action="append", required=True, metavar="NAME=RECORDS")
    parser.add_argument("--test", action="append", required=True, metavar="NAME=RECORDS")
    parser.add_argument("--weights", type=Path, help="SqueezeNet without top, for spatial and dann")
    parser.add_argument("--size", type=int, default=128, help="image size of spatial and dann")
    parser.add_argument("--detectors", nargs="+", default=list(CONFIGS), choices=list(CONFIGS))
    parser.add_argument("--set", action="append", default=[], help="for every training")
    options = parser.parse_args()
    tests = dict(named(text) for text in options.test)
    table = Table(title="test AUC [95 % interval]")
    for column in ("trained on", "detector", *tests):
        table.add_column(column)
    for text in options.train:
        name, records = named(text)
        runs = []
        for detector in options.detectors:
            run = options.out / f"{name}-{detector}"
            if not (run / "calibration.json").is_file():
                train(detector, records, run, options)
            runs.append(run)
            table.add_row(name, detector, *(auc(run, folders[0]) for folders in tests.values()))
        ensemble = options.out / f"{name}-ensemble"
        if not (ensemble / "calibration.json").is_file():
            command = ["ensemble", *map(str, runs), "--data", str(records[0])]
            dfd_tf(*command, "--run", str(ensemble))
        table.add_row(name, "ensemble", *(auc(ensemble, folders[0]) for folders in tests.values()))
        table.add_section()
    Console(width=120).print(table)


def train(detector: str, records: Sequence[Path], run: Path, options: argparse.Namespace) -> None:
    folder = records[-1] if detector == "dann" else records[0]
    counts = load_manifest(folder).counts()["train"]
    has_fakes = any(key.startswith(f"{FAKE}|") for key in counts)
    config = CONFIGS[detector] if has_fakes or detector != "spatial" else WITHOUT_FAKES
    changes = list(options.set)
    if detector in BACKBONES:
        changes.append(f"detector.image_size={options.size}")
        if options.weights is not None:
            changes.append(f"detector.weights={options.weights}")
            changes += [FINE_TUNING] if config != WITHOUT_FAKES else []
    if detector in SUPERVISED and not has_fakes and config != WITHOUT_FAKES:
        changes.append('data.pseudo_fakes={"self_blend": 1.0, "splice": 1.0, "resample": 0.3}')
    command = ["train", config, "--data", str(folder), "--run", str(run)]
    if run.exists():
        command.append("--resume")
    dfd_tf(*command, *(part for change in changes for part in ("--set", change)))


def auc(run: Path, records: Path) -> str:
    name = load_manifest(records).name
    report = run / "reports" / name / "test" / "metrics.json"
    if not report.is_file():
        dfd_tf("evaluate", str(run), "--data", str(records))
    found = json.loads(report.read_text())["levels"]["image"]["ranking"]["auc"]
    if found["low"] is None:
        return f"{found['value']:.3f}, no interval"
    chance = " *" if found["low"] <= 0.5 <= found["high"] else ""
    return f"{found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]{chance}"


def named(text: str) -> tuple[str, list[Path]]:
    name, _, folders = text.partition("=")
    return name, [Path(folder) for folder in folders.split(",")]


def dfd_tf(*arguments: str) -> None:
    subprocess.run([Path(sys.executable).with_name("dfd-tf"), *arguments], check=True)


if __name__ == "__main__":
    main()
