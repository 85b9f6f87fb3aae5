"""Clips from file to verdict: a swapped stretch, two persons, dense frames, what is not there."""

import json
import pickle
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from inference_clips import (
    SETTINGS,
    TINT_SCORE,
    TintNetwork,
    calibration,
    moving,
    pair,
    portrait,
    reference,
    swapped_clip,
    tinted,
    write_clip,
)

from dfd_tf.inference import media_faces
from dfd_tf.inference.evidence import gather_evidence
from dfd_tf.inference.media_faces import FaceReader, FrameSampling
from dfd_tf.inference.prediction import file_prediction, predict_files


def predict(path, known=None, sampling=None, network=None, **reading):
    media = FaceReader(SETTINGS, sampling=sampling, **reading).read(str(path))
    threshold = known.thresholds[0] if known else None
    return file_prediction(
        media, gather_evidence(network or TintNetwork(), media), known, threshold
    )


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    """60 frames of 12 seconds, forged from frame 20 to 39."""
    return swapped_clip(tmp_path_factory.mktemp("clips") / "swapped.avi")


@pytest.fixture(scope="module")
def two_persons(tmp_path_factory):
    """24 frames of two people, the right one forged."""
    path = tmp_path_factory.mktemp("clips") / "two.avi"
    write_clip(path, [tinted(frame, 0.5, 1.0) for frame in moving(pair(), 24)])
    return path


def test_frame_scores_show_the_swapped_stretch(swapped):
    found = predict(swapped)
    frames = found.video["frames"]
    assert [one["frame"] for one in frames] == [5 * k + 2 for k in range(12)]
    assert [one["seconds"] for one in frames] == pytest.approx([k + 0.4 for k in range(12)])
    inside = [20 <= one["frame"] < 40 for one in frames]
    scores = np.array([one["score"] for one in frames])
    assert scores[inside].min() > scores[~np.array(inside)].max() + TINT_SCORE / 2
    (person,) = found.persons
    assert (person["first_seconds"], person["last_seconds"]) == (0.4, 11.4)
    assert found.score == person["score"] == pytest.approx(scores.mean())
    assert found.video["sampling"] == "12 evenly spaced frames"
    assert found.video["duration_seconds"] == pytest.approx(12.0, abs=0.01)
    assert found.video["num_frames"] == found.video["frames_expected"] == 60
    assert not found.truncated
    json.dumps(asdict(found), allow_nan=False)


@pytest.mark.parametrize("aggregation", ["mean", "top_k", "max"])
def test_the_calibrated_aggregation_is_used(swapped, aggregation):
    found = predict(swapped, calibration(clips=0.0, aggregation=aggregation))
    scores = np.sort([face["score"] for face in found.faces])
    expected = {"mean": scores.mean(), "top_k": scores[-3:].mean(), "max": scores[-1]}
    assert found.score == pytest.approx(expected[aggregation])
    assert (found.video["aggregation"], found.video["aggregation_reason"]) == (
        aggregation,
        "by hand",
    )


def test_limits_of_clips_give_p_values_and_those_of_images_do_not(swapped):
    score = predict(swapped).score
    judged = predict(swapped, calibration(threshold=99.0, clips=score - 1))
    assert (judged.verdict, judged.label, judged.threshold) == ("fake", "fake", score - 1)
    assert judged.p_value == pytest.approx(1 / 20)
    assert judged.reason == "higher than real clips score (p = 0.05)"
    (person,) = judged.persons
    assert (person["verdict"], person["p_value"]) == ("fake", judged.p_value)
    assert person["reason"].endswith("limits are those of whole clips")
    borrowed = predict(swapped, calibration(threshold=score - 1))
    assert (borrowed.verdict, borrowed.p_value) == ("fake", None)
    assert borrowed.reason.endswith("limits are those of single images, without a promise")
    assert borrowed.video["aggregation_reason"].startswith("not chosen on validation: no labelled")
    assert borrowed.persons[0]["p_value"] is None


@pytest.mark.parametrize(
    ("sampling", "num_frames"),
    [
        (None, None),
        (FrameSampling(12), None),
        (FrameSampling(7), 7),
        (FrameSampling(dense=True), 60),
    ],
)
def test_other_frames_than_in_training_weaken_the_promise(swapped, sampling, num_frames):
    found = predict(swapped, calibration(clips=0.0), sampling)
    notes = [note for note in found.notes if "promised rates hold less surely" in note]
    assert bool(notes) == (num_frames is not None)
    how = "every frame" if num_frames == 60 else "7 evenly spaced frames"
    assert all(f"in 12 evenly spaced frames, as in training, and here it was {how}" in note
               for note in notes)  # fmt: skip
    assert predict(swapped, calibration(), FrameSampling(7)).notes == ()


