"""Mistakes that cost nothing: what was there stays, and the corrected command works."""

import json
import shutil

import pytest
from PIL import Image

from dfd_tf.cli.main import run
from pipelines.sources.synthetic_portraits import render_face

ONE_DETECTOR = pytest.mark.parametrize("tiny_run", ["residual_ae"], indirect=True)


@pytest.mark.parametrize("place", ["new", "there/already"])
def test_a_refused_weights_file_leaves_no_run_behind(tiny_records, tmp_path, place, capsys):
    weights = tmp_path / "weights.h5"
    weights.write_bytes(b"not weights")
    (tmp_path / "there" / "already").mkdir(parents=True)
    folder = tmp_path / place
    was_there = folder.exists()
    arguments = ["train", "spatial_small", "--data", str(tiny_records), "--run", str(folder)]
    settings = ["--set", f"detector.weights={weights}", "--set", "detector.image_size=32"]
    for _ in range(2):  # the second time as if nothing had happened
        capsys.readouterr()
        assert run([*arguments, *settings]) == 5
        error = capsys.readouterr().err
        assert "weights.h5" in error
        assert "--resume" not in error
    assert folder.exists() is was_there
    assert not was_there or list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def few_reals(tmp_path_factory):
    """Records with three real validation images of new people."""
    folder = tmp_path_factory.mktemp("few")
    (folder / "photos" / "val" / "real").mkdir(parents=True)
    for number in range(3):
        place = folder / "photos" / "val" / "real" / f"{number}.png"
        Image.fromarray(render_face(61, number, 0, 96).pixels).save(place)
    out = folder / "records"
    arguments = ["prepare", str(folder / "photos"), "--out", str(out), "--faces", "none"]
    assert run([*arguments, "--size", "48", "--splits", "keep", "--workers", "1"]) == 0
    return out


@ONE_DETECTOR
def test_a_calibration_on_fewer_reals_needs_force(tiny_run, few_reals, tmp_path, capsys):
    copy = shutil.copytree(tiny_run, tmp_path / "copy")
    path = copy / "calibration.json"
    before = path.read_bytes()
    capsys.readouterr()
    arguments = ["calibrate", str(copy), "--data", str(few_reals)]
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert "3 real images" in error
    assert f"rests on {json.loads(before)['num_real']}" in error
    assert "--force" in error
    assert error.count("\n") == 1
    assert path.read_bytes() == before
    assert run([*arguments, "--force"]) == 0
    assert json.loads(path.read_text())["num_real"] == 3
    assert run(["calibrate", str(copy)]) == 0  # more than three: no question
    assert path.read_bytes() == before


@ONE_DETECTOR
@pytest.mark.parametrize("text", ["{}", None])
def test_a_calibration_of_no_use_is_replaced_without_force(tiny_run, few_reals, tmp_path, text):
    copy = shutil.copytree(tiny_run, tmp_path / "copy")
    path = copy / "calibration.json"
    values = json.loads(path.read_text()) | {"weights_sha256": "0" * 64}
    path.write_text(text or json.dumps(values))
    assert run(["calibrate", str(copy), "--data", str(few_reals)]) == 0
    assert json.loads(path.read_text())["num_real"] == 3
