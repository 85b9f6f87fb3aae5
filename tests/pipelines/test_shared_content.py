"""Copies are found wherever they hide, and named with what they cross."""

import hashlib

import numpy as np

from pipelines.nuisances import NUMERIC, MeasuredRecord
from pipelines.shared_content import find_shared_content


def picture(seed):
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8), np.uint8)
    return np.kron(coarse, np.ones((4, 4), np.uint8))


def measured(path, seed, split="train", label=0, value=1.0, **known):
    return MeasuredRecord(
        shard=f"{split}-0",
        split=split,
        path=path,
        label=label,
        domain="d",
        video=known.get("video", ""),
        identity=known.get("identity", ""),
        sha256=known.get("sha256", hashlib.sha256(path.encode()).hexdigest()),
        source_format="JPEG",
        values=(value,) * len(NUMERIC),
        thumbnail=picture(seed),
    )


def test_copies_across_splits_and_classes_come_first_and_are_named():
    digest = "a" * 64
    media, shared = find_shared_content(
        [
            measured("one", 1, sha256=digest),
            measured("copy", 1, split="test", sha256=digest),
            measured("swapped", 2, label=1),
            measured("original", 2),
            measured("unknown", 3, label=-1),
            measured("known", 3),
            measured("alone", 4),
        ]
    )
    found = [
        (s.kind, {m.path for m in s.media}, s.crosses_splits, s.crosses_classes) for s in shared
    ]
    assert found == [
        ("exact", {"one", "copy"}, True, False),
        ("near", {"swapped", "original"}, False, True),
        ("near", {"known", "unknown"}, False, False),
    ]
    cluster = {medium.path: medium.cluster for medium in media}
    assert cluster["one"] == cluster["copy"] != cluster["alone"]
    assert len(set(cluster.values())) == 4


def test_one_medium_in_two_splits_is_a_copy_of_itself():
    _, shared = find_shared_content([measured("one", 1), measured("one", 1, split="val")])
    assert [(s.kind, s.crosses_splits) for s in shared] == [("exact", True)]


def test_frames_of_a_video_are_one_medium_with_the_median_of_their_values():
    frames = [measured("clip", 1, value=value) for value in (1.0, 2.0, 9.0, float("nan"))]
    media, shared = find_shared_content([*frames, measured("still", 5)])
    assert shared == []
    clip, still = media
    assert (clip.path, still.path) == ("clip", "still")
    assert clip.values.tolist() == [2.0] * len(NUMERIC)


def test_people_and_videos_tie_media_together():
    media, _ = find_shared_content(
        [
            measured("a", 1, identity="d/ann"),
            measured("b", 2, identity="d/ann", video="d/1"),
            measured("c", 3, video="d/1"),
            measured("d", 4),
        ]
    )
    assert len({medium.cluster for medium in media}) == 2
