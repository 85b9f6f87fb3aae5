"""The JSON interface within the process: what is answered, and what is refused."""

import hashlib
import io
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from served_runs import as_jpeg, as_png

from dfd_tf.inference.media_faces import FaceReader
from dfd_tf.inference.prediction import operating_point, predict_files
from dfd_tf.inference.predictor import load_predictor
from dfd_tf.serving.decoding import NoneFree
from dfd_tf.serving.schemas import ImageAnswer, JobAnswer, ModelList
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair

PREDICT = "/api/v1/predict"
JOBS = "/api/v1/jobs"


def send(client, data, url=f"{PREDICT}?model=whole", name="x.jpg", **options):
    return client.post(url, data={"file": (io.BytesIO(data), name)}, **options)


def send_large(client, data, url=f"{PREDICT}?model=whole"):
    """The test client leaves files open when it makes forms of this size itself."""
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    form = start + data + b"\r\n--b--\r\n"
    return client.post(url, data=form, content_type="multipart/form-data; boundary=b")


def finished(client, job):
    end = time.monotonic() + 60
    while job["state"] in ("queued", "running") and time.monotonic() < end:
        time.sleep(0.02)
        job = client.get(f"{JOBS}/{job['id']}").get_json()["job"]
    return job


def test_models_are_described(client, served_run, haar_run):
    answer = client.get("/api/v1/models").get_json()
    ModelList.model_validate(answer)
    whole, haar = answer["models"]
    assert whole["name"] == "whole"
    assert whole["model"] == served_run.read_model().sha256[:16]
    assert whole["image_size"] == 32
    assert whole["faces"] == "none"
    assert whole["default_operating_point"] == "balanced"
    assert whole["calibration"] == {
        "dataset": "made-up",
        "num_real": 40,
        "num_fake": 0,
        "dataset_fingerprint": "0" * 64,
        "video": None,
    }
    assert [point["threshold"] for point in whole["operating_points"]] == [0.4]
    assert (haar["calibrated"], haar["calibration"], haar["faces"]) == (False, None, "haar")
    assert haar["default_operating_point"] is None
    assert answer["limits"]["max_image_bytes"] == 2**20


@pytest.mark.parametrize("run", ["served_run", "haar_run"])
def test_scores_equal_those_of_the_command_line(client, portraits, run, request, tmp_path):
    directory = request.getfixturevalue(run)
    pair = as_png(render_portrait_pair(31, 5, 6, 0, 200)[0])
    files = []
    for number, data in enumerate([*portraits, pair]):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(data)
        files.append(str(path))
    predictor = load_predictor(str(directory))
    threshold = operating_point(predictor, "balanced")
    rows = list(predict_files(predictor, files, threshold, 1))
    for data, row in zip([*portraits, pair], rows, strict=True):
        url = f"{PREDICT}?model={directory.path.name}"
        answer = send(client, data, url).get_json()
        ImageAnswer.model_validate(answer)
        (result,) = answer["results"]
        assert result["status"] == row.status
        assert result["score"] == pytest.approx(row.score, abs=1e-6)
        assert [face["box"] for face in result["faces"]] == [face["box"] for face in row.faces]
        assert (result["verdict"], result["label"]) == (row.verdict, row.label)


def test_all_models_answer_unless_some_are_asked(client, portraits):
    names = [one["model_name"] for one in send(client, portraits[0], PREDICT).get_json()["results"]]
    assert names == ["whole", "haar"]
    url = f"{PREDICT}?model=haar&model=whole"
    names = [one["model_name"] for one in send(client, portraits[0], url).get_json()["results"]]
    assert names == ["haar", "whole"]


def test_a_raw_body_is_as_good_as_a_form(client, portraits):
    form = send(client, portraits[1]).get_json()
    url = f"{PREDICT}?model=whole"
    assert client.post(url, data=portraits[1]).get_json() == form
    assert client.post(url, data=portraits[1], content_type="image/jpeg").get_json() == form
    assert form["image"] == {"width": 200, "height": 200}
    assert form["sha256"] == hashlib.sha256(portraits[1]).hexdigest()


