"""Writing the selected weights into `best/`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dfd_tf.config.atomic_files import file_sha256, write_atomically
from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.detectors.base import Detector
from dfd_tf.training.selection import Selection
from pipelines.errors import CheckpointError


def save_best(
    run: RunDirectory,
    detector: Detector,
    *,
    detector_name: str,
    num_domains: int,
    phase: str,
    epoch: int,
    selection: Selection,
    logs: dict[str, Any],
) -> str:
    """Writes the weights, then `model.json`, which makes them valid.

    Returns:
        sha256 of the weights file.

    Raises:
        CheckpointError: The disk is full, or the like; each file is the old one or the new one.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="dfd-tf-") as folder:
            local = Path(folder) / run.best_weights.name
            detector.reset_metrics()  # Their counts are stored as well.
            with _without_optimizer(detector):
                detector.save_weights(local)
            with local.open("rb") as file:
                sha256 = write_atomically(run.best_weights, iter(lambda: file.read(2**20), b""))
            num_bytes = local.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{run.best_weights}: cannot be written ({error})") from error
    model = ModelFile(
        detector=detector_name,
        num_domains=num_domains,
        bytes=num_bytes,
        sha256=sha256,
        pretrained=detector.pretrained,
        caveats=detector.caveats,
        phase=phase,
        epoch=epoch,
        selection=selection.metric,
        value=logs[selection.metric],
    )
    run.write_json(run.model, model.model_dump(mode="json"))
    return sha256


def load_best(run: RunDirectory, detector: Detector, sha256: str) -> None:
    """Gives the detector the best weights so far.

    Raises:
        CheckpointError: They are not the ones the training state was written beside.
    """
    if not run.best_weights.is_file() or file_sha256(run.best_weights) != sha256:
        raise CheckpointError(
            f"{run.best_weights}: not the weights this training had selected; start a new run"
        )
    with _without_optimizer(detector):
        detector.load_weights(str(run.best_weights))


@contextmanager
def _without_optimizer(detector: Detector) -> Iterator[None]:
    """Keras would store the optimiser in the weights file: thrice the size, of no use there."""
    optimizer = detector.optimizer
    detector.optimizer = None
    try:
        yield
    finally:
        detector.optimizer = optimizer
