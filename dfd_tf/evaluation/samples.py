"""Scores with their labels and origins, and their aggregation from faces to images to videos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import DatasetError, ModelFileError, printable


@dataclass(frozen=True)
class ScoredSamples:
    """Scores of one level.

    Args:
        level: `face`, `image` (one image or frame) or `video`.
        scores: (n,) float64, higher = more likely fake.
        labels: (n,) int64; 0 real, 1 fake, -1 unknown.
        keys: (n,) names of the samples, unique at image and video level.
        clusters: (n,) names; samples of one cluster are resampled together.
        videos: (n,) composite video keys, empty for stills.
        domains: (n,) domain names.
        methods: (n,) manipulation methods, empty for real or unknown.

    Raises:
        ValueError: Lengths differ.
        ModelFileError: A score is not finite.
    """

    level: str
    scores: np.ndarray
    labels: np.ndarray
    keys: np.ndarray
    clusters: np.ndarray
    videos: np.ndarray
    domains: np.ndarray
    methods: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(getattr(self, name)) for name in _COLUMNS}
        if len(lengths) != 1:
            raise ValueError(f"columns of different lengths: {sorted(lengths)}")
        if not np.all(np.isfinite(self.scores)):
            bad = self.keys[~np.isfinite(self.scores)]
            raise ModelFileError(
                f"{len(bad)} scores are not finite, the first is that of {printable(bad[0])}; "
                "the weights are of no use, train again"
            )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, mask: np.ndarray) -> "ScoredSamples":
        """Returns the samples where `mask` (n,) is true."""
        return ScoredSamples(self.level, *(getattr(self, name)[mask] for name in _COLUMNS))

    def labelled(self) -> "ScoredSamples":
        """Returns the samples whose label is known."""
        return self.select(self.labels >= 0)


_COLUMNS = ("scores", "labels", "keys", "clusters", "videos", "domains", "methods")


def image_level(faces: ScoredSamples) -> ScoredSamples:
    """One sample an image or frame (equal `keys`): the highest score of its faces.

    Raises:
        DatasetError: Faces of one image are labelled differently.
    """
    return _aggregate(faces, faces.keys, "image", np.maximum)


def video_level(images: ScoredSamples) -> ScoredSamples | None:
    """One sample a video (equal composite keys): the mean over its frames; None without videos.

    Raises:
        DatasetError: Frames of one video are labelled differently.
    """
    in_video = images.videos != ""
    if not in_video.any():
        return None
    frames = images.select(in_video)
    return _aggregate(frames, frames.videos, "video", np.add)


def _aggregate(
    samples: ScoredSamples, groups: np.ndarray, level: str, combine: np.ufunc
) -> ScoredSamples:
    names, first, inverse, counts = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    _check_one_label(samples, names, first, inverse, level)
    if combine is np.add:
        scores = np.bincount(inverse, weights=samples.scores) / counts
    else:
        scores = np.full(len(names), -np.inf)
        combine.at(scores, inverse, samples.scores)
    order = np.argsort(first, kind="stable")
    kept = samples.select(first[order])
    return ScoredSamples(
        level=level,
        scores=scores[order],
        labels=kept.labels,
        keys=names[order],
        clusters=kept.clusters,
        videos=kept.videos,
        domains=kept.domains,
        methods=kept.methods,
    )


def _check_one_label(
    samples: ScoredSamples, names: np.ndarray, first: np.ndarray, inverse: np.ndarray, level: str
) -> None:
    mixed = samples.labels != samples.labels[first][inverse]
    if mixed.any():
        name = printable(names[inverse[mixed][0]])
        raise DatasetError(
            f"{level} {name} holds faces of different labels; one {level} has one label, prepare"
            " the dataset again with a key for each"
        )


def cluster_names(
    videos: Sequence[str], identities: Sequence[str], paths: Sequence[str]
) -> np.ndarray:
    """Names what is resampled together: the person, else the video, else the image.

    Videos of one person are no independent evidence. All of a video goes with the first person
    seen in it.
    """
    person_of: dict[str, str] = {}
    for video, identity in zip(videos, identities, strict=True):
        if video and identity:
            person_of.setdefault(video, identity)
    names = []
    for video, identity, path in zip(videos, identities, paths, strict=True):
        person = person_of.get(video, identity)
        if person:
            names.append(f"identity:{person}")
        else:
            names.append(f"video:{video}" if video else f"image:{path}")
    return np.array(names)
