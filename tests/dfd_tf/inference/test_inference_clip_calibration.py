"""Clips from records to calibration to `predict`: the same scores, limits of their own."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from inference_clips import moving, tinted, write_clip
from inference_runs import write_untrained_run
from PIL import Image

from dfd_tf.cli.main import run as run_cli
from dfd_tf.evaluation.calibrate import write_calibration
from dfd_tf.evaluation.samples import video_level
from dfd_tf.evaluation.scoring import embed_split, score_split
from dfd_tf.inference.media_faces import FaceReader, FrameSampling
from dfd_tf.inference.prediction import operating_point, predict_files
from dfd_tf.inference.predictor import load_predictor, read_calibration
from dfd_tf.inference.tracks import appearance
from pipelines.executors import LocalExecutor
from pipelines.media.videos import sample_frames
from pipelines.prepare import prepare
from pipelines.settings import CropSettings, PrepareSettings, prepare_settings
from pipelines.sources.registry import open_source
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair

SETTINGS = PrepareSettings(frames=6, splits=None, crop=CropSettings(size=48))
NUM_REAL = 20


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Validation clips of 6 frames: 20 real, 11 tinted; and one of two people to test on."""
    folder = tmp_path_factory.mktemp("dataset")
    for place in ("val/real", "val/fake", "test/fake"):
        (folder / place).mkdir(parents=True)
    for person in range(NUM_REAL + 11):
        frames = moving(render_face(33, person, 0, 112).pixels, 6, person)
        if person < NUM_REAL:
            write_clip(folder / "val" / "real" / f"{person}.avi", frames)
        else:
            tints = [tinted(frame) for frame in frames]
            write_clip(folder / "val" / "fake" / f"{person}.avi", tints)
    two = render_portrait_pair(33, 50, 51, 0, 112)[0]
    write_clip(folder / "test" / "fake" / "two.avi", moving(two, 9))
    return folder


@pytest.fixture(scope="module")
def calibrated(clips, tmp_path_factory):
    """The run, loaded, its records and their manifest."""
    folder = tmp_path_factory.mktemp("clip_run")
    records = folder / "records"
    source = open_source("folder", str(clips), domain="made-up", staging=records / "media")
    manifest = prepare([source], records, SETTINGS, LocalExecutor(1))
    run = write_untrained_run(folder / "run", records, manifest)
    predictor = load_predictor(str(run))
    faces = score_split(predictor, records, manifest, "val")
    write_calibration(faces, predictor, records, manifest, cross_fitted=False)
    # Loaded once: loading traces the network anew.
    predictor.calibration = read_calibration(run, predictor.model)
    return predictor, records, manifest


def test_calibration_rests_on_the_clips(calibrated):
    predictor = calibrated[0]
    video = predictor.calibration.video
    assert video.num_real >= 19
    assert video.num_fake >= 10
    assert len(video.aggregation_candidates) == 3
    assert "balanced" in {point.name for point in video.thresholds}
    assert len(video.temporal.statistics) == video.num_real
    assert video.temporal.shortest_interval == pytest.approx(0.2, abs=1e-6)
    assert video.frames_of_persons == (6, 6)
    assert predictor.run.clip_calibration_plot.stat().length > 1000
    card = predictor.run.model_card.read_text()
    assert "clips: change over time is compared with that of" in card


def test_a_clip_scores_the_same_from_its_records_and_from_its_file(calibrated, clips):
    predictor, records, manifest = calibrated
    aggregation = predictor.calibration.video.aggregation
    num_persons = 0
    for split in ("val", "test"):
        faces = score_split(predictor, records, manifest, split)
        evaluated = video_level(faces, aggregation)
        paths = [clips / key.partition("#")[0] for key in faces.keys.tolist()]
        by_file = dict(zip(faces.videos.tolist(), paths, strict=True))
        files = [str(by_file[video]) for video in evaluated.keys.tolist()]
        for score, found in zip(
            evaluated.scores.tolist(), predict_files(predictor, files, None, 2), strict=True
        ):
            assert found.score == score
            num_persons = max(num_persons, len(found.persons))
        if split == "val":
            real = np.sort(evaluated.scores[evaluated.labels == 0])
            assert predictor.calibration.video.real_scores == tuple(real.tolist())
    assert num_persons == 2


PAIRS = ((88, 63), (87, 84), (76, 73), (80, 68), (83, 74), (78, 70))
"""People alike enough that lying in one place would make them one person."""


def cut_between(first, second):
    """Frames of one person on the left, and then, after a cut, of the other on the right."""
    left, right = (render_face(33, person, 0, 112).pixels for person in (first, second))
    grey = np.full_like(left, 90)
    return [np.hstack([left, grey])] * 3 + [np.hstack([grey, right])] * 3


@pytest.fixture(scope="module")
def placeless(calibrated, tmp_path_factory):
    """The run, records and manifest of harmonised crops of clips; and the folder of those."""
    folder = tmp_path_factory.mktemp("harmonised")
    media = folder / "media"
    for label in ("real", "fake"):
        (media / "test" / label).mkdir(parents=True)
    for number, people in enumerate(PAIRS):
        label = ("real", "fake")[number % 2]
        write_clip(media / "test" / label / f"{number}.avi", cut_between(*people))
    two = render_portrait_pair(33, 50, 51, 0, 112)[0]
    write_clip(media / "test" / "real" / "two.avi", moving(two, 6))
    source = open_source("folder", str(media), domain="made-up", staging=folder / "staging")
    settings = replace(SETTINGS, harmonize=True)
    manifest = prepare([source], folder / "records", settings, LocalExecutor(1))
    predictor = replace(calibrated[0], settings=prepare_settings(manifest.settings))
    assert predictor.settings.crop.carrier is not None
    return predictor, folder / "records", manifest, media


