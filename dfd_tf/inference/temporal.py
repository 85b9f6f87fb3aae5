"""Whether a face changes over time as those of real clips do: a second opinion, never the verdict.

A forgery made frame by frame flickers, and one that begins in mid-clip jumps: in its score and in
its latents. Four figures of a person's series say how much; the largest of their robust z-scores is
compared with those of real validation persons, one a clip, by a conformal p-value. For it to be
exact the person joins the reference before medians and spreads are taken (full conformal
prediction, Vovk et al. 2005, section 2.2): an exchangeable real person has a p-value of at most a
with probability at most a, whatever the figures' distribution.

Only what is alike can be compared: frames as far apart in time as those of the reference, as many
of them (the largest change grows with their number), and as many at least as a second difference
needs to have a median. The reference therefore holds the figures of every beginning of its series.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BeforeValidator, FiniteFloat, PlainSerializer, model_validator

from dfd_tf.config.schema import Schema
from dfd_tf.inference.media_faces import Clip

STATISTICS = ("score_jump", "score_flicker", "latent_jump", "latent_flicker")
LEAST_FRAMES = 5
"""Frames of a person below which nothing is said."""
LEAST_PERSONS = 19
"""Real persons a reference needs: the fewest that can give a p-value of 0.05."""
INTERVAL_SLACK = 1.1
"""Factor by which frames may be closer together, or farther apart, than any of the reference."""
_DIGITS = 7
"""Significant digits of statistics."""
_SPREAD_OF_MAD = 1.4826
_SMALLEST_SPREAD = 1e-9


Statistics = tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
"""Values of `STATISTICS`."""


def _read_beginnings(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(tuple(float(number) for number in row.split()) for row in value.split(";"))


def _write_beginnings(rows: Sequence[Statistics]) -> str:
    return "; ".join(" ".join(f"{number:.{_DIGITS}g}" for number in row) for row in rows)


Beginnings = Annotated[
    tuple[Statistics, ...],
    BeforeValidator(_read_beginnings),
    PlainSerializer(_write_beginnings, return_type=str, when_used="json"),
]
"""`STATISTICS` of the first `LEAST_FRAMES` frames of a person, of one frame more, and so on; one
line of text in JSON."""


class TemporalReference(Schema):
    """How persons of real validation clips change over time, one person a clip."""

    statistics: tuple[Beginnings, ...]
    """Of each person."""
    shortest_interval: FiniteFloat
    longest_interval: FiniteFloat
    """Range of the persons' median times between neighbouring frames, seconds."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.statistics) < LEAST_PERSONS:
            raise ValueError(f"a temporal reference needs {LEAST_PERSONS} persons")
        if not all(self.statistics):
            raise ValueError(f"a person of the temporal reference has under {LEAST_FRAMES} frames")
        if not 0 < self.shortest_interval <= self.longest_interval:
            raise ValueError(
                "intervals of the temporal reference: expected 0 < shortest <= longest"
            )
        return self

    @property
    def most_frames(self) -> int:
        """Frames up to which persons can be compared: `LEAST_PERSONS` are that long."""
        lengths = sorted((len(rows) for rows in self.statistics), reverse=True)
        return lengths[LEAST_PERSONS - 1] + LEAST_FRAMES - 1

    def of_frames(self, count: int) -> list[Statistics]:
        """Returns the statistics of the first `count` frames of the persons that have as many."""
        place = count - LEAST_FRAMES
        return [rows[place] for rows in self.statistics if len(rows) > place]


