"""Pseudo-fakes of single images: where faces are found, masks, what is changed and what is not."""

import functools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipelines.blending import resample, self_blend, splice
from pipelines.face_layout import face_layout, to_crop_coordinates, to_face_coordinates
from pipelines.face_masks import face_mask
from pipelines.settings import PseudoFakeSettings
from pipelines.smooth_warp import pixel_centres, sample, smooth_field
from pipelines.sources.synthetic_portraits import render_face

SIZE = 64
LAYOUT = (0.5, 0.42, 0.3, 0.0)
SETTINGS = PseudoFakeSettings()


def seed(number):
    return tf.constant([7, number], tf.int64)


@functools.cache
def face(person=0):
    return render_face(0, person, 0, SIZE).pixels.astype(np.float32) / 255.0


@functools.cache
def made(family):
    """Traced once: (image, donor, seed) -> real, fake."""
    layout = tf.constant(LAYOUT)
    functions = {
        "self_blend": lambda image, _, seed: self_blend(image, layout, seed, SETTINGS),
        "splice": lambda image, donor, seed: splice(image, layout, donor, layout, seed, SETTINGS),
        "resample": lambda image, _, seed: resample(image, layout, seed, SETTINGS),
    }
    picture = tf.TensorSpec((SIZE, SIZE, 3), tf.float32)
    signature = (picture, picture, tf.TensorSpec((2,), tf.int64))
    return tf.function(functions[family], input_signature=signature)


@functools.cache
def mask_function(parts):
    return tf.function(
        lambda layout, seed: face_mask(SIZE, layout, seed, parts=parts),
        input_signature=(tf.TensorSpec((4,), tf.float32), tf.TensorSpec((2,), tf.int64)),
    )


@pytest.mark.parametrize("parts", [0.0, 1.0])
def test_masks_cover_the_face_softly(parts):
    masks = np.stack([mask_function(parts)(tf.constant(LAYOUT), seed(k)) for k in range(60)])
    assert masks.min() >= 0.0
    assert masks.max() <= 1.0
    coverage = masks.mean(axis=(1, 2))
    assert coverage.min() > 0.003
    assert coverage.max() < 0.6
    assert (masks.max(axis=(1, 2)) > 0.9).mean() > 0.9
    # Soft: steps between neighbours stay below the whole range, even at the narrowest border.
    steps = np.abs(np.diff(masks, axis=2)).max(axis=(1, 2))
    assert steps.max() < 0.95
    assert np.median(steps) < 0.5
    # On the face: the centre of gravity lies between forehead and chin, near the middle.
    weights = masks / masks.sum(axis=(1, 2), keepdims=True)
    centres = (np.arange(SIZE) + 0.5) / SIZE
    middle_x = (weights.sum(axis=1) * centres).sum(axis=1)
    middle_y = (weights.sum(axis=2) * centres).sum(axis=1)
    assert np.all((middle_x > 0.25) & (middle_x < 0.75))
    assert np.all((middle_y > 0.3) & (middle_y < 0.85))
    # Border pixels of the crop stay out of it almost always.
    assert np.mean(masks[:, [0, -1]].max(axis=(1, 2)) > 0.0) < 0.3


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(0.0, 1.0, width=32),
    y=st.floats(0.0, 1.0, width=32),
    eyes=st.floats(0.125, 0.5, width=32),
    tilt=st.floats(-0.5, 0.5, width=32),
    number=st.integers(-(2**62), 2**62),
)
def test_masks_of_any_layout_are_in_range(x, y, eyes, tilt, number):
    mask = mask_function(0.4)(tf.constant([x, y, eyes, tilt]), seed(number)).numpy()
    assert mask.shape == (SIZE, SIZE)
    assert np.isfinite(mask).all()
    assert mask.min() >= 0.0
    assert mask.max() <= 1.0


@settings(max_examples=15, deadline=None)
@given(
    image=arrays(np.float32, (SIZE, SIZE, 3), elements=st.floats(0, 1, width=32), fill=st.just(0)),
    family=st.sampled_from(["self_blend", "splice", "resample"]),
    number=st.integers(0, 2**62),
)
def test_pairs_of_any_image_are_in_range(image, family, number):
    for picture in made(family)(image, face(), seed(number)):
        picture = picture.numpy()
        assert picture.shape == (SIZE, SIZE, 3)
        assert np.isfinite(picture).all()
        assert picture.min() >= 0.0
        assert picture.max() <= 1.0


@pytest.mark.parametrize("family", ["self_blend", "splice", "resample"])
def test_fakes_differ_from_their_real_image_in_a_part(family):
    pairs = [made(family)(face(0), face(1), seed(k)) for k in range(40)]
    changed = np.stack([np.any(fake != real, axis=-1) for real, fake in pairs])
    shares = changed.mean(axis=(1, 2))
    assert np.all(shares > 0.002)
    everywhere = shares > 0.9
    assert everywhere.any() == (family == "resample")
    # Elsewhere the fake is bit for bit the real image of the pair.
    assert np.all(shares[~everywhere] < 0.7)
    strength = np.stack([np.abs(fake - real).max() for real, fake in pairs])
    assert np.median(strength) > 0.03