def test_a_clip_with_fewer_frames_than_are_looked_at_keeps_the_promise(tmp_path):
    write_clip(tmp_path / "clip.avi", moving(portrait(), 9))
    found = predict(tmp_path / "clip.avi", calibration(clips=99.0, frames=(9, 12)))
    assert found.num_frames == 9
    assert found.notes == ()
    assert (found.promised_fpr, found.p_value is None) == (0.05, False)


@pytest.mark.parametrize(("frames", "is_covered"), [((12, 12), True), ((1, 11), False),
                                                    ((13, 32), False), (None, True)])  # fmt: skip
def test_limits_promise_nothing_of_a_person_seen_in_another_number_of_frames(
    swapped, frames, is_covered
):
    found = predict(swapped, calibration(clips=99.0, frames=frames))
    (person,) = found.persons
    assert (found.threshold, found.verdict, found.label) == (99.0, "real", "real")
    for judged in (found.p_value, person["p_value"], found.promised_fpr):
        assert (judged is not None) == is_covered
    notes = [note for note in found.notes if "no rate is promised" in note]
    assert bool(notes) != is_covered
    for note in notes:
        assert f"is seen in 12 of the frames looked at, in the real clips of the calibration in" \
               f" {frames[0]} to {frames[1]}" in note  # fmt: skip
    assert found.reason.endswith("without a promise") != is_covered


def test_a_clip_of_one_frame_has_no_promise_from_clips_of_many(tmp_path):
    write_clip(tmp_path / "clip.avi", [portrait()])
    found = predict(tmp_path / "clip.avi", calibration(clips=99.0, frames=(10, 12)))
    assert found.verdict == "real"
    assert found.p_value is found.promised_fpr is found.persons[0]["p_value"] is None
    assert found.reason.endswith(
        "limits are those of clips in which people are seen more or less often, without a promise"
    )
    assert "p =" not in found.reason


def test_notes_speak_of_limits_of_clips_only_where_they_are_used(two_persons):
    known = calibration(clips=3.0)
    other = known.thresholds[0].model_copy(update={"name": "strict", "value": 99.0})
    known = known.model_copy(update={"thresholds": (*known.thresholds, other)})
    media = FaceReader(SETTINGS, sampling=FrameSampling(7)).read(str(two_persons))
    evidence = gather_evidence(TintNetwork(), media)
    own, borrowed = (
        file_prediction(media, evidence, known, threshold) for threshold in known.thresholds
    )
    assert len(own.notes) == 2
    assert borrowed.notes == ()
    assert "single images" in borrowed.reason
    assert (own.promised_fpr, borrowed.promised_fpr) == (0.05, None)


def test_the_reason_of_an_operating_point_that_is_not_set_is_told(swapped, media):
    known = calibration()
    for path in (str(swapped), str(media / "train" / "real" / "a.jpg")):
        found = FaceReader(SETTINGS).read(path)
        evidence = gather_evidence(TintNetwork(), found)
        assert file_prediction(found, evidence, known, None).reason == (
            "the operating point was not set"
        )
        judged = file_prediction(found, evidence, known, None, unset="strict: too few")
        assert judged.reason == "strict: too few"
        (listed,) = predict_files(CalibratedTint(known), [path], None, 1, unset="strict: too few")
        assert listed.reason == "strict: too few"


class CalibratedTint(TintNetwork):
    def __init__(self, known):
        super().__init__()
        self.calibration = known


def test_of_two_persons_the_forged_one_is_named(two_persons):
    found = predict(two_persons, calibration(clips=3.0))
    worst, other = found.persons
    assert worst["score"] > other["score"] + TINT_SCORE / 2
    assert found.score == worst["score"]
    assert (found.verdict, worst["verdict"], other["verdict"]) == ("fake", "fake", "real")
    for face in found.faces:
        left, _, width, _ = face["box"]
        assert (face["person"] == worst["person"]) == (left + width / 2 > 0.5)
    assert {one["num_faces"] for one in found.video["frames"]} == {2}
    assert any("2 persons count, and 0 of 19 real clips" in note for note in found.notes)


