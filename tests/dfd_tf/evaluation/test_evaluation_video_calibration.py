"""Calibration of clips: the aggregation chosen, limits by hand, what is too few, the reference."""

from dataclasses import replace

import numpy as np
import pytest
from evaluation_samples import calibration_of, face_samples
from sklearn.metrics import roc_auc_score

from dfd_tf.evaluation import video_calibration
from dfd_tf.evaluation.evaluate import OF_CLIPS, OF_IMAGES, evaluate_samples
from dfd_tf.evaluation.evaluate_run import figure_warnings
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.evaluation.video_calibration import (
    choose_aggregation,
    clip_caveats,
    fit_video_calibration,
    temporal_reference,
)

FRAMES = 16


def clips(num_real, num_fake, *, share=1.0, lift=1.0, seed=0, persons=1, identities=None):
    """Faces of clips; those of fakes score higher in a share of the frames, of the last person."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(num_real + num_fake):
        label = int(number >= num_real)
        level = generator.normal() * 0.5
        for frame in range(FRAMES):
            for person in range(1, persons + 1):
                raised = label and person == persons and frame < share * FRAMES
                score = level + generator.normal() + lift * raised
                rows.append((score, label, f"d/{label}/{number}", frame, person, number))
    scores, labels, videos, frames, people, numbers = zip(*rows, strict=True)
    return face_samples(
        scores,
        labels,
        keys=[f"{video}#{frame}" for video, frame in zip(videos, frames, strict=True)],
        videos=videos,
        persons=people,
        seconds=np.array(frames) * 0.5,
        identities=identities and [identities[number] for number in numbers],
    )


def fit(faces):
    return fit_video_calibration(faces, method="auto", are_logits=True, seed=0)


def test_where_all_frames_are_forged_the_mean_is_taken():
    name, reason, candidates = choose_aggregation(clips(30, 30), seed=0)
    assert name == "mean"
    assert [one.name for one in candidates] == ["mean", "top_k", "max"]
    assert "30 real and 30 fake validation clips" in reason
    assert "chosen on the clips that limits rest on as well" in reason


@pytest.mark.parametrize("count", [10, 13, 27])
def test_among_perfect_ones_the_simplest_is_taken(count):
    name, _, candidates = choose_aggregation(clips(count, count + 2, lift=99.0), seed=0)
    assert name == "mean"
    assert [one.auc for one in candidates] == pytest.approx([1.0] * 3)


def test_where_a_few_frames_are_forged_the_highest_are_taken():
    name, reason, candidates = choose_aggregation(clips(30, 30, share=0.2, lift=4.0), seed=0)
    assert name == "top_k"
    assert reason.startswith("top_k: simplest within one standard error of the highest AUC")
    mean, top_k, highest = candidates
    assert mean.deficit > mean.deficit_error
    assert top_k.auc >= highest.auc - highest.deficit_error
    assert min(mean.deficit, top_k.deficit, highest.deficit) == 0


def test_aucs_are_those_of_scikit_learn():
    faces = clips(12, 15, share=0.4)
    scores = faces.scores.reshape(27, FRAMES)
    labels = faces.labels.reshape(27, FRAMES)[:, 0]
    _, _, candidates = choose_aggregation(faces, seed=0)
    expected = {
        "mean": scores.mean(axis=1),
        "top_k": np.sort(scores, axis=1)[:, -4:].mean(axis=1),
        "max": scores.max(axis=1),
    }
    for one in candidates:
        assert one.auc == pytest.approx(roc_auc_score(labels, expected[one.name]))


@pytest.mark.parametrize(("num_real", "num_fake"), [(9, 30), (30, 9), (30, 0)])
def test_too_few_clips_choose_nothing(num_real, num_fake):
    name, reason, candidates = choose_aggregation(
        clips(num_real, num_fake, share=0.2, lift=9.0), seed=0
    )
    assert (name, candidates) == ("mean", ())
    assert f"found {num_real} real and {num_fake} fake" in reason


def test_limits_are_conformal_quantiles_of_clip_scores():
    faces = clips(19, 12, lift=2.0)
    found = fit(faces)
    assert (found.num_real, found.num_fake) == (19, 12)
    assert found.aggregation == "mean"
    means = faces.scores.reshape(31, FRAMES).mean(axis=1)[:19]
    assert found.real_scores == pytest.approx(sorted(means))
    points = {point.name: point.value for point in found.thresholds}
    # Ranks ceil(0.9 * 20) = 18 and ceil(0.95 * 20) = 19 of 19.
    assert points["sensitive"] == pytest.approx(np.sort(means)[17])
    assert points["balanced"] == pytest.approx(np.sort(means)[18])
    assert found.missing["strict"].endswith("needs 99 real validation clips, found 19")
    assert "optimal" in points
    assert found.probability is not None
    assert found.num_clips_of_several == 0


def test_too_few_real_clips_set_no_limits_and_say_so():
    found = fit(clips(18, 12))
    assert found.thresholds == ()
    assert found.probability is None
    assert set(found.missing) == {"sensitive", "balanced", "strict", "optimal"}
    assert "need 19 real validation clips, found 18" in found.missing["balanced"]


def test_many_clips_of_few_people_promise_little():
    found = fit(clips(30, 0, identities=[f"person{i % 5}" for i in range(30)]))
    assert found.num_real_clusters == 5
    assert found.thresholds == ()
    assert "clips of as many persons or videos, found 30 of 5" in found.missing["balanced"]
    assert found.missing["optimal"] == found.missing["balanced"]
    assert clip_caveats(found) == []


def test_clips_of_few_people_set_no_limits_probabilities_or_caveats():
    found = fit(clips(30, 15, lift=2.0, identities=[f"person{i % 18}" for i in range(45)]))
    assert found.num_real == 30
    assert found.num_real_clusters == 18
    assert found.thresholds == ()
    assert found.probability is None
    assert set(found.missing) == {"sensitive", "balanced", "strict", "optimal"}


def test_that_clips_are_of_fewer_people_is_a_caveat():
    found = fit(clips(40, 15, lift=2.0, identities=[f"person{i % 20}" for i in range(55)]))
    assert {point.name for point in found.thresholds} == {"sensitive", "balanced", "optimal"}
    (caveat,) = clip_caveats(found)
    assert caveat.startswith("the 40 real clips are of 20 persons or videos: rates are promised")
    assert clip_caveats(fit(clips(20, 15))) == []


def test_the_frames_of_deciding_persons_are_kept():
    faces = clips(20, 10, persons=2)
    assert fit(faces).frames_of_persons == (FRAMES, FRAMES)
    # In one real clip both are seen in five frames only; a fake clip of three frames tells nothing.
    short = (faces.videos == "d/0/7") & (faces.seconds >= 2.5)
    short |= (faces.videos == "d/1/25") & (faces.seconds >= 1.5)
    assert fit(faces.select(~short)).frames_of_persons == (5, FRAMES)
    assert fit(clips(0, 3)).frames_of_persons is None


def test_a_clip_is_as_fake_as_its_worst_person_and_those_of_several_are_counted():
    faces = clips(20, 10, persons=2)
    found = fit(faces)
    per_person = faces.scores.reshape(30, FRAMES, 2).mean(axis=1)
    assert found.real_scores == pytest.approx(sorted(per_person[:20].max(axis=1)))
    assert found.num_clips_of_several == 20


def test_stills_have_no_calibration_of_clips():
    assert fit(face_samples([0.0, 1.0], [0, 1])) is None
    assert fit(face_samples([0.0], [-1], videos=["v"])) is None


def test_equal_scores_give_equal_calibrations_in_any_order():
    faces = clips(22, 15, share=0.5)
    first = fit(faces).model_dump_json()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(faces))
        assert fit(faces.select(order)).model_dump_json() == first


def test_evaluation_at_video_level_goes_by_the_limits_of_clips():
    calibration = calibration_of(np.arange(100.0), np.repeat([0, 1], 50))
    of_clips = fit(clips(25, 25, share=0.2, lift=4.0))
    faces = clips(20, 20, share=0.2, lift=4.0, seed=1)
    images_only = evaluate_samples(faces, calibration, seed=0).figures
    both = evaluate_samples(
        faces, calibration.model_copy(update={"video": of_clips}), seed=0
    ).figures
    assert images_only["levels"]["video"]["aggregation"] == "mean"
    assert set(images_only["levels"]["video"]["limits"].values()) == {OF_IMAGES}
    level = both["levels"]["video"]
    assert level["aggregation"] == "top_k"
    assert level["num"] == 40
    assert level["limits"] == {
        "sensitive": OF_CLIPS, "balanced": OF_CLIPS, "optimal": OF_CLIPS, "probabilities": OF_CLIPS,
    }  # fmt: skip
    balanced = {point.name: point.value for point in of_clips.thresholds}["balanced"]
    assert level["decisions"]["balanced"]["threshold"] == balanced
    assert both["levels"]["image"] == images_only["levels"]["image"]
    assert not any("set on single images" in line for line in figure_warnings(both))
    top = np.sort(faces.scores.reshape(40, FRAMES), axis=1)[:, -4:].mean(axis=1)
    assert level["ranking"]["auc"]["value"] == pytest.approx(
        roc_auc_score(np.repeat([0, 1], 20), top)
    )


def reference_of(faces: ScoredSamples, monkeypatch):
    def embed(_predictor, _records, _manifest, _split, wanted, _progress, *, domains):
        assert domains == ["d"]
        chosen = faces.select(wanted)
        assert set(chosen.labels.tolist()) == {0}
        return np.stack([np.cos(chosen.scores), np.sin(chosen.scores)], axis=1)

    monkeypatch.setattr(video_calibration, "embed_split", embed)
    return temporal_reference(faces, None, None, None, "val")


def test_the_temporal_reference_is_of_one_person_a_real_clip(monkeypatch):
    faces = clips(21, 10, persons=2)
    # The second person is seen in fewer frames, in some clips in less than five.
    hidden = (faces.persons == 2) & (faces.seconds > 1)
    shuffled = np.random.default_rng(0).permutation(np.flatnonzero(~hidden))
    faces = faces.select(shuffled)
    found, missing = reference_of(faces, monkeypatch)
    assert missing == ""
    assert (found.shortest_interval, found.longest_interval) == (0.5, 0.5)
    jumps = []
    for video in np.unique(faces.videos[faces.labels == 0]):
        own = (faces.videos == video) & (faces.persons == 1)
        scores = faces.scores[own][np.argsort(faces.seconds[own])]
        jumps.append(np.abs(np.diff(scores)).max())
    assert {len(rows) for rows in found.statistics} == {FRAMES - 4}
    assert sorted(rows[-1][0] for rows in found.statistics) == pytest.approx(sorted(jumps), 1e-5)


def test_the_temporal_reference_is_of_one_clip_a_person_and_of_clips_with_times(monkeypatch):
    one, missing = reference_of(clips(25, 0, identities=["ann"] * 25), monkeypatch)
    assert one is None
    assert missing.endswith("found 1")
    faces = clips(40, 0, identities=[f"person{i % 20}" for i in range(40)])
    found, _ = reference_of(faces, monkeypatch)
    assert len(found.statistics) == 20
    # Of a person's clips the one that shows it most often; of those without times none.
    halved = np.isin(faces.videos, [f"d/0/{i}" for i in range(20)]) & (faces.seconds > 3)
    longer, _ = reference_of(faces.select(~halved), monkeypatch)
    assert {len(rows) for rows in longer.statistics} == {FRAMES - 4}
    timeless = np.isin(faces.videos, ["d/0/3", "d/0/23", "d/0/4", "d/0/24"])
    changed = replace(faces, seconds=np.where(timeless, np.nan, faces.seconds))
    nothing, missing = reference_of(changed, monkeypatch)
    assert nothing is None
    assert "with times and 5 frames of somebody, found 18" in missing


def test_too_few_real_clips_are_no_temporal_reference(monkeypatch):
    found, missing = reference_of(clips(18, 10), monkeypatch)
    assert found is None
    assert missing == (
        "19 real validation clips of as many persons or videos are needed, with times and 5 frames"
        " of somebody, found 18"
    )
