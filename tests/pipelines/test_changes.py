import numpy as np
import pytest
import tensorflow as tf

from pipelines.augment import augment, augment_mask
from pipelines.changes import CELLS, changed_pixels, to_cells, unchanged
from pipelines.media_item import FAKE, REAL, UNKNOWN
from pipelines.pseudo_fakes import Examples, with_pairs, with_replacements
from pipelines.settings import AugmentSettings, PseudoFakeSettings

STREAM = tf.constant(11, tf.int64)
SIZE = 64
SPLICES = PseudoFakeSettings(self_blend=0.0, splice=1.0, share=1.0)


@pytest.fixture(scope="module")
def faces():
    """Smooth pictures, each different: a blend of two changes what it covers."""
    rng = np.random.default_rng(3)
    coarse = tf.constant(rng.uniform(0, 255, (6, 5, 5, 3)), tf.float32)
    return tf.cast(tf.image.resize(coarse, (SIZE, SIZE), method="bicubic"), tf.uint8)


def examples(faces, labels):
    targets = {"label": tf.constant(labels, tf.int32), "domain": tf.zeros(len(labels), tf.int32)}
    return Examples(faces[: len(labels)], targets, tf.range(len(labels), dtype=tf.int64))


def test_pixels_are_changed_from_five_grey_levels_in_any_channel():
    real = np.zeros((1, 2, 3, 3), np.float32)
    fake = real.copy()
    fake[0, 0, 0, 2] = 5 / 255
    fake[0, 1, 2, 0] = 3 / 255
    expected = np.zeros((1, 2, 3, 1))
    expected[0, 0, 0] = 1
    np.testing.assert_array_equal(changed_pixels(real, fake), expected)


def test_of_a_fake_that_hardly_differs_nobody_says_where():
    real = np.zeros((3, 20, 20, 3), np.float32)
    fake = real.copy()
    fake[1, :2, :2] = 1  # 4 of 400 pixels: one in a hundred
    fake[2, 0, :3] = 1
    masks = changed_pixels(real, fake).numpy()
    assert np.all(masks[[0, 2]] == -1)
    assert masks[1].sum() == 4


def test_cells_hold_shares_and_keep_what_is_unknown():
    masks = np.zeros((2, 2 * CELLS, 2 * CELLS, 1), np.float32)
    masks[0, :2, :2] = 1
    masks[0, 2, 2] = 1
    masks[1] = -1
    cells = to_cells(tf.constant(masks)).numpy()
    assert cells.shape == (2, CELLS, CELLS)
    assert cells[0, 0, 0] == 1
    assert cells[0, 1, 1] == 0.25
    assert cells[0].sum() == 1.25
    assert np.all(cells[1] == -1)


def test_a_pair_tells_where_the_fake_differs(faces):
    images, targets, _ = with_pairs(examples(faces, [REAL, REAL, UNKNOWN]), STREAM, SPLICES)
    changed, pixels = targets["changed"].numpy(), images.numpy()
    assert changed.shape == (6, SIZE, SIZE, 1)
    for real, fake in ((0, 1), (2, 3)):
        assert np.all(changed[real] == 0)
        difference = np.abs(pixels[fake] - pixels[real]).max(axis=-1)
        np.testing.assert_array_equal(changed[fake, ..., 0], difference > 4 / 255)
        assert changed[fake].any()
    assert np.all(changed[4:] == -1)


def test_replacements_tell_where_and_recorded_fakes_do_not(faces):
    given = examples(faces, [REAL, FAKE, FAKE, UNKNOWN])
    images, targets, _ = with_replacements(given, STREAM, SPLICES)
    changed = targets["changed"].numpy()[..., 0]
    assert targets["family"].numpy().tolist() == [0, 2, 0, 0]
    assert np.all(changed[0] == 0)
    difference = np.abs(images[1] - images[0]).max(axis=-1)
    np.testing.assert_array_equal(changed[1], difference > 4 / 255)
    assert np.all(changed[2:] == -1)


def test_a_mask_moves_as_its_image_does():
    """A white square on black, degraded in geometry only, is its own mask."""
    square = np.zeros((SIZE, SIZE, 1), np.float32)
    square[20:44, 12:30] = 1
    settings = AugmentSettings(
        crop_scale=(0.5, 1.0), rotation_probability=1.0, brightness=0, contrast=0, saturation=0,
        hue=0, jpeg=0, blur=0, resize=0, noise=0, cutout=0,
    )  # fmt: skip
    for number in range(8):
        seed = tf.constant([5, number], tf.int64)
        image = augment(tf.constant(np.repeat(square, 3, axis=-1)), seed, settings)
        moved = augment_mask(tf.constant(square), seed, settings)
        np.testing.assert_allclose(moved[..., 0], image[..., 0], atol=1e-6)
        assert not np.array_equal(moved, square)


def test_unknown_is_minus_one():
    masks = unchanged(tf.zeros((2, 4, 4, 3)), tf.constant([True, False])).numpy()
    assert masks.shape == (2, 4, 4, 1)
    assert masks[0].max() == masks[0].min() == 0
    assert masks[1].max() == masks[1].min() == -1
