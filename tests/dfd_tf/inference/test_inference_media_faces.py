"""Files to face crops: the crops of `prepare`, and every bad file a result of its own."""

import os

import numpy as np
import pytest
from inference_media import write_clip
from PIL import Image

from dfd_tf.inference.media_faces import FaceReader, list_files
from pipelines.errors import Cause, InputError
from pipelines.records.shards import iter_records
from pipelines.settings import FaceSettings, MediaLimits, PrepareSettings
from pipelines.sources.synthetic_portraits import render_face


@pytest.fixture
def reader():
    return FaceReader(PrepareSettings(frames=4))


def test_f12_crops_equal_those_of_prepare_byte_for_byte(media, media_records, predictor):
    folder, manifest = media_records
    recorded = {}
    for shard in manifest.shards:
        for record in iter_records(folder / shard.file):
            place = (record.frame, record.face_index)
            recorded.setdefault(record.path, {})[place] = record
    assert len(recorded) == 5
    reader = FaceReader(predictor.settings)
    for path, records in recorded.items():
        found = reader.read(str(media / path))
        assert {(face.frame, face.index) for face in found.faces} == records.keys()
        for face in found.faces:
            record = records[face.frame, face.index]
            assert face.encoded == record.encoded
            assert face.box == pytest.approx(record.face_box, abs=1e-6)
            assert face.time_seconds == pytest.approx(record.time_seconds, abs=1e-6)


def test_videos_give_faces_of_evenly_spread_frames(media, reader):
    found = reader.read(str(media / "test" / "real" / "e.mp4"))
    assert found.kind == "video"
    assert (found.num_frames, found.truncated, found.error) == (4, False, None)
    assert len({face.frame for face in found.faces}) == 4


def test_a_video_that_is_cut_says_so(tmp_path, reader):
    path = tmp_path / "cut.avi"
    frames = [render_face(31, 0, 0, 160).pixels] * 30
    write_clip(path, frames, codec="mjpeg", container="avi")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    found = reader.read(str(path))
    assert found.truncated
    assert any("frames_read" in note and "of 30" in note for note in found.notes)
    assert found.faces
    assert found.error is None


def test_frames_without_a_face_are_one_note(tmp_path, reader):
    face = render_face(31, 0, 0, 160).pixels
    write_clip(tmp_path / "clip.mp4", [face, np.full_like(face, 90)] * 2)
    found = reader.read(str(tmp_path / "clip.mp4"))
    assert found.notes == ["no_face: no face found (haar) (2 in 4 frames)"]
    assert len(found.faces) == 2


def test_no_face_and_faces_too_small_are_notes(tmp_path, reader):
    Image.new("RGB", (200, 200), "grey").save(tmp_path / "grey.png")
    assert reader.read(str(tmp_path / "grey.png")).notes == ["no_face: no face found (haar)"]
    picky = FaceReader(PrepareSettings(faces=FaceSettings(min_size=150)))
    Image.fromarray(render_face(31, 0, 0, 200).pixels).save(tmp_path / "face.png")
    found = picky.read(str(tmp_path / "face.png"))
    assert not found.faces
    assert found.notes[0].startswith("face_too_small: face of ")


def test_a_fault_after_some_frames_leaves_no_half_a_score(tmp_path, monkeypatch, reader):
    write_clip(tmp_path / "clip.mp4", [render_face(31, 0, 0, 160).pixels] * 4)

    def disk_fails(*arguments):
        if disk_fails.calls:
            raise reader_error
        disk_fails.calls += 1
        return original(*arguments)

    from dfd_tf.inference import media_faces
    from pipelines.errors import MediaError

    original, disk_fails.calls = media_faces.extract_faces, 0
    reader_error = MediaError("clip.mp4", Cause.DAMAGED, "damaged")
    monkeypatch.setattr(media_faces, "extract_faces", disk_fails)
    found = reader.read(str(tmp_path / "clip.mp4"))
    assert found.error is reader_error
    assert found.faces == []


@pytest.mark.parametrize(
    ("name", "cause", "reason"),
    [
        ("missing.jpg", Cause.MISSING, "does not exist"),
        ("folder", Cause.NOT_A_FILE, "directory"),
        ("pipe", Cause.NOT_A_FILE, "not a regular file"),
        ("loop", Cause.NOT_A_FILE, "loop of links"),
        ("empty.jpg", Cause.EMPTY, "empty file"),
        ("page.jpg", Cause.NOT_MEDIA, "not a JPEG"),
        ("list.m3u8", Cause.NOT_MEDIA, "playlist"),
    ],
)
def test_bad_files_are_results_and_nothing_blocks(tmp_path, reader, name, cause, reason):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>404</html>")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\nhttp://127.0.0.1:9/x.ts\n")
    found = reader.read(str(tmp_path / name))
    assert found.error.cause == cause
    assert reason in found.error.reason
    assert not found.faces


@pytest.mark.parametrize("path", ["/dev/zero", "http://127.0.0.1:9/x.jpg", "a\0b.jpg"])
def test_devices_urls_and_impossible_names_are_results(reader, path):
    found = reader.read(path)
    assert found.error is not None
    assert "\n" not in str(found.error)


def test_limits_of_the_training_hold(tmp_path):
    Image.new("RGB", (200, 200)).save(tmp_path / "big.png")
    reader = FaceReader(PrepareSettings(limits=MediaLimits(max_pixels=10_000)))
    assert reader.read(str(tmp_path / "big.png")).error.cause == Cause.TOO_MANY_PIXELS


def test_a_detector_that_cannot_be_opened_shows_at_once(tmp_path):
    faces = FaceSettings(detector="yunet", model=str(tmp_path / "missing.onnx"))
    with pytest.raises(InputError, match=r"missing\.onnx"):
        FaceReader(PrepareSettings(faces=faces))


def test_folders_are_listed_sorted_without_hidden_files_and_loops(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.jpg", "b/y.jpg", "a.jpg", ".hidden", "b/Thumbs.db"):
        (tmp_path / name).touch()
    (tmp_path / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    files, is_batch = list_files(["other.jpg", str(tmp_path)])
    names = [os.path.relpath(file, tmp_path) for file in files[1:]]
    assert files[0] == "other.jpg"
    assert names == ["a.jpg", "b/y.jpg", "broken.jpg", "z.jpg"]
    assert is_batch
    assert list_files(["one.jpg"]) == (["one.jpg"], False)
