# ruff: noqa: ARG002 - the signatures are Keras's
"""Callbacks that run after every step, and a list that calls them without waiting for the GPU."""

import math
from collections.abc import Mapping
from typing import Any

import keras

from dfd_tf.training.position import Position
from pipelines.errors import DfdError


class DivergedError(DfdError):
    """The loss or a weight is not finite any more; the last good state is kept."""

    exit_code = 4


class StepCallbackList(keras.callbacks.CallbackList):
    """Hands each step's logs on as tensors.

    Keras turns them into floats after every step, which waits for a GPU to finish it.
    """

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Calls only the clock, which tells the detector how far training is."""
        self.callbacks[0].on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


class Clock(keras.callbacks.Callback):
    """Advances the position and tells the detector of it; the first of the callbacks.

    Args:
        position: Advanced here.
        planned_steps: Steps of all phases at their full length.
    """

    def __init__(self, position: Position, planned_steps: int) -> None:
        super().__init__()
        self.position = position
        self.planned_steps = planned_steps

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        # More steps than planned: changed settings may have shortened a phase (`forced_resume`).
        self.model.set_progress(min(1.0, self.position.total_steps / self.planned_steps))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.position.end_step()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.position.end_epoch()


class FiniteLoss(keras.callbacks.Callback):
    """Stops training when the loss of a step is NaN or infinite, and names the step.

    Logs are running means: once one is not finite it stays so until the epoch ends. So looking
    at every `every`-th step's is enough, and the steps in between are kept to find the first bad
    one. Looking waits for the device, which is why it is not done at every step.

    Args:
        position: Kept up by `Clock`.
        every: Steps between two looks.
    """

    def __init__(self, position: Position, every: int = 20) -> None:
        super().__init__()
        self.position = position
        self.every = every
        self._unseen: list[tuple[int, Mapping[str, Any]]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self._unseen.clear()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._unseen.append((self.position.total_steps, logs or {}))
        if len(self._unseen) >= self.every:
            self.check()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.check()

    def check(self) -> None:
        """Looks at the steps since the last look.

        Raises:
            DivergedError: One has a loss that is not finite.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen or not _not_finite(unseen[-1][1]):
            return
        step, name, value = next(
            (step, *bad) for step, logs in unseen for bad in _not_finite(logs)[:1]
        )
        raise DivergedError(
            f"{name} is {value} at step {step}; the last good state is kept. Start a new run with "
            "a lower learning rate, training.optimizer.clip_norm or training.precision=float32"
        )


def _not_finite(logs: Mapping[str, Any]) -> list[tuple[str, float]]:
    values = {name: float(value) for name, value in logs.items() if name.endswith("loss")}
    return [(name, value) for name, value in values.items() if not math.isfinite(value)]
