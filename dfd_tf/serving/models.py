"""The loaded runs: by unique name, replaced when they change on disk and the new one works."""

import logging
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from etils import epath

from dfd_tf.config.atomic_files import is_remote
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.inference.calibration import Threshold
from dfd_tf.inference.prediction import operating_point
from dfd_tf.inference.predictor import Predictor, load_predictor
from dfd_tf.serving.errors import ApiError
from dfd_tf.serving.metrics import Metrics
from dfd_tf.serving.settings import ServeSettings
from pipelines.errors import DfdError, InputError, ModelFileError
from pipelines.faces.registry import open_detector

log = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
_SELF_TEST_SEED = 0
_STOP_SECONDS = 1.5

Stamp = tuple[tuple[int, int] | None, ...]
"""Size and time of change of each file a run is served from; None where it is missing."""


@dataclass(frozen=True)
class ServedModel:
    """A loaded run under the name it is asked for by."""

    name: str
    predictor: Predictor

    @property
    def sha(self) -> str:
        return self.predictor.model.sha256[:16]

    @property
    def caveats(self) -> list[str]:
        calibration = self.predictor.calibration
        return [*self.predictor.model.caveats, *(calibration.caveats if calibration else ())]

    def has_operating_point(self, name: str) -> bool:
        calibration = self.predictor.calibration
        return calibration is not None and any(t.name == name for t in calibration.thresholds)

    def operating_point(self, name: str) -> Threshold | None:
        """Returns an operating point; None where it, or the calibration, was not set.

        Raises:
            ApiError: 422, there is none of this name.
        """
        calibration = self.predictor.calibration
        if calibration is None or name in calibration.missing:
            return None
        try:
            return calibration.threshold(name)
        except KeyError as error:
            raise ApiError(422, f"operating_point: {self.name}: {error.args[0]}") from None


class Models:
    """The runs of one server.

    Args:
        runs: Their directories.
        settings: The server's.
        metrics: The server's.
    """

    def __init__(self, runs: Sequence[str], settings: ServeSettings, metrics: Metrics) -> None:
        self._runs = unique_names(runs)
        self._settings = settings
        self._metrics = metrics
        self._loaded: dict[str, ServedModel] = {}
        self._stamps: dict[str, Stamp] = {}
        self._stopped = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="models", daemon=True)

    @property
    def is_ready(self) -> bool:
        return len(self._loaded) == len(self._runs)

    @property
    def names(self) -> list[str]:
        return list(self._runs)

    def all(self) -> list[ServedModel]:
        """Returns the models that are loaded, in the order the runs were given."""
        return [self._loaded[name] for name in self._runs if name in self._loaded]

    def choose(self, names: Sequence[str]) -> list[ServedModel]:
        """Returns the models of these names, all where there are none.

        Raises:
            ApiError: 422 for a name that is not served, 503 for one not loaded yet.
        """
        for name in names:
            if name not in self._runs:
                raise ApiError(422, f"model: no such model; there are {', '.join(self._runs)}")
        wanted = list(dict.fromkeys(names or self._runs))
        if not self._loaded.keys() >= set(wanted):
            raise ApiError(503, "the models are being loaded", {"Retry-After": "5"})
        return [self._loaded[name] for name in wanted]

    def load(self) -> None:
        """Loads all runs.

        Raises:
            DfdError: One of them cannot be served.
        """
        for name, run in self._runs.items():
            if self._stopped.is_set():
                return
            stamp = _stamp(run)
            self._switch(self._tested(name, run))
            self._stamps[name] = stamp

    def watch(self, *, load: bool = False) -> None:
        """Starts the thread that replaces models; with `load`, what is missing is loaded first."""
        if not load:
            for name, run in self._runs.items():
                self._stamps.setdefault(name, _stamp(run))
        self._watcher.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._watcher.is_alive():
            # It may be within TensorFlow, which cannot be told to stop.
            self._watcher.join(_STOP_SECONDS)

    @property
    def is_left_running(self) -> bool:
        """Whether `stop` did not wait for the thread's end."""
        return self._watcher.is_alive()

    def _watch(self) -> None:
        changing: dict[str, Stamp] = {}
        while True:
            for name, run in self._runs.items():
                if self._stopped.is_set():
                    return
                stamp = _stamp(run)
                if stamp == self._stamps.get(name):
                    continue
                # Files of a run are written one after another: only when they rest is it whole.
                if name in self._loaded and changing.get(name) != stamp:
                    changing[name] = stamp
                    continue
                self._stamps[name] = stamp
                self._reload(name, run)
            if self._stopped.wait(WATCH_SECONDS):
                return

    def _reload(self, name: str, run: str) -> None:
        is_change = name in self._loaded
        try:
            self._switch(self._tested(name, run))
        except Exception as error:
            kept = "; the one before is kept" if is_change else ""
            reason = error if isinstance(error, DfdError) else type(error).__name__
            log.error("model %s cannot be served%s: %s", name, kept, reason)
            self._metrics.reloads.labels("refused").inc()
            return
        if is_change:
            self._metrics.reloads.labels("switched").inc()
        log.info("model %s: %s", name, self._loaded[name].sha)

    def _tested(self, name: str, run: str) -> ServedModel:
        """Loads a run and has it score a batch.

        Raises:
            DfdError: It cannot be served.
        """
        if not RunDirectory(run).model.is_file() and RunDirectory(run).config.is_file():
            raise ModelFileError(f"{run}: has no trained model (best/model.json is missing)")
        loaded = load_predictor(run)
        open_detector(loaded.settings.faces)
        operating_point(loaded, self._settings.operating_point)
        predictor = replace(loaded, batch_size=self._settings.batch_size)
        side = predictor.image_size
        images = np.random.default_rng(_SELF_TEST_SEED).integers(
            0, 256, (predictor.batch_size, side, side, 3), np.uint8
        )
        predictor.score(images)
        # Traced here, or the first to ask for an explanation would wait for it.
        predictor.explain(images)
        return ServedModel(name, predictor)

    def _switch(self, model: ServedModel) -> None:
        before = self._loaded.get(model.name)
        if before is not None:
            self._metrics.model_info.remove(
                before.name, before.predictor.model.detector, before.sha
            )
            if before.predictor.calibration is not None and model.predictor.calibration is None:
                log.warning("model %s: now uncalibrated, it gives no verdicts", model.name)
        labels = model.name, model.predictor.model.detector, model.sha
        self._metrics.model_info.labels(*labels).set(1)
        self._loaded = {**self._loaded, model.name: model}


def unique_names(runs: Sequence[str]) -> dict[str, str]:
    """Names runs after their folders; a second one of the same name becomes `NAME-2`.

    Raises:
        InputError: A run is given twice.
    """
    named: dict[str, str] = {}
    for run in runs:
        if run in named.values():
            raise InputError(f"{run}: given twice")
        folder = PurePath(str(RunDirectory(run).path)).name or "run"
        name, number = folder, 1
        while name in named:
            number += 1
            name = f"{folder}-{number}"
        named[name] = run
    return named


def _stamp(run: str) -> Stamp:
    directory = RunDirectory(run)
    files = (directory.model, directory.best_weights, directory.calibration)
    return tuple(_facts(file) for file in files)


def _facts(file: epath.Path) -> tuple[int, int] | None:
    try:
        if is_remote(file):
            facts = file.stat()
            return facts.length, int(facts.mtime)
        local = os.stat(os.fspath(file))  # noqa: PTH116 - epath gives no nanoseconds
        return local.st_size, local.st_mtime_ns
    except OSError:
        return None
