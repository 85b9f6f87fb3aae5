"""What `predict --explain` writes: names, pictures, clips, and what it never touches."""

import hashlib
import json
import shutil
from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_clips import TintNetwork, portrait
from inference_media import write_clip
from PIL import Image

from dfd_tf.cli.main import run
from dfd_tf.config.detectors import ResidualAutoencoderDetector
from dfd_tf.detectors.registry import build_detector
from dfd_tf.inference import annotated_clip
from dfd_tf.inference.annotation import heading_height
from dfd_tf.inference.explanation_files import (
    open_explanation_folder,
    safe_stem,
)
from dfd_tf.inference.media_faces import Clip, FaceReader, FrameSampling
from dfd_tf.inference.prediction import file_prediction, gather_evidence, predict_media
from pipelines.errors import InputError, MediaError

NAMES = ["train/real/a.jpg", "test/fake/d_pair.png", "test/real/e.mp4"]


def explain(predictor, paths, folder, sampling=None):
    paths = [str(path) for path in paths]
    sampling = sampling or FrameSampling()
    to = open_explanation_folder(folder, predictor, sampling, "balanced")
    found = list(predict_media(predictor, paths, None, 1, sampling=sampling))
    for number, (media, prediction) in enumerate(found, 1):
        to.write(number, media, prediction)
    return [prediction for _, prediction in found]


@pytest.fixture(scope="module")
def explained(predictor, media, tmp_path_factory):
    """Results of three files and the folder of their explanations."""
    folder = tmp_path_factory.mktemp("explained") / "deep" / "out"
    return explain(predictor, [media / name for name in NAMES], folder), folder


def test_every_file_has_its_pictures_and_numbers(explained, media):
    predictions, folder = explained
    assert sorted(path.name for path in folder.iterdir()) == [
        "0001_a.json", "0001_a_faces.png", "0001_a_overlay.png",
        "0002_d_pair.json", "0002_d_pair_faces.png", "0002_d_pair_overlay.png",
        "0003_e.json", "0003_e_annotated.mp4", "0003_e_faces.png", "0003_e_timeline.png",
    ]  # fmt: skip
    reports = sorted(folder.glob("*.json"))
    for report, prediction, name in zip(reports, predictions, NAMES, strict=True):
        values = json.loads(report.read_text())
        content = (media / name).read_bytes()
        assert values["sha256"] == hashlib.sha256(content).hexdigest()
        assert values["bytes"] == len(content)
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


def test_f01_another_picture_with_equal_numbers_replaces_the_old_one(predictor, tmp_path):
    """Without a face all numbers are equal, whatever the picture shows."""
    path, out = tmp_path / "wall.png", tmp_path / "out"
    corners = []
    for shade in (60, 200):
        Image.fromarray(np.full((480, 480, 3), shade, np.uint8)).save(path)
        (prediction,) = explain(predictor, [path], out)
        assert prediction.status == "no_face"
        with Image.open(out / "0001_wall_overlay.png") as picture:
            corners.append(picture.getpixel((10, picture.height - 10)))
    assert corners == [(60, 60, 60), (200, 200, 200)]


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


class WarmNetwork(TintNetwork):
    def explain(self, images):
        return np.zeros(images.shape[:3], np.float32)


def annotated_frames(path, clip, sampling):
    """Draws a clip as a network sees it that finds nothing; returns the frames but the last."""
    network = WarmNetwork()
    media = FaceReader(network.settings, sampling=sampling).read(str(clip))
    prediction = file_prediction(media, gather_evidence(network, media), None, None)
    annotated_clip.write_annotated_clip(
        path, network, media, prediction, network.settings, sampling
    )
    with av.open(str(path)) as found:
        return [frame.to_ndarray(format="rgb24") for frame in found.decode(video=0)][:-1], media


