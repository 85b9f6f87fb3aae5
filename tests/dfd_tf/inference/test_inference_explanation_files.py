"""What `predict --explain` writes: names, pictures, clips, and what it never touches."""

import json
import shutil
from dataclasses import replace

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_media import write_clip
from PIL import Image

from dfd_tf.cli.main import run
from dfd_tf.config.detectors import ResidualAutoencoderDetector
from dfd_tf.detectors.registry import build_detector
from dfd_tf.inference import annotated_clip
from dfd_tf.inference.explanation_files import open_explanation_folder, safe_stem
from dfd_tf.inference.media_faces import FrameSampling
from dfd_tf.inference.prediction import predict_media
from pipelines.errors import InputError, MediaError

NAMES = ["train/real/a.jpg", "test/fake/d_pair.png", "test/real/e.mp4"]


def explain(predictor, paths, folder, sampling=None):
    paths = [str(path) for path in paths]
    sampling = sampling or FrameSampling()
    to = open_explanation_folder(folder, paths, predictor, sampling, "balanced")
    found = list(predict_media(predictor, paths, None, 1, sampling=sampling))
    for number, (media, prediction) in enumerate(found, 1):
        to.write(number, media, prediction)
    return [prediction for _, prediction in found]


@pytest.fixture(scope="module")
def explained(predictor, media, tmp_path_factory):
    """Results of three files and the folder of their explanations."""
    folder = tmp_path_factory.mktemp("explained") / "deep" / "out"
    return explain(predictor, [media / name for name in NAMES], folder), folder


def test_every_file_has_its_pictures_and_numbers(explained):
    predictions, folder = explained
    assert sorted(path.name for path in folder.iterdir()) == [
        "0001_a.json", "0001_a_faces.png", "0001_a_overlay.png",
        "0002_d_pair.json", "0002_d_pair_faces.png", "0002_d_pair_overlay.png",
        "0003_e.json", "0003_e_annotated.mp4", "0003_e_faces.png", "0003_e_timeline.png",
    ]  # fmt: skip
    for report, prediction in zip(sorted(folder.glob("*.json")), predictions, strict=True):
        values = json.loads(report.read_text())
        assert values["score"] == prediction.score
        assert values["faces"] == list(prediction.faces)
        assert values["operating_point"] == "uncalibrated"
        assert values["settings"]["faces"]["detector"] == "haar"
        assert all((folder / name).is_file() for name in values["pictures"])


def test_an_image_is_shown_whole_below_its_heading(explained):
    with Image.open(explained[1] / "0001_a_overlay.png") as picture:
        assert picture.width == 480
        assert 500 < picture.height < 700


def test_a_clip_shows_the_frames_looked_at_when_they_were_due(explained):
    predictions, folder = explained
    seconds = [frame["seconds"] for frame in predictions[2].video["frames"]]
    with av.open(str(folder / "0003_e_annotated.mp4")) as clip:
        assert [stream.type for stream in clip.streams] == ["video"]
        frames = [(frame.time, frame.width, frame.height) for frame in clip.decode(video=0)]
    times = [time for time, _, _ in frames]
    assert times == pytest.approx([*seconds, predictions[2].video["duration_seconds"]], abs=0.002)
    assert all(width % 2 == height % 2 == 0 for _, width, height in frames)


def test_what_is_there_already_is_kept_and_what_changed_is_replaced(predictor, media, tmp_path):
    path = media / NAMES[0]
    explain(predictor, [path], tmp_path)
    written = {p.name: p.stat().st_ino for p in tmp_path.iterdir()}
    explain(predictor, [path], tmp_path)
    assert {p.name: p.stat().st_ino for p in tmp_path.iterdir()} == written
    (tmp_path / "0001_a_faces.png").unlink()  # as if stopped before the report was written
    (tmp_path / "notes.txt").write_text("mine")
    explain(predictor, [path], tmp_path)
    again = {p.name: p.stat().st_ino for p in tmp_path.iterdir()}
    assert set(again) == {*written, "notes.txt"}
    assert all(again[name] != inode for name, inode in written.items())


