"""Calibration at video level: how a person's faces become one score, limits of clips, the reference
of what change over time is ordinary. All from validation clips.

An aggregation is judged by how well clips are ranked. That of the highest AUC would win by chance
among three alike, so the simplest within one standard error of it is taken, mean before top_k
before max: the more faces a score rests on, the less a single wrong one can do. It is chosen and
used on the same clips: with three candidates and a rule that needs a difference the optimism is
small, but there is one, and the reason stored says so, and what was compared.

Clips of one person are no independent evidence: limits, probabilities and the reference of change
over time need as many persons (or videos of unknown ones) as clips.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from dfd_tf.evaluation.calibrator_choice import choose_probability
from dfd_tf.evaluation.intervals import bootstrap_replicates
from dfd_tf.evaluation.metrics import ranking_metrics
from dfd_tf.evaluation.samples import ScoredSamples, members, video_level
from dfd_tf.evaluation.scoring import Progress, embed_split
from dfd_tf.evaluation.thresholds import TARGETS, conformal_thresholds, youden_threshold
from dfd_tf.inference.calibration import AggregationCandidate, Threshold, VideoCalibration
from dfd_tf.inference.predictor import Predictor
from dfd_tf.inference.temporal import LEAST_FRAMES, LEAST_PERSONS, Series, TemporalReference
from dfd_tf.inference.video_scores import (
    AGGREGATIONS,
    DEFAULT_AGGREGATION,
    AggregationName,
    PersonScore,
    person_scores,
)
from pipelines.media_item import FAKE, REAL
from pipelines.records.manifest import Manifest

LEAST_CLIPS = 10
"""Clips of each class needed to compare aggregations."""
LEAST_REAL_CLIPS = 19
"""Real clips, of as many persons or videos, needed for limits of their own: the fewest that
`balanced` can be set with."""
_ROUNDING = 1e-9


def fit_video_calibration(
    faces: ScoredSamples, *, method: str, are_logits: bool, seed: int
) -> VideoCalibration | None:
    """Fits what clips are judged by; None without labelled clips.

    Equal scores give an equal calibration, whatever their order.

    Args:
        faces: Samples of level `face`, of the validation split.
        method: `calibration.method` of the run.
        are_logits: Whether sigmoid(score) means to be a probability.
        seed: Of bootstrap and folds.
    """
    labelled = faces.labelled()
    clips = _clips(labelled, DEFAULT_AGGREGATION)
    if clips is None or not len(clips):
        return None
    aggregation, reason, candidates = choose_aggregation(labelled, seed)
    clips = _clips(labelled, aggregation)
    assert clips is not None
    is_real = clips.labels == REAL
    real, fake = clips.scores[is_real], clips.scores[~is_real]
    num_clusters = len(np.unique(clips.clusters[is_real]))
    thresholds: list[Threshold] = []
    missing: dict[str, str] = {}
    probability = None
    if num_clusters < LEAST_REAL_CLIPS:
        why = f"limits of clips need {LEAST_REAL_CLIPS} real validation clips"
        if len(real) < LEAST_REAL_CLIPS:
            why += f", found {len(real)}"
        else:
            why += f" of as many persons or videos, found {len(real)} of {num_clusters}"
        missing = dict.fromkeys([*TARGETS, "optimal"], why)
    else:
        thresholds, missing = conformal_thresholds(real, fake, num_clusters, "clips")
        if len(fake) >= LEAST_CLIPS:
            thresholds.append(youden_threshold(real, fake))
            if method != "none":
                probability, _ = choose_probability(
                    method,
                    clips.scores,
                    clips.labels,
                    clips.clusters,
                    are_logits=are_logits,
                    seed=seed,
                )
        else:
            missing["optimal"] = (
                f"needs {LEAST_CLIPS} labelled fake clips in the validation split,"
                f" found {len(fake)}"
            )
    return VideoCalibration(
        aggregation=aggregation,
        aggregation_reason=reason,
        aggregation_candidates=candidates,
        num_real=len(real),
        num_real_clusters=num_clusters,
        num_fake=len(fake),
        thresholds=tuple(thresholds),
        missing=missing,
        probability=probability,
        real_scores=tuple(np.sort(real).tolist()),
        fake_scores=tuple(np.sort(fake).tolist()),
        num_clips_of_several=_num_clips_of_several(labelled),
        frames_of_persons=_frames_of_persons(labelled, aggregation),
    )


def clip_caveats(video: VideoCalibration) -> list[str]:
    """Says what is doubtful about limits of clips."""
    if not video.thresholds or video.num_real_clusters == video.num_real:
        return []
    return [
        f"the {video.num_real} real clips are of {video.num_real_clusters} persons or videos: rates"
        " are promised for independent clips, and hold less surely here"
    ]


def choose_aggregation(
    faces: ScoredSamples, seed: int
) -> tuple[AggregationName, str, tuple[AggregationCandidate, ...]]:
    """Chooses the aggregation from labelled faces of clips: its name, why, and what was compared.

    Args:
        faces: Samples of level `face`, all labelled, some of videos.
        seed: Of the bootstrap over persons or videos that the standard errors come from.
    """
    by_name = {name: _clips(faces, name) for name in AGGREGATIONS}
    clips = by_name[DEFAULT_AGGREGATION]
    assert clips is not None
    counts = [int(np.sum(clips.labels == label)) for label in (REAL, FAKE)]
    if min(counts) < LEAST_CLIPS:
        reason = (
            f"{DEFAULT_AGGREGATION}: not chosen on validation, {LEAST_CLIPS} clips of each class"
            f" are needed there, found {counts[0]} real and {counts[1]} fake"
        )
        return DEFAULT_AGGREGATION, reason, ()
    scores = {name: found.scores for name, found in by_name.items() if found is not None}
    candidates = _compare(scores, clips, seed)
    chosen = next(one for one in candidates if one.deficit <= one.deficit_error + _ROUNDING)
    reason = (
        f"{chosen.name}: simplest within one standard error of the highest AUC over"
        f" {counts[0]} real and {counts[1]} fake validation clips ("
        + ", ".join(f"{one.name} {one.auc:.3f}" for one in candidates)
        + "); chosen on the clips that limits rest on as well, so that these are slightly too good"
    )
    return chosen.name, reason, tuple(candidates)


def _compare(
    scores: Mapping[AggregationName, np.ndarray], clips: ScoredSamples, seed: int
) -> list[AggregationCandidate]:
    def aucs(weights: np.ndarray) -> dict[AggregationName, np.ndarray]:
        return {
            name: ranking_metrics(clips.labels, values, weights)["auc"]
            for name, values in scores.items()
        }

    values = {name: float(found[0]) for name, found in aucs(np.ones((1, len(clips)))).items()}
    best = max(values, key=lambda name: values[name])
    replicates = bootstrap_replicates(aucs, clips.clusters, clips.labels, seed)
    return [
        AggregationCandidate(
            name=name,
            auc=auc,
            deficit=values[best] - auc,
            deficit_error=float(np.nanstd(replicates[best] - replicates[name])),
        )
        for name, auc in values.items()
    ]


def _clips(faces: ScoredSamples, aggregation: AggregationName) -> ScoredSamples | None:
    clips = video_level(faces, aggregation)
    return clips and clips.select(np.argsort(clips.keys, kind="stable"))


def _num_clips_of_several(faces: ScoredSamples) -> int:
    """Real clips in which more than one person counts."""
    clips = _persons_of_reals(faces, DEFAULT_AGGREGATION)
    return sum(sum(one.counted for one in persons) > 1 for persons in clips)


def _frames_of_persons(
    faces: ScoredSamples, aggregation: AggregationName
) -> tuple[int, int] | None:
    """Fewest and most frames that the deciding person of a real clip is seen in."""
    seen = [
        next(one.num_frames for one in persons if one.counted)
        for persons in _persons_of_reals(faces, aggregation)
    ]
    return (min(seen), max(seen)) if seen else None


def _persons_of_reals(
    faces: ScoredSamples, aggregation: AggregationName
) -> Iterator[list[PersonScore]]:
    """Yields the persons of each real clip, by falling score."""
    reals = faces.select((faces.labels == REAL) & (faces.videos != ""))
    _, clip = np.unique(reals.videos, return_inverse=True)
    for own in members(clip) if len(reals) else ():
        frames = reals.keys[own].tolist()
        yield person_scores(reals.persons[own], frames, reals.scores[own], aggregation)


def temporal_reference(
    faces: ScoredSamples,
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    progress: Progress | None = None,
) -> tuple[TemporalReference | None, str]:
    """Measures how people in real validation clips change over time.

    That is one clip a person, or video of an unknown one, and of each clip whoever is seen most.

    Args:
        faces: Samples of level `face`, as `score_split` gives them.
        predictor: The run, asked for the latents of those persons.
        records: Record folder.
        manifest: Its manifest.
        split: Its split.
        progress: Told how far the second pass over the split is.

    Returns:
        The reference, or None and why there is none.

    Raises:
        DatasetError: The split is damaged.
    """
    wanted = np.zeros(len(faces), bool)
    for own in _chosen_persons(faces):
        wanted[own] = True
    num_clips = len(np.unique(faces.videos[wanted]))
    if num_clips < LEAST_PERSONS:
        return None, (
            f"{LEAST_PERSONS} real validation clips of as many persons or videos are needed, with"
            f" times and {LEAST_FRAMES} frames of somebody, found {num_clips}"
        )
    domains = np.unique(faces.domains).tolist()
    latents = embed_split(predictor, records, manifest, split, wanted, progress, domains=domains)
    chosen = faces.select(wanted)
    _, clip = np.unique(chosen.videos, return_inverse=True)
    series = []
    for own in members(clip):
        order = own[np.argsort(chosen.seconds[own], kind="stable")]
        series.append(Series(chosen.seconds[order], chosen.scores[order], latents[order]))
    intervals = [one.interval for one in series]
    if min(intervals) <= 0:
        return None, "some real validation clips have frames without times"
    return TemporalReference(
        statistics=tuple(sorted(one.beginnings() for one in series)),
        shortest_interval=min(intervals),
        longest_interval=max(intervals),
    ), ""


def _chosen_persons(faces: ScoredSamples) -> list[np.ndarray]:
    """Places of the faces of the person seen most, in one real clip a cluster.

    It is the clip that shows somebody in most frames, of equals the first by name; none where that
    is too few, or where frames have no times.
    """
    places = np.flatnonzero(
        (faces.labels == REAL) & (faces.videos != "") & np.isfinite(faces.seconds)
    )
    _, clip = np.unique(faces.videos[places], return_inverse=True)
    chosen: dict[str, np.ndarray] = {}
    for own in members(clip) if len(places) else ():
        rows = places[own]
        numbers, counts = np.unique(faces.persons[rows], return_counts=True)
        cluster = faces.clusters[rows[0]]
        known = chosen.get(cluster, ())
        if counts.max() >= max(LEAST_FRAMES, len(known) + 1):
            chosen[cluster] = rows[faces.persons[rows] == numbers[counts.argmax()]]
    return list(chosen.values())
