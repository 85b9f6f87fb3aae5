"""Made-up answers of the server, for what two small runs cannot be brought to say."""

import base64
import io

import numpy as np
from PIL import Image

SHA256 = "ab" * 32


def data_uri(alpha):
    """A small picture with the given alpha, as the interface sends pictures."""
    pixels = np.full((8, 8, 4), (200, 90, 40, alpha), np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"


def model(name, *, points=("balanced", "strict"), faces="haar", clips=None):
    return {
        "name": name,
        "detector": "spatial",
        "model": f"{name:0<16}"[:16],
        "image_size": 32,
        "pretrained": "imagenet",
        "caveats": [],
        "calibrated": True,
        "calibration": {
            "dataset": "made-up",
            "dataset_fingerprint": "fe" * 32,
            "num_real": 40,
            "num_fake": 20,
            "video": clips and {"num_real": clips[0], "num_fake": clips[1]},
        },
        "operating_points": [
            {
                "name": point,
                "threshold": 0.5,
                "target_fpr": 0.05,
                "target_miss": None,
                "num_real": 40,
                "observed_fpr": 0.05,
                "rule": "made up",
            }
            for point in points
        ],
        "default_operating_point": "balanced",
        "faces": faces,
    }


def result(name, verdict="fake", **changes):
    return {
        "model_name": name,
        "detector": "spatial",
        "model": f"{name:0<16}"[:16],
        "pretrained": "imagenet",
        "caveats": [],
        "operating_point": "balanced",
        "promised_fpr": 0.05,
        "promised_miss": None,
        "status": "ok",
        "kind": "image",
        "verdict": verdict,
        "reason": "made up",
        "label": "fake",
        "score": 1.5,
        "probability": 0.8,
        "p_value": 3 / 41,
        "p_value_fake": None,
        "threshold": 0.5,
        "redelivered": None,
        "faces": [{"box": [0.2, 0.2, 0.5, 0.5], "score": 1.5}],
        "video": None,
        "persons": [],
        "num_frames": 1,
        "truncated": False,
        "notes": [],
        "error": None,
        "explanations": [
            {
                "face": 0,
                "crop": data_uri(255),
                "heat": data_uri(120),
                "reconstruction": data_uri(255),
                "difference": data_uri(255),
            }
        ],
    } | changes


def clip_result(name, **changes):
    """Two persons over twelve frames; the second seen too briefly to count."""
    seconds = [number / 5 for number in range(12)]
    faces = [
        {"box": [0.1, 0.2, 0.3, 0.6], "score": 1.0 + at, "frame": n, "seconds": at, "person": 1}
        for n, at in enumerate(seconds)
    ]
    person = {
        "counted": True,
        "num_frames": 12,
        "first_seconds": 0.0,
        "last_seconds": 2.2,
        "score": 1.5,
        "probability": 0.8,
        "label": "fake",
        "verdict": "fake",
        "reason": "made up; limits are those of whole clips",
        "p_value": 4 / 24,
        "temporal": {
            "p_value": 0.25,
            "statistics": {"score_jump": 1.0},
            "note": "share of 31 persons in real clips who change over time at least as much",
        },
    }
    brief = person | {"counted": False, "num_frames": 1, "verdict": "real", "temporal": None}
    video = {
        "duration_seconds": 2.4,
        "num_frames": 12,
        "frames_expected": 12,
        "sampling": "every frame",
        "aggregation": "mean",
        "aggregation_reason": "made up",
        "frames": [
            {"frame": n, "seconds": at, "num_faces": 1, "score": 1.0}
            for n, at in enumerate(seconds)
        ],
    }
    return (
        result(
            name,
            kind="video",
            video=video,
            faces=faces,
            persons=[{"person": 1, **person}, {"person": 2, **brief}],
            p_value=4 / 24,
            num_frames=12,
        )
        | changes
    )


def served(models, answers, sent=None):
    """Returns what puts made-up answers in the place of the server's.

    Args:
        models: Those of the list.
        answers: One list of results an upload, in the order they come in; the last stays. A text is
            an error.
        sent: Is given the addresses asked.
    """
    limits = {
        "max_image_bytes": 10**8,
        "max_video_bytes": 10**9,
        "max_video_seconds": 600.0,
        "max_pixels": 10**8,
        "frames": 32,
        "max_frames": 3000,
    }
    waiting = list(answers)
    found = []

    def take():
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]

    def predict(route):
        if sent is not None:
            sent.append(route.request.url)
        results = take()
        if isinstance(results, str):
            return route.fulfill(status=422, json={"error": results})
        body = {"kind": "image", "image": {"width": 200, "height": 200}, "sha256": SHA256}
        return route.fulfill(json=body | {"results": results})

    def job(route):
        if route.request.method == "POST":
            found[:] = [take()]
        state = "queued" if route.request.method == "POST" else "done"
        route.fulfill(
            status=202 if state == "queued" else 200,
            json={
                "job": {
                    "id": "abc",
                    "state": state,
                    "stage": "reading",
                    "done": 12,
                    "total": 12,
                    "kind": "video",
                    "image": None,
                    "video": {"width": 400, "height": 200, "duration_seconds": 2.4},
                    "error": None,
                    "sha256": SHA256,
                    "results": found[0],
                }
            },
        )

    def put(page):
        listed = {"models": models, "limits": limits, "version": "1.2.3"}
        page.route("**/api/v1/models", lambda route: route.fulfill(json=listed))
        page.route("**/api/v1/predict?*", predict)
        page.route("**/api/v1/jobs*", job)
        page.route("**/api/v1/jobs/*", job)

    return put
