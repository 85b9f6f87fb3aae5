"""Aggregation of faces to images to videos, by hand and against a plain dictionary."""

import numpy as np
import pytest
from evaluation_samples import face_samples
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dfd_tf.evaluation.evaluate import evaluate_samples
from dfd_tf.evaluation.samples import cluster_names, image_level, video_level
from pipelines.errors import DatasetError, ModelFileError


def test_faces_become_images_by_maximum_in_first_seen_order():
    faces = face_samples([1.0, 5.0, -2.0, -3.0], [1, 1, 0, 0], keys=["b", "b", "a", "a"])
    images = image_level(faces)
    assert images.level == "image"
    assert images.keys.tolist() == ["b", "a"]
    assert images.scores.tolist() == [5.0, -2.0]
    assert images.labels.tolist() == [1, 0]


def test_frames_become_videos_by_the_worst_person_and_stills_stay_out():
    faces = face_samples(
        [1.0, 3.0, 2.0, 0.0, 8.0, 9.0],
        [1, 1, 1, 1, 0, 0],
        keys=["v#0", "v#0", "v#9", "v#9", "w#0", "still"],
        videos=["v", "v", "v", "v", "w", ""],
        persons=[1, 2, 2, 1, 1, 0],
    )
    videos = video_level(faces, "mean")
    assert videos.keys.tolist() == ["v", "w"]
    # Person 1 has (1 + 0) / 2, person 2 (3 + 2) / 2.
    assert videos.scores.tolist() == [2.5, 8.0]
    assert video_level(faces, "max").scores.tolist() == [3.0, 8.0]
    assert video_level(face_samples([1.0], [0]), "mean") is None


def test_only_tracked_faces_become_videos():
    with pytest.raises(ValueError, match="not tracked"):
        video_level(face_samples([1.0], [0], videos=["v"], persons=[0]), "mean")
    with pytest.raises(ValueError, match="level image, expected face"):
        video_level(image_level(face_samples([1.0], [0], videos=["v"])), "mean")


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, 25)),
        st.floats(-9, 9),
        min_size=1,
    )
)
def test_aggregation_equals_a_dictionary(scores):
    """Keys of `scores`: video, person, frame."""
    seen = {}
    for (video, person, _), score in scores.items():
        seen.setdefault(video, {}).setdefault(person, []).append(score)
    expected = {}
    for video, persons in seen.items():
        num_frames = len({frame for v, _, frame in scores if v == video})
        often = [own for own in persons.values() if len(own) >= max(2, num_frames / 10)]
        expected[f"v{video}"] = max(np.mean(own) for own in often or persons.values())
    faces = face_samples(
        list(scores.values()),
        [video % 2 for video, *_ in scores],
        keys=[f"v{video}#{frame}" for video, _, frame in scores],
        videos=[f"v{video}" for video, *_ in scores],
        persons=[person for _, person, _ in scores],
    )
    videos = video_level(faces, "mean")
    assert dict(zip(videos.keys.tolist(), videos.scores, strict=True)) == pytest.approx(expected)


def test_composite_keys_keep_equally_named_folders_apart():
    # Two manipulations of the same originals; both name their folders by the original.
    methods = ["easy"] * 5 + ["hard"] * 5 + [""] * 4
    folders = [f"00{i}" for i in (*range(5), *range(5), *range(4))]
    scores = np.array([9.0, 9, 9, 9, 9, 2, 2, 2, 2, 0.2, 0, 0.3, 0.6, 1])
    labels = np.array([1] * 10 + [0] * 4)
    composite = [f"ff/{m or 'real'}/{f}" for m, f in zip(methods, folders, strict=True)]
    merged = [f"{'fake' if m else 'real'}/{f}" for m, f in zip(methods, folders, strict=True)]
    keys = [f"{name}#0" for name in composite]

    def video_auc(videos):
        found = video_level(face_samples(scores, labels, keys=keys, videos=videos), "mean")
        return len(found), roc_auc_score(found.labels, found.scores)

    # Nine of ten fakes are above all four reals, one is above one of them: 37 of 40 pairs. Averaged
    # with its easy namesake the missed one is above all.
    assert video_auc(composite) == (14, 0.925)
    assert video_auc(merged) == (9, 1.0)
    # The evaluation itself goes by the composite key.
    faces = face_samples(scores, labels, keys=keys, videos=composite)
    levels = evaluate_samples(faces, None, seed=0).figures["levels"]
    assert levels["video"]["num"] == 14
    assert levels["video"]["ranking"]["auc"]["value"] == pytest.approx(0.925)


@pytest.mark.parametrize(
    ("keys", "videos", "level"),
    [(["a", "a"], None, "image a"), (["a", "b"], ["v", "v"], "video v")],
)
def test_one_label_an_image_and_a_video(keys, videos, level):
    faces = face_samples([1.0, 2.0], [0, 1], keys=keys, videos=videos)
    with pytest.raises(DatasetError, match=f"{level} holds faces of different labels"):
        image_level(faces) if videos is None else video_level(faces, "mean")


def test_f08_scores_that_are_not_finite_are_an_error():
    with pytest.raises(ModelFileError, match="1 scores are not finite, .* that of image1"):
        face_samples([1.0, float("nan")], [0, 1])


def test_clusters_are_persons_then_videos_then_images():
    names = cluster_names(
        ["v", "v", "w", "", ""], ["ann", "bob", "", "ann", ""], ["1", "2", "3", "4", "5"]
    )
    assert names.tolist() == [
        "identity:ann", "identity:ann", "video:w", "identity:ann", "image:5",
    ]  # fmt: skip
