"""`dfd-tf calibrate`, and what other commands say of a calibration."""

import json
import shutil

import numpy as np
from PIL import Image
from workflow_samples import ONE_DETECTOR, picture_width, predict, real_records

from dfd_tf.cli.main import run
from dfd_tf.evaluation.evaluate_run import warnings_of
from dfd_tf.inference.predictor import load_predictor
from pipelines.records.manifest import load_manifest
from pipelines.records.shards import iter_records
from pipelines.sources.synthetic_portraits import render_face


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
def test_evaluation_on_the_files_of_the_calibration_is_said(tiny_run, tmp_path, capsys):
    calibrated_on = real_records(tmp_path / "val", "val", 81)
    sources = sorted((tmp_path / "val" / "source").rglob("*.png"))
    other = real_records(tmp_path / "test", "test", 82, [sources[0]])
    anew = tmp_path / "anew"
    copied = tmp_path / "copied.jpg"
    Image.open(sources[0]).save(copied, quality=90)
    resaved = real_records(anew, "test", 83, [copied])
    copy = tmp_path / "copy"
    shutil.copytree(tiny_run, copy)
    assert run(["calibrate", str(copy), "--data", str(calibrated_on), "--force"]) == 0
    stored = json.loads((copy / "calibration.json").read_text())
    assert stored["records"] == str(calibrated_on.resolve())

    def warnings(records):
        predictor = load_predictor(str(copy))
        return " ".join(warnings_of(predictor, records, load_manifest(records), "test"))

    # 00.png of one folder replaces that of the other, so that 12 files are left.
    assert "the run was calibrated on 1 of these media files" in warnings(other)
    # What is saved anew is another file: nothing is found, and the documents say so.
    assert "of these media files" not in warnings(resaved)
    shutil.rmtree(calibrated_on)
    assert f"the calibration records ({calibrated_on.resolve()}) are gone" in warnings(other)
    # A file of an earlier version does not name its folder.
    del stored["records"]
    (copy / "calibration.json").write_text(json.dumps(stored))
    assert "the calibration records (folder not known) are gone" in warnings(other)


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
