"""Scores of the records of one split, with everything metrics need to know about them."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dfd_tf.evaluation.samples import ScoredSamples, cluster_names, members
from dfd_tf.inference.predictor import Predictor
from dfd_tf.inference.tracks import appearance, track_persons
from pipelines.bad_records import naming_bad_records
from pipelines.dataset import evaluation_batches
from pipelines.records.manifest import Manifest
from pipelines.records.schema import FaceRecord

_NUMBERS = ("media/frame", "media/time_seconds", "face/box")
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
    """Scores every face of a split, or those of some domains of it, and tracks those of videos.

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
    descriptors: list[np.ndarray] = []
    done = 0
    with naming_bad_records(records, manifest.skipped):
        for images, targets, meta in batches.dataset:
            pixels = images.numpy()
            scores.append(predictor.score(pixels))
            columns.setdefault("label", []).append(targets["label"].numpy())
            for name in _TEXTS:
                columns.setdefault(name, []).append(_text(meta[name].numpy()))
            for name in _NUMBERS:
                columns.setdefault(name, []).append(meta[name].numpy())
            descriptors.append(appearance(pixels[columns["media/video"][-1] != ""]))
            done += len(scores[-1])
            if progress is not None:
                progress(done, batches.num_examples)
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    joined["media/time_seconds"] = known_times(joined)
    # Boxes of harmonised crops lie within the crop, not within the frame.
    has_places = manifest.settings["crop"].get("carrier") is None
    joined["person"] = _tracked(joined, np.concatenate(descriptors), has_places=has_places)
    return _samples(np.concatenate(scores), joined)


def embed_split(
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    wanted: np.ndarray,
    progress: Progress | None = None,
    *,
    domains: Sequence[str] = (),
) -> np.ndarray:
    """Returns the latents of some faces of a split, (wanted.sum(), d) float32, in record order.

    Args:
        predictor: The run.
        records: Record folder.
        manifest: Its manifest.
        split: Its split.
        wanted: (n,) bool for each of the faces `score_split` gives; one at least.
        progress: Told how far it is.
        domains: The domains those are of; empty: all.

    Raises:
        DatasetError: The split is damaged.
    """
    size = (predictor.image_size, predictor.batch_size)
    batches = evaluation_batches(records, manifest, split, *size, domains=domains)
    latents = []
    done = 0
    with naming_bad_records(records, manifest.skipped):
        for images, _ in batches.dataset:
            pixels = images.numpy()
            chosen = pixels[wanted[done : done + len(pixels)]]
            if len(chosen):
                latents.append(predictor.embed(chosen))
            done += len(pixels)
            if progress is not None:
                progress(done, batches.num_examples)
    return np.concatenate(latents)


def known_times(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the times of frames, (n,) float64, NaN in videos of several files.

    A folder of frames holds no times, and those of several clips do not go on from each other.
    """
    seconds = columns["media/time_seconds"].astype(np.float64)
    files_of: dict[str, set[str]] = {}
    videos = columns["media/video"].tolist()
    for video, path in zip(videos, columns["media/path"].tolist(), strict=True):
        files_of.setdefault(video, set()).add(path)
    is_split = np.array([video != "" and len(files_of[video]) > 1 for video in videos], bool)
    return np.where(is_split, np.nan, seconds)


def image_numbers(paths: Sequence[str], frames: Sequence[int]) -> np.ndarray:
    """Numbers the images of one video, (n,) int64 from 0, by path and then by frame.

    Numbers in paths count as such: `frame10.png` comes after `frame9.png`.
    """
    images = list(zip(paths, frames, strict=True))
    ordered = sorted(set(images), key=lambda image: (_natural(image[0]), *image))
    number_of = {image: number for number, image in enumerate(ordered)}
    return np.array([number_of[image] for image in images], np.int64)


def _natural(path: str) -> list[str | int]:
    parts = re.split(r"([0-9]+)", path)
    return [int(part) if place % 2 else part for place, part in enumerate(parts)]


def _tracked(
    columns: Mapping[str, np.ndarray], descriptors: np.ndarray, *, has_places: bool
) -> np.ndarray:
    """Tells the persons of each video apart: (n,) int64, 0 for stills.

    Args:
        columns: Of n faces.
        descriptors: (faces in videos, d) of those in videos, in their order.
        has_places: Whether boxes are places in the frame.
    """
    videos = columns["media/video"]
    persons = np.zeros(len(videos), np.int64)
    places = np.flatnonzero(videos != "")
    _, video = np.unique(videos[places], return_inverse=True)
    for own in members(video) if len(places) else ():
        rows = places[own]
        frames, seconds, boxes = (columns[name][rows] for name in _NUMBERS)
        images = image_numbers(columns["media/path"][rows].tolist(), frames.tolist())
        places_in_frame = boxes if has_places else None
        persons[rows] = track_persons(images, seconds, places_in_frame, descriptors[own])
    return persons


def scored_records(records: Sequence[FaceRecord], scores: np.ndarray) -> ScoredSamples:
    """Puts scores (n,) to records read one by one; as `score_split` does it.

    Nobody is tracked: single records of a video show no more than images.
    """
    columns = {
        name: np.array([getattr(record, name.partition("/")[2]) for record in records])
        for name in (*_TEXTS, "media/frame", "media/time_seconds")
    }
    columns["label"] = np.array([record.label for record in records])
    columns["person"] = np.zeros(len(records), np.int64)
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
        persons=columns["person"],
        seconds=columns["media/time_seconds"].astype(np.float64),
    )


def _text(values: np.ndarray) -> np.ndarray:
    return np.array([value.decode("utf-8", "surrogateescape") for value in values])