def test_autoencoders_show_what_they_rebuilt(predictor, media, tmp_path):
    config = ResidualAutoencoderDetector(image_size=32, widths=(4, 6), latent=5)
    autoencoder = replace(predictor, detector=build_detector(config))
    explain(autoencoder, [media / NAMES[0]], tmp_path / "four")
    explain(predictor, [media / NAMES[0]], tmp_path / "two")
    widths = []
    for folder in ("two", "four"):
        with Image.open(tmp_path / folder / "0001_a_faces.png") as picture:
            widths.append(picture.width)
    assert widths[1] > 1.5 * widths[0]


def test_without_h264_a_clip_is_mpeg4_with_every_frame(predictor, media, tmp_path, monkeypatch):
    monkeypatch.setattr(annotated_clip.av, "codecs_available", {"mpeg4"})
    (prediction,) = explain(predictor, [media / NAMES[2]], tmp_path, FrameSampling(dense=True))
    assert prediction.num_frames == 6
    with av.open(str(tmp_path / "0001_e_annotated.mp4")) as clip:
        assert clip.streams.video[0].codec_context.name == "mpeg4"
        assert len(list(clip.decode(video=0))) == 7


def test_a_clip_without_a_face_has_a_timeline_only(predictor, tmp_path):
    write_clip(tmp_path / "grey.mp4", [np.full((64, 64, 3), 128, np.uint8)] * 4)
    (prediction,) = explain(predictor, [tmp_path / "grey.mp4"], tmp_path / "out")
    assert prediction.status == "no_face"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0001_grey.json", "0001_grey_timeline.png"]


@pytest.mark.parametrize("inside", ["a.jpg", "below/a.jpg"])
def test_a_folder_with_inputs_is_refused(predictor, tmp_path, inside):
    with pytest.raises(InputError, match="lies in it"):
        explain(predictor, [tmp_path / inside], tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(InputError, match="lies in it"):
        explain(predictor, [tmp_path / "link" / inside], tmp_path)


def test_a_folder_that_cannot_be_made_is_one_line(predictor, media, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"--explain .*file/out: cannot be made"):
        explain(predictor, [media / NAMES[0]], tmp_path / "file" / "out")


@given(st.text(max_size=120))
def test_names_are_safe(name):
    stem = safe_stem(f"folder/{name}".replace("\0", ""))
    assert 0 < len(stem) <= 60
    assert stem[0] not in "._-" or stem[0] == "-"
    assert all(letter.isascii() and (letter.isalnum() or letter in "._-") for letter in stem)


def test_f01_a_bad_file_is_one_line_and_the_rest_goes_on(untrained_run, media, tmp_path, capsys):
    first, gone = tmp_path / "in" / "1.jpg", tmp_path / "in" / "2.jpg"
    first.parent.mkdir()
    shutil.copy(media / NAMES[0], first)
    gone.write_bytes(b"no picture")
    out = tmp_path / "out"
    arguments = ["--explain", str(out), "--format", "jsonl", "--threads", "1"]
    assert run(["predict", str(untrained_run), str(first.parent), *arguments]) == 3
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["status"] for row in rows] == ["ok", "error"]
    names = ["0001_1.json", "0001_1_faces.png", "0001_1_overlay.png", "0002_2.json"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert json.loads((out / "0002_2.json").read_text())["pictures"] == []


def test_a_file_that_is_gone_when_it_is_explained_is_named(predictor, media, tmp_path):
    path = tmp_path / "a.jpg"
    shutil.copy(media / NAMES[0], path)
    to = open_explanation_folder(
        tmp_path / "out", [str(path)], predictor, FrameSampling(), "balanced"
    )
    ((found, prediction),) = predict_media(predictor, [str(path)], None, 1)
    path.unlink()
    with pytest.raises(MediaError, match=r"a\.jpg"):
        to.write(1, found, prediction)
    assert not [p for p in (tmp_path / "out").iterdir() if p.suffix == ".json"]
