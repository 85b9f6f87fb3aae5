# ruff: noqa: ARG002 - the signatures are Keras's
"""Validation after every epoch: loss and scores of the validation split in one pass over it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import roc_auc_score

from dfd_tf.detectors.base import Detector, to_unit
from dfd_tf.detectors.family_losses import drop_absent
from dfd_tf.training.position import Position
from dfd_tf.training.selection import Selection
from dfd_tf.training.step_callbacks import DivergedError
from pipelines.media_item import REAL


@dataclass(frozen=True)
class ValidationScores:
    """Scores of the validation split.

    Args:
        labels: (n,) int32, 0 real and 1 fake.
        scores: (n,) float32, higher = more likely fake.
    """

    labels: np.ndarray
    scores: np.ndarray


class Validator:
    """Runs a detector over the validation split.

    Args:
        detector: Compiled anew for every phase, then `reset` must be called.
        loss_data: Batches the loss is taken on: real images only for a one-class detector.
        score_data: Batches scored for `val_auc`, the same object as `loss_data` where one pass does
            for both, None where no AUC is wanted.
        distribution: Strategy the detector was built under.
    """

    def __init__(
        self,
        detector: Detector,
        loss_data: tf.data.Dataset,
        score_data: tf.data.Dataset | None,
        distribution: tf.distribute.Strategy,
    ) -> None:
        self.detector = detector
        self.distribution = distribution
        self.one_pass = score_data is loss_data
        self._plain = loss_data
        self.loss_data = self._distribute(loss_data)
        self.score_data = (
            None if score_data is None or self.one_pass else self._distribute(score_data)
        )
        self._figures: tuple[str, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Forgets the traced steps: they hold the metrics of the last `compile`."""
        self._loss_step = self._traced(with_loss=True, with_scores=self.one_pass)
        self._score_step = self._traced(with_loss=False, with_scores=True)

    def run(self) -> tuple[dict[str, float | None], ValidationScores | None]:
        """Returns `val_*` figures (`val_auc` None without both classes) and the scores, if any."""
        self.detector.reset_metrics()
        scores = self._pass(self.loss_data, self._loss_step)
        results = self.detector.get_metrics_result()
        figures: dict[str, float | None] = {
            f"val_{name}": float(keras.ops.convert_to_numpy(results[name]))
            for name in self._figures
        }
        if self.score_data is not None:
            scores = self._pass(self.score_data, self._score_step)
        if scores is not None:
            figures["val_auc"] = _auc(scores)
        return figures, scores

    def fit_score(self) -> None:
        """Shows the detector the real validation images its score is standardised on."""
        self.detector.fit_score(
            tf.boolean_mask(images, targets["label"] == REAL) for images, targets in self._plain
        )

    def _distribute(self, dataset: tf.data.Dataset) -> Any:
        if self.distribution.num_replicas_in_sync == 1:
            return dataset
        return self.distribution.experimental_distribute_dataset(dataset)

    def _traced(self, *, with_loss: bool, with_scores: bool) -> Callable[[Any], Any]:
        detector = self.detector

        def replica_step(images: Any, targets: dict[str, Any]) -> tuple[Any, ...]:
            images = to_unit(images)
            if with_loss:
                # Metrics that only training updates are not among them.
                self._figures = tuple(detector.test_step((images, targets)))
            return (targets["label"], detector.score(images)) if with_scores else ()

        # The iterator is the argument, not the batch: a smaller last batch is not traced again.
        @tf.function
        def step(iterator: Any) -> tuple[tuple[Any, ...], ...]:
            outputs = self.distribution.run(replica_step, args=next(iterator))
            return tuple(self.distribution.experimental_local_results(o) for o in outputs)

        return step

    def _pass(self, dataset: Any, step: Callable[[Any], Any]) -> ValidationScores | None:
        outputs = []
        iterator = iter(dataset)
        try:
            while True:
                outputs.append(step(iterator))
        except (tf.errors.OutOfRangeError, StopIteration):
            pass
        if not outputs or not outputs[0]:
            return None
        labels = [part.numpy() for batch, _ in outputs for part in batch]
        scores = [part.numpy() for _, batch in outputs for part in batch]
        return ValidationScores(np.concatenate(labels), np.concatenate(scores))


class Validation(keras.callbacks.Callback):
    """Adds the validation figures to an epoch's logs and keeps the best epoch's weights.

    Where the optimiser averages the weights over time (EMA), the average is what is validated and
    kept.

    Args:
        validator: Does the pass.
        selection: Rule that picks the best epoch.
        position: Kept up by `Clock`.
        keep: Called with an epoch's logs when it is the best so far, while the model still has the
            weights that were validated; stores them and returns their sha256.
        show: Called after `keep` with the scores.
    """

    state_key = "selection"

    def __init__(
        self,
        validator: Validator,
        selection: Selection,
        position: Position,
        keep: Callable[[dict[str, Any]], str],
        show: Callable[[ValidationScores | None], None],
    ) -> None:
        super().__init__()
        self.validator = validator
        self.selection = selection
        self.position = position
        self.keep = keep
        self.show = show
        self.best: list[float] | None = None
        self.best_sha256 = ""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs["learning_rate"] = float(
            keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )
        with averaged_weights(self.model):
            scored = self.validator.score_data is not None
            if scored:
                self.validator.fit_score()
            figures, scores = self.validator.run()
            logs.update(figures)
            drop_absent(logs)
            self._refuse_nonsense(logs, scores)
            key = self.selection.key(logs)
            if self.selection.improved(key, self.best):
                self.best = key
                if not scored:
                    self.validator.fit_score()
                self.best_sha256 = self.keep(logs)
                self.show(scores)

    def fields(self) -> dict[str, Any]:
        return {"best": self.best, "sha256": self.best_sha256}

    def restore(self, fields: dict[str, Any]) -> None:
        self.best = fields["best"]
        self.best_sha256 = fields["sha256"]

    def _refuse_nonsense(self, logs: dict[str, Any], scores: ValidationScores | None) -> None:
        if np.isfinite(logs["val_loss"]) and (scores is None or np.isfinite(scores.scores).all()):
            return
        raise DivergedError(
            f"the validation loss or scores are not finite after step {self.position.total_steps} "
            f"(val_loss {logs['val_loss']}); the last good state is kept. Start a new run with a "
            "lower learning rate, training.optimizer.clip_norm or training.precision=float32"
        )


@contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Gives a model the moving average of its weights, if its optimiser keeps one, for a while."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if not optimizer.use_ema:
        yield
        return
    present = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, present, strict=True):
            variable.assign(value)


def _auc(scores: ValidationScores) -> float | None:
    if len(np.unique(scores.labels)) < 2:
        return None
    return float(roc_auc_score(scores.labels, scores.scores))