def test_files_near_the_limits_as_forms(client, service, clip):
    noise = np.random.default_rng(0).integers(0, 256, (560, 560, 3), np.uint8)
    large = as_png(noise)
    assert 0.8 * 2**20 < len(large) < 2**20
    assert send_large(client, large).status_code == 200
    # MP4: what follows the last box of a known kind is of no interest. Over what memory takes.
    padding = 3 * 2**20
    padded = clip + padding.to_bytes(4, "big") + b"free" + bytes(padding - 8)
    answer = send_large(client, padded, f"{JOBS}?model=whole")
    assert finished(client, answer.get_json()["job"])["state"] == "done"
    assert list(service.spool.folder.iterdir()) == [service.spool.scratch]
    too_large = as_png(np.random.default_rng(0).integers(0, 256, (620, 620, 3), np.uint8))
    assert len(too_large) > 2**20
    assert send_large(client, too_large).status_code == 413


def test_stability_adds_the_scores_after_re_delivery(client, portraits):
    url = f"{PREDICT}?model=whole&stability=true"
    (result,) = send(client, portraits[0], url).get_json()["results"]
    assert set(result["redelivered"]) == {"JPEG quality 75", "resizing to 75%"}


def test_explanations_are_pictures(client, portraits):
    url = f"{PREDICT}?explain=true"
    answer = send(client, portraits[0], url).get_json()
    ImageAnswer.model_validate(answer)
    spatial, autoencoder = answer["results"]
    (of_spatial,) = spatial["explanations"]
    assert of_spatial["face"] == 0
    assert of_spatial["crop"].startswith("data:image/jpeg;base64,")
    assert of_spatial["heat"].startswith("data:image/png;base64,")
    assert of_spatial["reconstruction"] is of_spatial["difference"] is None
    (of_autoencoder,) = autoencoder["explanations"]
    assert of_autoencoder["reconstruction"].startswith("data:image/jpeg;base64,")
    assert of_autoencoder["difference"].startswith("data:image/jpeg;base64,")


def test_d01_concurrent_scores_have_the_bits_of_sequential_ones(app, portraits):
    def score(data):
        (result,) = send(app.test_client(), data).get_json()["results"]
        return result["score"]

    sequential = [score(data) for data in portraits]
    with ThreadPoolExecutor(32) as pool:
        concurrent = list(pool.map(score, portraits * 4))
    assert concurrent == sequential * 4


@pytest.mark.parametrize(
    "name",
    ["../../etc/passwd", "/etc/passwd", "a\x00b.jpg", "C:\\x.jpg", "x" * 4096, "<img src=x>.jpg"],
)
def test_d06_d07_file_names_are_never_looked_at(client, portraits, name):
    answer = send(client, portraits[0], name=name)
    assert answer.status_code == 200
    assert answer.data == send(client, portraits[0]).data


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_d09_compressed_bodies_are_refused(client, portraits, encoding):
    answer = send(client, portraits[0], headers={"Content-Encoding": encoding})
    assert (answer.status_code, list(answer.get_json())) == (415, ["error"])


def test_d10_forms_must_hold_the_one_file(client, portraits):
    file = portraits[0]
    wrong = client.post(PREDICT, data={"image": (io.BytesIO(file), "x.jpg")})
    two = client.post(PREDICT, data={"file": [(io.BytesIO(file), "a"), (io.BytesIO(file), "b")]})
    none = client.post(PREDICT, data={"file": "text"}, content_type="multipart/form-data")
    boundless = client.post(PREDICT, data=b"x", content_type="multipart/form-data")
    many = client.post(PREDICT, data={f"f{n}": (io.BytesIO(b"x"), "x") for n in range(100)})
    part = '--b\r\nContent-Disposition: form-data; name="f"\r\n\r\nx\r\n'
    form = {"content_type": "multipart/form-data; boundary=b"}
    fields = client.post(PREDICT, data=part * 10_000 + "--b--\r\n", **form)
    codes = [one.status_code for one in (wrong, two, none, boundless, many, fields)]
    assert codes == [400, 400, 400, 400, 413, 413]
    assert all("error" in one.get_json() for one in (wrong, two, none, boundless, many, fields))
    assert client.get(PREDICT).status_code == 405
    assert send(client, b"").status_code == 422


