"""Scores of the records of one split, with everything metrics need to know about them."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from dfd_tf.evaluation.samples import ScoredSamples, cluster_names
from dfd_tf.inference.predictor import Predictor
from pipelines.bad_records import naming_bad_records
from pipelines.dataset import evaluation_batches
from pipelines.records.manifest import Manifest
from pipelines.records.schema import FaceRecord

_TEXTS = ("media/path", "media/video", "media/identity", "media/domain", "media/method")

Progress = Callable[[int, int], None]
"""Called with the records done and the records there are."""


def score_split(
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    progress: Progress | None = None,
    *,
    domains: Sequence[str] = (),
) -> ScoredSamples:
    """Scores every face of a split, or those of some domains of it.

    Returns:
        Samples of level `face`, in record order; `keys` name the image or frame.

    Raises:
        DatasetError: The split is empty, or damaged.
    """
    batches = evaluation_batches(
        records,
        manifest,
        split,
        predictor.image_size,
        predictor.batch_size,
        domains=domains,
        with_meta=True,
    )
    columns: dict[str, list[np.ndarray]] = {}
    scores: list[np.ndarray] = []
    done = 0
    with naming_bad_records(records, manifest.skipped):
        for images, targets, meta in batches.dataset:
            scores.append(predictor.score(images.numpy()))
            columns.setdefault("label", []).append(targets["label"].numpy())
            for name in _TEXTS:
                columns.setdefault(name, []).append(_text(meta[name].numpy()))
            columns.setdefault("media/frame", []).append(meta["media/frame"].numpy())
            done += len(scores[-1])
            if progress is not None:
                progress(done, batches.num_examples)
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    return _samples(np.concatenate(scores), joined)


def scored_records(records: Sequence[FaceRecord], scores: np.ndarray) -> ScoredSamples:
    """Puts scores (n,) to records read one by one; as `score_split` does it."""
    columns = {
        name: np.array([getattr(record, name.partition("/")[2]) for record in records])
        for name in (*_TEXTS, "media/frame")
    }
    columns["label"] = np.array([record.label for record in records])
    return _samples(scores, columns)


def _samples(scores: np.ndarray, columns: dict[str, np.ndarray]) -> ScoredSamples:
    paths, videos = columns["media/path"], columns["media/video"]
    keys = [
        f"{path}#{frame}" if video else path
        for path, video, frame in zip(paths, videos, columns["media/frame"], strict=True)
    ]
    return ScoredSamples(
        level="face",
        scores=scores,
        labels=columns["label"].astype(np.int64),
        keys=np.array(keys),
        clusters=cluster_names(videos.tolist(), columns["media/identity"].tolist(), paths.tolist()),
        videos=videos,
        domains=columns["media/domain"],
        methods=columns["media/method"],
    )


def _text(values: np.ndarray) -> np.ndarray:
    return np.array([value.decode("utf-8", "surrogateescape") for value in values])