def test_two_who_cross_before_the_camera_keep_their_numbers(tmp_path):
    honest, forged = portrait(0), tinted(portrait(3))
    side, frames = len(honest), []
    for step in np.linspace(0, 2 * side, 25).astype(int):
        frame = np.full((side, 3 * side, 3), 90, np.uint8)
        frame[:, 2 * side - step : 3 * side - step] = honest
        frame[:, step : step + side] = forged  # in front
        frames.append(frame)
    write_clip(tmp_path / "clip.avi", frames)
    found = predict(tmp_path / "clip.avi", sampling=FrameSampling(dense=True))
    counted = [one for one in found.persons if one["counted"]]
    assert len(counted) == 2
    worst, other = counted
    assert worst["num_frames"] == 25
    assert other["num_frames"] >= 14
    for face in found.faces:
        middle = face["box"][0] + face["box"][2] / 2
        if face["person"] == worst["person"]:
            assert middle == pytest.approx((face["frame"] / 24 * 2 + 0.5) / 3, abs=0.06)
        elif face["person"] == other["person"]:
            assert middle == pytest.approx((2.5 - face["frame"] / 24 * 2) / 3, abs=0.06)


def test_a_face_in_one_frame_decides_nothing(tmp_path):
    frames = moving(np.hstack([portrait(), np.full_like(portrait(), 90)]), 24)
    # A forged face appears beside for an instant, in one of the frames that are looked at.
    frames[5] = tinted(pair(), 0.5, 1.0)
    write_clip(tmp_path / "clip.avi", frames)
    found = predict(tmp_path / "clip.avi", calibration(clips=0.0))
    uncounted = [one for one in found.persons if not one["counted"]]
    assert uncounted
    for one in uncounted:
        assert one["verdict"] is one["p_value"] is one["label"] is None
        assert one["reason"].startswith("not counted: seen in 1 of 12 frames with a face")
    counted = [one for one in found.persons if one["counted"]]
    assert [one["num_frames"] for one in counted] == [11]
    assert found.score == counted[0]["score"]


def test_frames_without_a_face_are_told(tmp_path):
    grey = np.full_like(portrait(), 90)
    write_clip(tmp_path / "clip.avi", [portrait(), grey] * 6)
    found = predict(tmp_path / "clip.avi")
    assert [one["score"] is None for one in found.video["frames"]] == [False, True] * 6
    assert [one["num_faces"] for one in found.video["frames"]] == [1, 0] * 6
    write_clip(tmp_path / "grey.avi", [grey] * 6)
    nobody = predict(tmp_path / "grey.avi", calibration(clips=0.0))
    assert (nobody.status, nobody.verdict, nobody.score) == ("no_face", "no face", None)
    assert nobody.persons == ()
    assert [one["score"] for one in nobody.video["frames"]] == [None] * 6


def test_one_frame_is_a_clip_as_well(tmp_path):
    write_clip(tmp_path / "clip.avi", [portrait()])
    found = predict(tmp_path / "clip.avi")
    assert found.video["sampling"] == "1 evenly spaced frame"
    assert found.persons[0]["counted"]
    assert any("no person is seen in 2 frames: all are counted" in note for note in found.notes)


def test_a_long_clip_frame_by_frame(tmp_path):
    path = swapped_clip(tmp_path / "long.avi", 300, (100, 140))
    network, seen = TintNetwork(), []
    reader = FaceReader(SETTINGS, sampling=FrameSampling(dense=True))
    media = reader.read(str(path), lambda *progress: seen.append(progress))
    assert seen == [(k + 1, 300) for k in range(300)]
    media = pickle.loads(pickle.dumps(media))
    found = file_prediction(media, gather_evidence(network, media), None, None)
    assert found.num_frames == found.video["num_frames"] == 300
    assert found.video["sampling"] == "every frame"
    assert [one["frame"] for one in found.video["frames"]] == list(range(300))
    scores = np.array([one["score"] for one in found.video["frames"]], float)
    outside = np.concatenate([scores[:100], scores[140:]])
    assert np.nanmin(scores[100:140]) > np.nanmax(outside) + TINT_SCORE / 2
    (person,) = [one for one in found.persons if one["counted"]]
    assert person["num_frames"] >= 295
    # Change over time is looked at on as many frames as clips have in training.
    assert network.num_scored == len(found.faces)
    assert network.num_embedded <= SETTINGS.frames
    # The same clip at the usual number of frames: more than one, and the stretch is seen.
    few = predict(path)
    assert few.num_frames == 12
    assert (
        max(one["score"] for one in few.video["frames"])
        > few.video["frames"][0]["score"] + TINT_SCORE / 2
    )


