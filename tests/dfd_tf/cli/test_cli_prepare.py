"""`dfd-tf prepare`: what it refuses, in one line."""

import numpy as np
import pytest
from PIL import Image

from dfd_tf.cli.main import run


@pytest.fixture
def pictures(tmp_path):
    for label in ("real", "fake"):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng([number, label == "real"]).integers(0, 256, (48, 48, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--splits", "0.9,0.9,0.1"], "expected `keep` or three fractions"),
        (["--splits", "half"], "expected `keep` or three fractions"),
        (["--faces", "yunet", "--yunet-model", "nowhere.onnx"], "nowhere.onnx"),
        (["--faces", "magic"], "'magic' is not one of"),
        (["--faces", "haar"], "none of them gave a face"),
    ],
)
def test_refusals_are_one_line(pictures, tmp_path, capsys, arguments, message):
    assert run(["prepare", str(pictures), "--out", str(tmp_path / "out"), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_missing_source_is_one_line(tmp_path, capsys):
    assert run(["prepare", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert error.count("\n") == 1


def test_all_faces_prepared_is_exit_0_and_again_a_no_op(pictures, tmp_path):
    arguments = ["prepare", str(pictures), "--out", str(tmp_path / "out"), "--faces", "none"]
    arguments += ["--size", "48", "--workers", "1"]
    assert run(arguments) == 0
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("faces-*")}
    assert before
    assert run(arguments) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("faces-*")}
    assert after == before


def test_names_are_one_line_in_the_table(pictures, tmp_path, capsys):
    arguments = ["prepare", str(pictures), "--out", str(tmp_path / "out"), "--faces", "none"]
    assert run([*arguments, "--size", "48", "--workers", "1", "--domain", "stu\ndio"]) == 0
    assert "stu\\ndio" in capsys.readouterr().err
    assert run(["inspect", str(tmp_path / "out")]) == 0
    assert "stu\\ndio" in capsys.readouterr().out
