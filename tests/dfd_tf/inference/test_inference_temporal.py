"""Change over time: figures by hand, p-values that keep their promise, what is not comparable."""

import numpy as np
import pytest

from dfd_tf.inference.media_faces import Clip
from dfd_tf.inference.temporal import (
    STATISTICS,
    Series,
    TemporalReference,
    compared_frames,
    num_as_strange,
    opinion,
)


def series(generator, flicker=0.0, jump=0.0, length=24, interval=0.4):
    """A person whose score and latents drift as in real clips, or flicker, or jump in mid-clip."""
    drift = np.cumsum(generator.normal(size=length)) * generator.gamma(4.0) * 0.05
    scores = drift + generator.normal(size=length) * 0.1
    latents = np.cumsum(generator.normal(size=(length, 6)), axis=0) * 0.1 + 3.0
    latents += generator.normal(size=latents.shape) * 0.1
    swing = flicker * (-1.0) ** np.arange(length) + jump * (np.arange(length) >= length // 2)
    return Series(
        np.arange(length) * interval, scores + swing, latents + swing[:, None] * [1, 0, 0, -1, 0, 0]
    )


def reference(generator, count=60, lengths=(24,)):
    found = [series(generator, length=lengths[i % len(lengths)]) for i in range(count)]
    return TemporalReference(
        statistics=tuple(sorted(one.beginnings() for one in found)),
        shortest_interval=0.3,
        longest_interval=0.5,
    )


def test_statistics_by_hand():
    latents = np.array([[1.0, 0], [2, 0], [0, 3], [0, 1]])
    found = Series(np.arange(4.0), np.array([0.0, 1.0, 5.0, 5.0]), latents).statistics()
    # Changes 1, 4, 0; second differences 3, -4. Of unit vectors: one turn by a right angle.
    root = np.sqrt(2)
    assert dict(zip(STATISTICS, found, strict=True)) == pytest.approx(
        {"score_jump": 4.0, "score_flicker": 3.5, "latent_jump": root, "latent_flicker": root}
    )


def test_a_steady_drift_is_no_flicker_and_brightness_of_latents_is_nothing():
    steady = np.linspace(0, 9, 10)
    found = Series(steady, steady, steady[:, None] * [1.0, 2.0] + [[1.0, 2.0]]).statistics()
    assert found == pytest.approx((1.0, 0.0, 0.0, 0.0), abs=1e-6)


def test_p_value_by_hand():
    # Medians 2.5 with the newcomer, the same spread everywhere: the order of the first column.
    others = [(float(i), 0.0, 0.0, 0.0) for i in range(19)]
    assert num_as_strange((100.0, 0, 0, 0), others) == 0
    assert num_as_strange((-1.0, 0, 0, 0), others) == 19
    assert num_as_strange((16.5, 0, 0, 0), others) == 2


@pytest.fixture(scope="module")
def draws():
    """20 draws: beginnings of 40 real persons of 32 frames, and 10 more of 40 frames."""
    generator = np.random.default_rng(5)
    return [
        (
            [series(generator, length=32).beginnings() for _ in range(40)],
            [series(generator, length=40) for _ in range(10)],
        )
        for _ in range(20)
    ]


@pytest.mark.parametrize(
    ("lengths", "tested", "num_others"),
    [
        ((32,), 6, 40),
        ((32,), 10, 40),
        ((32,), 32, 40),
        ((32,), 40, 40),
        # Half are of ten frames: more cannot be compared.
        ((7, 10), 32, 20),
        ((6, 12, 32, 32), 12, 30),
    ],
)
def test_p_values_of_exchangeable_persons_are_super_uniform_at_any_length(
    draws, lengths, tested, num_others
):
    found = []
    for real, people in draws:
        statistics = tuple(rows[: lengths[i % len(lengths)] - 4] for i, rows in enumerate(real))
        known = TemporalReference(
            statistics=statistics, shortest_interval=0.3, longest_interval=0.5
        )
        found.append([opinion(one.first(tested), known, "")["p_value"] for one in people])
    for level in (0.05, 0.1, 0.2, 0.5):
        promised = np.floor(level * (num_others + 1)) / (num_others + 1)
        # Those of one draw hang together: their spread is taken between draws.
        shares = np.mean(np.array(found) <= level + 1e-12, axis=1)
        error = max(np.std(shares, ddof=1), np.sqrt(promised * (1 - promised) / 10)) / np.sqrt(20)
        assert abs(np.mean(shares) - promised) < 3.9 * error


def test_a_person_is_compared_over_as_many_frames_as_19_real_ones_have():
    generator = np.random.default_rng(3)
    known = reference(generator, 40, (6, 6, 12, 20))
    assert known.most_frames == 12
    person = series(generator, length=24)
    found = opinion(person, known, "")
    assert found == opinion(person.first(12), known, "")
    assert tuple(found["statistics"].values()) == person.first(12).statistics()
    assert "of 20 real clips change over time as much in their first 12 frames" in found["note"]
    few = opinion(person.first(6), known, "")
    assert "of 40 real clips" in few["note"]
    again = TemporalReference.model_validate_json(known.model_dump_json())
    assert again == known
    assert len(known.model_dump_json()) < 40 * 16 * 45
    others = known.of_frames(12)
    count = round(found["p_value"] * 21) - 1
    assert f"p = (1 + {count}) / (20 + 1)" in found["note"]
    assert len(others) == 20


@pytest.mark.parametrize("change", [{"flicker": 1.0}, {"jump": 4.0}])
def test_flicker_and_jumps_have_a_low_p_value(change):
    generator = np.random.default_rng(7)
    known = reference(generator)
    found = [opinion(series(generator, **change), known, "") for _ in range(20)]
    assert all(one["p_value"] == pytest.approx(1 / 61) for one in found)
    plain = [opinion(series(generator), known, "")["p_value"] for _ in range(20)]
    assert np.median(plain) > 0.2


def test_what_cannot_be_compared_has_no_p_value_and_says_why():
    generator = np.random.default_rng(9)
    known = reference(generator)
    cases = {
        "seen in 4 of the frames compared, 5 are needed": (series(generator, length=4), known),
        "no clips": (series(generator), None),
        "frames 0.04 s apart": (series(generator, interval=0.04), known),
        "0.3 to 0.5 s": (series(generator, interval=2.0), known),
    }
    for note, (person, against) in cases.items():
        found = opinion(person, against, "no clips")
        assert found["p_value"] is None
        assert note in found["note"]
        assert list(found["statistics"]) == list(STATISTICS)
        assert (None in found["statistics"].values()) == (len(person.scores) < 5)


def test_a_constant_reference_gives_figures_all_the_same():
    known = TemporalReference(
        statistics=(((0.0,) * 4,),) * 19, shortest_interval=1, longest_interval=1
    )
    flat = Series(np.arange(5.0), np.zeros(5), np.ones((5, 3)))
    assert opinion(flat, known, "")["p_value"] == 1.0
    bumpy = Series(np.arange(5.0), np.array([0, 0, 0.1, 0, 0]), np.ones((5, 3)))
    assert opinion(bumpy, known, "")["p_value"] == pytest.approx(1 / 20)


@pytest.mark.parametrize(
    "change", [{"statistics": [""] * 19}, {"statistics": [[]] * 19}, {"shortest_interval": 0.0}]
)
def test_a_reference_that_cannot_be_is_refused(change):
    good = {
        "statistics": ["0 0 0 0; 1 1 1 1"] * 19, "shortest_interval": 1, "longest_interval": 1,
    }  # fmt: skip
    assert TemporalReference.model_validate(good).most_frames == 6
    with pytest.raises(ValueError, match="statistics|intervals|frames"):
        TemporalReference.model_validate(good | change)


def test_dense_frames_are_compared_as_far_apart_as_sampled_ones():
    facts = {"size": (9, 9), "num_frames": 300, "frames_expected": 300, "sampling": ""}
    dense = tuple((i, i / 25) for i in range(300))
    clip = Clip(**facts, duration_seconds=12.0, frames=dense, compared_frames=4)
    # Centres of four intervals of three seconds: 1.5, 4.5, 7.5 and 10.5.
    assert sorted(compared_frames(clip)) == [37, 112, 187, 262]
    few = Clip(**facts, duration_seconds=12.0, frames=((0, 0.0), (150, 6.0)), compared_frames=4)
    assert compared_frames(few) == {0, 150}
