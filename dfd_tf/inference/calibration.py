"""What turns a score into a probability, p-values and a verdict: `calibration.json` of a run.

The file is plain JSON, never a pickle. It names the weights it belongs to by sha256, so that a
threshold can never be read beside another model.
"""

import json
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, FiniteFloat, NonNegativeInt, ValidationError, model_validator

from dfd_tf.config.schema import Schema
from dfd_tf.inference.temporal import TemporalReference
from dfd_tf.inference.video_scores import DEFAULT_AGGREGATION, AggregationName
from pipelines.errors import ModelFileError

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Interval(Schema):
    """A 95 % interval."""

    low: Fraction
    high: Fraction


class Threshold(Schema):
    """One operating point: an image is called fake when its score is above `value`."""

    name: str
    value: FiniteFloat
    rule: str
    """How the value was found, in words."""
    target_fpr: Fraction | None = None
    """False positive rate promised on exchangeable real images, in expectation at most."""
    num_real: NonNegativeInt
    """Real images it rests on."""
    observed_fpr: Fraction
    """Share of those above the value."""
    observed_fpr_interval: Interval
    """Wilson interval of that share."""
    observed_tpr: Fraction | None = None
    """Share of the labelled fakes above the value, where there are fakes."""
    fake_floor: FiniteFloat | None = None
    """Lowest score at which `fake` is plausible: the split-conformal quantile of the fake scores.
    None: too few labelled fakes."""
    target_miss: Fraction | None = None
    """Share of exchangeable fakes promised to lie below `fake_floor`, in expectation at most."""


class Candidate(Schema):
    """One probability map, judged on images it was not fitted on (cross-fitting)."""

    method: Literal["uncalibrated", "temperature", "platt", "isotonic"]
    """`uncalibrated`: sigmoid(score), where the score is a logit; for comparison only."""
    log_loss: FiniteFloat
    """Mean negative log likelihood, nats."""
    excess: FiniteFloat
    """`log_loss` less that of the best map."""
    excess_error: FiniteFloat
    """Standard error of that difference, over persons, videos and lone images."""
    brier: Fraction
    ece: Fraction


class Probability(Schema):
    """A monotone map from score to the probability of `fake`."""

    method: Literal["platt", "temperature", "isotonic"]
    slope: FiniteFloat = 1.0
    offset: FiniteFloat = 0.0
    knots: tuple[tuple[FiniteFloat, Fraction], ...] = ()
    """Isotonic: (score, probability) pairs, scores ascending."""
    least: Fraction = 0.0
    most: Fraction = 1.0
    """Lowest and highest probability given, whatever the score: what the number of images the map
    was fitted on can show at most."""
    ece_before: Fraction | None = None
    """Expected calibration error of sigmoid(score) on the calibration data; None where the score
    is no logit."""
    ece_after: Fraction | None = None
    """The same with the map applied, in-sample: too good, above all of an isotonic map."""
    ece_after_cross_fitted: Fraction | None = None
    """The same by maps fitted without the image's person or video; None where there are too few
    of those."""
    candidates: tuple[Candidate, ...] = ()
    """The maps compared, and the score as it is."""
    reason: str = ""
    """Why this map."""

    def apply(self, scores: np.ndarray) -> np.ndarray:
        """Maps scores to probabilities, (n,) float64 in [least, most]."""
        if self.method == "isotonic":
            knots = np.asarray(self.knots, np.float64)
            found = np.interp(scores, knots[:, 0], knots[:, 1])
        else:
            logits = self.slope * np.asarray(scores, np.float64) + self.offset
            found = np.exp(-np.logaddexp(0.0, -logits))
        return np.clip(found, self.least, self.most)


