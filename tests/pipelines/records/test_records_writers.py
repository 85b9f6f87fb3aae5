"""Writers of records that are stopped: full disks, kills, errors (RELIABILITY.md B-20 to B-22)."""

import ast
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from record_samples import sample_record, write_folder

from pipelines.errors import DatasetError
from pipelines.records.files import is_temporary, remove_temporary_files
from pipelines.records.manifest import MANIFEST_NAME, load_manifest, save_manifest, shard_name
from pipelines.records.shards import scan_shard
from pipelines.records.verification import verify_records
from pipelines.records.writer import ShardWriter

ROOT = Path(__file__).resolve().parents[3]
SHARD = shard_name("train", 1, 2)


def run(code, folder):
    """Runs Python code that finds the tests' modules and FOLDER."""
    paths = [str(Path(__file__).parent), str(ROOT)]
    head = f"import sys\nsys.path[:0] = {paths!r}\nFOLDER = {str(folder)!r}\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


FULL_DISK = """
import resource
from pathlib import Path
from record_samples import sample_record
from pipelines.errors import DatasetError
from pipelines.records.writer import ShardWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (%d, %d))
try:
    with ShardWriter(Path(FOLDER) / "faces-train.tfrecord-00000-of-00001", "train") as writer:
        for number in range(%d):
            writer.write(sample_record(number))
except DatasetError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("count", [400, 2], ids=["while writing", "while closing"])
def test_b20_a_full_disk_leaves_nothing(tmp_path, count):
    limit = 100_000 if count > 2 else 3_000
    process = run(FULL_DISK % (limit, limit, count), tmp_path)
    output, errors = process.communicate()
    assert process.returncode == 4, errors
    assert "faces-train.tfrecord-00000-of-00001: cannot be written (File too large)" in output
    assert list(tmp_path.iterdir()) == []


def test_b20_a_full_disk_keeps_the_older_manifest(tmp_path, monkeypatch):
    folder = tmp_path / "records"
    write_folder(folder)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    before = (folder / MANIFEST_NAME).read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DatasetError, match="cannot be written .No space left on device."):
        save_manifest(folder, replace(load_manifest(folder), name="new"))
    assert (folder / MANIFEST_NAME).read_bytes() == before
    assert not any(is_temporary(path.name) for path in folder.iterdir())


def test_b20_an_error_of_the_caller_leaves_nothing_and_passes(tmp_path):
    writer = ShardWriter(tmp_path / SHARD, "train")

    def fail_halfway():
        with writer:
            writer.write(sample_record(0))
            assert [is_temporary(path.name) for path in tmp_path.iterdir()] == [True]
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="not written"):
        _ = writer.info


def test_b21_a_writer_outside_with_is_refused(tmp_path):
    writer = ShardWriter(tmp_path / SHARD, "train")
    with pytest.raises(RuntimeError, match="`with` statements"):
        writer.write(sample_record(0))
    with writer:
        writer.write(sample_record(0))
    with pytest.raises(RuntimeError, match="`with` statements"):
        writer.write(sample_record(1))
    assert scan_shard(tmp_path / SHARD, "train") == writer.info


def unclosed_writers(tree):
    """Line numbers of writers made outside a `with` statement."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    opened = {
        id(item.context_expr)
        for node in ast.walk(tree)
        if isinstance(node, ast.With)
        for item in node.items
    }
    names = {"ShardWriter", "TFRecordWriter", "atomic_file"}
    made = [c for c in calls if getattr(c.func, "attr", getattr(c.func, "id", "")) in names]
    return [
        call.lineno for call in made if id(call) not in opened and not _on_exit_stack(call, tree)
    ]


def _on_exit_stack(call, tree):
    return any(
        isinstance(node, ast.Call)
        and getattr(node.func, "attr", "") == "enter_context"
        and call in node.args
        for node in ast.walk(tree)
    )


def test_b21_every_writer_in_the_code_is_closed():
    assert unclosed_writers(ast.parse("w = ShardWriter(p, 's')\nw.write(r)")) == [1]
    files = [*(ROOT / "pipelines").rglob("*.py"), *(ROOT / "dfd_tf").rglob("*.py")]
    assert len(files) > 20
    found = {str(f): unclosed_writers(ast.parse(f.read_text(encoding="utf-8"))) for f in files}
    assert not any(found.values()), found


ENDLESS = """
from pathlib import Path
from record_samples import sample_record
from pipelines.records.manifest import shard_name
from pipelines.records.writer import ShardWriter
records = [sample_record(number) for number in range(40)]
print("ready", flush=True)
while True:
    for index in range(3):
        with ShardWriter(Path(FOLDER) / shard_name("train", index, 3), "train") as writer:
            for record in records:
                writer.write(record)
"""


def test_b22_kill_while_writing(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    records = [sample_record(number) for number in range(40)]
    manifest = write_folder(whole, [("train", 40)] * 3, records * 3)
    killed.mkdir()
    leftovers = 0
    for delay in (0.0, 0.004, 0.009, 0.013, 0.021, 0.03):
        process = run(ENDLESS, killed)
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.kill()
        process.communicate()
        for path in killed.iterdir():
            if is_temporary(path.name):
                leftovers += 1
            else:
                assert path.read_bytes() == (whole / path.name).read_bytes()
    assert leftovers, "no kill hit a writer at work"
    assert remove_temporary_files(killed)
    write_folder(killed, [("train", 40)] * 3, records * 3)
    assert verify_records(killed, deep=True).fingerprint() == manifest.fingerprint()
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
