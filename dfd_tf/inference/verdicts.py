"""The verdict on a file: real, fake, inconclusive or no face, with the reason in words.

Two labels, two questions, each answered by a split-conformal p-value against the calibration
images of that label (class-conditional or Mondrian conformal prediction, Vovk et al. 2005, section
4.5): is the score so high that hardly a real image reaches it, and so low that hardly a fake does?

- `real` is plausible up to the operating point's threshold. At `sensitive`, `balanced` and
  `strict` that is a p-value above their false positive rate, so at most that share of exchangeable
  real images is called fake.
- `fake` is plausible from the operating point's `fake_floor` on, so at most `target_miss` of
  exchangeable fakes of the calibrated kinds is called real.

One plausible label is the verdict; with both or neither it is inconclusive. Where no fakes, or too
few, were calibrated, there is one question only: an image is fake above the threshold, real up to
that of `sensitive`, where nine in ten real images lie, and inconclusive between (`sensitive` itself
leaves no band); how many fakes pass for real is then not known, and the reason says so.

Clips, and the persons in them, are held against limits of clips where the calibration had clips
enough; else against those of single images, without p-values or promise. The score of a person seen
in fewer frames than those of the calibration clips, or in more, scatters otherwise than theirs: the
limits of clips then go without p-values and promise as well.

A higher score never turns a verdict towards real. Nothing here needs TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dfd_tf.inference.calibration import CalibratedScores, CalibrationFile, Threshold

VerdictName = Literal["real", "fake", "inconclusive", "no face"]
Kind = Literal["image", "video", "person"]


@dataclass(frozen=True)
class Verdict:
    """What is said of a file, and why.

    Args:
        name: None where nothing can be said: no calibration, no such operating point, no score.
        reason: One line.
    """

    name: VerdictName | None
    reason: str


NO_FACE = Verdict("no face", "no face was found")


@dataclass(frozen=True)
class Limits:
    """What a score is held against.

    Args:
        scores: Whose p-values go with it.
        point: The operating point.
        are_own: Whether what they rest on is like what is judged; else those of single images stand
            in for those of clips, or those of clips for one of an unlike number of frames, and no
            p-value and no rate goes with them.
        origin: What they rest on.
    """

    scores: CalibratedScores
    point: Threshold
    are_own: bool
    origin: Literal["images", "clips"]


def limits_of(
    calibration: CalibrationFile, threshold: Threshold, kind: Kind, num_frames: int | None = None
) -> Limits:
    """Returns what scores of a kind are held against at an operating point of the images.

    Clips, and the persons in them, have limits of their own where the calibration had clips enough.

    Args:
        calibration: The run's.
        threshold: The operating point.
        kind: What the score is of.
        num_frames: Frames the person is seen in whose score it is; None: as many as in the
            calibration clips.
    """
    for point in calibration.video.thresholds if calibration.video and kind != "image" else ():
        if point.name == threshold.name:
            assert calibration.video is not None
            are_own = num_frames is None or calibration.video.covers(num_frames)
            return Limits(calibration.video, point, are_own, "clips")
    return Limits(calibration, threshold, kind == "image", "images")


def judge(
    score: float,
    calibration: CalibrationFile,
    threshold: Threshold,
    *,
    kind: Kind = "image",
    redelivered: Mapping[str, float] | None = None,
    num_frames: int | None = None,
) -> Verdict:
    """Gives the verdict on a score.

    Args:
        score: Of an image, of a clip or of one person in it.
        calibration: The run's.
        threshold: The operating point, one of the calibration's.
        kind: What the score is of.
        redelivered: Scores of the same faces after light re-delivery, by its name; a real or fake
            that any of them would change is inconclusive.
        num_frames: See `limits_of`.
    """
    limits = limits_of(calibration, threshold, kind, num_frames)
    verdict = _judge(score, limits, kind)
    if verdict.name not in ("real", "fake"):
        return verdict
    for how, other_score in (redelivered or {}).items():
        other = _judge(other_score, limits, kind)
        if other.name != verdict.name:
            return Verdict(
                "inconclusive",
                f"unstable: {verdict.name} as it is (score {score:.4g}), {other.name} after {how}"
                f" (score {other_score:.4g})",
            )
    return verdict


def _judge(score: float, limits: Limits, kind: Kind) -> Verdict:
    point = limits.point
    if point.fake_floor is None:
        verdict = _by_real_scores(score, limits)
    else:
        p_values = _p_values(score, limits)
        verdict = _by_both_labels(score <= point.value, score >= point.fake_floor, *p_values)
    if not limits.are_own:
        of = "single images" if limits.origin == "images" else "clips"
        unlike = "" if limits.origin == "images" else " in which people are seen more or less often"
        return Verdict(
            verdict.name, f"{verdict.reason}; limits are those of {of}{unlike}, without a promise"
        )
    if kind == "person":
        return Verdict(verdict.name, f"{verdict.reason}; limits are those of whole clips")
    return verdict


def _by_both_labels(
    real_is_plausible: bool, fake_is_plausible: bool, real_p: str, fake_p: str
) -> Verdict:
    real, fake = f"real{real_p}", f"fake{fake_p}"
    if real_is_plausible and fake_is_plausible:
        return Verdict("inconclusive", f"both stay plausible: {real} and {fake}")
    if real_is_plausible:
        return Verdict("real", f"{fake} is implausible, {real} is not")
    if fake_is_plausible:
        return Verdict("fake", f"{real} is implausible, {fake} is not")
    return Verdict("inconclusive", f"neither is plausible: {real} nor {fake}")


def _by_real_scores(score: float, limits: Limits) -> Verdict:
    p_value = _p_values(score, limits)[0]
    noun = "image" if limits.origin == "images" else "clip"
    if score > limits.point.value:
        return Verdict("fake", f"higher than real {noun}s score{p_value}")
    if score > _ordinary_up_to(limits):
        return Verdict(
            "inconclusive", f"unusual for a real {noun}{p_value}, but not enough to call it fake"
        )
    return Verdict(
        "real",
        f"ordinary for a real {noun}{p_value}; with {len(limits.scores.fake_scores)} fakes in the"
        " calibration it is not known how many look as ordinary",
    )


def _ordinary_up_to(limits: Limits) -> float:
    """The lower of the threshold and that of `sensitive`, where there is one."""
    values = [point.value for point in limits.scores.thresholds if point.name == "sensitive"]
    return min([limits.point.value, *values])


def _p_values(score: float, limits: Limits) -> tuple[str, str]:
    """Those of both labels as they stand in a reason; empty for fakes without fake scores."""
    if not limits.are_own:
        return "", ""
    array = np.array([score])
    of_fake = limits.scores.fake_p_values(array)
    return (
        f" (p = {limits.scores.p_values(array)[0]:.3g})",
        "" if of_fake is None else f" (p = {of_fake[0]:.3g})",
    )
