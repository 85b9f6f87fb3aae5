# ruff: noqa: ARG002 - the signatures are Keras's
"""Resumable states: when they are written, what is in them, and how one is found again."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import keras
import numpy as np
from etils import epath

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.training.history import History
from dfd_tf.training.model_state import capture_variables, restore_variables
from dfd_tf.training.position import Position
from dfd_tf.training.rate_callbacks import Resumable
from dfd_tf.training.state_file import StateFile, read_state_file, write_state_file
from dfd_tf.training.step_callbacks import DivergedError, FiniteLoss
from dfd_tf.training.stop_signals import StopRequest
from pipelines.errors import CheckpointError, Stopped

_SUFFIX = ".state"
_KEPT = 2


class StateKeeper(keras.callbacks.Callback):
    """Writes and restores training states; the last of the callbacks, so that it sees them done.

    A state is written when a phase begins, at every epoch's end, every `checkpoint_steps` steps and
    on a stop signal.

    Args:
        run: Where states go.
        position: Kept up by `Clock`.
        history: Gets its row here, at the end of an epoch.
        resumables: Callbacks whose fields are stored.
        finite_loss: Asked before each state, so that no bad one is written.
        identity: What a resume compares: configuration, dataset, machine.
        phase_name: Name of the phase.
        phase_epochs: Most epochs of the phase.
        steps_per_epoch: Steps of a whole epoch.
        checkpoint_steps: Steps between states within an epoch, None for none.
        stop: Set by signals.
    """

    def __init__(
        self,
        *,
        run: RunDirectory,
        position: Position,
        history: History,
        resumables: Sequence[Resumable],
        finite_loss: FiniteLoss,
        identity: dict[str, Any],
        phase_name: str,
        phase_epochs: int,
        steps_per_epoch: int,
        checkpoint_steps: int | None,
        stop: StopRequest,
    ) -> None:
        super().__init__()
        self.run = run
        self.position = position
        self.history = history
        self.resumables = resumables
        self.finite_loss = finite_loss
        self.identity = identity
        self.phase_name = phase_name
        self.phase_epochs = phase_epochs
        self.steps_per_epoch = steps_per_epoch
        self.checkpoint_steps = checkpoint_steps
        self.stop = stop
        self.phase_done = False
        self._pending: StateFile | None = None

    def resume_from(self, state: StateFile) -> None:
        """Has the next `fit` go on from a state."""
        self._pending = state
        self.phase_done = state.meta["phase_done"]
        for callback in self.resumables:
            # Changed settings (`forced_resume`) let some begin anew.
            if callback.state_key in state.meta["callbacks"]:
                callback.restore(state.meta["callbacks"][callback.state_key])

    def on_train_begin(self, logs: Any = None) -> None:
        if self._pending is not None:
            arrays = self._pending.arrays
            held = {name.partition("/")[0] for name in arrays} - {"metric"}
            restore_variables(self.model, arrays, str(self.run), groups=held)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._pending is None:
            return
        if self._pending.meta["position"]["step"]:
            restore_variables(self.model, self._pending.arrays, str(self.run), groups=["metric"])
        self._pending = None

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        step = self.position.step
        if step == self.steps_per_epoch:
            return
        due = self.checkpoint_steps is not None and step % self.checkpoint_steps == 0
        if due or self.stop.signal is not None:
            self.save(self.model)
            self._leave_if_asked()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.history.append(
            {
                "epoch": self.position.total_epochs,
                "phase": self.phase_name,
                "steps": self.position.total_steps,
                **logs,
            }
        )
        self.history.write(self.run)
        self.phase_done = self.model.stop_training or self.position.epoch == self.phase_epochs
        self.save(self.model)
        self._leave_if_asked()

    def save(self, model: keras.Model) -> None:
        """Writes a state and deletes all but the newest two.

        Raises:
            DivergedError: A loss or a variable is not finite.
            CheckpointError: The state cannot be written.
        """
        self.finite_loss.check()
        arrays = capture_variables(model, with_metrics=self.position.step > 0)
        self._refuse_nonsense(arrays)
        meta = {
            **self.identity,
            "position": asdict(self.position),
            "phase_done": self.phase_done,
            "history": self.history.rows,
            "callbacks": {callback.state_key: callback.fields() for callback in self.resumables},
        }
        write_state_file(self.run.checkpoints / _name(self.position), StateFile(meta, arrays))
        for path in state_paths(self.run)[_KEPT:]:
            path.unlink()

    def _refuse_nonsense(self, arrays: dict[str, np.ndarray]) -> None:
        for array in arrays.values():
            # The sum is not finite if an element is not, and needs no second array.
            if array.dtype.kind == "f" and not math.isfinite(float(np.sum(array, dtype="float64"))):
                raise DivergedError(
                    f"a weight is not finite after step {self.position.total_steps}; the last good "
                    "state is kept. Start a new run with a lower learning rate, "
                    "training.optimizer.clip_norm or training.precision=float32"
                )

    def _leave_if_asked(self) -> None:
        if self.stop.signal is not None:
            raise Stopped(
                f"stopped by {self.stop.signal.name} after step {self.position.total_steps}, state "
                f"saved; go on with: dfd-tf train ... --run {self.run} --resume",
                self.stop.exit_code,
            )


def state_paths(run: RunDirectory) -> list[epath.Path]:
    """Returns the states of a run, newest first."""
    if not run.checkpoints.is_dir():
        return []
    names = (path for path in run.checkpoints.iterdir() if path.name.endswith(_SUFFIX))
    return sorted(names, key=lambda path: path.name, reverse=True)


def state_path(run: RunDirectory, state: StateFile) -> epath.Path:
    """Returns where a state is kept."""
    return run.checkpoints / _name(Position(**state.meta["position"]))


def newest_state(run: RunDirectory, warn: Callable[[str], None]) -> StateFile | None:
    """Returns the newest undamaged state, None where there is none at all.

    Args:
        run: The run.
        warn: Told of each damaged state that was passed over.

    Raises:
        CheckpointError: There are states and all are damaged, or results and no state.
    """
    paths = state_paths(run)
    problems = []
    for path in paths:
        try:
            return read_state_file(path)
        except CheckpointError as error:
            problems.append(str(error))
            warn(f"{error}; going back to the state before it")
    if problems:
        raise CheckpointError(
            f"{run.checkpoints}: no undamaged training state is left ({'; '.join(problems)}); "
            "start a new run in another directory"
        )
    if run.model.is_file() or run.history.is_file():
        raise CheckpointError(
            f"{run.checkpoints}: the run has results but no training state; start a new run in "
            "another directory"
        )
    return None


def _name(position: Position) -> str:
    return f"{position.phase:02d}-{position.epoch:05d}-{position.step:08d}{_SUFFIX}"
