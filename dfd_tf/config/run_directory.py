"""The run directory: one training, everything it learnt, and nothing typed twice.

config.yaml       the experiment, fully resolved
provenance.json   versions, commit, machine, dataset fingerprint, seed, selection rule
checkpoints/      resumable states, the newest two
best/             weights of the selected epoch (model.weights.h5) and model.json beside them
calibration.json  probability map and thresholds; drawn in calibration.png, calibration_clips.png
history.csv       one row an epoch
logs/             TensorBoard
samples/          pictures a generator made from the same noise, one grid an epoch
reports/          one folder a dataset
MODEL_CARD.md     what the run is, was trained on and achieves
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
from etils import epath
from pydantic import ConfigDict, NonNegativeInt, ValidationError

from dfd_tf.config.atomic_files import (
    file_sha256,
    is_remote,
    remove_temporary_files,
    write_atomically,
)
from dfd_tf.config.experiment import Experiment
from dfd_tf.config.loading import dump_experiment, load_experiment
from dfd_tf.config.schema import Schema
from pipelines.errors import CheckpointError, DfdError, InputError, ModelFileError

_LARGEST_JSON = 16 * 2**20


class ModelFile(Schema):
    """Content of `best/model.json`: which weights are the result, and how they were chosen."""

    # "model_" is a protected prefix of pydantic's own methods; none of them is shadowed here.
    model_config = ConfigDict(protected_namespaces=())

    schema_version: int = 1
    detector: str
    """Name of the detector in the registry."""
    num_domains: NonNegativeInt
    """Domains the detector was built for."""
    weights: str = "model.weights.h5"
    """Name of the weights file beside this one."""
    bytes: NonNegativeInt
    sha256: str
    pretrained: str
    """Where the initial weights came from."""
    caveats: tuple[str, ...] = ()
    """What nobody may overlook who reads a score."""
    phase: str
    epoch: NonNegativeInt
    """Epochs trained when the weights were taken, counted over all phases from 1."""
    selection: str
    """The value the epoch was chosen by: `val_loss` or `val_auc`; `members` in an ensemble, whose
    members were each chosen in their own runs."""
    value: float | None
    """Its value in that epoch; None in an ensemble."""


class RunDirectory:
    """Names and safe reading and writing of what lies in a run directory.

    Args:
        path: The directory, local or on an object store; it need not exist.
    """

    def __init__(self, path: str | Path | epath.Path) -> None:
        self.path = epath.Path(path)
        self.config = self.path / "config.yaml"
        self.provenance = self.path / "provenance.json"
        self.checkpoints = self.path / "checkpoints"
        self.best = self.path / "best"
        self.best_weights = self.best / "model.weights.h5"
        self.model = self.best / "model.json"
        self.calibration = self.path / "calibration.json"
        self.calibration_plot = self.path / "calibration.png"
        self.clip_calibration_plot = self.path / "calibration_clips.png"
        self.history = self.path / "history.csv"
        self.logs = self.path / "logs"
        self.samples = self.path / "samples"
        self.reports = self.path / "reports"
        self.model_card = self.path / "MODEL_CARD.md"

    def __str__(self) -> str:
        return str(self.path)

    def is_started(self) -> bool:
        """Whether something other than a lock lies in the directory."""
        if not self.path.is_dir():
            return False
        return any(entry.name != ".lock" for entry in self.path.iterdir())

    def create(self) -> None:
        """Makes the folders and proves that each can be written.

        Raises:
            InputError: One cannot.
        """
        for folder in (self.path, self.checkpoints, self.best, self.logs):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                probe = folder / ".probe"
                probe.write_bytes(b"")
                probe.unlink()
            except OSError as error:
                raise InputError(
                    f"{folder}: cannot be written ({error.strerror}); choose another --run"
                ) from None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Makes the folders and holds the lock; after an error leaves no empty folders behind.

        Raises:
            InputError: A folder cannot be written, or another process holds the lock.
        """
        was_there = self.path.exists()
        self.create()
        with self.lock():
            try:
                yield
            except DfdError:
                self._remove_if_unused(was_there=was_there)
                raise

    def _remove_if_unused(self, *, was_there: bool) -> None:
        """Removes the folders if no file was written there; the run's own unless it was there."""
        folders = (self.checkpoints, self.best, self.logs)
        lock = self.path / ".lock"
        if is_remote(self.path) or set(self.path.iterdir()) - {*folders, lock}:
            return
        if any(any(folder.iterdir()) for folder in folders):
            return
        for folder in folders:
            folder.rmdir()
        lock.unlink(missing_ok=True)
        if not was_there:
            self.path.rmdir()

    def remove_temporary_files(self) -> None:
        """Deletes what a killed run left half written; call it under the lock."""
        if not is_remote(self.path):
            for folder in (self.path, self.checkpoints, self.best, self.samples):
                remove_temporary_files(folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the directory for this process; a killed process loses its lock at once.

        Object stores have no locks: there the caller must see to it that one run writes.

        Raises:
            InputError: Another process holds it.
        """
        if is_remote(self.path):
            yield
            return
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise InputError(
                f"{self}: another process is training into this run; wait, or choose another --run"
            ) from None
        except OSError as error:
            raise InputError(
                f"{self}: cannot be locked ({error.strerror}); choose another --run"
            ) from None
        try:
            yield
        finally:
            lock.release()

    def write_json(self, path: epath.Path, value: Mapping[str, Any]) -> None:
        """Writes a file of this run as indented JSON, whole or not at all.

        Raises:
            CheckpointError: The disk is full, or the like.
        """
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        self.write(path, text.encode())

    def write(self, path: epath.Path, content: bytes) -> None:
        """Writes a file of this run, whole or not at all.

        Raises:
            CheckpointError: The disk is full, or the like.
        """
        try:
            write_atomically(path, [content])
        except OSError as error:
            raise CheckpointError(
                f"{path}: cannot be written ({error.strerror}); what was there is intact"
            ) from error

    def read_json(self, path: epath.Path) -> dict[str, Any]:
        """Reads a JSON object of this run.

        Raises:
            InputError: There is none.
            ModelFileError: It is no JSON object, or absurdly large.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file; is {self} the directory of a trained run?")
        if path.stat().length > _LARGEST_JSON:
            raise ModelFileError(f"{path}: over {_LARGEST_JSON} bytes, not written by this program")
        try:
            value = json.loads(path.read_bytes())
        except ValueError as error:
            raise ModelFileError(f"{path}: not valid JSON ({error})") from None
        if not isinstance(value, dict):
            raise ModelFileError(f"{path}: expected an object, found {type(value).__name__}")
        return value

    def write_experiment(self, experiment: Experiment) -> None:
        self.write(self.config, dump_experiment(experiment).encode())

    def read_experiment(self) -> Experiment:
        """Returns the experiment of `config.yaml`.

        Raises:
            InputError: The directory holds no run, or its configuration was edited into nonsense.
        """
        if not self.config.is_file():
            raise InputError(f"{self}: not a run directory (it has no config.yaml)")
        return load_experiment(str(self.config))

    def read_model(self) -> ModelFile:
        """Returns `best/model.json`.

        Raises:
            InputError: The run has no trained weights yet.
            ModelFileError: The file is damaged.
        """
        if not self.model.is_file():
            raise InputError(f"{self}: no trained weights yet (best/model.json is missing)")
        try:
            return ModelFile.model_validate(self.read_json(self.model))
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in problem["loc"])
            raise ModelFileError(f"{self.model}: {place}: {problem['msg']}") from None

    def verified_weights(self) -> epath.Path:
        """Returns the path of the best weights after checking them against `best/model.json`.

        Raises:
            InputError: The run has no trained weights yet.
            ModelFileError: They are not those the run wrote.
        """
        model = self.read_model()
        if model.weights != self.best_weights.name:
            raise ModelFileError(
                f"{self.model}: weights are {model.weights!r}, expected {self.best_weights.name!r}"
            )
        if not self.best_weights.is_file():
            raise ModelFileError(f"{self.best_weights}: missing")
        found = file_sha256(self.best_weights)
        if found != model.sha256:
            raise ModelFileError(
                f"{self.best_weights}: sha256 {found[:12]} differs from the {model.sha256[:12]} of "
                "best/model.json; restore both, or finish the run with --resume if it was killed"
            )
        return self.best_weights
