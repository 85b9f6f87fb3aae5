"""What a user does: prepare, inspect, train, calibrate, evaluate, predict, through the commands."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dfd_tf.cli.main import run
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair


@pytest.fixture(scope="module")
def mixed_files(tmp_path_factory):
    """A folder with two good files, a broken one, one without a face and one that is no medium."""
    folder = tmp_path_factory.mktemp("mixed")
    Image.fromarray(render_face(9, 1, 0, 256).pixels).save(folder / "a good.jpg", quality=92)
    Image.fromarray(render_portrait_pair(9, 2, 3, 0, 256)[0]).save(folder / "b_pair.png")
    whole = (folder / "a good.jpg").read_bytes()
    (folder / "c_cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(folder / "d_grey.png")
    (folder / "e_notes.txt").write_text("no picture")
    return folder


def predict(arguments, capsys):
    """Runs predict and returns its exit code, its JSON lines and its stderr."""
    capsys.readouterr()
    code = run(["predict", *map(str, arguments), "--format", "jsonl"])
    output = capsys.readouterr()
    return code, [json.loads(line) for line in output.out.splitlines()], output.err


def test_inspect_shows_counts_and_draws_a_sheet(tiny_records, capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ["inspect", str(tiny_records), "--deep", "--format", "json", "--sheet", str(sheet)]
    assert run(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["split_proof"]["leak_free"] is True
    assert {"train", "val", "test"} == summary["counts"].keys()
    assert min(count for split in summary["counts"].values() for count in split.values()) > 0
    assert Image.open(sheet).width == 960


def test_predict_finishes_a_batch_in_order(tiny_run, mixed_files, capsys):
    code, rows, error = predict([tiny_run, mixed_files], capsys)
    assert code == 3
    assert [row["path"].rsplit("/")[-1] for row in rows] == [
        "a good.jpg", "b_pair.png", "c_cut.jpg", "d_grey.png", "e_notes.txt",
    ]  # fmt: skip
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "no_face", "error"]
    assert "2 scored, 1 without a face, 2 failed" in error
    assert "Traceback" not in error
    for row in rows:
        if row["status"] == "ok":
            assert row["label"] == ("fake" if row["score"] > row["threshold"] else "real")
            assert 0 < row["p_value"] <= 1
            assert row["score"] == max(face["score"] for face in row["faces"])
        else:
            assert row["score"] is row["label"] is row["probability"] is None
            assert row["error"] or row["notes"]


def test_a_score_in_a_batch_is_the_score_alone(tiny_run, mixed_files, capsys):
    _, batch, _ = predict([tiny_run, mixed_files], capsys)
    for name in ("a good.jpg", "b_pair.png"):
        code, (alone,), _ = predict([tiny_run, mixed_files / name], capsys)
        assert code == 0
        (together,) = (row for row in batch if row["path"] == alone["path"])
        assert alone == together


@pytest.mark.parametrize("name", ["c_cut.jpg", "d_grey.png", "e_notes.txt", "missing.jpg"])
def test_a_single_bad_file_is_exit_2(tiny_run, mixed_files, name, capsys):
    code, (row,), _ = predict([tiny_run, mixed_files / name], capsys)
    assert code == 2
    assert row["score"] is None


def test_predict_csv_to_a_file(tiny_run, mixed_files, tmp_path, capsys):
    output = tmp_path / "out.csv"
    assert run(["predict", str(tiny_run), str(mixed_files), "--format", "csv",
                "--output", str(output)]) == 3  # fmt: skip
    assert capsys.readouterr().out == ""
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert float(rows[0]["score"]) == float(rows[0]["score"])
    assert rows[0]["operating_point"] == "balanced"


def test_predict_table_shows_every_file(tiny_run, mixed_files, capsys):
    capsys.readouterr()
    assert run(["predict", str(tiny_run), str(mixed_files)]) == 3
    shown = "".join(capsys.readouterr().out.split())
    for name in ("agood.jpg", "b_pair.png", "c_cut.jpg", "d_grey.png", "e_notes.txt"):
        assert name in shown


def test_calibrate_again_gives_the_same_bytes(tiny_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    before = (copy / "calibration.json").read_bytes()
    (copy / "calibration.json").unlink()
    assert run(["calibrate", str(copy)]) == 0
    assert (copy / "calibration.json").read_bytes() == before
    names = [point["name"] for point in json.loads(capsys.readouterr().out)]
    assert names[:2] == ["sensitive", "balanced"] or names == []


def test_evaluate_writes_figures_and_plots(tiny_run, tmp_path, capsys):
    copy = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, copy)
    assert run(["evaluate", str(copy), "--format", "json", "--operating-point", "optimal"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    image = figures["levels"]["image"]
    assert image["num_real"] + image["num_fake"] == image["num"]
    auc = image["ranking"]["auc"]
    assert auc["low"] <= auc["value"] <= auc["high"]
    assert figures["split"] == "test"
    folder = copy / "reports" / figures["dataset"] / "test"
    assert json.loads((folder / "metrics.json").read_text()) == figures
    for name in ("roc", "precision_recall", "histogram", "confusion", "reliability"):
        assert Image.open(folder / f"image_{name}.png").width > 300
    assert Image.open(folder / "cases.png").width > 300


def test_evaluate_at_an_operating_point_there_is_not(tiny_run, capsys):
    assert run(["evaluate", str(tiny_run), "--operating-point", "lenient"]) == 2
    assert "lenient" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "calibrate", "predict"])
def test_a_folder_that_is_no_run(command, tmp_path, capsys):
    extra = [str(tmp_path)] if command == "predict" else []
    (tmp_path / "file").write_text("x")
    assert run([command, str(tmp_path), *extra]) == 2
    error = capsys.readouterr().err
    assert "not a run directory" in error
    assert error.count("\n") == 1


def test_e17_swapped_weights_are_refused(tiny_run, tmp_path, mixed_files, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    weights = copy / "best" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert run(["predict", str(copy), str(mixed_files / "a good.jpg")]) == 5
    assert "sha256" in capsys.readouterr().err


def test_e18_calibration_of_another_model_is_refused(tiny_run, tmp_path, mixed_files, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    path = copy / "calibration.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"weights_sha256": "0" * 64}))
    assert run(["predict", str(copy), str(mixed_files / "a good.jpg")]) == 5
    assert "belongs to other weights" in capsys.readouterr().err


def test_doctor_reports_as_json(capsys):
    assert run(["doctor", "--format", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert {check["area"] for check in checks} >= {"machine", "packages", "tensorflow", "faces"}
