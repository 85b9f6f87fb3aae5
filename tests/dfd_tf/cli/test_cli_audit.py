"""`dfd-tf audit` and `prepare --harmonize`: planted shortcuts are found, and cured."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dfd_tf.cli.main import run
from dfd_tf.evaluation.audit import audit_records, audit_summary
from dfd_tf.evaluation.audit_files import failed_audit
from pipelines.errors import InputError
from pipelines.executors import LocalExecutor
from pipelines.records.verification import verify_records


def as_it_is(face):
    return face


def smaller_blurred_framed(face):
    small = cv2.resize(cv2.GaussianBlur(face, (0, 0), 1.5), (64, 64), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(small, 6, 6, 6, 6, cv2.BORDER_CONSTANT)


# What is done to the fakes, how they are saved, and the nuisances that must show it.
PLANTED = {
    "nothing": (as_it_is, "jpg", 95, ()),
    "size, blur, border and format": (
        smaller_blurred_framed,
        "png",
        None,
        ("format", "width", "height", "face_size", "border", "sharpness"),
    ),
    "quality": (as_it_is, "jpg", 50, ("jpeg_quality", "bytes", "blockiness")),
}


def write_faces(folder: Path, faces, change, suffix, quality) -> Path:
    """Real faces as JPEG of quality 95, and as many fakes: other people, changed and saved so."""
    for number, face in enumerate(faces):
        fake = number % 2
        pixels = change(face) if fake else face
        path = folder / ("fake" if fake else "real") / f"{number:02d}.{suffix if fake else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        options = {"quality": quality if fake else 95} if path.suffix == ".jpg" else {}
        Image.fromarray(pixels).save(path, **options)
    return folder


def prepare(photos: Path, out: Path, *options: str) -> Path:
    arguments = ["prepare", str(photos), "--out", str(out), "--faces", "none", "--size", "96"]
    assert run([*arguments, "--workers", "1", *options]) == 0
    return out


def audit(records: Path, capsys, *options: str):
    """The exit code, the JSON on stdout and the lines on stderr."""
    capsys.readouterr()
    code = run(["audit", str(records), "--format", "json", "--workers", "1", *options])
    output = capsys.readouterr()
    return code, json.loads(output.out), output.err


@pytest.fixture(scope="module")
def shortcut_records(plain_faces, tmp_path_factory) -> Path:
    """Records whose fakes are all of a lower JPEG quality; already audited."""
    folder = tmp_path_factory.mktemp("shortcut")
    records = prepare(write_faces(folder / "photos", plain_faces, *PLANTED["quality"][:3]),
                      folder / "records")  # fmt: skip
    assert run(["audit", str(records), "--workers", "1"]) == 1
    return records


def findings(records: Path) -> dict:
    """What `audit.json` would say, without the pictures."""
    return audit_summary(audit_records(records, 0.65, LocalExecutor(1)))


@pytest.mark.parametrize("planted", PLANTED)
def test_planted_shortcuts_are_found_and_cured(planted, plain_faces, tmp_path):
    change, suffix, quality, shown = PLANTED[planted]
    photos = write_faces(tmp_path / "photos", plain_faces, change, suffix, quality)
    found = findings(prepare(photos, tmp_path / "plain"))
    assert found["passed"] is not bool(shown), found["headline"]
    assert found["media"] == {"real": 30, "fake": 30, "unknown": 0}
    rows = {row["name"]: row for row in found["nuisances"]}
    for name in shown:
        assert rows[name]["auc"]["value"] > 0.9, name
        assert rows[name]["verdict"] == "over"
        assert "--harmonize" in rows[name]["advice"]
    if not shown:
        return
    assert found["together"]["auc"]["value"] > 0.9
    assert "can be told apart by" in found["headline"]

    found = findings(prepare(photos, tmp_path / "alike", "--harmonize"))
    assert found["passed"], found["headline"]
    for row in [*found["nuisances"], found["together"]]:
        if row["auc"]["value"] is not None:
            assert row["auc"]["low"] < 0.6, row
    assert {row["name"]: row["reason"] for row in found["nuisances"]}["width"] == "constant"
    assert found["harmonization"]["originals"]["real"]["formats"] == {"JPEG": 30}


def test_an_audit_leaves_a_page_that_needs_nothing_else(shortcut_records):
    folder = shortcut_records / "audit"
    page = (folder / "audit.html").read_text()
    assert "Failed" in page
    assert "JPEG quality of the file" in page
    sources = re.findall(r'(?:src|href)="([^"#]*)', page)
    assert len(sources) > 5
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not re.search(r"https?://|@import|url\(", page)
    for name in ("overview", "jpeg_quality", "sharpness"):
        with Image.open(folder / f"{name}.png") as picture:
            assert picture.width > 400
    assert not (folder / "frame_rate.png").exists(), "nothing to draw"


def test_the_records_stay_what_they_were(shortcut_records):
    verify_records(shortcut_records, deep=True)
    assert run(["inspect", str(shortcut_records), "--deep"]) == 0


def test_training_is_warned_of_an_audit_that_failed(
    shortcut_records, tmp_path, capsys, monkeypatch
):
    def refuse(*args, **options):
        raise InputError("enough")

    monkeypatch.setattr("dfd_tf.training.run.train", refuse)
    arguments = ["--data", str(shortcut_records), "--run", str(tmp_path / "run")]
    assert run(["train", "residual_ae_small", *arguments]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith(f"warning: {shortcut_records}: the audit failed: ")
    assert "can be told apart by" in lines[0]
    assert lines[1:] == ["dfd-tf: error: enough"]


def test_an_audit_of_other_content_warns_of_nothing(shortcut_records, tiny_records, tmp_path):
    summary = json.loads((shortcut_records / "audit" / "audit.json").read_text())
    manifest = (tiny_records / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(manifest)
    assert failed_audit(tmp_path) is None
    (tmp_path / "audit").mkdir()
    path = tmp_path / "audit" / "audit.json"
    path.write_text(json.dumps(summary))
    assert failed_audit(tmp_path) is None
    path.write_text("{")
    assert "damaged" in str(failed_audit(tmp_path))


def test_copies_across_splits_fail_and_are_listed(plain_faces, tmp_path, capsys):
    photos = tmp_path / "photos"
    for number, face in enumerate(plain_faces[:24]):
        split = ("train", "val", "test")[number // 2 % 3]
        path = photos / split / ("fake" if number % 2 else "real") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face).save(path)
    Image.fromarray(np.ascontiguousarray(plain_faces[0][:, ::-1])).save(
        photos / "test/real/mirrored.jpg", quality=80
    )
    (photos / "val/fake/same.png").write_bytes((photos / "train/real/0.png").read_bytes())
    records = prepare(photos, tmp_path / "records", "--splits", "keep")
    output = tmp_path / "elsewhere"
    code, found, error = audit(records, capsys, "--output", str(output))
    assert code == 1
    assert "splits share content" in error
    assert found["splits"]["leak_free"] is False
    assert found["copies"]["exact"] == {"count": 1, "across_splits": 1, "across_classes": 1}
    # The mirrored photo with one of the two equal files, which stand for each other.
    assert found["copies"]["near"]["across_splits"] == 1
    with (output / "copies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows if row["kind"] == "exact"} == {
        "train/real/0.png", "val/fake/same.png",
    }  # fmt: skip
    assert "mirrored.jpg" in (output / "audit.html").read_text()
    assert not (records / "audit").exists()


def test_one_class_is_undefined_and_no_failure(plain_faces, tmp_path, capsys):
    folder = tmp_path / "photos" / "real"
    folder.mkdir(parents=True)
    for number, face in enumerate(plain_faces[:12]):
        Image.fromarray(face).save(folder / f"{number}.jpg")
    records = prepare(tmp_path / "photos", tmp_path / "records")
    code, found, error = audit(records, capsys)
    assert code == 0
    assert {row["verdict"] for row in found["nuisances"]} == {"undefined"}
    assert found["together"]["auc"]["value"] is None
    assert "cannot be judged: 12 real and 0 fake clusters" in error
    assert run(["audit", str(records), "--workers", "1"]) == 0
    assert "undefined" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code"), [(["nowhere"], 2), (["nowhere", "--limit", "0.5"], 2)]
)
def test_mistakes_are_one_line(arguments, code, capsys):
    assert run(["audit", *arguments]) == code
    error = capsys.readouterr().err
    assert error.startswith("dfd-tf: error: ")
    assert error.count("\n") == 1
