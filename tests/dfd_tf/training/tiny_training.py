"""A training of a second: a tiny detector with everything that makes resuming hard.

Run as a script it trains into argv[1]; argv[2] is a JSON object with `settings`, `resume`, `act`
(`kill`, `term` or `int`) and `at` (the step, counted in this process, after which to act); with
`replicas` it has that many CPUs.
"""

import json
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console

from dfd_tf.config.loading import parse_experiment
from dfd_tf.detectors.base import Detector
from dfd_tf.training import run as run_module
from dfd_tf.training.data import TrainingData
from dfd_tf.training.step_callbacks import Clock

SIDE = 8
BATCH = 4
NUM_TRAIN = 22
STEPS = 6  # ceil(22 / 4)
NUM_VAL = 18

# With this seed phase `head` stops early after epoch 2, and in phase `all` the rate falls.
SETTINGS = {
    "detector": {
        "name": "spatial",
        "image_size": SIDE,
        "phases": [
            {
                "name": "head",
                "epochs": 4,
                "learning_rate": 0.05,
                "freeze_backbone": True,
                "early_stop_patience": 1,
            },
            {"name": "all", "epochs": 3, "learning_rate": 0.05},
        ],
    },
    "seed": 0,
    "data": {"batch_size": BATCH},
    "training": {
        "optimizer": {"name": "adam", "ema": 0.9},
        "schedule": {"name": "plateau", "patience": 1, "warmup_steps": 3},
        "checkpoint_steps": 4,
    },
}
TOTAL_STEPS = 30


class TinyDetector(Detector):
    one_class = False

    def __init__(self):
        super().__init__()
        self.image_size = SIDE
        self.pretrained = "random (tiny)"
        self.convolution = keras.layers.Conv2D(4, 3, strides=2)
        self.normalization = keras.layers.BatchNormalization(momentum=0.5)
        self.dropout = keras.layers.Dropout(float(os.environ.get("TINY_DROPOUT", "0.3")))
        self.flatten = keras.layers.Flatten()
        self.head = keras.layers.Dense(1, dtype="float32")
        self.cross_entropy = keras.losses.BinaryCrossentropy(from_logits=True, dtype="float32")
        self(np.zeros((1, SIDE, SIDE, 3), "float32"))

    def call(self, images, training=None):
        x = self.normalization(self.convolution(images), training=training)
        x = self.dropout(keras.ops.relu(x), training=training)
        return self.head(self.flatten(x))[:, 0]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.cross_entropy(y["label"][:, None], y_pred[:, None])

    def score(self, images):
        return self(images, training=False)

    def explain(self, images):
        return keras.ops.mean(images, axis=-1)

    def embed(self, images):
        return keras.ops.mean(images, axis=(1, 2))

    def begin_phase(self, phase):
        self.convolution.trainable = not phase.freeze_backbone
        self.normalization.trainable = not phase.freeze_backbone


def _pictures(count, seed):
    generator = np.random.default_rng(seed)
    labels = (np.arange(count) % 2).astype("int32")
    images = generator.uniform(0, 1, (count, SIDE, SIDE, 3)).astype("float32")
    return images, labels


def _dataset(images, labels):
    targets = {"label": labels, "domain": tf.zeros_like(labels)}
    return tf.data.Dataset.from_tensor_slices((images, targets))


def _training_batches(first_epoch, skip_steps):
    images, labels = _pictures(NUM_TRAIN, 0)
    spoilt = os.environ.get("TINY_NAN_EPOCH")

    def epoch_batches(epoch):
        order = tf.argsort(tf.random.stateless_uniform([NUM_TRAIN], tf.stack([7, epoch])))
        data = _dataset(tf.gather(images, order), tf.gather(labels, order))

        def augment(index, element):
            picture, target = element
            noise = tf.random.stateless_normal(picture.shape, tf.stack([epoch, index]), stddev=0.05)
            if spoilt is not None:
                bad = tf.logical_and(epoch == int(spoilt), index == 9)
                picture = tf.where(bad, np.nan, picture)
            return picture + noise, target

        return data.enumerate().map(augment).batch(BATCH)

    epochs = tf.data.Dataset.counter(tf.constant(first_epoch, tf.int64))
    return SimpleNamespace(dataset=epochs.flat_map(epoch_batches).skip(skip_steps))


def tiny_data(**changes):
    validation = _dataset(*_pictures(NUM_VAL, 1)).batch(5)
    facts = {
        "name": "tiny",
        "fingerprint": "f" * 64,
        "facts": {"name": "tiny"},
        "one_class": False,
        "num_domains": 1,
        "num_train": NUM_TRAIN,
        "num_val_real": NUM_VAL // 2,
        "num_val_fake": NUM_VAL // 2,
        "steps_per_epoch": STEPS,
        "batches": _training_batches,
        "loss_data": validation,
        "labelled_data": validation,
    }
    return TrainingData(**{**facts, **changes})


def experiment(**changes):
    """Returns SETTINGS with `section__key=value` changes."""
    values = json.loads(json.dumps(SETTINGS))
    for path, value in changes.items():
        *parents, last = path.split("__")
        target = values
        for key in parents:
            target = target.setdefault(key, {})
        target[last] = value
    return parse_experiment(values, "test")


def tiny_train(
    run, *, resume=False, force=False, data=None, settings=None, console=None, detector=None
):
    def calibrate(path, records, progress):
        Path(path, "calibration.json").write_text("{}")

    keras.utils.clear_session()  # Names of layers, which weights files hold, begin anew.
    with ExitStack() as stack:
        for name, value in {
            "open_training_data": lambda *_, **__: data or tiny_data(),
            "build_detector": lambda *_, **__: (detector or TinyDetector)(),
            "calibrate_run": calibrate,
        }.items():
            stack.enter_context(mock.patch.object(run_module, name, value))
        run_module.train(
            settings or experiment(),
            Path("records"),
            run,
            resume=resume,
            force=force,
            console=console or Console(stderr=True),
        )


def at_step(number, act):
    """Patches the clock so that `act` runs when the given step of this process begins to end."""
    original = Clock.on_train_batch_end
    steps = []

    def on_train_batch_end(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == number:
            act()
        original(self, batch, logs)

    return mock.patch.object(Clock, "on_train_batch_end", on_train_batch_end)


def main():
    run, request = sys.argv[1], json.loads(sys.argv[2])
    if "replicas" in request:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * request["replicas"],
        )
    number = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "int": signal.SIGINT}
    with ExitStack() as stack:
        if "act" in request:
            chosen = number[request["act"]]
            stack.enter_context(at_step(request["at"], lambda: os.kill(os.getpid(), chosen)))
        tiny_train(
            run, resume=request.get("resume", False), settings=experiment(**request["settings"])
        )


if __name__ == "__main__":
    from pipelines.errors import DfdError

    try:
        main()
    except DfdError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
