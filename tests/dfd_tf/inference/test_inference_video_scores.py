"""From faces to persons to clips, by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_tf.inference.video_scores import AGGREGATIONS, clip_score, least_frames, person_scores


@pytest.mark.parametrize(
    ("scores", "mean", "top_k", "highest"),
    [
        ([1.0], 1.0, 1.0, 1.0),
        ([0.0, 1.0, 2.0, 9.0], 3.0, 9.0, 9.0),
        # A quarter of five, rounded up, is two.
        ([0.0, 1.0, 2.0, 5.0, 9.0], 3.4, 7.0, 9.0),
        ([-4.0] * 6 + [2.0, 4.0], -2.25, 3.0, 4.0),
    ],
)
def test_aggregations_by_hand(scores, mean, top_k, highest):
    found = {name: aggregate(np.array(scores)) for name, aggregate in AGGREGATIONS.items()}
    assert found == pytest.approx({"mean": mean, "top_k": top_k, "max": highest})
    assert list(found) == ["mean", "top_k", "max"]  # the simplest first


@pytest.mark.parametrize(
    ("num_frames", "least"), [(1, 2), (2, 2), (20, 2), (21, 3), (30, 3), (300, 30)]
)
def test_a_person_is_seen_in_two_frames_and_a_tenth_of_them_at_least(num_frames, least):
    assert least_frames(num_frames) == least


def test_the_worst_person_decides_and_a_false_detection_does_not():
    # Person 1 in all of 30 frames, person 2 in 3, person 3, a false detection, in 2.
    persons = np.repeat([1, 2, 3], [30, 3, 2])
    frames = [*range(30), 4, 5, 6, 7, 8]
    scores = np.repeat([0.0, 1.0, 9.0], [30, 3, 2])
    found = person_scores(persons, frames, scores, "mean")
    assert [(one.person, one.counted, one.num_frames) for one in found] == [
        (3, False, 2),
        (2, True, 3),
        (1, True, 30),
    ]
    assert clip_score(found) == 1.0


def test_where_nobody_is_seen_often_enough_all_count():
    found = person_scores(np.array([1, 2]), [0, 1], np.array([3.0, 5.0]), "mean")
    assert [one.counted for one in found] == [True, True]
    assert clip_score(found) == 5.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-9, 9), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_order_of_the_faces_changes_no_bit(scores, random):
    order = random.sample(range(len(scores)), len(scores))
    scores = np.array(scores)
    for aggregation in AGGREGATIONS:
        one, other = (
            clip_score(person_scores(np.ones(len(own), int), range(len(own)), own, aggregation))
            for own in (scores, scores[order])
        )
        assert one == other
        assert scores.min() - 1e-9 <= one <= scores.max() + 1e-9