def test_a_file_that_is_none_is_refused_in_one_line(client):
    answer = send(client, b"<html>not found</html>")
    assert answer.status_code == 422
    assert answer.get_json()["error"].startswith("not a JPEG/PNG/WEBP/BMP/GIF image")
    assert "/proc" not in answer.text


def test_pixels_over_the_limit_are_413(client):
    blank = as_png(render_face(31, 0, 0, 64).pixels.repeat(40, axis=0).repeat(40, axis=1))
    answer = send(client, blank)
    assert answer.status_code == 413
    assert "2560x2560 is over the pixel limit" in answer.get_json()["error"]


def test_no_face_is_a_result(client):
    grey = as_jpeg(render_face(31, 0, 0, 200).pixels[:8, :8].repeat(20, axis=0).repeat(20, axis=1))
    (result,) = send(client, grey, f"{PREDICT}?model=haar").get_json()["results"]
    assert (result["status"], result["verdict"], result["score"]) == ("no_face", "no face", None)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("model=other", "whole, haar"),
        ("model=whole&operating_point=other", "no such operating point"),
        ("operating_point=", "operating_point"),
        ("explain=perhaps", "explain"),
        ("colour=red", "colour"),
        ("stability=true&stability=true", "stability"),
        ("frames=3", "frames"),
    ],
)
def test_bad_queries_are_422(client, portraits, query, named):
    answer = send(client, portraits[0], f"{PREDICT}?{query}")
    assert answer.status_code == 422
    assert named in answer.get_json()["error"]


def test_d22_results_say_what_they_are(client, portraits, served_run):
    (result,) = send(client, portraits[0]).get_json()["results"]
    facts = ("model", "detector", "pretrained", "operating_point", "threshold", "promised_fpr")
    found = [result[name] for name in facts]
    sha = served_run.read_model().sha256[:16]
    assert found == [sha, "spatial", "random weights", "balanced", 0.4, 0.05]
    unset = send(client, portraits[0], f"{PREDICT}?model=whole&operating_point=strict").get_json()
    assert unset["results"][0]["operating_point"] == "not set"
    assert unset["results"][0]["verdict"] is None
    (uncalibrated,) = send(client, portraits[0], f"{PREDICT}?model=haar").get_json()["results"]
    assert uncalibrated["operating_point"] == "uncalibrated"
    assert uncalibrated["verdict"] is uncalibrated["threshold"] is None


def test_a_video_is_sent_to_the_jobs(client, clip):
    answer = send(client, clip)
    assert answer.status_code == 415
    assert "/api/v1/jobs" in answer.get_json()["error"]


def test_a_job_reads_a_video(client, clip, haar_run, tmp_path):
    answer = send(client, clip, f"{JOBS}?model=haar&explain=true&frames=2")
    assert answer.status_code == 202
    job = answer.get_json()["job"]
    assert answer.headers["Location"] == f"{JOBS}/{job['id']}"
    job = finished(client, job)
    JobAnswer.model_validate({"job": job})
    assert (job["state"], job["kind"], job["error"]) == ("done", "video", None)
    assert job["sha256"] == hashlib.sha256(clip).hexdigest()
    assert job["video"] == {"width": 200, "height": 200, "duration_seconds": pytest.approx(1.2)}
    (result,) = job["results"]
    path = tmp_path / "clip"
    path.write_bytes(clip)
    predictor = load_predictor(str(haar_run))
    reader = FaceReader(predictor.settings)
    assert result["num_frames"] == 2 < reader.read(str(path)).num_frames
    job = finished(client, send(client, clip, f"{JOBS}?model=haar").get_json()["job"])
    (row,) = predict_files(predictor, [str(path)], None, 1)
    assert job["results"][0]["score"] == pytest.approx(row.score, abs=1e-6)
    assert len(job["results"][0]["faces"]) == len(row.faces)


