"""What a user does: prepare, inspect, train, calibrate, evaluate, predict, through the commands."""

import csv
import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from dfd_tf.cli.main import run
from dfd_tf.evaluation.evaluate_run import warnings_of
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.records.manifest import load_manifest
from pipelines.records.shards import iter_records
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair

ONE_DETECTOR = pytest.mark.parametrize("tiny_run", ["residual_ae"], indirect=True)
"""For what does not depend on the detector."""


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


def picture_width(path):
    with Image.open(path) as picture:
        return picture.width


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
    original, calls = Predictor.score_encoded, []

    def stopped_later(self, encoded):
        calls.append(len(encoded))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, encoded)

    monkeypatch.setattr(Predictor, "score_encoded", stopped_later)
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


def test_calibrate_again_gives_the_same_bytes(tiny_run, tmp_path, capsys):
    copy = tmp_path / tiny_run.name  # the picture's title names it
    shutil.copytree(tiny_run, copy)
    before = (copy / "calibration.json").read_bytes()
    (copy / "calibration.json").unlink()
    assert run(["calibrate", str(copy), "--format", "json"]) == 0
    assert (copy / "calibration.json").read_bytes() == before
    assert (copy / "calibration.png").read_bytes() == (tiny_run / "calibration.png").read_bytes()
    printed = json.loads(capsys.readouterr().out)
    assert [point["name"] for point in printed["thresholds"][:2]] == ["sensitive", "balanced"]
    stored = json.loads(before)
    assert printed == {key: value for key, value in stored.items() if "_scores" not in key}
    assert stored["num_fake"] == len(stored["fake_scores"]) > 0


