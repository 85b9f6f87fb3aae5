"""From the scores of a video's faces to those of its persons and of the video.

A person's score is an aggregate of the scores of its face in every frame; the clip's is the highest
of the counted persons', since one swapped face makes a clip a fake. A person counts when seen often
enough: a false detection in one frame must not decide. Used by `predict` and `evaluate` alike.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

AggregationName = Literal["mean", "top_k", "max"]

DEFAULT_AGGREGATION: AggregationName = "mean"
"""Where validation data do not tell which is better."""
_TOP_SHARE = 4
_LEAST_SHARE = 10
_LEAST_FRAMES = 2


def _top_k(ascending: np.ndarray) -> float:
    return float(np.mean(ascending[-math.ceil(len(ascending) / _TOP_SHARE) :]))


AGGREGATIONS: Mapping[AggregationName, Callable[[np.ndarray], float]] = {
    "mean": lambda ascending: float(np.mean(ascending)),
    "top_k": _top_k,
    "max": lambda ascending: float(ascending[-1]),
}
"""From ascending scores (n,), n at least 1, to one: their mean, the mean of their highest quarter
(rounded up), the highest. The more robust to a single wrong face first."""


@dataclass(frozen=True)
class PersonScore:
    """One person of a video.

    Args:
        person: Its number.
        score: Aggregate of its faces' scores.
        num_frames: Frames it was seen in.
        counted: Whether it may decide about the clip.
    """

    person: int
    score: float
    num_frames: int
    counted: bool


def least_frames(num_frames: int) -> int:
    """Frames a person must be seen in to count, of `num_frames` that have a face."""
    return max(_LEAST_FRAMES, math.ceil(num_frames / _LEAST_SHARE))


def person_scores(
    persons: np.ndarray, frames: Sequence[object], scores: np.ndarray, aggregation: AggregationName
) -> list[PersonScore]:
    """Scores the persons of one video.

    Args:
        persons: (n,) number of each face's person, as `tracks.track_persons` gives them.
        frames: n numbers or names of the frames the faces are in.
        scores: (n,) scores of the faces; their order does not matter, not even to the last bit.
        aggregation: How those of a person become one.

    Returns:
        The persons by falling score. Where none is seen often enough, all count.
    """
    least = least_frames(len(set(frames)))
    numbers, num_frames = np.unique(persons, return_counts=True)
    counted = num_frames >= least
    if not counted.any():
        counted[:] = True
    aggregate = AGGREGATIONS[aggregation]
    found = [
        PersonScore(person, aggregate(np.sort(scores[persons == person])), count, is_counted)
        for person, count, is_counted in zip(
            numbers.tolist(), num_frames.tolist(), counted.tolist(), strict=True
        )
    ]
    return sorted(found, key=lambda one: (-one.score, one.person))


def clip_score(persons: Sequence[PersonScore]) -> float:
    """Returns the highest score of the counted among at least one person."""
    return max(one.score for one in persons if one.counted)