def test_change_falls_on_either_side():
    image = face()
    untouched = [
        np.array_equal(made("self_blend")(image, image, seed(k))[0], image) for k in range(60)
    ]
    # 99.9 % of a fair coin's 60 throws.
    assert 17 <= sum(untouched) <= 43


def test_splices_and_resamples_leave_the_real_image_alone():
    for family in ("splice", "resample"):
        for k in range(10):
            assert np.array_equal(made(family)(face(0), face(1), seed(k))[0], face(0))


def test_splice_brings_the_other_face_and_keeps_the_colours():
    bright, dark = 0.3 + 0.7 * face(1), 0.5 * face(0)
    gaps = []
    for k in range(20):
        real, fake = (picture.numpy() for picture in made("splice")(dark, bright, seed(k)))
        inside = np.any(fake != real, axis=-1)
        gaps.append(np.abs(fake[inside].mean() - real[inside].mean()))
    assert np.median(gaps) < 0.05  # the donor is 0.5 brighter


@pytest.mark.parametrize("family", ["self_blend", "splice", "resample"])
def test_seed_decides(family):
    first = made(family)(face(0), face(1), seed(1))
    again = made(family)(face(0), face(1), seed(1))
    other = made(family)(face(0), face(1), seed(2))
    assert np.array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


def test_face_coordinates_have_an_inverse():
    x, y = np.meshgrid(np.linspace(0, 1, 9), np.linspace(0, 1, 9))
    layout = [tf.constant(value, tf.float64) for value in (0.47, 0.4, 0.31, 0.2)]
    back = to_crop_coordinates(*to_face_coordinates(tf.constant(x), tf.constant(y), layout), layout)
    np.testing.assert_allclose(back, [x, y], atol=1e-12)


def test_face_is_found_where_it_was_drawn():
    for centre_x, centre_y, eyes in ((0.46, 0.38, 0.3), (0.54, 0.46, 0.26), (0.5, 0.3, 0.38)):
        found = face_layout(tf.constant(_cartoon(centre_x, centre_y, eyes))[tf.newaxis])[0].numpy()
        assert abs(found[0] - centre_x) < 0.06
        assert abs(found[1] - centre_y) < 0.06
        assert abs(np.log(found[2] / eyes)) < 0.35
        assert abs(found[3]) < 0.1


def _cartoon(centre_x, centre_y, eyes):
    """A bright oval with dark eyes and mouth."""
    x, y = (axis.numpy() for axis in pixel_centres(96))
    u, v = (x - centre_x) / eyes, (y - centre_y) / eyes
    grey = np.where((u / 1.05) ** 2 + ((v - 0.4) / 1.4) ** 2 < 1, 0.7, 0.45)
    for part_u, part_v, wide, high in (
        (-0.5, 0, 0.2, 0.1),
        (0.5, 0, 0.2, 0.1),
        (0, 1.05, 0.35, 0.1),
    ):
        grey = np.where(((u - part_u) / wide) ** 2 + ((v - part_v) / high) ** 2 < 1, 0.2, grey)
    return np.repeat(grey[..., None], 3, axis=-1).astype(np.float32)


def test_real_faces_are_found(shared_data):
    """In these aligned faces the middle of the eyes lies at (0.495, 0.285)."""
    files = sorted((shared_data / "real_faces" / "utkface" / "val" / "real").iterdir())[:40]
    pictures = [tf.io.decode_jpeg(file.read_bytes(), channels=3) for file in files]
    images = tf.stack([tf.image.resize(p, (96, 96), antialias=True) / 255.0 for p in pictures])
    found = face_layout(images).numpy()
    assert np.mean(np.hypot(found[:, 0] - 0.495, found[:, 1] - 0.285) < 0.1) > 0.9


def test_sampling_at_pixel_centres_changes_nothing_and_between_them_interpolates():
    image = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    x, y = (np.broadcast_to(axis, (8, 8)) for axis in pixel_centres(8))
    np.testing.assert_allclose(sample(tf.constant(image), x, y), image, atol=1e-6)
    between = sample(tf.constant(image), x + 0.5 / 8, y + 0.25 / 8).numpy()
    row = 0.75 * image[2] + 0.25 * image[3]
    np.testing.assert_allclose(between[2, 4], (row[4] + row[5]) / 2, atol=1e-5)
    outside = sample(tf.constant(image), x + 5.0, y - 5.0).numpy()
    np.testing.assert_allclose(outside, np.broadcast_to(image[0, 7], (8, 8, 3)), atol=1e-6)


def test_smooth_fields_are_smooth_and_of_unit_deviation():
    fields = np.stack([smooth_field(64, seed(k)) for k in range(60)])
    assert fields.shape == (60, 2, 64, 64)
    assert abs(fields.mean()) < 0.1
    assert 0.85 < fields.std() < 1.15
    assert np.abs(np.diff(fields, axis=2)).max() < 0.5


@pytest.mark.parametrize(
    "values",
    [
        {"self_blend": 0.0},
        {"splice": -1.0},
        {"share": 1.5},
        {"parts": -0.1},
        {"strength": 0.0},
        {"border": (0.3, 0.1)},
    ],
)
def test_impossible_settings_are_refused(values):
    with pytest.raises(ValueError, match="pseudo-fakes"):
        PseudoFakeSettings(**values)
