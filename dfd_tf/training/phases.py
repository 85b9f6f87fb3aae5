"""The phases of a training: each compiles the detector anew and calls `fit`."""

from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf
from rich.console import Console

from dfd_tf.config.detectors import Phase
from dfd_tf.config.experiment import Experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.base import Detector
from dfd_tf.training.best_weights import load_best, save_best
from dfd_tf.training.data import TrainingData
from dfd_tf.training.devices import Devices
from dfd_tf.training.forced_resume import fitting_state
from dfd_tf.training.history import History
from dfd_tf.training.model_state import restore_variables
from dfd_tf.training.optimizers import build_optimizer, build_rate
from dfd_tf.training.position import Position
from dfd_tf.training.progress import TrainingProgress
from dfd_tf.training.rate_callbacks import EarlyStopping, Plateau, Resumable
from dfd_tf.training.selection import Selection
from dfd_tf.training.state_file import StateFile
from dfd_tf.training.state_keeper import StateKeeper, newest_state
from dfd_tf.training.step_callbacks import Clock, FiniteLoss, StepCallbackList
from dfd_tf.training.stop_signals import StopRequest
from dfd_tf.training.tensorboard_log import TensorBoardLog
from dfd_tf.training.trouble import Trouble
from dfd_tf.training.validation import Validation, ValidationScores, Validator
from pipelines.errors import InputError

_NUM_PICTURES = 10
_NUM_EMBEDDED = 512


@dataclass
class PhaseLoop:
    """Runs the phases of one training, or what a state has left of them.

    A phase after the first begins with the best weights so far. Every call of `fit` begins at a
    state, and one that begins within an epoch finishes that epoch only.

    Args:
        experiment: What to train.
        detector: Built under `devices`.
        data: On what.
        directory: Into what; the caller holds its lock.
        devices: What it runs on.
        selection: Rule that picks the best epoch.
        identity: What a later resume compares.
        console: Where progress goes.
        stop: Set by signals.
        changed: Whether the state may not fit the settings (`forced_resume`).
    """

    experiment: Experiment
    detector: Detector
    data: TrainingData
    directory: RunDirectory
    devices: Devices
    selection: Selection
    identity: dict[str, Any]
    console: Console
    stop: StopRequest
    changed: bool = False

    def run(self, state: StateFile | None) -> None:
        self.position = Position()
        self.history = History()
        if state is not None:
            self.position = Position(**state.meta["position"])
            self.history = History(state.meta["history"])
        self.history.write(self.directory)
        self.log = TensorBoardLog(
            self.directory,
            self.position,
            self.experiment,
            self.data.name,
            *self.data.preview(_NUM_PICTURES),
        )
        self.validator = Validator(
            self.detector,
            self.data.loss_data,
            self.data.score_data(self.selection),
            self.devices.distribution,
        )
        self.validation = Validation(
            self.validator, self.selection, self.position, self._keep, self._show
        )
        self.trouble = Trouble(self.directory, self.history, self.console)
        try:
            self._run(state)
        finally:
            self.log.close()

    def _run(self, state: StateFile | None) -> None:
        first = self.position.phase
        if state is not None and state.meta["phase_done"]:
            # The optimiser of the done phase is not needed again; dropout counters and best are.
            restore_variables(self.detector, state.arrays, str(self.directory), groups=["model"])
            for callback in (self.validation, self.trouble):
                callback.restore(state.meta["callbacks"][callback.state_key])
            first, state = first + 1, None
        for index in range(first, len(self.experiment.detector.phases)):
            self._run_phase(index, state)
            state = None
        load_best(self.directory, self.detector, self.validation.best_sha256)
        self.log.write_embeddings(self.detector, *self.data.preview(_NUM_EMBEDDED))

    def _run_phase(self, index: int, state: StateFile | None) -> None:
        phase = self.experiment.detector.phases[index]
        callbacks, keeper = self._compile(phase)
        if state is None:
            if index > 0:
                load_best(self.directory, self.detector, self.validation.best_sha256)
            self.position.begin_phase(index)
            keeper.save(self.detector)
        if state is not None and self.changed:
            state = fitting_state(self.detector, state)
        while not keeper.phase_done:
            if state is not None:
                keeper.resume_from(state)
            if not keeper.phase_done:
                self._fit(phase, callbacks)
            # At its end `fit` replaces the weights by their moving average, if there is one.
            if not keeper.phase_done:
                state = newest_state(self.directory, self.console.print)

    def _compile(self, phase: Phase) -> tuple[list[keras.callbacks.Callback], StateKeeper]:
        config = self.experiment.training
        rate = build_rate(phase, config.schedule, self.data.steps_per_epoch)
        self.detector.begin_phase(phase)
        with self.devices.distribution.scope():
            self.detector.compile_phase(lambda: build_optimizer(config.optimizer, rate))
        self.validator.reset()
        finite_loss = FiniteLoss(self.position)
        resumables: list[Resumable] = [self.validation, self.trouble]
        if config.schedule.name == "plateau":
            resumables.append(Plateau(rate, config.schedule))
        if phase.early_stop_patience is not None:
            resumables.append(EarlyStopping(self.selection, phase.early_stop_patience))
        keeper = StateKeeper(
            run=self.directory,
            position=self.position,
            history=self.history,
            resumables=resumables,
            finite_loss=finite_loss,
            identity=self.identity,
            phase_name=phase.name,
            phase_epochs=phase.epochs,
            steps_per_epoch=self.data.steps_per_epoch,
            checkpoint_steps=config.checkpoint_steps,
            stop=self.stop,
        )
        progress = TrainingProgress(
            self.console,
            self.position,
            phase.name,
            phase.epochs,
            self.data.steps_per_epoch,
            self.experiment.data.batch_size,
        )
        planned_epochs = sum(one.epochs for one in self.experiment.detector.phases)
        clock = Clock(self.position, planned_epochs * self.data.steps_per_epoch)
        return [clock, finite_loss, *resumables, self.log, progress, keeper], keeper

    def _fit(self, phase: Phase, callbacks: list[keras.callbacks.Callback]) -> None:
        start, skip = self.position.total_epochs, self.position.step
        steps = self.data.steps_per_epoch - skip
        epochs = 1 if skip else phase.epochs - self.position.epoch
        try:
            self.detector.fit(
                self.data.batches(start, skip).dataset,
                initial_epoch=start,
                epochs=start + epochs,
                steps_per_epoch=steps,
                callbacks=StepCallbackList(
                    callbacks,
                    add_history=True,
                    model=self.detector,
                    epochs=start + epochs,
                    steps=steps,
                ),
                shuffle=False,  # The data has its own order.
                verbose=0,
            )
        except tf.errors.ResourceExhaustedError as error:
            raise InputError(
                f"out of memory at step {self.position.total_steps + 1}: try a smaller "
                "data.batch_size or detector.image_size in a new run"
            ) from error
        finally:
            for callback in callbacks:
                if isinstance(callback, TrainingProgress):
                    callback.close()

    def _keep(self, logs: dict[str, Any]) -> str:
        return save_best(
            self.directory,
            self.detector,
            detector_name=self.experiment.detector.name,
            num_domains=self.data.num_domains,
            phase=self.experiment.detector.phases[self.position.phase].name,
            epoch=self.position.total_epochs,
            selection=self.selection,
            logs=logs,
        )

    def _show(self, scores: ValidationScores | None) -> None:
        self.log.show_best(self.detector, scores)
