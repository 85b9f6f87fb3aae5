"""Files, records and calls that tests of the commands share."""

import json
import shutil

import pytest
from PIL import Image

from dfd_tf.cli.main import run
from pipelines.sources.synthetic_portraits import render_face

ONE_DETECTOR = pytest.mark.parametrize("tiny_run", ["residual_ae"], indirect=True)


def predict(arguments, capsys):
    """Runs predict and returns its exit code, its JSON lines and its stderr."""
    capsys.readouterr()
    code = run(["predict", *map(str, arguments), "--format", "jsonl"])
    output = capsys.readouterr()
    return code, [json.loads(line) for line in output.out.splitlines()], output.err


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


def picture_width(path):
    with Image.open(path) as picture:
        return picture.width
