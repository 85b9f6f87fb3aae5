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

A higher score never turns a verdict towards real. Nothing here needs TensorFlow.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from dfd_tf.inference.calibration import CalibrationFile, Threshold

VerdictName = Literal["real", "fake", "inconclusive", "no face"]


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


def judge(
    score: float,
    calibration: CalibrationFile,
    threshold: Threshold,
    *,
    is_video: bool = False,
    redelivered: Mapping[str, float] | None = None,
) -> Verdict:
    """Gives the verdict on a score.

    Args:
        score: Of an image, or the mean over the frames of a video.
        calibration: The run's.
        threshold: The operating point, one of the calibration's.
        is_video: A video's score is judged by the same limits, but no p-value and no rate goes
            with it: those are of single images.
        redelivered: Scores of the same faces after light re-delivery, by its name; a real or fake
            that any of them would change is inconclusive.
    """
    verdict = _judge(score, calibration, threshold, is_video)
    if verdict.name not in ("real", "fake"):
        return verdict
    for how, other_score in (redelivered or {}).items():
        other = _judge(other_score, calibration, threshold, is_video)
        if other.name != verdict.name:
            return Verdict(
                "inconclusive",
                f"unstable: {verdict.name} as it is (score {score:.4g}), {other.name} after {how}"
                f" (score {other_score:.4g})",
            )
    return verdict


def _judge(
    score: float, calibration: CalibrationFile, threshold: Threshold, is_video: bool
) -> Verdict:
    if threshold.fake_floor is None:
        verdict = _by_real_images(score, calibration, threshold, is_video)
    else:
        p_values = ("", "") if is_video else _p_values(score, calibration)
        verdict = _by_both_labels(
            score <= threshold.value, score >= threshold.fake_floor, *p_values
        )
    if is_video:
        return Verdict(
            verdict.name, f"{verdict.reason}; limits are those of single images, without a promise"
        )
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


def _by_real_images(
    score: float, calibration: CalibrationFile, threshold: Threshold, is_video: bool
) -> Verdict:
    p_value = "" if is_video else _p_values(score, calibration)[0]
    if score > threshold.value:
        return Verdict("fake", f"higher than real images score{p_value}")
    if score > _ordinary_up_to(calibration, threshold):
        return Verdict(
            "inconclusive", f"unusual for a real image{p_value}, but not enough to call it fake"
        )
    return Verdict(
        "real",
        f"ordinary for a real image{p_value}; with {len(calibration.fake_scores)} fakes in the"
        " calibration it is not known how many look as ordinary",
    )


def _ordinary_up_to(calibration: CalibrationFile, threshold: Threshold) -> float:
    """The lower of the threshold and that of `sensitive`, where there is one."""
    values = [point.value for point in calibration.thresholds if point.name == "sensitive"]
    return min([threshold.value, *values])


def _p_values(score: float, calibration: CalibrationFile) -> tuple[str, str]:
    """Those of both labels as they stand in a reason; empty for fakes without fake scores."""
    array = np.array([score])
    of_fake = calibration.fake_p_values(array)
    return (
        f" (p = {calibration.p_values(array)[0]:.3g})",
        "" if of_fake is None else f" (p = {of_fake[0]:.3g})",
    )
