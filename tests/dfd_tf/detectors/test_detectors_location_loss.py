import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from dfd_tf.detectors.location_loss import location_losses, mean_location_loss
from dfd_tf.detectors.spatial import SpatialDetector


def by_hand(logits, targets):
    probability = 1 / (1 + np.exp(-logits))
    return -np.mean(targets * np.log(probability) + (1 - targets) * np.log(1 - probability))


def test_equals_the_cross_entropy_of_cell_averages_by_hand():
    """Four cells to two locations: each is the mean of its own two by two cells, times three."""
    rng = np.random.default_rng(0)
    changed = rng.uniform(0, 0.5, (2, 4, 4)).astype(np.float32)
    logits = rng.normal(size=(2, 2, 2)).astype(np.float32)
    losses, known = location_losses(logits, changed)
    shares = changed.reshape(2, 2, 2, 2, 2).mean(axis=(2, 4))
    expected = [by_hand(logits[i], np.minimum(3 * shares[i], 1)) for i in range(2)]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_array_equal(known, [1, 1])


def test_cells_cut_by_a_border_count_for_both_sides():
    """Three cells to two locations: the middle one is half the one's and half the other's."""
    changed = np.zeros((1, 3, 3), np.float32)
    changed[0, :, 1] = 0.6
    logits = np.zeros((1, 2, 2), np.float32)
    # Share of each location: 0.6 of a third of its area; 3 x 0.2 = 0.6.
    expected = by_hand(logits, np.full((1, 2, 2), 0.6))
    np.testing.assert_allclose(mean_location_loss(logits + 0.0, changed), expected, rtol=1e-5)
    sided = np.stack([np.full((2,), 3.0), np.full((2,), -3.0)], axis=1)[None].astype(np.float32)
    np.testing.assert_allclose(
        mean_location_loss(sided, changed), by_hand(sided, np.full((1, 2, 2), 0.6)), rtol=1e-5
    )


def test_what_is_unknown_has_no_say():
    changed = np.stack([np.zeros((4, 4)), np.full((4, 4), -1.0)]).astype(np.float32)
    logits = np.stack([np.zeros((2, 2)), np.full((2, 2), 9.0)]).astype(np.float32)
    losses, known = location_losses(logits, changed)
    np.testing.assert_allclose(losses, [np.log(2), 0], rtol=1e-6)
    np.testing.assert_array_equal(known, [1, 0])
    np.testing.assert_allclose(mean_location_loss(logits, changed), np.log(2), rtol=1e-6)
    assert float(mean_location_loss(logits[1:], changed[1:])) == 0


def test_spatial_learns_where_besides_whether():
    """The square is the change, in the corner the map of locations has to find."""
    keras.utils.set_random_seed(0)
    detector = SpatialDetector(
        image_size=32, backbone="resnet32", weights="none", pooling="top_k", dropout=0.0
    )
    images = np.random.default_rng(0).uniform(0.4, 0.6, (8, 32, 32, 3)).astype(np.float32)
    images[4:, :16, :16] += 0.3
    changed = np.zeros((8, 32, 32), np.float32)
    changed[4:, :16, :16] = 1
    targets = {
        "label": np.repeat([0, 1], 4),
        "domain": np.zeros(8, int),
        "family": np.repeat([0, 2], 4),
        "changed": changed,
    }
    detector.compile(optimizer=keras.optimizers.Adam(3e-3))
    history = detector.fit(images, targets, batch_size=8, epochs=25, verbose=0).history
    assert history["loss_locations"][-1] < 0.7 * history["loss_locations"][0]
    locations = np.asarray(detector(images, training=True)["locations"])
    half = locations.shape[1] // 2
    inside = locations[4:, :half, :half].mean()
    assert inside > locations[4:, half:, half:].mean() + 1
    assert inside > locations[:4].mean() + 1


def test_no_weight_no_loss_and_no_figure():
    detector = SpatialDetector(
        image_size=32, backbone="resnet32", weights="none", location_weight=0.0
    )
    images = np.zeros((2, 32, 32, 3), np.float32)
    targets = {"label": np.array([0, 1]), "domain": np.zeros(2, int), "family": np.array([0, 1])}
    predicted = detector(images, training=False)
    without = detector.compute_loss(images, targets, predicted)
    targets["changed"] = np.full((2, 32, 32), 0.5, np.float32)
    np.testing.assert_allclose(detector.compute_loss(images, targets, predicted), without)
    detector.compute_metrics(images, targets, predicted)
    assert np.isnan(detector.family_losses.result()["loss_locations"])


REPLICAS = """
import json, sys
import keras
import numpy as np
import tensorflow as tf
from dfd_tf.detectors.spatial import SpatialDetector

number = int(sys.argv[1])
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * number
)
names = [f"CPU:{index}" for index in range(number)]
random = np.random.default_rng(0)
images = random.uniform(size=(8, 32, 32, 3)).astype("float32")
targets = {
    "label": np.array([0, 1] * 4),
    "domain": np.zeros(8, int),
    "changed": random.uniform(size=(8, 32, 32)).astype("float32"),
}
with tf.distribute.MirroredStrategy(names).scope():
    keras.utils.set_random_seed(0)
    detector = SpatialDetector(image_size=32, backbone="resnet32", weights="none", dropout=0.0)
    detector.backbone.trainable = False
    detector.compile(optimizer=keras.optimizers.SGD(1.0))
before = detector.head.kernel.numpy()
data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(8)
loss = detector.fit(data, verbose=0).history["loss"][0]
print(json.dumps([loss, *(detector.head.kernel.numpy() - before)[:, 0].tolist()]))
"""


def test_two_replicas_take_the_step_of_one():
    steps = []
    for number in (1, 2):
        command = [sys.executable, "-c", REPLICAS, str(number)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        steps.append(json.loads(output.splitlines()[-1]))
    assert np.linalg.norm(steps[0][1:]) > 1e-3
    assert steps[1] == pytest.approx(steps[0], rel=1e-4, abs=1e-6)
