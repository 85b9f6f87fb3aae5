"""What a user does: prepare, inspect, train, calibrate, evaluate, predict, through the commands."""

import csv
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from workflow_samples import ONE_DETECTOR, picture_width, predict, real_records

from dfd_tf.cli.main import run
from dfd_tf.inference.predictor import Predictor
from pipelines.sources.synthetic_portraits import render_face

"""For what does not depend on the detector."""


def test_inspect_shows_counts_and_draws_a_sheet(tiny_records, capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ["inspect", str(tiny_records), "--deep", "--format", "json", "--sheet", str(sheet)]
    assert run(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["split_proof"]["leak_free"] is True
    assert {"train", "val", "test"} == summary["counts"].keys()
    assert min(count for split in summary["counts"].values() for count in split.values()) > 0
    assert picture_width(sheet) == 960


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
            assert row["verdict"] in (row["label"], "inconclusive")
            assert f"p = {row['p_value']:.3g}" in row["reason"]
            assert 0 < row["p_value"] <= 1
            assert 0 < row["p_value_fake"] <= 1
            assert row["redelivered"] is None
            assert row["score"] == max(face["score"] for face in row["faces"])
        else:
            assert row["score"] is row["label"] is row["probability"] is None
            assert row["verdict"] == ("no face" if row["status"] == "no_face" else None)
            assert row["reason"] == row["error"] or row["reason"] == "no face was found"


def test_a_score_in_a_batch_is_the_score_alone(tiny_run, mixed_files, capsys):
    _, batch, _ = predict([tiny_run, mixed_files], capsys)
    for name in ("a good.jpg", "b_pair.png"):
        code, (alone,), _ = predict([tiny_run, mixed_files / name], capsys)
        assert code == 0
        (together,) = (row for row in batch if row["path"] == alone["path"])
        assert alone == together


@ONE_DETECTOR
@pytest.mark.parametrize("name", ["c_cut.jpg", "d_grey.png", "e_notes.txt", "missing.jpg"])
def test_a_single_bad_file_is_exit_2(tiny_run, mixed_files, name, capsys):
    code, (row,), error = predict([tiny_run, mixed_files / name], capsys)
    assert code == 2
    assert row["score"] is None
    assert error.splitlines()[-1].startswith(f"dfd-tf: error: {mixed_files / name}: ")
    assert "Traceback" not in error


@ONE_DETECTOR
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


@ONE_DETECTOR
def test_predict_tells_which_verdicts_redelivery_changes(tiny_run, mixed_files, tmp_path, capsys):
    _, plain, _ = predict([tiny_run, mixed_files], capsys)
    code, rows, error = predict([tiny_run, mixed_files, "--stability"], capsys)
    assert code == 3
    called = dict.fromkeys(("real", "fake", "inconclusive"), 0)
    for before, after in zip(plain, rows, strict=True):
        assert after["score"] == before["score"]
        if after["status"] != "ok":
            assert after["redelivered"] is None
            continue
        called[after["verdict"]] += 1
        assert after["redelivered"].keys() == {"JPEG quality 75", "resizing to 75%"}
        if after["verdict"] != before["verdict"]:
            assert after["reason"].startswith(f"unstable: {before['verdict']} as it is")
    assert "verdicts: " + ", ".join(f"{n} {name}" for name, n in called.items()) in error
    output = tmp_path / "out.csv"
    assert run(["predict", str(tiny_run), str(mixed_files), "--format", "csv", "--stability",
                "--output", str(output)]) == 3  # fmt: skip
    with output.open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["verdict"] == rows[0]["verdict"]
    scores = [part.split(": ") for part in first["redelivered"].split("; ")]
    assert {name: float(score) for name, score in scores} == rows[0]["redelivered"]


@ONE_DETECTOR
def test_f13_a_batch_unlike_the_calibration_data_is_said(tiny_run, tmp_path, capsys):
    generator = np.random.default_rng(1)
    for number in range(31):
        noise = generator.integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number:02}.png")
    code, _, error = predict([tiny_run, tmp_path, "--faces", "none"], capsys)
    assert code == 0
    (warning,) = [line for line in error.splitlines() if "do not look like the calibration" in line]
    assert "over 31 images" in warning
    # A dozen images are too few to say so.
    some = sorted(tmp_path.iterdir())[:12]
    _, _, error = predict([tiny_run, *some, "--faces", "none"], capsys)
    assert "do not look like" not in error


@ONE_DETECTOR
def test_predict_table_shows_every_file(tiny_run, mixed_files, capsys, monkeypatch):
    monkeypatch.chdir(mixed_files.parent)
    capsys.readouterr()
    assert run(["predict", str(tiny_run), mixed_files.name]) == 3
    shown = capsys.readouterr().out
    for name in ("a good.jpg", "b_pair.png", "c_cut.jpg", "d_grey.png", "e_notes.txt"):
        assert f"{mixed_files.name}/{name}" in shown
    assert "empty" not in shown


@ONE_DETECTOR
def test_names_are_neither_markup_nor_lines(tiny_run, mixed_files, tmp_path, capsys, monkeypatch):
    # "[/red].jpg" would close a style that is not open, which rich refuses.
    names = ["[red]x.jpg", "[/red].jpg", "new\nline.jpg", "%03d -o;.jpg"]
    (tmp_path / "[").mkdir()
    for name in names:
        shutil.copy(mixed_files / "a good.jpg", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    shown = {}
    for output_format in ("table", "csv", "jsonl"):
        assert run(["predict", str(tiny_run), *names, "--format", output_format]) == 0
        shown[output_format] = capsys.readouterr().out
    escaped = [name.replace("\n", "\\n") for name in names]
    assert all(name in shown["table"] for name in escaped)
    rows = list(csv.DictReader(shown["csv"].splitlines()))
    assert [row["path"] for row in rows] == escaped
    assert [json.loads(line)["path"] for line in shown["jsonl"].splitlines()] == escaped


@ONE_DETECTOR
@pytest.mark.parametrize("output", ["missing/out.csv", "folder/file/out.csv", "/dev/full"])
def test_an_output_that_cannot_be_written_is_one_line(
    tiny_run, mixed_files, tmp_path, output, capsys
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    capsys.readouterr()
    arguments = ["predict", str(tiny_run), str(mixed_files), "--format", "csv"]
    assert run([*arguments, "--output", str(tmp_path / output)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("dfd-tf: error: ")
    assert "cannot be written" in error
    assert error.count("\n") == 1


@ONE_DETECTOR
def test_a_stop_keeps_what_was_scored(tiny_run, mixed_files, tmp_path, capsys, monkeypatch):
    for number in range(80):
        (tmp_path / f"{number:02}.jpg").hardlink_to(mixed_files / "a good.jpg")
    original, calls = Predictor.score, []

    def stopped_later(self, images):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, images)

    monkeypatch.setattr(Predictor, "score", stopped_later)
    output = tmp_path / "out.jsonl"
    arguments = ["predict", str(tiny_run), str(tmp_path), "--format", "jsonl"]
    assert run([*arguments, "--output", str(output)]) == 130
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [Path(row["path"]).name for row in rows] == [f"{i:02}.jpg" for i in range(64)]
    assert all(row["status"] == "ok" for row in rows)


@ONE_DETECTOR
def test_a_video_cut_short_fails_under_strict(tiny_run, tmp_path, capsys):
    frames = [render_face(9, 1, 0, 160).pixels] * 20
    with av.open(str(tmp_path / "cut.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=5, width=160, height=160)
        stream.pix_fmt = "yuvj420p"
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            container.mux(stream.encode(frame))
    whole = (tmp_path / "cut.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 2])
    code, (row,), error = predict([tiny_run, tmp_path], capsys)
    assert code == 0
    assert row["truncated"] is True
    assert any(note.startswith("truncated: frames_read ") for note in row["notes"])
    assert "1 cut short" in error
    assert predict([tiny_run, tmp_path, "--strict"], capsys)[0] == 3
    code, _, error = predict([tiny_run, tmp_path / "cut.avi", "--strict"], capsys)
    assert code == 2
    assert "truncated: frames_read " in error.splitlines()[-1]


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
        assert picture_width(folder / f"image_{name}.png") > 300
    assert picture_width(folder / "cases.png") > 300


def test_evaluate_on_real_images_alone(tiny_run, tmp_path, capsys):
    (tmp_path / "no_image.jpg").write_text("text")
    records = real_records(tmp_path, "test", 77, [tmp_path / "no_image.jpg"])
    copy = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, copy)
    capsys.readouterr()
    arguments = ["evaluate", str(copy), "--data", str(records)]
    assert run([*arguments, "--format", "json"]) == 0
    output = capsys.readouterr()
    (figures,) = json.loads(output.out)
    level = figures["levels"]["image"]
    assert (level["num_real"], level["num_fake"]) == (12, 0)
    assert level["ranking"]["auc"] == {"value": None, "low": None, "high": None}
    assert figures["items"] == {"found": 13, "recorded": 12, "not_used": {"not_media": 1}}
    assert "1 of the dataset's 13 items" in " ".join(output.err.split())
    folder = copy / "reports" / "records" / "test"
    assert not (folder / "image_roc.png").exists()
    assert picture_width(folder / "cases.png") > 300
    assert run(arguments) == 0
    assert "undefined" in capsys.readouterr().out


@ONE_DETECTOR
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
    assert error.strip("\n").count("\n") == 0


@ONE_DETECTOR
def test_e17_swapped_weights_are_refused(tiny_run, tmp_path, mixed_files, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    weights = copy / "best" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes() + b"x")
    assert run(["predict", str(copy), str(mixed_files / "a good.jpg")]) == 5
    assert "sha256" in capsys.readouterr().err


def test_doctor_reports_as_json(capsys):
    assert run(["doctor", "--format", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert {check["area"] for check in checks} >= {"machine", "packages", "tensorflow", "faces"}


def test_evaluate_names_an_empty_split_before_it_starts(tiny_run, tmp_path, capsys):
    records = tmp_path / "few"
    assert run(["prepare", "synthetic:4", "--out", str(records), "--size", "48"]) == 0
    assert "the test split is empty" in capsys.readouterr().err
    assert run(["evaluate", str(tiny_run), "--data", str(records)]) == 2
    error = capsys.readouterr().err
    assert "few: its test split is empty" in error
    assert error.count("\n") == 1
