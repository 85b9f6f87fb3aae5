# ruff: noqa: ARG002 - the signatures are Keras's
"""The progress bar of a training, on stderr; one line an epoch where stderr is no terminal."""

import time
from typing import Any

import keras
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from dfd_tf.training.position import Position


class TrainingProgress(keras.callbacks.Callback):
    """Shows epoch, steps, images a second and time left of the epoch, and a line an epoch.

    Args:
        console: Where to.
        position: Kept up by `Clock`.
        phase_name: Name of the phase.
        phase_epochs: Most epochs of the phase.
        steps_per_epoch: Steps of a whole epoch.
        batch_size: Images in a step.
    """

    def __init__(
        self,
        console: Console,
        position: Position,
        phase_name: str,
        phase_epochs: int,
        steps_per_epoch: int,
        batch_size: int,
    ) -> None:
        super().__init__()
        self.console = console
        self.position = position
        self.phase_name = phase_name
        self.phase_epochs = phase_epochs
        self.steps_per_epoch = steps_per_epoch
        self.batch_size = batch_size
        self._bar: Progress | None = None
        self._began = self._drawn = 0.0
        self._first_step = 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._began = time.monotonic()
        self._first_step = self.position.step
        if not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            auto_refresh=False,
        )
        self._bar.start()
        self._bar.add_task(
            self._title(), total=self.steps_per_epoch, completed=self.position.step, rate=""
        )

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        # A terminal redrawn at every step would cost more than a small network's step.
        now = time.monotonic()
        if self._bar is not None and now - self._drawn > 0.5:
            self._drawn = now
            task = self._bar.task_ids[0]
            self._bar.update(task, completed=self.position.step, rate=self._rate(), refresh=True)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.close()
        figures = "  ".join(
            f"{name} {'none' if value is None else format(value, '.4g')}"
            for name, value in logs.items()
        )
        self.console.print(f"{self._title()}  {figures}", highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Removes the bar; needed when training ends within an epoch."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _title(self) -> str:
        # Within an epoch the position counts the epochs before it, at its end this one as well.
        number = self.position.epoch + (self._bar is not None or self.position.step > 0)
        return f"{self.phase_name} {number}/{self.phase_epochs}"

    def _rate(self) -> str:
        steps = self.position.step - self._first_step
        return f"{steps * self.batch_size / (time.monotonic() - self._began):.0f} images/s"
