"""A trained run, loaded once and ready to score.

Every score of the program goes through `Predictor.score`: one traced function over batches of one
fixed size, the last one padded, so that a score depends neither on its neighbours nor on the door
it was asked for at.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import tensorflow as tf

from dfd_tf.config.experiment import Experiment
from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.detectors.base import Detector, to_unit
from dfd_tf.detectors.registry import build_detector
from dfd_tf.inference.calibration import CalibrationFile, parse_calibration
from dfd_tf.inference.evidence import score_encoded
from pipelines.errors import ModelFileError
from pipelines.records.reader import decode_to_size
from pipelines.settings import PrepareSettings, prepare_settings

BATCH_SIZE = 32
"""Images in one network call: large enough to keep two cores busy, small enough to wait for."""
_PARALLEL_DECODERS = 8


@dataclass(frozen=True)
class SeenRecords:
    """A record folder that a run has learnt from, and the fingerprint it had then."""

    folder: Path
    fingerprint: str


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
        records_fingerprint: Their fingerprint.
        calibration: None before `calibrate`.
        seen: Records it has learnt from: its own, and those of an ensemble's members.
        batch_size: Images in one network call.
    """

    run: RunDirectory
    experiment: Experiment
    model: ModelFile
    detector: Detector
    settings: PrepareSettings
    records: Path
    records_fingerprint: str
    calibration: CalibrationFile | None
    seen: tuple[SeenRecords, ...]
    batch_size: int = BATCH_SIZE
    _network: Any = field(init=False, repr=False)
    _explain: Any = field(init=False, repr=False)
    _embed: Any = field(init=False, repr=False)
    _reconstruct: Any = field(init=False, repr=False)
    _decode: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        side = self.detector.image_size
        images = tf.TensorSpec((self.batch_size, side, side, 3), tf.uint8)

        def traced(method: Callable[[Any], Any]) -> Any:
            # On its first call.
            return tf.function(lambda pixels: method(to_unit(pixels)), input_signature=[images])

        self._network = traced(self.detector.score)
        self._explain = traced(self.detector.explain)
        self._embed = traced(self.detector.embed)
        self._reconstruct = traced(self.detector.reconstruct)

        # A graph of its own: fused into the network's, the same pixels could give other bits.
        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def decode(encoded: tf.Tensor) -> tf.Tensor:
            return tf.map_fn(
                lambda data: decode_to_size(data, side),
                encoded,
                parallel_iterations=_PARALLEL_DECODERS,
                fn_output_signature=tf.TensorSpec((side, side, 3), tf.uint8),
            )

        self._decode = decode

    @property
    def image_size(self) -> int:
        return self.detector.image_size

    def score(self, images: np.ndarray) -> np.ndarray:
        """Scores images.

        Args:
            images: (n, image_size, image_size, 3) uint8 RGB; n may be 0.

        Returns:
            (n,) float64, higher = more likely fake.

        Raises:
            ModelFileError: A score is not finite.
        """
        return self._batched(self._network, images, "a score").astype(np.float64)

    def explain(self, images: np.ndarray) -> np.ndarray:
        """Maps where the scores come from.

        Args:
            images: (n, image_size, image_size, 3) uint8 RGB; n may be 0.

        Returns:
            (n, image_size, image_size) float32 in [0, 1], each map divided by its own maximum; all
            zeros where nothing in an image speaks for a fake.

        Raises:
            ModelFileError: A map is not finite.
        """
        return self._batched(self._explain, images, "a map")

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Describes images (n, image_size, image_size, 3) uint8 by their latents: (n, d) float32.

        Raises:
            ModelFileError: A latent is not finite.
        """
        return self._batched(self._embed, images, "a latent")

    def reconstruct(self, images: np.ndarray) -> np.ndarray | None:
        """Reconstructs images: the same shape, float32 in [0, 1]; None where there is no decoder.

        Raises:
            ModelFileError: A reconstruction is not finite.
        """
        if self._reconstruct.get_concrete_function().structured_outputs is None:
            return None
        found = self._batched(self._reconstruct, images, "a reconstruction")
        return np.clip(found, 0.0, 1.0)

    def _batched(self, network: Any, images: np.ndarray, what: str) -> np.ndarray:
        """Results of a traced function, float32, from batches of one size, the last one padded."""
        parts = []
        # Of no images: one batch of padding, for the shape of the results.
        for start in range(0, max(1, len(images)), self.batch_size):
            batch = images[start : start + self.batch_size]
            padding = ((0, self.batch_size - len(batch)), (0, 0), (0, 0), (0, 0))
            found = network(np.pad(batch, padding) if padding[0][1] else batch)
            parts.append(found.numpy()[: len(batch)])
        results = np.concatenate(parts)
        if not np.isfinite(results).all():
            raise ModelFileError(
                f"{self.run}: the network gave {what} that is not finite; its weights are of no"
                " use, train again"
            )
        return results

    def decode(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Decodes face crops as evaluation does: (n, image_size, image_size, 3) uint8."""
        return self._decode(tf.constant(encoded, tf.string, (len(encoded),))).numpy()

    def score_encoded(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Scores face crops encoded as records hold them: (n,) float64."""
        return score_encoded(self, encoded, self.batch_size)

    def with_faces(self, detector: str | None, model: str | None) -> Self:
        """Returns the same predictor with another face detector; None keeps that of training."""
        if detector is None and model is None:
            return self
        trained = self.settings.faces
        faces = replace(trained, detector=detector or trained.detector, model=model)
        return replace(self, settings=replace(self.settings, faces=faces))


def load_predictor(run: str, *, calibrated: bool = True) -> Predictor:
    """Loads a run.

    Args:
        run: The run directory.
        calibrated: Read its calibration, if it has one; not when it is to be replaced.

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
    settings, seen = _training_records(directory)
    own = seen[0]
    return Predictor(
        run=directory,
        experiment=experiment,
        model=model,
        detector=detector,
        settings=settings,
        records=own.folder,
        records_fingerprint=own.fingerprint,
        calibration=read_calibration(directory, model) if calibrated else None,
        seen=seen,
    )


def read_calibration(directory: RunDirectory, model: ModelFile) -> CalibrationFile | None:
    """Reads the calibration of a run; None where there is none.

    Raises:
        ModelFileError: It is damaged, or belongs to other weights.
    """
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


def _training_records(directory: RunDirectory) -> tuple[PrepareSettings, tuple[SeenRecords, ...]]:
    facts = directory.read_json(directory.provenance)
    try:
        settings = prepare_settings(facts["records"]["settings"])
        all_records = [facts["records"], *(one["records"] for one in facts.get("members", ()))]
        seen = {one["fingerprint"]: one["folder"] for one in reversed(all_records)}
        own = str(facts["records"]["fingerprint"])
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{directory.provenance}: records: {error} is missing") from None
    others = sorted(seen.keys() - {own})
    return settings, tuple(SeenRecords(Path(seen[key]), str(key)) for key in (own, *others))
