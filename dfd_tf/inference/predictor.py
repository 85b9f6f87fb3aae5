"""A trained run, loaded once and ready to score.

Every score of the program goes through `Predictor.score`: one traced function over batches of one
fixed size, the last one padded, so that a score depends neither on its neighbours nor on the door
it was asked for at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from dfd_tf.config.experiment import Experiment
from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.detectors.base import Detector
from dfd_tf.detectors.registry import build_detector
from dfd_tf.inference.calibration import CalibrationFile, parse_calibration
from pipelines.errors import ModelFileError
from pipelines.records.reader import decode_to_size
from pipelines.settings import PrepareSettings, prepare_settings

BATCH_SIZE = 32
"""Images in one network call: large enough to keep two cores busy, small enough to wait for."""


@dataclass
class Predictor:
    """A detector with its weights, its calibration and the crop it expects.

    Args:
        run: Where it was loaded from.
        experiment: Its resolved configuration.
        model: What its weights are and how they were chosen.
        detector: The network, weights loaded.
        settings: How faces were found and cropped in its training records.
        records: Folder of those records.
        calibration: None before `calibrate`.
    """

    run: RunDirectory
    experiment: Experiment
    model: ModelFile
    detector: Detector
    settings: PrepareSettings
    records: Path
    calibration: CalibrationFile | None
    batch_size: int = BATCH_SIZE
    _score_pixels: Any = field(init=False, repr=False)
    _score_encoded: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        side = self.detector.image_size

        def score_encoded(encoded: tf.Tensor) -> tf.Tensor:
            pixels = tf.map_fn(
                lambda data: decode_to_size(data, side),
                encoded,
                fn_output_signature=tf.TensorSpec((side, side, 3), tf.float32),
            )
            return self.detector.score(pixels)

        pixels = tf.TensorSpec((self.batch_size, side, side, 3), tf.float32)
        strings = tf.TensorSpec((self.batch_size,), tf.string)
        self._score_pixels = tf.function(self.detector.score, input_signature=[pixels])
        self._score_encoded = tf.function(score_encoded, input_signature=[strings])

    @property
    def image_size(self) -> int:
        return self.detector.image_size

    def score(self, images: np.ndarray) -> np.ndarray:
        """Scores images.

        Args:
            images: (n, image_size, image_size, 3) float32 in [0, 1]; n may be 0.

        Returns:
            (n,) float64, higher = more likely fake.

        Raises:
            ValueError: A score is not finite.
        """
        return self._in_batches(self._score_pixels, images)

    def score_encoded(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Scores face crops encoded as records hold them, decoded as in training: (n,) float64."""
        return self._in_batches(self._score_encoded, np.array(encoded, dtype=object))

    def with_faces(self, detector: str | None, model: str | None) -> Self:
        """Returns the same predictor with another face detector; None keeps that of training."""
        if detector is None:
            return self
        faces = replace(self.settings.faces, detector=detector, model=model)
        return replace(self, settings=replace(self.settings, faces=faces))

    def _in_batches(self, function: Any, inputs: np.ndarray) -> np.ndarray:
        scores = np.empty(len(inputs))
        for start in range(0, len(inputs), self.batch_size):
            batch = inputs[start : start + self.batch_size]
            # Padding repeats the first input: an encoded picture must be one that decodes.
            missing = self.batch_size - len(batch)
            padded = np.concatenate([batch, np.repeat(batch[:1], missing, axis=0)])
            scores[start : start + len(batch)] = function(padded).numpy()[: len(batch)]
        if not np.isfinite(scores).all():
            raise ValueError(f"{self.run}: the network gave a score that is not finite")
        return scores


def load_predictor(run: str) -> Predictor:
    """Loads a run.

    Raises:
        InputError: There is no trained run at this path.
        ModelFileError: Its files are not those the run wrote.
    """
    directory = RunDirectory(run)
    experiment = directory.read_experiment()
    weights = directory.verified_weights()
    model = directory.read_model()
    detector = build_detector(experiment.detector, model.num_domains, initial_weights=False)
    try:
        detector.load_weights(str(weights))
    except (ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFileError(
            f"{weights}: does not fit the run's configuration ({reason})"
        ) from None
    detector.pretrained = model.pretrained
    settings, folder = _training_records(directory)
    return Predictor(
        run=directory,
        experiment=experiment,
        model=model,
        detector=detector,
        settings=settings,
        records=folder,
        calibration=_calibration(directory, model),
    )


def _calibration(directory: RunDirectory, model: ModelFile) -> CalibrationFile | None:
    path = directory.calibration
    if not path.is_file():
        return None
    calibration = parse_calibration(path.read_text(), str(path))
    if calibration.weights_sha256 != model.sha256:
        raise ModelFileError(
            f"{path}: belongs to other weights ({calibration.weights_sha256[:12]}, the run has"
            f" {model.sha256[:12]}); run `dfd-tf calibrate`"
        )
    return calibration


def _training_records(directory: RunDirectory) -> tuple[PrepareSettings, Path]:
    records = directory.read_json(directory.provenance).get("records", {})
    try:
        return prepare_settings(records["settings"]), Path(records["folder"])
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{directory.provenance}: records: {error} is missing") from None
