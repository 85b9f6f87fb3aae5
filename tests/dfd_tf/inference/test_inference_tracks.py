"""Persons: one a frame at most, the same in any order, kept over gaps, cuts and crossings."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_tf.inference.tracks import LARGEST_COST, PLACE_BONUS, appearance, overlap, track_persons
from pipelines.sources.synthetic_portraits import render_face


def describe(*images):
    return appearance(np.stack(images))


@pytest.fixture(scope="module")
def portraits():
    """Six photos of different people as crops, uint8 (64, 64, 3)."""
    return [render_face(31, person, 0, 96).pixels[16:80, 16:80] for person in range(6)]


def shaken(image, seed):
    """The same face a moment later: moved by some pixels, lit a little otherwise."""
    generator = np.random.default_rng(seed)
    moved = np.roll(image, generator.integers(-2, 3, 2), axis=(0, 1)).astype(np.float32)
    return np.clip(moved * generator.uniform(0.92, 1.08), 0, 255).astype(np.uint8)


def track(rows, portraits, seconds_apart=1.0):
    """Tracks rows of (frame, person, left edge of the box)."""
    looks = describe(*(shaken(portraits[p], i) for i, (_, p, _) in enumerate(rows)))
    frames = np.array([frame for frame, *_ in rows])
    boxes = np.array([(left, 0.3, 0.2, 0.3) for *_, left in rows])
    return track_persons(frames, frames * seconds_apart, boxes, looks)


def partition(numbers):
    return {frozenset(np.flatnonzero(numbers == n).tolist()) for n in np.unique(numbers)}


faces = st.lists(
    st.tuples(
        st.integers(0, 5),  # frame
        st.integers(0, 9),  # place
        st.integers(0, 4),  # look
    ),
    min_size=1,
    max_size=24,
    unique_by=lambda face: face[:2],
)


@settings(max_examples=150, deadline=None)
@given(faces, st.randoms(use_true_random=False))
def test_no_person_is_twice_in_a_frame_and_order_does_not_matter(found, random):
    generator = np.random.default_rng(0)
    kinds = generator.normal(size=(5, 8)) * 0.3
    frames = np.array([frame for frame, *_ in found])
    boxes = np.array([(place / 20, 0.1, 0.15, 0.2) for _, place, _ in found])
    looks = np.array([kinds[look] for *_, look in found])
    numbers = track_persons(frames, frames / 2, boxes, looks)
    assert numbers.min() == 1
    assert set(numbers.tolist()) == set(range(1, numbers.max() + 1))
    for frame in np.unique(frames):
        here = numbers[frames == frame]
        assert len(set(here.tolist())) == len(here)
    order = np.array(random.sample(range(len(found)), len(found)))
    again = track_persons(frames[order], frames[order] / 2, boxes[order], looks[order])
    assert np.array_equal(again, numbers[order])


def test_nothing_to_track():
    empty = track_persons(np.empty(0, int), np.empty(0), np.empty((0, 4)), np.empty((0, 352)))
    assert empty.shape == (0,)
    assert appearance(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 352)


@pytest.mark.parametrize("seconds_apart", [1 / 30, 10.0])
def test_two_who_cross_keep_their_numbers(portraits, seconds_apart):
    rows = []
    for frame in range(21):
        rows += [(frame, 0, 0.05 + 0.035 * frame), (frame, 1, 0.75 - 0.035 * frame)]
    # In the middle one hides the other.
    rows = [row for row in rows if not (9 <= row[0] <= 11 and row[1] == 1)]
    numbers = track(rows, portraits, seconds_apart)
    assert [int(n) for n in numbers] == [p + 1 for _, p, _ in rows]


def test_cuts_and_gaps_between_people_at_one_place(portraits):
    # Shot and countershot: three people, one after the other before the same camera, and again.
    shots = (0, 3, 4)
    rows = [(frame, shots[frame // 4 % 3], 0.4) for frame in range(36)]
    rows += [(1000 + frame, 0, 0.1) for frame in range(4)]
    numbers = track(rows, portraits, 1 / 25)
    assert [shots[n - 1] for n in numbers] == [person for _, person, _ in rows]


def test_six_people_at_once(portraits):
    rows = [(frame, person, 0.16 * person) for frame in range(8) for person in range(6)]
    numbers = track(rows, portraits)
    assert partition(numbers) == {frozenset(range(person, len(rows), 6)) for person in range(6)}


def test_place_keeps_a_face_whose_look_changes_a_little_too_much():
    looks = np.zeros((2, 8))
    looks[1, 0] = LARGEST_COST + PLACE_BONUS / 2
    frames, seconds = np.array([0, 1]), np.array([0.0, 0.04])
    there = np.array([[0.1, 0.1, 0.2, 0.2]] * 2)
    elsewhere = there + [[0.0], [0.5]] * np.array([1, 1, 0, 0])
    assert track_persons(frames, seconds, there, looks).tolist() == [1, 1]
    assert track_persons(frames, seconds, elsewhere, looks).tolist() == [1, 2]
    # Long after, the place says little.
    assert track_persons(frames, seconds * 1000, there, looks).tolist() == [1, 2]


def test_without_times_or_places_looks_alone_decide():
    looks = np.zeros((2, 8))
    looks[1, 0] = LARGEST_COST + PLACE_BONUS / 2
    frames, seconds = np.array([0, 1]), np.array([0.0, 0.04])
    there = np.array([[0.1, 0.1, 0.2, 0.2]] * 2)
    assert track_persons(frames, seconds, there, looks).tolist() == [1, 1]
    assert track_persons(frames, np.full(2, np.nan), there, looks).tolist() == [1, 2]
    assert track_persons(frames, seconds, None, looks).tolist() == [1, 2]


def test_without_places_order_does_not_matter(portraits):
    rows = [(frame, person, 0.16 * person) for frame in range(6) for person in (4, 0, 2)]
    looks = describe(*(shaken(portraits[p], i) for i, (_, p, _) in enumerate(rows)))
    frames = np.array([frame for frame, *_ in rows])
    numbers = track_persons(frames, frames * 1.0, None, looks)
    assert partition(numbers) == {frozenset(range(place, len(rows), 3)) for place in range(3)}
    order = np.random.default_rng(0).permutation(len(rows))
    again = track_persons(frames[order], frames[order] * 1.0, None, looks[order])
    assert np.array_equal(again, numbers[order])
    empty = track_persons(np.empty(0, int), np.empty(0), None, np.empty((0, 352)))
    assert empty.shape == (0,)


def test_looks_tell_rendered_people_apart(portraits):
    before, after = (
        describe(*(shaken(one, seed + i) for i, one in enumerate(portraits))).astype(float)
        for seed in (0, 100)
    )
    distances = np.linalg.norm(before[:, None] - after[None], axis=2)
    same = np.eye(6, dtype=bool)
    assert distances[same].max() < LARGEST_COST < np.median(distances[~same])
    assert distances[same].max() < distances[~same].min()


def test_overlap_by_hand():
    boxes = np.array([[0.0, 0.0, 0.2, 0.2]])
    others = np.array([[0.0, 0.0, 0.2, 0.2], [0.1, 0.0, 0.2, 0.2], [0.5, 0.5, 0.1, 0.1]])
    assert overlap(boxes, others)[0] == pytest.approx([1.0, 1 / 3, 0.0])
