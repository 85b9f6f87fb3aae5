"""Untrained runs to serve, and pictures to send."""

import io
import time
from dataclasses import asdict

import av
import numpy as np
from PIL import Image

from dfd_tf.config.atomic_files import file_sha256
from dfd_tf.config.loading import load_experiment
from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.detectors.registry import build_detector
from dfd_tf.inference.calibration import CalibrationFile, Interval, Threshold
from pipelines.settings import CropSettings, FaceSettings, PrepareSettings

TINY_NETWORK = ("detector.backbone=resnet32", "detector.image_size=32")


def write_run(folder, *changes, config="spatial_small", faces="none", calibrated=True):
    """Writes a run as training would, but for the training."""
    experiment = load_experiment(config, list(changes))
    run = RunDirectory(folder)
    run.create()
    detector = build_detector(experiment.detector)
    write_weights(run, detector, experiment.detector.name)
    settings = PrepareSettings(
        frames=3,
        splits=None,
        crop=CropSettings(size=experiment.detector.image_size),
        faces=FaceSettings(detector=faces),
    )
    records = {"folder": "nowhere", "fingerprint": "0" * 64, "settings": asdict(settings)}
    run.write_experiment(experiment)
    run.write_json(run.provenance, {"records": records})
    if calibrated:
        write_calibration(run)
    return run


def write_weights(run, detector, name):
    """Puts a detector's weights into a run."""
    detector.save_weights(str(run.best_weights))
    model = ModelFile(
        detector=name,
        num_domains=1,
        bytes=run.best_weights.stat().length,
        sha256=file_sha256(run.best_weights),
        pretrained="random weights",
        phase="none",
        epoch=0,
        selection="val_loss",
        value=0.0,
    )
    run.write_json(run.model, model.model_dump())


def write_calibration(run, threshold=0.4):
    """Calibrates a run on 40 made-up real scores."""
    scores = tuple(np.linspace(-1.0, 1.0, 40).tolist())
    calibration = CalibrationFile(
        weights_sha256=run.read_model().sha256,
        dataset="made-up",
        dataset_fingerprint="0" * 64,
        num_real=40,
        num_real_clusters=40,
        num_fake=0,
        thresholds=(
            Threshold(
                name="balanced",
                value=threshold,
                rule="made up",
                target_fpr=0.05,
                num_real=40,
                observed_fpr=0.05,
                observed_fpr_interval=Interval(low=0.0, high=0.2),
            ),
        ),
        missing={"strict": "needs 99 real images, there are 40"},
        real_scores=scores,
    )
    run.write(run.calibration, calibration.to_json().encode())


def as_jpeg(pixels, quality=90):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=quality)
    return data.getvalue()


def as_png(pixels):
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def as_clip(frames, rate=5):
    """Encodes RGB frames, uint8 (height, width, 3), as MP4."""
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=rate)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        pictures = [av.VideoFrame.from_ndarray(pixels, format="rgb24") for pixels in frames]
        for picture in (*pictures, None):
            output.mux(stream.encode(picture))
    return data.getvalue()


def wait_until(condition):
    """Waits for something that other threads or processes do."""
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()