@dataclass(frozen=True)
class Series:
    """One person over time.

    Args:
        seconds: (n,) times of the frames it is in, ascending.
        scores: (n,) scores of its face.
        latents: (n, d) latents of it.
    """

    seconds: np.ndarray
    scores: np.ndarray
    latents: np.ndarray

    @property
    def interval(self) -> float:
        """Median time between neighbouring frames, seconds; at least two frames."""
        return float(np.median(np.diff(self.seconds)))

    def first(self, count: int) -> "Series":
        """Returns the person's first `count` frames."""
        return Series(self.seconds[:count], self.scores[:count], self.latents[:count])

    def beginnings(self) -> Beginnings:
        """Returns `statistics` of the first `LEAST_FRAMES` frames, of one more, and so on."""
        lengths = range(LEAST_FRAMES, len(self.scores) + 1)
        return tuple(self.first(count).statistics() for count in lengths)

    def statistics(self) -> Statistics:
        """Returns `STATISTICS`, with as many digits as a reference holds; at least three frames.

        `jump`: largest change between neighbouring frames. `flicker`: median second difference,
        which a steady drift does not raise, nor a single jump. Of latents, the Euclidean lengths of
        differences of unit vectors.
        """
        lengths = np.linalg.norm(self.latents, axis=1, keepdims=True)
        units = self.latents / np.maximum(lengths, np.finfo(np.float32).tiny)
        found = []
        for series in (self.scores[:, None], units):
            changes = np.linalg.norm(np.diff(series, axis=0), axis=1)
            turns = np.linalg.norm(np.diff(series, n=2, axis=0), axis=1)
            found += [changes.max(), np.median(turns)]
        return tuple(float(f"{value:.{_DIGITS}g}") for value in found)  # type: ignore[return-value]


def num_as_strange(statistics: Statistics, others: Sequence[Statistics]) -> int:
    """Counts the real persons that change over time as much as this one, or more.

    That is by the largest of the robust z-scores of the four figures, among the n others and this
    one. (1 + this number) / (n + 1) is the conformal p-value of "this person changes over time as
    real ones do".
    """
    table = np.array([*others, statistics])
    medians = np.median(table, axis=0)
    spreads = _SPREAD_OF_MAD * np.median(np.abs(table - medians), axis=0)
    combined = ((table - medians) / np.maximum(spreads, _SMALLEST_SPREAD)).max(axis=1)
    return int(np.sum(combined[:-1] >= combined[-1]))


def opinion(series: Series, reference: TemporalReference | None, missing: str) -> dict[str, Any]:
    """Returns what goes into a person's `temporal`.

    It is `p_value` (None where nothing can be compared), `statistics` (`STATISTICS` by name, None
    of too few frames) and `note`, which says why or what.

    Args:
        series: The person, on the frames compared over time.
        reference: Real persons; None: `missing` says why there are none.
        missing: As said.
    """
    count = len(series.scores)
    if count < LEAST_FRAMES:
        note = f"not comparable: seen in {count} of the frames compared, {LEAST_FRAMES} are needed"
        return {"p_value": None, "statistics": dict.fromkeys(STATISTICS), "note": note}
    if reference is not None:
        series = series.first(reference.most_frames)
    statistics = series.statistics()
    found: dict[str, Any] = {
        "p_value": None,
        "statistics": dict(zip(STATISTICS, statistics, strict=True)),
    }
    if reference is None:
        return found | {"note": f"not comparable: {missing}"}
    shortest = reference.shortest_interval / INTERVAL_SLACK
    longest = reference.longest_interval * INTERVAL_SLACK
    if not shortest <= series.interval <= longest:
        return found | {
            "note": f"not comparable: frames {series.interval:.3g} s apart, in the real clips it"
            f" would be compared with {reference.shortest_interval:.3g} to"
            f" {reference.longest_interval:.3g} s"
        }
    num_frames = len(series.scores)
    others = reference.of_frames(num_frames)
    count = num_as_strange(statistics, others)
    return found | {
        "p_value": (1 + count) / (len(others) + 1),
        "note": f"{count} of {len(others)} real clips change over time as much in their first"
        f" {num_frames} frames: p = (1 + {count}) / ({len(others)} + 1); a second opinion, without"
        " influence on the verdict",
    }


def compared_frames(clip: Clip) -> frozenset[int]:
    """Returns the numbers of the frames that are compared over time.

    They are those on display at the centres of `Clip.compared_frames` equal intervals, as
    `pipelines.media.videos` chooses them: all, where no more were looked at.
    """
    if len(clip.frames) <= clip.compared_frames:
        return frozenset(frame for frame, _ in clip.frames)
    times = [seconds for _, seconds in clip.frames]
    step = clip.duration_seconds / clip.compared_frames
    centres = [(number + 0.5) * step for number in range(clip.compared_frames)]
    return frozenset(clip.frames[max(0, bisect_right(times, at) - 1)][0] for at in centres)
