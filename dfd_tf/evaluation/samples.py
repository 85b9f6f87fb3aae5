"""Scores with their labels and origins, and their aggregation from faces to images to videos."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from dfd_tf.inference.video_scores import AggregationName, clip_score, person_scores
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
        persons: (n,) int64, number of the face's person in its video (`tracks.track_persons`); 0
            for stills, where nobody was tracked, and above face level.
        seconds: (n,) float64, time of the frame in its video, NaN in one of several files, such as
            a folder of frames; 0 for stills.

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
    persons: np.ndarray
    seconds: np.ndarray

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


_COLUMNS = (
    "scores",
    "labels",
    "keys",
    "clusters",
    "videos",
    "domains",
    "methods",
    "persons",
    "seconds",
)


def image_level(faces: ScoredSamples) -> ScoredSamples:
    """One sample an image or frame (equal `keys`): the highest score of its faces.

    Raises:
        DatasetError: Faces of one image are labelled differently.
    """
    names, first, inverse = _groups(faces, faces.keys, "image")
    scores = np.full(len(names), -np.inf)
    np.maximum.at(scores, inverse, faces.scores)
    return _one_each(faces, names, first, scores, "image")


def video_level(faces: ScoredSamples, aggregation: AggregationName) -> ScoredSamples | None:
    """One sample a video (equal composite keys), scored as `predict` scores it; None without.

    Args:
        faces: Samples of level `face`.
        aggregation: How the scores of a person's faces become one.

    Raises:
        DatasetError: Faces of one video are labelled differently.
        ValueError: These are no faces, or their persons were not tracked.
    """
    if faces.level != "face":
        raise ValueError(f"samples of level {faces.level}, expected face")
    in_video = faces.videos != ""
    if not in_video.any():
        return None
    faces = faces.select(in_video)
    if not faces.persons.all():
        raise ValueError("faces of videos whose persons were not tracked")
    names, first, inverse = _groups(faces, faces.videos, "video")
    scores = np.array(
        [
            clip_score(
                person_scores(
                    faces.persons[own], faces.keys[own].tolist(), faces.scores[own], aggregation
                )
            )
            for own in members(inverse)
        ]
    )
    return _one_each(faces, names, first, scores, "video")


def members(group: np.ndarray) -> list[np.ndarray]:
    """Returns the places of each group's samples, ascending, for groups (n,) numbered from 0."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def _groups(
    samples: ScoredSamples, groups: np.ndarray, level: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the names of the groups, their first samples and the group of each sample."""
    names, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    _check_one_label(samples, names, first, inverse, level)
    return names, first, inverse


def _one_each(
    samples: ScoredSamples, names: np.ndarray, first: np.ndarray, scores: np.ndarray, level: str
) -> ScoredSamples:
    """One sample a group, in the order in which groups are first seen."""
    order = np.argsort(first, kind="stable")
    kept = samples.select(first[order])
    return replace(
        kept,
        level=level,
        scores=scores[order],
        keys=names[order],
        persons=np.zeros(len(names), np.int64),
        seconds=kept.seconds if level == "image" else np.zeros(len(names)),
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
