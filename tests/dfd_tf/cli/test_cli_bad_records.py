"""`--on-bad-record skip` and `--resume --force`, from the command to the artefacts (B-17, C-09)."""

import hashlib
import json
import shutil
from dataclasses import replace

import pytest
from tiny_settings import TINY

from dfd_tf.cli.main import run
from pipelines import bad_records
from pipelines.records.example import encode_example
from pipelines.records.framing import frame
from pipelines.records.manifest import load_manifest, save_manifest
from pipelines.records.shards import iter_records

SETTINGS = [*TINY["residual_ae"], "data.batch_size=16", "data.augment=null"]
PHASE = "detector.phases=[{name: all, epochs: %d, learning_rate: 0.002}]"


@pytest.fixture(scope="module")
def damaged(tiny_records, tmp_path_factory):
    """The tiny records, each split's first real picture cut within its header."""
    folder = tmp_path_factory.mktemp("damaged") / "records"
    shutil.copytree(tiny_records, folder)
    manifest = load_manifest(folder)
    shards, places = [], {}
    for shard in manifest.shards:
        records = list(iter_records(folder / shard.file))
        index = next((i for i, record in enumerate(records) if record.label == 0), None)
        if shard.split not in places and index is not None:
            places[shard.split] = (shard.file, index)
            cut = records[index].encoded[:200] + b"\xff\xd9"
            records[index] = replace(records[index], encoded=cut)
        data = b"".join(frame(encode_example(record)) for record in records)
        (folder / shard.file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        shards.append(replace(shard, bytes=len(data), sha256=digest))
    save_manifest(folder, replace(manifest, shards=tuple(shards)))
    return folder, places


def train(records, folder, *options, epochs=1):
    settings = [part for text in [*SETTINGS, PHASE % epochs] for part in ("--set", text)]
    return run(
        ["train", "residual_ae_small", "--data", str(records), "--run", str(folder)]
        + [*settings, *options]
    )


def test_bad_records_stop_or_are_left_out(damaged, tmp_path, capsys, monkeypatch):
    records, places = damaged
    (train_file, train_index), (val_file, val_index) = places["train"], places["val"]
    assert train(records, tmp_path / "stopped") == 4
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"dfd-tf: error: {records}/")
    assert f"{train_file}: record {train_index} at byte" in error

    assert train(records, tmp_path / "refused", "--on-bad-record", "skip") == 4
    total = sum(shard.records for shard in load_manifest(records).shards)
    error = capsys.readouterr().err.splitlines()[-1]
    assert "2 records of train and val cannot be decoded" in error
    assert f"0.1% of the folder's {total}, so 0, may be left out" in error

    monkeypatch.setattr(bad_records, "LARGEST_BAD_SHARE", 0.05)
    skipped = tmp_path / "skipped"
    assert train(records, skipped, "--on-bad-record", "skip") == 0
    error = capsys.readouterr().err
    warning = (
        f"2 records cannot be decoded and are left out: {train_file}: record {train_index}; "
        f"{val_file}: record {val_index}"
    )
    assert f"warning: {records}: {warning}" in error
    facts = json.loads((skipped / "provenance.json").read_text())["records"]["skipped"]
    assert facts["count"] == 2
    assert [(one["file"], one["index"]) for one in facts["records"]] == [
        (train_file, train_index),
        (val_file, val_index),
    ]
    counts = load_manifest(records).counts()["val"]
    real = sum(number for key, number in counts.items() if key.startswith("0|"))
    calibration = json.loads((skipped / "calibration.json").read_text())
    assert calibration["num_real"] == real - 1
    assert any(f"{val_file}: record {val_index}" in line for line in calibration["caveats"])

    # What follows the training reads as the training did.
    assert run(["evaluate", str(skipped), "--format", "json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    test_file, test_index = places["test"]
    assert any(f"{test_file}: record {test_index}" in line for line in figures["warnings"])
    cases = json.loads(next((skipped / "reports").rglob("cases.json")).read_text())
    assert cases["groups"]

    # C-09: a resume must state the same, and --force goes with --resume.
    assert train(records, skipped, "--resume") == 2
    assert "data.on_bad_record: 'skip' -> 'stop'" in capsys.readouterr().err
    assert train(records, skipped, "--force") == 2
    assert "--force goes with --resume" in capsys.readouterr().err
    options = ("--resume", "--on-bad-record", "skip")
    assert train(records, skipped, *options, epochs=2) == 2
    assert "detector.phases.0.epochs: 1 -> 2" in capsys.readouterr().err
    assert train(records, skipped, *options, "--force", epochs=2) == 0
    assert "warning: resumed with changed settings after 1 epochs" in capsys.readouterr().err
    assert len((skipped / "history.csv").read_text().splitlines()) == 3
    caveats = json.loads((skipped / "best" / "model.json").read_text())["caveats"]
    assert any("detector.phases.0.epochs: 1 -> 2" in line for line in caveats)
