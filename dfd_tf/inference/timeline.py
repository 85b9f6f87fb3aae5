"""The timeline of a clip: the score of each person over time, and what was concluded from it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfd_tf.inference.figures import LINE_COLOR, person_color
from dfd_tf.inference.prediction import FilePrediction

_MARKERS = "os^Dv<>"
_MOST_NAMED = 8
"""Persons with a line of their own in the legend; more would cover the picture."""


def timeline(prediction: FilePrediction, name: str) -> Figure:
    """Draws the faces' scores of a video over its seconds, person by person.

    Lines are broken where a person is out of sight. Persons who count have a horizontal line at
    their score as a whole, the clip's threshold is dashed, frames without a face are crosses at the
    bottom. Frame scores scatter more than clip scores do: single ones above the threshold say
    little.

    Args:
        prediction: The result of a video.
        name: What the video is called.
    """
    assert prediction.video is not None
    video = prediction.video
    figure = Figure(figsize=(9.0, 4.8), layout="constrained")
    axes = figure.add_subplot()
    frames = [frame["frame"] for frame in video["frames"]]
    for number, person in enumerate(prediction.persons):
        faces = [face for face in prediction.faces if face["person"] == person["person"]]
        _draw_person(axes, person, faces, frames, named=number < _MOST_NAMED)
    if len(prediction.persons) > _MOST_NAMED:
        label = f"{len(prediction.persons) - _MOST_NAMED} more persons"
        axes.plot([], [], color="none", label=label)
    if prediction.persons:
        axes.plot([], [], color=LINE_COLOR, linewidth=4, alpha=0.35, label="a person as a whole")
    if prediction.threshold is not None and prediction.score is not None:
        axes.axhline(
            prediction.threshold,
            color=LINE_COLOR,
            linestyle="--",
            linewidth=1,
            label=f"threshold of the clip {prediction.threshold:.3g}",
        )
    _mark_faceless(axes, video["frames"])
    end = max([video["duration_seconds"], *(frame["seconds"] for frame in video["frames"])])
    margin = 0.02 * (end or 1.0)
    axes.set(
        xlim=(-margin, end + margin), xlabel="seconds", ylabel="score (higher = more likely fake)"
    )
    axes.set_title(
        "\n".join([name, *clip_lines(prediction)]), fontsize=9, loc="left", parse_math=False
    )
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    return figure


def clip_lines(prediction: FilePrediction) -> list[str]:
    """What is said of a clip as a whole, in two lines."""
    assert prediction.video is not None
    video = prediction.video
    verdict = prediction.verdict or "no verdict"
    score = "no score" if prediction.score is None else f"score {prediction.score:.3g}"
    return [
        f"{verdict}, {score} ({video['aggregation']} of each person's faces; the highest person"
        " decides)",
        f"{video['sampling']} of {video['duration_seconds']:.1f} s",
    ]


def person_line(person: dict[str, Any]) -> str:
    """What is said of a person of a clip, in one or two short lines."""
    line = f"person {person['person']}: {person['score']:.3g}"
    if not person["counted"]:
        line += f"\nnot counted, seen in {person['num_frames']} frames"
    elif person["verdict"]:
        line += f", {person['verdict']}"
    temporal = person["temporal"]
    if temporal is not None and temporal["p_value"] is not None:
        line += f"\nchange over time: p = {temporal['p_value']:.2g}"
    return line


def _draw_person(
    axes: Axes,
    person: dict[str, Any],
    faces: Sequence[dict[str, Any]],
    frames: Sequence[int],
    *,
    named: bool,
) -> None:
    color = person_color(person["person"], counted=person["counted"])
    place = {frame: number for number, frame in enumerate(frames)}
    seconds = np.full(len(frames), np.nan)
    scores = np.full(len(frames), np.nan)
    for face in faces:
        seconds[place[face["frame"]]], scores[place[face["frame"]]] = face["seconds"], face["score"]
    axes.plot(
        seconds,
        scores,
        color=color,
        marker=_MARKERS[(person["person"] - 1) % len(_MARKERS)],
        markersize=5 if len(faces) < 100 else 2,
        markeredgecolor=LINE_COLOR,
        markeredgewidth=0.4,
        linewidth=1.4 if person["counted"] else 0.7,
        label=person_line(person) if named else None,
    )
    if person["counted"]:
        ends = person["first_seconds"], person["last_seconds"]
        axes.hlines(person["score"], *ends, color=color, linewidth=4, alpha=0.35)


def _mark_faceless(axes: Axes, frames: Sequence[dict[str, Any]]) -> None:
    """Crosses at the bottom of the picture, whatever the scores."""
    faceless = [frame["seconds"] for frame in frames if not frame["num_faces"]]
    if faceless:
        axes.plot(
            faceless,
            np.full(len(faceless), 0.02),
            "x",
            color=LINE_COLOR,
            markersize=5,
            transform=axes.get_xaxis_transform(),
            label=f"no face ({len(faceless)} of {len(frames)} frames)",
        )
