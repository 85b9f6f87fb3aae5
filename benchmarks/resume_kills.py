"""Kills trainings with SIGKILL at seeded steps, resumes them, and compares with an undisturbed one.

    python benchmarks/resume_kills.py spatial_small --data RECORDS --kills 20 --runs 4

The kills are shared out among the runs; a run is killed and resumed at each of its steps in turn
and then finishes. Final state, history and best weights must have the sha256 of the undisturbed
run. Every phase gets its share of the kills. Exits 1 if anything differs.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from rich.console import Console
from rich.table import Table

from dfd_tf.config.run_directory import RunDirectory


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--data", type=Path, required=True, help="record folder")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--runs", type=int, default=4, help="runs that share the kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the runs; temporary if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dfd-tf-") as folder:
        return compare(options, options.keep or Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> int:
    undisturbed = folder / "undisturbed"
    train(options, undisturbed, kill_at=0)
    expected = fingerprints(undisturbed)
    steps = kill_steps(undisturbed, options.kills, random.Random(options.seed))
    table = Table("run", "killed after step", "phase", "resumed from", "seconds", "equal")
    failed = 0
    for number in range(options.runs):
        run = folder / f"killed-{number}"
        rows = []
        for step, phase in steps[number :: options.runs]:
            began = time.monotonic()
            code = train(options, run, kill_at=step)
            if code != -signal.SIGKILL:
                raise SystemExit(f"{run}: exit code {code} instead of a kill at step {step}")
            seconds = time.monotonic() - began
            rows.append([str(number), str(step), phase, newest_name(run), f"{seconds:.0f}", ""])
        train(options, run, kill_at=0)
        found = fingerprints(run)
        different = [name for name in expected if found.get(name) != expected[name]]
        failed += bool(different)
        verdict = f"differs: {', '.join(different)}" if different else "yes"
        for row in rows:
            table.add_row(*row)
        table.add_row(str(number), "finished", "", "", "", verdict, end_section=True)
    console = Console(width=120)
    console.print(table)
    for name, digest in expected.items():
        console.print(f"{digest}  {name}", highlight=False)
    console.print(f"{len(steps)} kills in {options.runs} runs, {failed} runs differ")
    return 1 if failed else 0


def kill_steps(run: Path, count: int, generator: random.Random) -> list[tuple[int, str]]:
    """Draws steps, equally many of each phase, ascending within each run they are dealt to."""
    phases: dict[str, list[int]] = {}
    begun = 0
    for row in _history(run):
        phases.setdefault(row["phase"], []).extend(range(begun + 1, row["steps"] + 1))
        begun = row["steps"]
    shares = {name: count // len(phases) for name in phases}
    for name in list(phases)[: count % len(phases)]:
        shares[name] += 1
    drawn = [
        (step, name)
        for name, steps in phases.items()
        for step in generator.sample(steps, min(shares[name], len(steps)))
    ]
    return sorted(drawn)


def train(options: argparse.Namespace, run: Path, *, kill_at: int) -> int:
    request = [options.config, options.overrides, str(options.data), str(run), kill_at]
    command = [sys.executable, __file__, "--child", json.dumps(request)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode not in {0, -signal.SIGKILL}:
        raise SystemExit(f"{run}: exit code {finished.returncode}\n{finished.stderr[-2000:]}")
    return finished.returncode


def child(config: str, overrides: list[str], records: str, run: str, kill_at: int) -> None:
    from dfd_tf.config.loading import load_experiment
    from dfd_tf.training import run as run_module
    from dfd_tf.training.step_callbacks import Clock

    original = Clock.on_train_batch_end

    def on_train_batch_end(self: Clock, batch: int, logs: dict | None = None) -> None:
        original(self, batch, logs)
        if self.position.total_steps == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Clock.on_train_batch_end = on_train_batch_end
    run_module.train(load_experiment(config, overrides), Path(records), run, resume=True)


def fingerprints(run: Path) -> dict[str, str]:
    states = sorted((run / "checkpoints").glob("*.state"))
    files = [states[-1], run / "history.csv", *sorted((run / "best").iterdir())]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def newest_name(run: Path) -> str:
    from dfd_tf.training.state_keeper import state_paths

    return state_paths(RunDirectory(run))[0].name


def _history(run: Path) -> list[dict]:
    from dfd_tf.training.state_keeper import newest_state

    state = newest_state(RunDirectory(run), print)
    if state is None:
        raise SystemExit(f"{run}: no state")
    return state.meta["history"]


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(*json.loads(sys.argv[2]))
    else:
        sys.exit(main())
