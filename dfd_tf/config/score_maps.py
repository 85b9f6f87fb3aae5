"""How the scores of unlike detectors come to one scale, where they can be averaged."""

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, PositiveInt

from dfd_tf.config.schema import Schema

_Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_PositiveFinite = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LogOdds(Schema):
    """Of a member calibrated by Platt or temperature: slope * score + offset."""

    kind: Literal["log_odds"] = "log_odds"
    slope: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    offset: FiniteFloat


class IsotonicLogOdds(Schema):
    """Of a member calibrated by isotonic regression: log odds of the interpolated probability.

    Probabilities are kept within [1 / (n + 2), 1 - 1 / (n + 2)]: a 0 or 1 fitted on n images is no
    surer than that, and its log odds would be infinite.
    """

    kind: Literal["isotonic"] = "isotonic"
    knots: Annotated[tuple[tuple[FiniteFloat, _Fraction], ...], Field(min_length=1)]
    """(score, probability) pairs, scores ascending."""
    num_images: PositiveInt
    """n, the images the map was fitted on."""


class RobustZScore(Schema):
    """Of a member without probabilities: (score - median) / spread of real calibration scores."""

    kind: Literal["z_score"] = "z_score"
    median: FiniteFloat
    spread: _PositiveFinite
    """1.4826 times the median absolute deviation: a normal distribution's standard deviation."""


ScoreMap = Annotated[LogOdds | IsotonicLogOdds | RobustZScore, Field(discriminator="kind")]