def test_too_many_frames_and_faces_are_thinned_evenly(tmp_path, monkeypatch):
    path = swapped_clip(tmp_path / "clip.avi", 31, (0, 0))
    found = predict(path, sampling=FrameSampling(dense=True, most=10))
    assert found.video["sampling"] == "every 4th frame, 8 in all"
    assert [one["frame"] for one in found.video["frames"]] == [0, 4, 8, 12, 16, 20, 24, 28]
    monkeypatch.setattr(media_faces, "MOST_CROPS", 3)
    found = predict(path, sampling=FrameSampling(dense=True, most=10))
    assert found.video["sampling"] == "every 16th frame, 2 in all"
    assert [face["frame"] for face in found.faces] == [0, 16]
    assert "more than 3 faces: every 4th of the chosen frames kept" in found.notes
    assert predict(path, sampling=FrameSampling(5), stability=True).num_frames <= 2


@pytest.mark.parametrize("arguments", [(3, True), (0,), (4000,)])
def test_impossible_samplings_are_refused(arguments):
    with pytest.raises(ValueError, match="frames: "):
        FrameSampling(*arguments)


def test_a_clip_that_is_cut_says_so_and_has_all_its_facts(tmp_path):
    path = swapped_clip(tmp_path / "cut.avi")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = predict(path)
    assert found.truncated
    assert found.video["frames_expected"] == 60
    assert 10 < found.video["num_frames"] < 40
    assert any("truncated: frames_read" in note for note in found.notes)


def test_what_progress_raises_ends_the_reading(swapped):
    class StopError(Exception):
        pass

    def stop(done, _planned):
        if done == 3:
            raise StopError

    with pytest.raises(StopError):
        FaceReader(SETTINGS).read(str(swapped), stop)


def test_change_over_time_is_a_second_opinion_that_decides_nothing(tmp_path, swapped):
    steady = swapped_clip(tmp_path / "steady.avi", stretch=(0, 0))
    usual = predict(steady).persons[0]["temporal"]
    assert usual["p_value"] is None
    assert usual["note"] == "not comparable: no real clips in the calibration"
    temporal = reference(list(usual["statistics"].values()), 1.0)
    known = calibration(clips=99.0, temporal=temporal)
    ordinary, strange = predict(steady, known), predict(swapped, known)
    assert ordinary.persons[0]["temporal"]["p_value"] > 0.3
    assert strange.persons[0]["temporal"]["p_value"] == pytest.approx(1 / 20)
    assert strange.persons[0]["temporal"]["note"].startswith("0 of 19 real clips change over time")
    assert strange.verdict == strange.persons[0]["verdict"] == "real"
    # Every frame, compared on those that are as far apart as the reference's.
    dense = predict(swapped, known, FrameSampling(dense=True)).persons[0]["temporal"]
    assert dense == strange.persons[0]["temporal"]
    few = predict(swapped, known, FrameSampling(7)).persons[0]["temporal"]
    assert few["p_value"] is None
    assert "frames 1.7 s apart" in few["note"]


def test_redelivered_clips_are_scored_as_a_whole(swapped):
    found = predict(swapped, calibration(clips=99.0), stability=True)
    assert set(found.redelivered) == {"JPEG quality 75", "resizing to 75%"}
    for score in found.redelivered.values():
        assert score == pytest.approx(found.score, abs=3)


def test_clips_among_images_keep_their_place_and_score(swapped, two_persons, media):
    paths = [media / "train" / "real" / "a.jpg", swapped, media / "val" / "real" / "b.png",
             two_persons, media / "test" / "fake" / "c.jpg"]  # fmt: skip
    names = [str(path) for path in paths]
    together = list(predict_files(TintNetwork(), names, None, 2))
    assert [one.path for one in together] == names
    assert together[1] == predict(swapped)
    alone = [next(predict_files(TintNetwork(), [name], None, 1)) for name in names]
    assert alone == together


def test_reading_needs_no_tensorflow():
    code = (
        "import sys, dfd_tf.inference.media_faces, dfd_tf.inference.evidence,"
        " dfd_tf.inference.clip_prediction; sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
