"""What users really upload: every awkward file ends in a result, none in a traceback."""

import csv
import json

import pytest

from dfd_tf.cli.main import run
from pipelines.records.manifest import load_manifest
from pipelines.records.shards import iter_records


@pytest.fixture(scope="module")
def awkward_files(shared_data):
    with (shared_data / "robust" / "CASES.csv").open(newline="") as file:
        return [shared_data / row["path"] for row in csv.DictReader(file)]


def test_prepare_accounts_for_every_awkward_file(awkward_files, tmp_path, capsys):
    manifest_csv = tmp_path / "awkward.csv"
    with manifest_csv.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([path, ("real", "fake")[i % 2]] for i, path in enumerate(awkward_files))
    out = tmp_path / "records"
    assert run(["prepare", str(manifest_csv), "--out", str(out), "--size", "64"]) == 3
    assert "Traceback" not in capsys.readouterr().err
    manifest = load_manifest(out)
    recorded = {
        record.path for shard in manifest.shards for record in iter_records(out / shard.file)
    }
    failed = {failure.key for failure in manifest.failed}
    assert len(recorded) > 40
    assert len(recorded | failed) == manifest.sources[0]["items"] == len(awkward_files)
    assert {"damaged", "not_media", "no_face", "too_many_pixels"} <= manifest.failures.keys()


def test_predict_gives_a_row_for_every_awkward_file(tiny_run, awkward_files, capsys):
    folder = awkward_files[0].parents[1]
    capsys.readouterr()
    assert run(["predict", str(tiny_run), str(folder), "--format", "jsonl"]) == 3
    output = capsys.readouterr()
    rows = [json.loads(line) for line in output.out.splitlines()]
    # Hidden files and the litter of file managers are left out of folders, here as in prepare.
    expected = {
        str(path) for path in awkward_files if path.name not in {".hidden.jpg", "Thumbs.db"}
    }
    assert {row["path"] for row in rows} == expected | {str(folder / "CASES.csv")}
    assert {row["status"] for row in rows} == {"ok", "no_face", "error"}
    assert all((row["score"] is None) == (row["status"] != "ok") for row in rows)
    assert all(row["error"] for row in rows if row["status"] == "error")
    assert "Traceback" not in output.err
    upright = [row["score"] for row in rows if "/exif/face_orientation" in row["path"]]
    assert len(upright) == 8
    assert None not in upright