def test_a_clip_of_harmonised_crops_scores_the_same_from_records_and_from_its_file(placeless):
    predictor, records, manifest, media = placeless
    faces = score_split(predictor, records, manifest, "test")
    num_persons = set()
    for video in np.unique(faces.videos):
        own = faces.select(faces.videos == video)
        path = str(media / str(own.keys[0]).partition("#")[0])
        (found,) = predict_files(predictor, [path], None, 1)
        assert found.score == video_level(own, found.video["aggregation"]).scores[0]
        assert [face["person"] for face in found.faces] == own.persons.tolist()
        num_persons.add(len(found.persons))
    assert 2 in num_persons


def test_a_folder_of_frames_scores_as_the_video_of_them_does(calibrated, clips, tmp_path):
    predictor = calibrated[0]
    originals = [
        *sorted((clips / "val" / "real").iterdir())[:3],
        *sorted((clips / "val" / "fake").iterdir())[:2],
        clips / "test" / "fake" / "two.avi",
    ]
    for path in originals:
        folder = tmp_path / "frames" / "test" / path.parent.name / path.stem
        folder.mkdir(parents=True)
        for frame in sample_frames(str(path), SETTINGS.frames, SETTINGS.limits):
            # As a program that counts would name them: 10 and 11 come before 8 by the alphabet.
            Image.fromarray(frame.pixels).save(folder / f"frame{frame.index + 8}.png")
    source = open_source(
        "folder", str(tmp_path / "frames"), domain="made-up", staging=tmp_path / "staging"
    )
    records = tmp_path / "records"
    manifest = prepare([source], records, SETTINGS, LocalExecutor(1))
    faces = score_split(predictor, records, manifest, "test")
    assert np.isnan(faces.seconds).all()
    videos = {Path(str(key)).parent.name: faces.select(faces.videos == video)
              for key, video in zip(faces.keys, faces.videos, strict=True)}  # fmt: skip
    assert len(videos) == len(originals)
    for path in originals:
        own = videos[path.stem]
        (found,) = predict_files(predictor, [str(path)], None, 1)
        (score,) = video_level(own, found.video["aggregation"]).scores
        assert score == pytest.approx(found.score, abs=1e-6)
        assert np.unique(own.persons).tolist() == sorted(one["person"] for one in found.persons)
        numbers = [int(str(key).rpartition("frame")[2].partition(".")[0]) - 8 for key in own.keys]
        persons = sorted(zip(numbers, own.persons.tolist(), own.scores.tolist(), strict=True))
        expected = [(face["frame"], face["person"], face["score"]) for face in found.faces]
        assert persons == sorted(expected)


def test_latents_and_looks_are_those_of_the_same_faces(calibrated, clips):
    predictor, records, manifest = calibrated
    faces = score_split(predictor, records, manifest, "test")
    wanted = np.arange(len(faces)) % 3 == 1
    latents = embed_split(predictor, records, manifest, "test", wanted)
    found = FaceReader(SETTINGS).read(str(clips / "test" / "fake" / "two.avi")).faces
    images = predictor.decode([face.encoded for face in found])
    np.testing.assert_allclose(latents, predictor.embed(images)[wanted], atol=1e-5)
    assert len(appearance(images)) == len(faces)


def test_predicted_clips_have_p_values_and_a_second_opinion(calibrated, clips):
    predictor = calibrated[0]
    threshold = operating_point(predictor, "balanced")
    files = [str(path) for path in sorted((clips / "val" / "real").iterdir())]
    found = list(predict_files(predictor, files, threshold, 2))
    p_values = [one.p_value for one in found]
    # The calibration clips themselves: of n scores the k-th largest has (1 + k) / (n + 1).
    count = len(found)
    assert sorted(p_values) == pytest.approx([(k + 2) / (count + 1) for k in range(count)])
    assert {one.promised_fpr for one in found} == {0.05}
    changes = [one.persons[0]["temporal"]["p_value"] for one in found]
    assert None not in changes
    # More frames than in training are compared as far apart as there.
    (dense,) = predict_files(predictor, files[:1], threshold, 1, sampling=FrameSampling(dense=True))
    assert dense.persons[0]["temporal"]["p_value"] == changes[0]


def test_the_command_writes_persons_frames_and_promises(calibrated, clips, tmp_path):
    out = tmp_path / "out.jsonl"
    arguments = ["predict", str(calibrated[0].run), str(clips / "test" / "fake" / "two.avi")]
    options = ["--frames", "4", "--format", "jsonl", "--output", str(out)]
    assert run_cli([*arguments, *options]) == 0
    (row,) = map(json.loads, out.read_text().splitlines())
    # The calibration clips were looked at in six frames.
    assert row["promised_fpr"] is row["p_value"] is None
    assert any("seen in 4 of the frames looked at" in note for note in row["notes"])
    assert row["video"]["sampling"] == "4 evenly spaced frames"
    assert len(row["persons"]) == 2
    assert {face["person"] for face in row["faces"]} == {1, 2}
    assert run_cli([*arguments, "--dense", *options]) == 2
