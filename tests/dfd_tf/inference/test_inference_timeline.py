"""The timeline: whose line goes where, where it is broken, and what the legend says."""

import io
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dfd_tf.inference.figures import PERSON_COLORS, UNCOUNTED_COLOR, drawable, png_bytes
from dfd_tf.inference.prediction import FilePrediction
from dfd_tf.inference.timeline import timeline


def person(number, score, *, counted=True, p_value=None, verdict="fake", seconds=(0.0, 2.0)):
    return {
        "person": number,
        "counted": counted,
        "num_frames": 3,
        "first_seconds": seconds[0],
        "last_seconds": seconds[1],
        "score": score,
        "verdict": verdict,
        "temporal": {"p_value": p_value},
    }


def clip(rows, persons, *, num_frames=5, threshold=1.5):
    """Rows are (frame, person, score); a frame is half a second."""
    faces = [
        {"box": [0, 0, 1, 1], "score": s, "frame": f, "seconds": f / 2, "person": p}
        for f, p, s in rows
    ]
    frames = [
        {"frame": f, "seconds": f / 2, "num_faces": sum(row[0] == f for row in rows)}
        for f in range(num_frames)
    ]
    values = dict.fromkeys(field.name for field in fields(FilePrediction))
    values |= {
        "kind": "video",
        "verdict": "fake" if rows else "no face",
        "score": max((one["score"] for one in persons), default=None),
        "threshold": threshold,
        "faces": tuple(faces),
        "persons": tuple(persons),
        "video": {
            "duration_seconds": num_frames / 2,
            "sampling": "every frame",
            "aggregation": "top_k",
            "frames": frames,
        },
    }
    return SimpleNamespace(**values)


@pytest.fixture
def two():
    rows = [(0, 1, 2.0), (2, 1, 3.0), (3, 1, 4.0), (0, 2, -1.0), (3, 2, 1.0)]
    return clip(rows, [person(1, 3.5, p_value=0.0123), person(2, 0.0, counted=False, verdict=None)])


def test_lines_are_broken_where_a_person_is_out_of_sight(two):
    axes = timeline(two, "clip.mp4").axes[0]
    first, second = axes.lines[:2]
    np.testing.assert_array_equal(first.get_ydata(), [2.0, np.nan, 3.0, 4.0, np.nan])
    np.testing.assert_array_equal(first.get_xdata(), [0.0, np.nan, 1.0, 1.5, np.nan])
    np.testing.assert_array_equal(second.get_ydata(), [-1.0, np.nan, np.nan, 1.0, np.nan])
    assert (first.get_color(), second.get_color()) == (PERSON_COLORS[0], UNCOUNTED_COLOR)
    assert first.get_marker() != second.get_marker()


def test_thresholds_whole_scores_and_faceless_frames_are_marked(two):
    axes = timeline(two, "clip.mp4").axes[0]
    by_label = {line.get_label(): line for line in axes.lines}
    assert list(by_label["threshold of the clip 1.5"].get_ydata()) == [1.5, 1.5]
    crosses = by_label["no face (2 of 5 frames)"]
    assert list(crosses.get_xdata()) == [0.5, 2.0]
    (whole,) = axes.collections  # of the person who counts only
    np.testing.assert_array_equal(whole.get_segments()[0], [[0.0, 3.5], [2.0, 3.5]])


def test_title_and_legend_say_what_was_concluded(two):
    figure = timeline(two, "a$b$.mp4")
    title = figure.axes[0].get_title("left")
    assert title.startswith("a$b$.mp4\nfake, score 3.5 (top_k of each person's faces")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[0] == "person 1: 3.5, fake\nchange over time: p = 0.012"
    assert texts[1] == "person 2: 0\nnot counted, seen in 3 frames"


def test_a_clip_without_a_face_has_a_timeline_of_crosses():
    axes = timeline(clip([], [], num_frames=3), "none.mp4").axes[0]
    assert [line.get_label() for line in axes.lines] == ["no face (3 of 3 frames)"]


def test_many_persons_leave_room_for_the_picture():
    persons = [person(n, float(-n)) for n in range(1, 31)]
    prediction = clip([(0, n, float(-n)) for n in range(1, 31)], persons, num_frames=1)
    figure = timeline(prediction, "crowd.mp4")
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[8] == "22 more persons"
    with Image.open(io.BytesIO(png_bytes(figure))) as picture:
        assert picture.size == (990, 528)


def test_names_the_font_cannot_draw_are_drawn_without_a_warning():
    """Warnings are errors here."""
    assert drawable("Zoë 脸 $x$") == "Zoë ? $x$"
    png_bytes(timeline(clip([], [], num_frames=1), drawable("脸.mp4")))
