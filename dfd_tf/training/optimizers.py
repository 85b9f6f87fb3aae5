"""Optimisers and learning-rate schedules of the phases."""

from typing import Any

import keras
from keras import ops

from dfd_tf.config.detectors import Phase
from dfd_tf.config.experiment import Optimizer, Schedule


class PhaseRate(keras.optimizers.schedules.LearningRateSchedule):
    """Learning rate of a phase: linear warm-up, then constant or a half cosine.

    It is a function of the optimiser's step counter and of `peak`, a variable which `Plateau`
    lowers, so that both survive a resume; step 0 is the first step of the phase.

    Args:
        peak: Rate after the warm-up.
        warmup_steps: Steps of the warm-up; its first step has the rate peak / warmup_steps.
        cosine_steps: Steps after the warm-up at whose end a cosine reaches `minimum`; 0: none.
        minimum: End of the cosine.
    """

    def __init__(
        self, peak: float, warmup_steps: int = 0, cosine_steps: int = 0, minimum: float = 0.0
    ) -> None:
        self.initial = peak
        self.warmup_steps = warmup_steps
        self.cosine_steps = cosine_steps
        self.minimum = minimum
        self.peak = keras.Variable(
            peak, trainable=False, dtype="float32", aggregation="only_first_replica", name="peak"
        )

    def __call__(self, step: keras.KerasTensor) -> keras.KerasTensor:
        step = ops.cast(step, "float32")
        rate = ops.convert_to_tensor(self.peak)
        if self.cosine_steps:
            progress = ops.clip((step - self.warmup_steps) / self.cosine_steps, 0.0, 1.0)
            cosine = 0.5 * (1.0 + ops.cos(ops.cast(3.141592653589793, "float32") * progress))
            low = ops.minimum(rate, self.minimum)
            rate = low + (rate - low) * cosine
        if self.warmup_steps:
            rate = rate * ops.minimum(1.0, (step + 1.0) / self.warmup_steps)
        return rate

    def get_config(self) -> dict[str, float | int]:
        return {
            "peak": self.initial,
            "warmup_steps": self.warmup_steps,
            "cosine_steps": self.cosine_steps,
            "minimum": self.minimum,
        }


def build_rate(phase: Phase, schedule: Schedule, steps_per_epoch: int) -> PhaseRate:
    """Returns the schedule of a phase of `phase.epochs` epochs."""
    cosine_steps = 0
    if schedule.name == "cosine":
        cosine_steps = max(1, phase.epochs * steps_per_epoch - schedule.warmup_steps)
    return PhaseRate(phase.learning_rate, schedule.warmup_steps, cosine_steps, schedule.minimum)


class _RateFactors:
    """Multiplies the rate of a variable by its attribute `rate_factor`, where it has one.

    A mixin, in front of an optimiser. Weight decay keeps the plain rate.
    """

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)  # type: ignore[misc]
        self._rate_factors = [getattr(variable, "rate_factor", 1.0) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        factor = self._rate_factors[self._get_variable_index(variable)]  # type: ignore[attr-defined]
        super().update_step(gradient, variable, learning_rate * factor)  # type: ignore[misc]


class Sgd(_RateFactors, keras.optimizers.SGD):
    """Stochastic gradient descent with factors of the rate."""


class Adam(_RateFactors, keras.optimizers.Adam):
    """Adam with factors of the rate."""


class AdamW(_RateFactors, keras.optimizers.AdamW):
    """AdamW with factors of the rate."""


def build_optimizer(config: Optimizer, rate: PhaseRate) -> keras.optimizers.Optimizer:
    """Returns a fresh optimiser, not built yet.

    A variable with an attribute `rate_factor` is trained at that multiple of the rate.
    """
    common = {
        "learning_rate": rate,
        "global_clipnorm": config.clip_norm,
        "use_ema": config.ema is not None,
        "ema_momentum": 0.99 if config.ema is None else config.ema,
    }
    if config.name == "sgd":
        return Sgd(momentum=config.momentum, **common)
    if config.name == "adam":
        return Adam(beta_1=config.beta_1, **common)
    return AdamW(beta_1=config.beta_1, weight_decay=config.weight_decay, **common)
