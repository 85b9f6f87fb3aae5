"""`prepare` killed, stopped, damaged and run again: the same bytes, and nothing done twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock
from prepare_samples import KILLED, NUM_IMAGES, REPOSITORY, contents, run

from pipelines.errors import InputError
from pipelines.output_folder import WORK
from pipelines.prepare import Progress


@pytest.mark.parametrize(
    "moment",
    [
        "pipelines.prepare index_items + 2",
        "pipelines.records.writer ShardWriter.write - 1",
        "pipelines.records.writer ShardWriter.write + 100",
        "pipelines.shard_work _save_note - 2",
        "pipelines.shard_work _save_note + 4",
        "pipelines.prepare save_manifest - 1",
    ],
)
def test_killed_anywhere_and_run_again_gives_the_same_bytes(photos, reference, tmp_path, moment):
    out = tmp_path / "records"
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(photos), str(out)]
    killed = subprocess.run(
        [*command, moment],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert not (out / "manifest.json").exists()
    whole = contents(reference)
    for name, data in contents(out).items():
        # What has its final name is whole already.
        assert ".tmp-" in name or data == whole[name], name
    run(photos, out)
    assert contents(out) == whole


def test_finished_shards_are_not_written_again(photos, reference, tmp_path):
    out = tmp_path / "records"
    run(photos, out)
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("faces-*")}
    events: list[Progress] = []
    run(photos, out, progress=events.append)
    assert {path.name: path.stat().st_mtime_ns for path in out.glob("faces-*")} == times
    assert events[-1] == Progress("shards", NUM_IMAGES, NUM_IMAGES, reused=NUM_IMAGES)


@pytest.mark.parametrize("fault", ["delete", "cut", "flip", "note"])
def test_a_damaged_shard_is_restored_and_no_other_touched(photos, reference, tmp_path, fault):
    out = tmp_path / "records"
    run(photos, out)
    victim, *others = sorted(out.glob("faces-train*"))
    times = {path.name: path.stat().st_mtime_ns for path in others}
    data = victim.read_bytes()
    if fault == "delete":
        victim.unlink()
    elif fault == "cut":
        victim.write_bytes(data[:-20])
    elif fault == "flip":
        victim.write_bytes(data[:500] + bytes([data[500] ^ 1]) + data[501:])
    else:
        (out / WORK / f"{victim.name}.json").write_text("{}")
    run(photos, out)
    assert contents(out) == contents(reference)
    assert {path.name: path.stat().st_mtime_ns for path in others} == times


def test_what_killed_writers_left_is_removed(photos, reference, tmp_path):
    out = tmp_path / "records"
    (out / WORK).mkdir(parents=True)
    (out / "faces-train.tfrecord-00000-of-00003.tmp-123").write_bytes(b"half")
    (out / WORK / "x.json.tmp-123").write_bytes(b"half")
    run(photos, out)
    assert contents(out) == contents(reference)


def test_a_second_writer_is_refused(photos, tmp_path):
    out = tmp_path / "records"
    (out / WORK).mkdir(parents=True)
    with (
        FileLock(out / WORK / "lock"),
        pytest.raises(InputError, match="another process") as caught,
    ):
        run(photos, out)
    assert caught.value.exit_code == 2
