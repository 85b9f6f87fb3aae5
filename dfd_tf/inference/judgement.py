"""All that a calibration says of one score: of an image, of a clip, or of a person in one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from dfd_tf.inference.calibration import CalibratedScores, CalibrationFile, Probability, Threshold
from dfd_tf.inference.verdicts import Kind, VerdictName, judge, limits_of

UNCALIBRATED = "uncalibrated: the run has no calibration.json; scores have no threshold"
UNSET = "the operating point was not set"


@dataclass(frozen=True)
class Judgement:
    """What is said of a score.

    Args:
        verdict: None where nothing can be said.
        reason: Why that verdict, or why none.
        label: `fake` when the score is above the threshold, else `real`; None without one.
        probability: Of fake; None where the run is not calibrated for it.
        p_value: Share of real calibration images or clips that score as high; None where there is
            no calibration of the score's kind.
        p_value_fake: Share of fake ones that score as low, likewise.
        threshold: The operating point's value; None without one.
        promised_fpr: False positive rate promised at the operating point; None where none is.
        promised_miss: Share of fakes promised to be called real at most, likewise.
    """

    verdict: VerdictName | None
    reason: str
    label: str | None = None
    probability: float | None = None
    p_value: float | None = None
    p_value_fake: float | None = None
    threshold: float | None = None
    promised_fpr: float | None = None
    promised_miss: float | None = None


def judgement(
    score: float,
    calibration: CalibrationFile | None,
    threshold: Threshold | None,
    kind: Kind,
    redelivered: Mapping[str, float] | None,
    *,
    unset: str = UNSET,
    num_frames: int | None = None,
) -> Judgement:
    """Says everything about a score.

    Args:
        score: The score.
        calibration: The run's; None: it has none.
        threshold: The operating point; None: it was not set.
        kind: What the score is of.
        redelivered: The score after light re-delivery, by its name.
        unset: Why there is no operating point.
        num_frames: Frames the person is seen in whose score it is; None for images.
    """
    if calibration is None:
        return Judgement(None, UNCALIBRATED)
    array = np.array([score])
    chances = _probability(calibration, kind)
    probability = None if chances is None else float(chances.apply(array)[0])
    if threshold is None:
        p_value, p_value_fake = _p_values(array, calibration) if kind == "image" else (None, None)
        return Judgement(None, unset, None, probability, p_value, p_value_fake)
    limits = limits_of(calibration, threshold, kind, num_frames)
    verdict = judge(
        score, calibration, threshold, kind=kind, redelivered=redelivered, num_frames=num_frames
    )
    p_value, p_value_fake = _p_values(array, limits.scores) if limits.are_own else (None, None)
    return Judgement(
        verdict=verdict.name,
        reason=verdict.reason,
        label="fake" if score > limits.point.value else "real",
        probability=probability,
        p_value=p_value,
        p_value_fake=p_value_fake,
        threshold=limits.point.value,
        promised_fpr=limits.point.target_fpr if limits.are_own else None,
        promised_miss=limits.point.target_miss if limits.are_own else None,
    )


def _probability(calibration: CalibrationFile, kind: Kind) -> Probability | None:
    """The map of the score's level; that of single images where clips have none of their own."""
    of_clips = calibration.video.probability if calibration.video else None
    return of_clips if kind != "image" and of_clips else calibration.probability


def _p_values(score: np.ndarray, scores: CalibratedScores) -> tuple[float | None, float | None]:
    of_fake = scores.fake_p_values(score)
    return float(scores.p_values(score)[0]), None if of_fake is None else float(of_fake[0])
