"""Files to results: order, equal bits whatever the batch, errors, threads, memory."""

import gc
import threading

import numpy as np
import pytest

from dfd_tf.evaluation.scoring import score_split
from dfd_tf.inference import prediction
from dfd_tf.inference.calibration import CalibrationFile, Threshold
from dfd_tf.inference.media_faces import FoundFace, MediaFaces
from dfd_tf.inference.prediction import predict_files
from dfd_tf.inference.predictor import load_predictor
from pipelines.errors import Cause, MediaError, ModelFileError
from pipelines.records.shards import iter_records
from pipelines.settings import PrepareSettings

GOOD = ["train/real/a.jpg", "val/real/b.png", "test/fake/c.jpg", "test/fake/d_pair.png",
        "test/real/e.mp4"]  # fmt: skip


def predict(predictor, paths, threads=2, threshold=None):
    return list(predict_files(predictor, [str(path) for path in paths], threshold, threads))


@pytest.fixture(scope="module")
def mixed(media, tmp_path_factory):
    """Five good files among bad ones."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("no picture")
    good = [media / name for name in GOOD]
    whole = good[0].read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    bad = [folder / name for name in ("empty.jpg", "text.jpg", "cut.jpg", "missing.jpg")]
    return [bad[0], good[0], good[1], bad[1], good[2], bad[2], good[3], folder, good[4], bad[3]]


def test_a_batch_keeps_its_order_and_gives_the_scores_of_each_alone(predictor, mixed):
    batch = predict(predictor, mixed)
    assert [result.path for result in batch] == [str(path) for path in mixed]
    statuses = ["error", "ok", "ok", "error", "ok", "error", "ok", "error", "ok", "error"]
    assert [result.status for result in batch] == statuses
    for path, result in zip(mixed, batch, strict=True):
        assert predict(predictor, [path]) == [result]
        if result.status == "error":
            assert result.score is result.probability is result.label is result.verdict is None
            assert result.reason == result.error
            assert result.error
            assert "\n" not in result.error


def test_threads_change_nothing(predictor, mixed):
    assert predict(predictor, mixed, threads=1) == predict(predictor, mixed, threads=7)


def test_images_score_by_their_worst_face_and_videos_by_their_only_person(predictor, media):
    pair, clip = predict(predictor, [media / GOOD[3], media / GOOD[4]])
    assert len(pair.faces) >= 2
    assert pair.score == max(face["score"] for face in pair.faces)
    frames = {}
    for face in clip.faces:
        frames[face["frame"]] = max(face["score"], frames.get(face["frame"], -np.inf))
    assert len(frames) == clip.num_frames == 3
    assert clip.score == pytest.approx(np.mean(list(frames.values())), abs=1e-12)


def test_f11_records_pixels_and_files_give_equal_bits(predictor, media, media_records):
    folder, manifest = media_records
    for split in ("train", "val", "test"):
        shards = manifest.split_shards(split)
        records = [record for s in shards for record in iter_records(folder / s.file)]
        evaluated = score_split(predictor, folder, manifest, split).scores
        encoded = [record.encoded for record in records]
        assert predictor.score_encoded(encoded).tolist() == evaluated.tolist()
        assert predictor.score(predictor.decode(encoded)).tolist() == evaluated.tolist()
        by_file = {
            name: iter(result.faces)
            for name in {record.path for record in records}
            for result in predict(predictor, [media / name])
        }
        assert [next(by_file[r.path])["score"] for r in records] == evaluated.tolist()


def test_f04_a_score_depends_on_neither_place_nor_neighbours(predictor):
    images = np.random.default_rng(0).integers(0, 256, (70, 32, 32, 3), np.uint8)
    together = predictor.score(images)
    order = np.random.default_rng(1).permutation(70)
    assert np.array_equal(predictor.score(images[order]), together[order])
    for index in (0, 31, 32, 69):
        assert predictor.score(images[index : index + 1])[0] == together[index]
    assert len(np.unique(together)) > 60


def test_no_images_give_no_scores(predictor):
    assert predictor.score_encoded([]).shape == (0,)
    assert predictor.score(np.empty((0, 32, 32, 3), np.uint8)).shape == (0,)


def test_f08_a_score_that_is_not_finite_is_refused(untrained_run):
    broken = load_predictor(str(untrained_run))
    broken.detector.head.bias.assign([np.nan])
    with pytest.raises(ModelFileError, match="not finite"):
        broken.score(np.zeros((1, 32, 32, 3), np.uint8))


def test_faces_can_be_found_otherwise(predictor, media):
    other = predictor.with_faces("none", None)
    (result,) = predict(other, [media / GOOD[3]])
    assert len(result.faces) == 1
    assert result.faces[0]["box"] == [0.0, 0.0, 1.0, 1.0]
    assert predictor.with_faces(None, None) is predictor
    assert predictor.with_faces(None, "x.onnx").settings.faces.model == "x.onnx"


def test_loading_does_not_change_scores(predictor, untrained_run):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    again = load_predictor(str(untrained_run))
    assert np.array_equal(again.score(images), predictor.score(images))


class FakePredictor:
    """Scores a crop by its bytes read as a number; counts the crops alive."""

    batch_size = 8
    calibration = None
    settings = PrepareSettings()
    run = "fake"

    def __init__(self):
        self.calls = []

    def decode(self, encoded):
        return encoded

    def score(self, images):
        self.calls.append(len(images))
        return np.array([float(data) for data in images])


class FakeReader:
    """`x/3` has three faces; `error` none and an error."""

    def __init__(self, _settings, *, stability, sampling):
        self.stability, self.sampling = stability, sampling

    def read(self, path):
        name, _, faces = path.partition("/")
        if faces == "error":
            return MediaFaces(path, error=MediaError(path, Cause.EMPTY, "empty file"))
        crops = [
            FoundFace(f"{name}.{i}".encode(), (0, 0, 1, 1), i, 0, 0.0) for i in range(int(faces))
        ]
        return MediaFaces(path, "image", crops, 1)


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(prediction, "FaceReader", FakeReader)
    return FakePredictor()


def test_network_batches_are_full_whatever_the_files_hold(fake):
    paths = [f"{i}/{i % 4}" if i % 5 else f"{i}/error" for i in range(1, 200)]
    results = predict(fake, paths)
    assert [result.path for result in results] == paths
    num_faces = sum(len(result.faces) for result in results)
    assert fake.calls == [8] * (num_faces // 8) + [num_faces % 8] * (num_faces % 8 > 0)
    for result in results:
        name, _, faces = result.path.partition("/")
        if faces == "error":
            assert result.status == "error"
        elif faces == "0":
            assert (result.status, result.verdict) == ("no_face", "no face")
        else:
            assert result.verdict is None
            assert result.reason.startswith("uncalibrated")
            assert result.score == float(f"{name}.{int(faces) - 1}")


def test_files_without_a_face_do_not_hold_up_those_before_them(fake):
    read = predict_files(fake, ["1/1", *(f"{i}/0" for i in range(2, 10_000))], None, 2)
    assert next(read).score == 1.0
    read.close()


def test_memory_is_flat_over_many_files(fake):
    def paths():
        return [f"{i}/1" for i in range(3000)]

    most = 0
    for number, _ in enumerate(predict_files(fake, paths(), None, 2)):
        if number % 500 == 250:
            alive = sum(isinstance(thing, FoundFace) for thing in gc.get_objects())
            most = max(most, alive)
    assert 0 < most <= 6 * fake.batch_size


def test_stopping_early_leaves_no_threads(fake):
    read = predict_files(fake, [f"{i}/1" for i in range(1000)], None, 3)
    next(read)
    read.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("faces")]


def calibration():
    interval = {"low": 0.0, "high": 1.0}
    point = Threshold(
        name="balanced", value=2.0, rule="by hand", num_real=3, observed_fpr=0.0,
        observed_fpr_interval=interval,
    )  # fmt: skip
    return CalibrationFile(
        weights_sha256="0", dataset="d", dataset_fingerprint="f", num_real=3, num_real_clusters=3,
        num_fake=0, thresholds=(point,), real_scores=(0.0, 1.0, 2.0),
    )  # fmt: skip


def test_labels_and_p_values_come_from_the_calibration(fake):
    fake.calibration = calibration()
    threshold = prediction.operating_point(fake, "balanced")
    below, at, above = predict(fake, ["1/1", "2/1", "3/1"], threshold=threshold)
    # At the threshold is not above it.
    assert [result.label for result in (below, at, above)] == ["real", "real", "fake"]
    assert [result.p_value for result in (below, at, above)] == [0.75, 0.5, 0.25]
    assert [result.verdict for result in (below, at, above)] == ["real", "real", "fake"]
    assert above.threshold == 2.0
    assert above.p_value_fake is None
    assert above.probability is None


def test_names_and_reasons_are_one_line(fake, monkeypatch):
    bad = MediaFaces("a\nb\udcff.jpg", "image", notes=["c\nd"])
    monkeypatch.setattr(FakeReader, "read", lambda _self, _path: bad)
    (result,) = predict(fake, ["x"])
    assert result.path == "a\\nb\\udcff.jpg"
    assert result.notes == ("c\\nd",)
