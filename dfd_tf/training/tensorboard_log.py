# ruff: noqa: ARG002 - the signatures are Keras's
"""TensorBoard: curves, learning rate, PR curve, pictures, hyper-parameters, embeddings."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorboard.plugins import projector
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.pr_curve import metadata as pr_curve_metadata

from dfd_tf.config.experiment import Experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.base import Detector
from dfd_tf.training.position import Position
from dfd_tf.training.validation import ValidationScores
from pipelines.media_item import LABEL_NAMES

_CURVE_POINTS = 127


class TensorBoardLog(keras.callbacks.Callback):
    """Writes `logs/train` and `logs/validation`, each curve under one name in both.

    Args:
        run: Where to.
        position: Kept up by `Clock`.
        experiment: For the hyper-parameters.
        dataset: Name of the dataset, for titles.
        images: (n, image_size, image_size, 3) float32 in [0, 1], validation images to show.
        labels: (n,) their labels.
    """

    def __init__(
        self,
        run: RunDirectory,
        position: Position,
        experiment: Experiment,
        dataset: str,
        images: np.ndarray,
        labels: np.ndarray,
    ) -> None:
        super().__init__()
        self.run = run
        self.position = position
        self.images = images
        names = ", ".join(LABEL_NAMES[int(label)] for label in labels)
        self.picture_key = f"{dataset}/val, from left to right: {names}"
        self._train = tf.summary.create_file_writer(str(run.logs / "train"))
        self._validation = tf.summary.create_file_writer(str(run.logs / "validation"))
        with self._validation.as_default():
            hparams.hparams(dict(_flat(experiment.model_dump(mode="json"))), trial_id=str(run))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        for name, value in logs.items():
            if value is None:
                continue
            writer = self._validation if name.startswith("val_") else self._train
            with writer.as_default(self.position.total_epochs):
                tf.summary.scalar(name.removeprefix("val_"), value)
        self._show_samples()
        self._train.flush()
        self._validation.flush()

    def show_best(self, detector: Detector, scores: ValidationScores | None) -> None:
        """Draws the PR curve and the pictures of an epoch that is the best so far."""
        rows = [self.images]
        reconstructions = detector.reconstruct(self.images)
        if reconstructions is not None:
            rows.append(_numpy(reconstructions))
        maps = _numpy(detector.explain(self.images))
        rows.append(np.repeat(maps[..., None], 3, axis=-1))
        with self._validation.as_default(self.position.total_epochs):
            tf.summary.image("pictures", _tiled(rows)[None], description=self.picture_key)
            if scores is not None and len(np.unique(scores.labels)) == 2:
                _write_precision_recall(scores)

    def _show_samples(self) -> None:
        pictures = self.model.generate()
        if pictures is None:
            return
        pictures = _numpy(pictures)
        side = math.isqrt(len(pictures))
        grid = _tiled([pictures[row * side : (row + 1) * side] for row in range(side)])
        with self._train.as_default(self.position.total_epochs):
            tf.summary.image("samples", grid[None])
        png = tf.io.encode_png((grid * 255.0).round().astype("uint8")).numpy()
        self.run.samples.mkdir(parents=True, exist_ok=True)
        self.run.write(self.run.samples / f"epoch-{self.position.total_epochs:04d}.png", png)

    def write_embeddings(self, detector: Detector, images: np.ndarray, labels: np.ndarray) -> None:
        """Writes the latent vectors of validation images for the projector tab."""
        vectors = np.concatenate(
            [_numpy(detector.embed(part)) for part in np.array_split(images, -(-len(images) // 32))]
        )
        folder = self.run.logs / "embeddings"
        folder.mkdir(parents=True, exist_ok=True)
        lines = ("\t".join(f"{value:.6g}" for value in vector) for vector in vectors)
        (folder / "vectors.tsv").write_text("\n".join(lines) + "\n")
        (folder / "labels.tsv").write_text("\n".join(LABEL_NAMES[int(i)] for i in labels) + "\n")
        config = projector.ProjectorConfig()
        config.embeddings.add(
            tensor_name="validation", tensor_path="vectors.tsv", metadata_path="labels.tsv"
        )
        projector.visualize_embeddings(str(folder), config)

    def close(self) -> None:
        self._train.close()
        self._validation.close()


def _tiled(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Lays rows of pictures, each (n, h, w, 3), out as one picture."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0).clip(0, 1)


def _write_precision_recall(scores: ValidationScores) -> None:
    """Writes a curve for TensorBoard's own tab, at evenly spaced quantiles of the scores."""
    thresholds = np.quantile(scores.scores, np.linspace(0, 1, _CURVE_POINTS))
    called = scores.scores[None, :] >= thresholds[:, None]
    fake = scores.labels == 1
    true_positives = (called & fake).sum(axis=1)
    false_positives = (called & ~fake).sum(axis=1)
    rows = (
        true_positives,
        false_positives,
        (~fake).sum() - false_positives,
        fake.sum() - true_positives,
        true_positives / (true_positives + false_positives),
        true_positives / fake.sum(),
    )
    metadata = pr_curve_metadata.create_summary_metadata(
        display_name="precision and recall", description="", num_thresholds=_CURVE_POINTS
    )
    tf.summary.write("pr_curve", np.stack(rows).astype("float32"), metadata=metadata)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            plain = value if isinstance(value, bool | int | float | str) else str(value)
            yield f"{prefix}{key}", plain


def _numpy(tensor: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)
