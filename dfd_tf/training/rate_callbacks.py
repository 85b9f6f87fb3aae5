# ruff: noqa: ARG002 - the signatures are Keras's
"""Callbacks that lower the learning rate or end a phase when validation stalls."""

from typing import Any, Protocol

import keras

from dfd_tf.config.experiment import Schedule
from dfd_tf.training.optimizers import PhaseRate
from dfd_tf.training.selection import Selection


class Resumable(Protocol):
    """A callback with fields a resumed training must have again."""

    state_key: str
    """Its name in the state file."""

    def fields(self) -> dict[str, Any]:
        """Returns what JSON can hold of it."""

    def restore(self, fields: dict[str, Any]) -> None:
        """Takes back what `fields` returned."""


class Plateau(keras.callbacks.Callback):
    """Multiplies the rate by a factor when `val_loss` has not fallen for some epochs.

    The same rule as `keras.callbacks.ReduceLROnPlateau` without cool-down, acting on the peak of a
    `PhaseRate`, so that a warm-up goes on towards the lowered peak. Epochs that end within the
    warm-up do not count as stalled.

    Args:
        rate: Schedule of the phase.
        schedule: Factor, patience and lowest rate.
    """

    state_key = "plateau"

    def __init__(self, rate: PhaseRate, schedule: Schedule) -> None:
        super().__init__()
        self.rate = rate
        self.schedule = schedule
        self.best: float | None = None
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        value = logs["val_loss"]
        if self.best is None or value < self.best:
            self.best = value
            self.wait = 0
            return
        if keras.ops.convert_to_numpy(self.model.optimizer.iterations) < self.rate.warmup_steps:
            return
        self.wait += 1
        if self.wait >= self.schedule.patience:
            self.wait = 0
            peak = float(keras.ops.convert_to_numpy(self.rate.peak))
            lowered = max(peak * self.schedule.factor, self.schedule.minimum)
            self.rate.peak.assign(min(peak, lowered))

    def fields(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "wait": self.wait,
            "peak": float(keras.ops.convert_to_numpy(self.rate.peak)),
        }

    def restore(self, fields: dict[str, Any]) -> None:
        self.best = fields["best"]
        self.wait = fields["wait"]
        self.rate.peak.assign(fields["peak"])


class EarlyStopping(keras.callbacks.Callback):
    """Ends the phase after `patience` epochs in a row without a better one in this phase."""

    state_key = "early_stopping"

    def __init__(self, selection: Selection, patience: int) -> None:
        super().__init__()
        self.selection = selection
        self.patience = patience
        self.best: list[float] | None = None
        self.wait = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        key = self.selection.key(logs)
        if self.selection.improved(key, self.best):
            self.best = key
            self.wait = 0
            return
        self.wait += 1
        if self.wait >= self.patience:
            self.model.stop_training = True

    def fields(self) -> dict[str, Any]:
        return {"best": self.best, "wait": self.wait}

    def restore(self, fields: dict[str, Any]) -> None:
        self.best = fields["best"]
        self.wait = fields["wait"]