@ONE_DETECTOR
def test_calibrate_shows_operating_points_and_the_maps_it_compared(tiny_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    capsys.readouterr()
    assert run(["calibrate", str(copy)]) == 0
    shown = capsys.readouterr().out
    for words in ("sensitive", "balanced", "optimal", "real below", "promised miss", "isotonic"):
        assert words in shown
    assert shown.count("chosen") == 1
    assert "expected calibration error: " in shown
    assert "cross-fitted " in shown
    assert picture_width(copy / "calibration.png") > 900


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


def real_records(folder, split, seed, extra=()):
    """Records of one split: real faces alone, stills without a known person."""
    source = folder / "source" / split / "real"
    source.mkdir(parents=True)
    for number in range(12):
        Image.fromarray(render_face(seed, number, 0, 96).pixels).save(source / f"{number:02}.png")
    for path in extra:
        shutil.copy(path, source)
    arguments = [str(folder / "source"), "--faces", "none", "--size", "48", "--splits", "keep"]
    out = folder / "records"
    assert run(["prepare", *arguments, "--out", str(out), "--workers", "1"]) in (0, 3)
    return out


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
def test_f09_calibration_on_test_images_is_refused(tiny_run, tiny_records, tmp_path, capsys):
    media = next(tiny_records.glob("media/*/"))
    (shard,) = load_manifest(tiny_records).split_shards("test")
    (path, *_) = [r.path for r in iter_records(tiny_records / shard.file) if r.label == 0]
    records = real_records(tmp_path, "val", 78, [media / path])
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    before = (copy / "calibration.json").read_bytes()
    assert run(["calibrate", str(copy), "--data", str(records)]) == 2
    assert "1 of its val images are in the train or test split" in capsys.readouterr().err
    assert (copy / "calibration.json").read_bytes() == before


@ONE_DETECTOR
def test_calibrate_on_other_records_of_real_images_alone(tiny_run, tmp_path, capsys):
    records = real_records(tmp_path, "val", 79)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    capsys.readouterr()
    arguments = ["calibrate", str(copy), "--data", str(records), "--force"]
    assert run([*arguments, "--format", "json"]) == 0
    output = capsys.readouterr()
    assert [point["name"] for point in json.loads(output.out)["thresholds"]] == ["sensitive"]
    assert "needs 19 real validation images, found 12" in " ".join(output.err.split())
    values = json.loads((copy / "calibration.json").read_text())
    assert (values["num_real"], values["num_real_clusters"], values["num_fake"]) == (12, 12, 0)
    assert values["probability"] is None
    assert picture_width(copy / "calibration.png") < 900  # scores alone, no reliability


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


def test_e18_calibration_of_another_model_is_refused(tiny_run, tmp_path, mixed_files, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    path = copy / "calibration.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"weights_sha256": "0" * 64}))
    assert run(["predict", str(copy), str(mixed_files / "a good.jpg")]) == 5
    assert "belongs to other weights" in capsys.readouterr().err
    # What the message advises must work.
    assert run(["calibrate", str(copy)]) == 0
    assert json.loads(path.read_text()) == values


@ONE_DETECTOR
def test_calibration_on_noise_is_flagged_wherever_it_is_used(
    tiny_run, tiny_records, mixed_files, tmp_path, capsys
):
    generator = np.random.default_rng(2)
    for label in ("real", "fake"):
        (tmp_path / "source" / "val" / label).mkdir(parents=True)
    for number in range(12):
        noise = generator.integers(0, 256, (96, 96, 3), np.uint8)
        face = render_face(80, number, 0, 96).pixels
        for label, pixels in (("real", face), ("fake", noise)):
            path = tmp_path / "source" / "val" / label / f"{number:02}.png"
            Image.fromarray(pixels).save(path)
    arguments = ["--faces", "none", "--size", "48", "--splits", "keep", "--workers", "1"]
    records = tmp_path / "records"
    assert run(["prepare", str(tmp_path / "source"), *arguments, "--out", str(records)]) == 0
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    capsys.readouterr()
    assert run(["calibrate", str(copy), "--data", str(records), "--force"]) == 0
    flag = "12 of 12 fake images looked at are noise or one colour"
    assert flag in capsys.readouterr().err
    caveats = json.loads((copy / "calibration.json").read_text())["caveats"]
    assert any(flag in caveat for caveat in caveats)
    _, (row,), error = predict([copy, mixed_files / "a good.jpg"], capsys)
    assert flag in row["caveats"]
    assert flag in error
    manifest = load_manifest(tiny_records)
    reported = warnings_of(load_predictor(str(copy)), tiny_records, manifest, "test")
    assert any(flag in warning for warning in reported)


def test_doctor_reports_as_json(capsys):
    assert run(["doctor", "--format", "json"]) == 0
    checks = json.loads(capsys.readouterr().out)
    assert {check["area"] for check in checks} >= {"machine", "packages", "tensorflow", "faces"}


def test_an_operating_point_too_strict_for_the_data_leaves_scores(
    tiny_run, mixed_files, tmp_path, capsys
):
    """Twenty real validation images cannot promise 1 %: scores stay, verdicts do not."""
    copy = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, copy)
    assert run(["evaluate", str(copy), "--format", "json", "--operating-point", "strict"]) == 0
    output = capsys.readouterr()
    assert "strict was not set" in output.err
    (figures,) = json.loads(output.out)
    assert figures["levels"]["image"]["ranking"]["auc"]["value"] is not None
    code = run(["predict", str(copy), str(mixed_files / "a good.jpg"), "--format", "jsonl",
                "--operating-point", "strict"])  # fmt: skip
    row = json.loads(capsys.readouterr().out)
    assert code == 0
    assert row["score"] is not None
    assert row["label"] is row["promised_fpr"] is None


def test_evaluate_names_an_empty_split_before_it_starts(tiny_run, tmp_path, capsys):
    records = tmp_path / "few"
    assert run(["prepare", "synthetic:4", "--out", str(records), "--size", "48"]) == 0
    assert "the test split is empty" in capsys.readouterr().err
    assert run(["evaluate", str(tiny_run), "--data", str(records)]) == 2
    error = capsys.readouterr().err
    assert "few: its test split is empty" in error
    assert error.count("\n") == 1