def test_the_picture_stays_where_it_is_when_headings_wrap(tmp_path):
    """A narrow clip: the text of frames without a face, and of late ones, is longer."""
    face = cv2.resize(portrait(), (200, 200))
    frames = []
    for number in range(24):
        canvas = np.full((480, 214, 3), 120, np.uint8)
        if number % 3 != 1:
            canvas[100:300, 7:207] = face
        canvas[-40:], canvas[:40] = (255, 0, 0), (0, 0, 255)
        frames.append(canvas)
    write_clip(tmp_path / "narrow.avi", frames, "mjpeg", "avi", Fraction(1, 50))
    found, media = annotated_frames(
        tmp_path / "out.mp4", tmp_path / "narrow.avi", FrameSampling(dense=True)
    )
    assert len(found) == 24
    assert 0 < len({face.frame for face in media.faces}) < 24
    places = set()
    for picture in found:
        column = picture[:, 100].astype(int)
        blue = np.flatnonzero((column[:, 2] > 180) & (column[:, 0] < 80))
        red = np.flatnonzero((column[:, 0] > 180) & (column[:, 2] < 80))
        places.add((blue[0], red[-1]))
    assert len(places) == 1
    ((top, bottom),) = places
    assert bottom - top + 1 == 480


def test_frames_of_another_size_are_shown_whole_in_the_same_place():
    clip = Clip(1.0, 2, 2, "every frame", ((0, 0.0), (1, 0.5)), 2, size=(641, 480))
    layout = annotated_clip._layout(clip, ["real"], {0})
    assert layout.size == (641, 480)
    assert layout.fitted(641, 480) == (641, 480)
    assert layout.fitted(240, 320) == (360, 480)
    assert layout.fitted(1282, 320) == (641, 160)
    assert layout.canvas[0] == 642
    assert layout.canvas[1] - heading_height((641, 480), 2) in (480, 481)


def test_a_clip_without_a_face_has_a_timeline_only(predictor, tmp_path):
    write_clip(tmp_path / "grey.mp4", [np.full((64, 64, 3), 128, np.uint8)] * 4)
    (prediction,) = explain(predictor, [tmp_path / "grey.mp4"], tmp_path / "out")
    assert prediction.status == "no_face"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0001_grey.json", "0001_grey_timeline.png"]


def test_a_call_on_the_folder_around_the_explanations_can_be_made_again(
    untrained_run, media, tmp_path, capsys, monkeypatch
):
    shutil.copy(media / NAMES[0], tmp_path / "z.jpg")
    monkeypatch.chdir(tmp_path)
    for written in (0, 4):
        arguments = ["--explain", "explained", "--output", "scores.csv", "--format", "csv"]
        assert run(["predict", str(untrained_run), ".", *arguments]) == 0
        said = capsys.readouterr().err
        assert "1 scored, 0 without a face, 0 failed" in said
        assert (f"{written} files left out: --explain or --output writes there" in said) == bool(
            written
        )
    names = ["0001_z.json", "0001_z_faces.png", "0001_z_overlay.png"]
    assert sorted(path.name for path in (tmp_path / "explained").iterdir()) == names


@pytest.mark.parametrize("output", ["explained/0001_a.json", "explained/scores.jsonl"])
def test_an_output_in_the_explanation_folder_is_one_line(
    untrained_run, media, tmp_path, capsys, monkeypatch, output
):
    shutil.copy(media / NAMES[0], tmp_path / "a.jpg")
    monkeypatch.chdir(tmp_path)
    arguments = ["--explain", "explained", "--format", "jsonl", "--output", output]
    assert run(["predict", str(untrained_run), "a.jpg", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"--output {output}: lies in the folder of --explain" in line
    assert not (tmp_path / "explained").exists()


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
    report = json.loads((out / "0002_2.json").read_text())
    assert report["pictures"] == []
    assert report["sha256"] == hashlib.sha256(b"no picture").hexdigest()


def test_a_file_that_is_not_there_has_a_report_without_a_digest(predictor, tmp_path):
    (prediction,) = explain(predictor, [tmp_path / "none.jpg"], tmp_path / "out")
    assert prediction.status == "error"
    report = json.loads((tmp_path / "out" / "0001_none.json").read_text())
    assert (report["sha256"], report["bytes"]) == (None, None)


def test_a_file_that_is_gone_when_it_is_explained_is_named(predictor, media, tmp_path):
    path = tmp_path / "a.jpg"
    shutil.copy(media / NAMES[0], path)
    to = open_explanation_folder(tmp_path / "out", predictor, FrameSampling(), "balanced")
    ((found, prediction),) = predict_media(predictor, [str(path)], None, 1)
    path.unlink()
    with pytest.raises(MediaError, match=r"a\.jpg"):
        to.write(1, found, prediction)
    assert not [p for p in (tmp_path / "out").iterdir() if p.suffix == ".json"]
