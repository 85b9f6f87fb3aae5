"""What TensorFlow may use: devices, threads, number format, seeds. Set once, before any tensor."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from dfd_tf.config.experiment import Training
from pipelines.errors import InputError

_TENSOR_CORES_SINCE = (7, 0)


@dataclass(frozen=True)
class Devices:
    """What a training runs on.

    Args:
        strategy: `cpu`, `gpu` or `mirrored`, never `auto`.
        precision: `float32`, `mixed_float16` or `mixed_bfloat16`, never `auto`.
        threads: Threads of TensorFlow's operations.
        distribution: How the model is laid out; the default strategy for one device.
    """

    strategy: str
    precision: str
    threads: int
    distribution: tf.distribute.Strategy

    def facts(self) -> dict[str, Any]:
        """Returns everything about the machine on which the bits of a result depend."""
        return {
            "strategy": self.strategy,
            "precision": self.precision,
            "threads": self.threads,
            "replicas": self.distribution.num_replicas_in_sync,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
            "tf32": bool(tf.config.experimental.tensor_float_32_execution_enabled()),
            "deterministic": _determinism_enabled(),
        }


def open_devices(training: Training) -> Devices:
    """Applies the device settings of an experiment to this process.

    Raises:
        InputError: The machine lacks what was asked for, or TensorFlow has started with other
            settings that can no longer be changed.
    """
    threads = _set_threads(training.threads)
    gpus = tf.config.list_physical_devices("GPU")
    strategy = training.strategy
    if strategy == "auto":
        strategy = "cpu" if not gpus else "gpu" if len(gpus) == 1 else "mirrored"
    if training.deterministic:
        tf.config.experimental.enable_op_determinism()
    distribution = _distribution(strategy, gpus)
    precision = training.precision
    if precision == "auto":
        on_gpu = strategy != "cpu" and bool(gpus)
        precision = "mixed_float16" if on_gpu and _all_have_tensor_cores(gpus) else "float32"
    return Devices(strategy, precision, threads, distribution)


@contextmanager
def number_format(precision: str) -> Iterator[None]:
    """Layers built inside compute in `precision`; the policy before is put back at the end."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def set_seeds(seed: int) -> None:
    """Seeds Python, NumPy (and scikit-learn through it), TensorFlow and Keras.

    Data order and augmentation do not depend on it: they are keyed by (seed, epoch, example).
    """
    keras.utils.set_random_seed(seed)


def _distribution(strategy: str, gpus: list[Any]) -> tf.distribute.Strategy:
    if strategy == "cpu":
        if gpus:
            _hide_gpus()
        return tf.distribute.get_strategy()
    if strategy == "gpu":
        if not gpus:
            raise InputError("training.strategy: gpu asked for, TensorFlow finds none; use cpu")
        if len(gpus) > 1:
            _before_start(lambda: tf.config.set_visible_devices(gpus[:1], "GPU"), "strategy: gpu")
        return tf.distribute.get_strategy()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise InputError(
            f"training.strategy: mirrored needs two devices, TensorFlow finds {len(devices)}; "
            "use auto"
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def _hide_gpus() -> None:
    _before_start(lambda: tf.config.set_visible_devices([], "GPU"), "strategy: cpu")


def _set_threads(threads: int | None) -> int:
    if threads is None:
        present = tf.config.threading.get_intra_op_parallelism_threads()
        return present or len(os.sched_getaffinity(0))
    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        _before_start(
            lambda: tf.config.threading.set_intra_op_parallelism_threads(threads), "threads"
        )
        _before_start(
            lambda: tf.config.threading.set_inter_op_parallelism_threads(threads), "threads"
        )
    return threads


def _before_start(setting: Any, key: str) -> None:
    try:
        setting()
    except RuntimeError:
        raise InputError(
            f"training.{key}: cannot be set any more, TensorFlow has started in this process; "
            "train in a fresh one"
        ) from None


def _all_have_tensor_cores(gpus: list[Any]) -> bool:
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    return all(d.get("compute_capability", (0, 0)) >= _TENSOR_CORES_SINCE for d in details)


def _determinism_enabled() -> bool:
    # TensorFlow offers no public way to ask.
    from tensorflow.python.framework import config

    return bool(config.is_op_determinism_enabled())
