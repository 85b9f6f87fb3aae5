"""Made-up scores and calibrations for the tests of evaluation."""

import numpy as np

from dfd_tf.evaluation.calibrators import fit_probability
from dfd_tf.evaluation.samples import ScoredSamples, cluster_names
from dfd_tf.evaluation.thresholds import conformal_thresholds, youden_threshold
from dfd_tf.inference.calibration import CalibrationFile


def face_samples(
    scores, labels, keys=None, videos=None, identities=None, domains="d", methods="", persons=None,
    seconds=None,
):  # fmt: skip
    """Face scores; every face is an image of its own unless `keys` say otherwise.

    All faces of a video are one person's unless `persons` say otherwise.
    """
    n = len(scores)
    keys = [f"image{i}" for i in range(n)] if keys is None else keys
    videos = [""] * n if videos is None else videos
    return ScoredSamples(
        level="face",
        scores=np.asarray(scores, np.float64),
        labels=np.asarray(labels, np.int64),
        keys=np.array(keys),
        clusters=cluster_names(videos, [""] * n if identities is None else identities, keys),
        videos=np.array(videos),
        domains=np.broadcast_to(np.array(domains), n).copy(),
        methods=np.broadcast_to(np.array(methods), n).copy(),
        persons=np.array([int(video != "") for video in videos] if persons is None else persons),
        seconds=np.zeros(n) if seconds is None else np.asarray(seconds, np.float64),
    )


def calibration_of(scores, labels):
    """A calibration fitted on these scores, as `calibrate` fits it."""
    scores, labels = np.asarray(scores, np.float64), np.asarray(labels)
    real, fake = scores[labels == 0], scores[labels == 1]
    thresholds, missing = conformal_thresholds(real, fake)
    probability = None
    if len(fake):
        thresholds.append(youden_threshold(real, fake))
        probability = fit_probability("platt", scores, labels)
    return CalibrationFile(
        weights_sha256="0" * 64,
        dataset="calibration",
        dataset_fingerprint="1" * 64,
        num_real=len(real),
        num_real_clusters=len(real),
        num_fake=len(fake),
        thresholds=tuple(thresholds),
        missing=missing,
        probability=probability,
        real_scores=tuple(np.sort(real).tolist()),
        fake_scores=tuple(np.sort(fake).tolist()),
    )


def normal_scores(seed, num_real, num_fake, distance=1.5):
    """Scores and labels: reals around 0, fakes around `distance`, both with deviation 1."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [num_real, num_fake])
    return generator.normal(size=len(labels)) + distance * labels, labels