@pytest.mark.parametrize("query", ["", "&dense=true", "&frames=2"])
def test_the_most_frames_bind_every_way_of_choosing_them(client, service, clip, query, monkeypatch):
    monkeypatch.setattr(service, "settings", replace(service.settings, max_frames=2))
    assert client.get("/api/v1/models").get_json()["limits"]["frames"] == 2
    answer = send(client, clip, f"{JOBS}?model=whole{query}")
    job = finished(client, answer.get_json()["job"])
    assert job["results"][0]["num_frames"] == 2


def test_without_room_for_uploads_the_server_is_not_ready(client, service, monkeypatch):
    assert client.get("/readyz").status_code == 200

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(service.spool), "file", full)
    assert client.get("/readyz").status_code == 503
    answer = client.post(JOBS, data=bytes(2**21))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "15")


def test_no_free_decoder_is_503(client, service, portraits, monkeypatch):
    def read(*_):
        raise NoneFree

    monkeypatch.setattr(service._images, "read", read)
    answer = send(client, portraits[0])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_a_job_reads_an_image_as_predict_does(client, portraits):
    job = finished(client, send(client, portraits[2], f"{JOBS}?model=whole").get_json()["job"])
    assert job["image"] == {"width": 200, "height": 200}
    assert job["results"] == send(client, portraits[2]).get_json()["results"]


def test_a_job_of_a_bad_file_fails_with_its_reason(client, clip):
    job = finished(client, send(client, clip[:200], JOBS).get_json()["job"])
    assert job["state"] == "failed"
    assert job["error"].startswith("cannot open video")
    assert job["results"] is None


def test_jobs_are_forgotten_when_told_to(client, portraits):
    job = finished(client, send(client, portraits[0], JOBS).get_json()["job"])
    assert client.delete(f"{JOBS}/{job['id']}").status_code == 200
    assert client.get(f"{JOBS}/{job['id']}").status_code == 404
    assert client.delete(f"{JOBS}/{job['id']}").status_code == 404


def test_errors_are_json_everywhere(client):
    for answer in (client.get("/nothing"), client.put("/"), client.get("/api/v1/models/")):
        assert list(answer.get_json()) == ["error"]
    assert client.put("/").headers["Allow"]


def test_d19_logs_hold_no_names_and_no_scores(client, portraits, caplog):
    log = logging.getLogger("dfd_tf.serving.service")
    log.setLevel(logging.INFO)
    caplog.set_level(logging.INFO, log.name)
    log.addHandler(caplog.handler)
    try:
        score = send(client, portraits[0], name="marker.jpg").get_json()["results"][0]["score"]
        client.get("/marker.jpg?marker=marker")
    finally:
        log.removeHandler(caplog.handler)
    assert "POST /api/v1/predict 200" in caplog.text
    assert "GET /(no route) 404" in caplog.text or "other (no route) 404" in caplog.text
    assert "marker" not in caplog.text
    assert f"{score:.4f}"[:6] not in caplog.text


def test_metrics_count_what_was_done(client, service, portraits):
    def value(name, **labels):
        return service.metrics.registry.get_sample_value(name, labels) or 0.0

    labels = {"method": "POST", "route": PREDICT, "status": "200"}
    before = value("dfd_requests_total", **labels)
    images, faces = value("dfd_images_total"), value("dfd_faces_total")
    send(client, portraits[0])
    assert value("dfd_requests_total", **labels) == before + 1
    assert (value("dfd_images_total"), value("dfd_faces_total")) == (images + 1, faces + 1)
    text = client.get("/metrics").text
    assert 'dfd_model_info{detector="spatial"' in text
    assert 'dfd_jobs{state="queued"} 0.0' in text
    assert "dfd_pending_predictions 0.0" in text
    assert json.loads(client.get("/healthz").text) == {"status": "ok"}