class CalibratedScores(Schema):
    """What scores of one level mean: thresholds, probabilities and p-values."""

    num_real: NonNegativeInt
    num_real_clusters: NonNegativeInt
    """Persons, videos or lone images those come from; where they are fewer, the promised rates,
    which suppose independent images, are more of an estimate."""
    num_fake: NonNegativeInt
    thresholds: tuple[Threshold, ...]
    missing: dict[str, str] = Field(default_factory=dict)
    """Operating points that could not be set, with the reason."""
    probability: Probability | None = None
    """None: scores are not calibrated to probabilities, and every output says so."""
    real_scores: tuple[FiniteFloat, ...]
    """Ascending scores of the real ones, for p-values."""
    fake_scores: tuple[FiniteFloat, ...] = ()
    """Ascending scores of the labelled fakes, likewise."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.real_scores) != self.num_real or list(self.real_scores) != sorted(
            self.real_scores
        ):
            raise ValueError("real_scores must be num_real scores in ascending order")
        if len(self.fake_scores) not in (0, self.num_fake) or list(self.fake_scores) != sorted(
            self.fake_scores
        ):
            raise ValueError("fake_scores must be num_fake scores in ascending order")
        names = [threshold.name for threshold in self.thresholds]
        if len(set(names)) != len(names):
            raise ValueError("an operating point is named twice")
        promised = [point for point in self.thresholds if point.target_fpr is not None]
        promised.sort(key=lambda point: -(point.target_fpr or 0.0))
        if any(a.value > b.value for a, b in pairwise(promised)):
            raise ValueError("a lower promised false positive rate needs a higher threshold")
        return self

    def threshold(self, name: str) -> Threshold:
        """Returns an operating point.

        Raises:
            KeyError: It was not set; the message holds the reason and the names there are.
        """
        for threshold in self.thresholds:
            if threshold.name == name:
                return threshold
        known = ", ".join(threshold.name for threshold in self.thresholds) or "none"
        reason = self.missing.get(name, "no such operating point")
        raise KeyError(f"{name}: {reason} (set: {known})")

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """Conformal p-values of "this one is real": (1 + #{real >= score}) / (n + 1), (n,)."""
        at_least = self.num_real - np.searchsorted(self.real_scores, scores, side="left")
        return (1.0 + at_least) / (self.num_real + 1.0)

    def fake_p_values(self, scores: np.ndarray) -> np.ndarray | None:
        """Conformal p-values of "this one is a fake like those": (1 + #{fake <= score}) /
        (m + 1), (n,); None without labelled fakes.
        """
        if not self.fake_scores:
            return None
        at_most = np.searchsorted(self.fake_scores, scores, side="right")
        return (1.0 + at_most) / (len(self.fake_scores) + 1.0)


class AggregationCandidate(Schema):
    """One way from the scores of a person's faces to one, judged on labelled validation clips."""

    name: AggregationName
    auc: Fraction
    """Area under the ROC curve over clips."""
    deficit: FiniteFloat
    """AUC of the best candidate less this one's."""
    deficit_error: FiniteFloat
    """Standard error of that difference, over persons or videos."""


class VideoCalibration(CalibratedScores):
    """Calibration of clips, on the validation clips; one score a clip."""

    aggregation: AggregationName
    """How the scores of a person's faces become one."""
    aggregation_reason: str
    aggregation_candidates: tuple[AggregationCandidate, ...] = ()
    """Those compared; none where there are too few clips of a class."""
    num_clips_of_several: NonNegativeInt = 0
    """Real clips in which several persons count: where they are few, the promise hardly covers
    clips of several, whose highest score is the higher the more there are."""
    frames_of_persons: tuple[NonNegativeInt, NonNegativeInt] | None = None
    """Fewest and most frames that a real clip's deciding person is seen in: a mean of fewer scores
    scatters more than the limits allow for. None: there are no real clips."""
    temporal: TemporalReference | None = None
    """What change over time is ordinary; None: `temporal_missing` says why it is not known."""
    temporal_missing: str = ""

    def covers(self, num_frames: int) -> bool:
        """Returns whether the promise covers a person seen in so many frames."""
        seen = self.frames_of_persons
        return seen is None or seen[0] <= num_frames <= seen[1]


class CalibrationFile(CalibratedScores):
    """Content of `calibration.json`: of single images and, where there were any, of clips."""

    schema_version: Literal[1] = 1
    weights_sha256: str
    """The weights the scores came from."""
    dataset: str
    """Name of the calibration data."""
    dataset_fingerprint: str
    records: str = ""
    """Folder of the calibration data; empty in files of versions that did not say."""
    split: Literal["val"] = "val"
    """Calibration never opens another split."""
    level: Literal["image"] = "image"
    """One score an image or frame: the highest of its faces."""
    fake_methods: tuple[str, ...] = ()
    """Methods of the labelled fakes."""
    caveats: tuple[str, ...] = ()
    """What is doubtful about the calibration data: repeated by every command that reads this."""
    cross_fitted: bool = False
    """Whether each score came from a stack fitted without that image's person or video, because
    the stack of the run was itself fitted on these images."""
    video: VideoCalibration | None = None
    """None: no labelled clips in the calibration data; clips are judged by the limits above."""

    def of_clips(self) -> Self:
        """Returns thresholds and probabilities that clips are judged by, in place of the images'.

        Their own where there are some, those of single images for the rest.
        """
        if self.video is None or not self.video.thresholds:
            return self
        own = {point.name: point for point in self.video.thresholds}
        of_images = [point for point in self.thresholds if point.name not in own]
        thresholds = (*own.values(), *of_images)
        named = {point.name for point in thresholds}
        return self.model_copy(
            update={
                "thresholds": thresholds,
                "missing": {k: v for k, v in self.missing.items() if k not in named},
                "probability": self.video.probability or self.probability,
            }
        )

    def to_json(self) -> str:
        """Returns the file's text; equal calibrations give equal bytes."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True) + "\n"


def aggregation_of(calibration: CalibrationFile | None) -> tuple[AggregationName, str]:
    """Returns how the scores of a person's faces in a clip become one in a run, and why so."""
    if calibration is None:
        return DEFAULT_AGGREGATION, "not chosen on validation: the run is not calibrated"
    if calibration.video is None:
        return DEFAULT_AGGREGATION, "not chosen on validation: no labelled videos there"
    return calibration.video.aggregation, calibration.video.aggregation_reason


def parse_calibration(text: str, path: str) -> CalibrationFile:
    """Reads `calibration.json`.

    Raises:
        ModelFileError: It is no calibration, or holds values that cannot be.
    """
    try:
        values: Any = json.loads(text)
        return CalibrationFile.model_validate(values)
    except (ValueError, ValidationError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelFileError(
            f"{path}: not a calibration this version wrote ({reason}); run `dfd-tf calibrate`"
        ) from None
