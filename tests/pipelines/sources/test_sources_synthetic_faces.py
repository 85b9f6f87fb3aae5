"""The renderer: pure functions, landmarks where the face is, fakes that change the face only."""

import cv2
import numpy as np
import pytest

from pipelines.sources.synthetic_camera import encode, make_camera
from pipelines.sources.synthetic_geometry import BROWS, EYES, MOUTH, NOSE, Pose, X, Y, shape_head
from pipelines.sources.synthetic_people import make_identity, make_shot
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair
from pipelines.sources.synthetic_swaps import METHODS, make_flaws, render_swap


@pytest.fixture(scope="module")
def cascade():
    return cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")


def hits(cascade, pixels):
    return cascade.detectMultiScale(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), 1.1, 5)


def inside(points, box):
    left, top, width, height = box
    x, y = points.T
    return bool(((x > left) & (x < left + width) & (y > top) & (y < top + height)).all())


@pytest.mark.parametrize("size", [96, 256, 320])
def test_a_face_is_a_pure_function_of_its_numbers(size):
    first = render_face(0, 5, 2, size)
    render_face(0, 6, 0, size)
    second = render_face(0, 5, 2, size)
    assert first.pixels.shape == (size, size, 3)
    assert first.pixels.dtype == np.uint8
    np.testing.assert_array_equal(first.pixels, second.pixels)
    np.testing.assert_array_equal(first.landmarks.points, second.landmarks.points)
    for other in (render_face(1, 5, 2, size), render_face(0, 5, 3, size)):
        assert np.abs(first.pixels.astype(int) - other.pixels).mean() > 3


def test_threads_do_not_change_a_picture():
    threads = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        alone = render_swap(0, 1, 2, 3, 256).pixels
        cv2.setNumThreads(4)
        np.testing.assert_array_equal(render_swap(0, 1, 2, 3, 256).pixels, alone)
    finally:
        cv2.setNumThreads(threads)


def test_identity_is_stable_and_shots_vary():
    assert make_identity(0, 4) == make_identity(0, 4) != make_identity(0, 5)
    shots = [make_shot(0, 4, number) for number in range(50)]
    assert shots[7] == make_shot(0, 4, 7)
    for name in ("yaw", "pitch", "roll", "smile", "azimuth", "exposure"):
        assert len({getattr(shot, name) for shot in shots}) > 25, name
    styles = {make_identity(0, number).hair_style for number in range(100)}
    wearers = sum(make_identity(0, number).glasses > 0 for number in range(100))
    assert len(styles) == 6
    assert 10 < wearers < 45


def test_turning_a_head_forth_and_back_meets_the_same_points():
    for identity in range(12):
        person, shot = make_identity(0, identity), make_shot(0, identity, 0)
        head = shape_head(person, shot)
        pose = Pose(shot, (128.0, 120.0), 70.0)
        maps = pose.grid_maps(head.parallax, 256)
        # The jaw is left out: at the outline two points of the head may meet in one pixel.
        points = head.landmarks[BROWS.start :]
        seen = pose.project(points) - 0.5
        found = [cv2.remap(grid, *seen.T, cv2.INTER_LINEAR)[:, 0] for grid in maps]
        expected = [np.interp(p, axis, np.arange(axis.size)) for p, axis in
                    ((points[:, 0], X[0]), (points[:, 1], Y[:, 0]))]  # fmt: skip
        error = np.abs(np.array(found) - expected)
        assert error.max() < 1.25
        assert np.median(error) < 0.1


def test_landmarks_lie_in_the_face_the_cascade_finds(cascade):
    checked = 0
    for identity in range(20):
        portrait = render_face(2, identity, 0, 256)
        found = hits(cascade, portrait.pixels)
        if len(found) != 1:
            continue
        left, top, width, height = found[0]
        points = portrait.landmarks.points
        assert inside(np.concatenate([points[EYES], points[NOSE], points[MOUTH]]), found[0])
        # Where Viola and Jones's training faces have their eyes: some 0.4 of the box from the top.
        eyes = (portrait.landmarks.eyes - (left, top)) / (width, height)
        np.testing.assert_allclose(eyes[:, 1], 0.4, atol=0.12)
        np.testing.assert_allclose(eyes[:, 0], (0.3, 0.7), atol=0.12)
        assert 100 < width < 180
        checked += 1
    assert checked >= 18


def test_pupils_are_dark_and_where_the_landmarks_say():
    # An independent look at the picture: the eye is darker than the cheek below it.
    darker = 0
    for identity in range(20):
        portrait = render_face(2, identity, 0, 256)
        grey = cv2.cvtColor(portrait.pixels, cv2.COLOR_RGB2GRAY)
        spacing = np.diff(portrait.landmarks.eyes[:, 0])[0]
        for x, y in portrait.landmarks.eyes:
            eye = grey[round(y) - 4 : round(y) + 4, round(x) - 6 : round(x) + 6]
            cheek = round(y + 0.4 * spacing)
            darker += eye.mean() < grey[cheek - 4 : cheek + 4, round(x) - 6 : round(x) + 6].mean()
    assert darker >= 36


@pytest.mark.parametrize("method", METHODS)
def test_a_fake_differs_from_its_target_in_the_face(method):
    for identity in range(8):
        real = render_face(0, identity, 1, 256)
        fake = render_swap(0, identity, identity ^ 1, 1, 256, method)
        np.testing.assert_array_equal(fake.landmarks.points, real.landmarks.points)
        change = np.abs(fake.pixels.astype(int) - real.pixels).mean(axis=2)
        # The camera's blur and resampling carry a change some pixels further.
        touched = cv2.dilate(fake.mask, np.ones((13, 13))) > 0.01
        assert touched.mean() < 0.4
        assert change[~touched].mean() < 0.05
        assert change[fake.mask > 0.4].mean() > 3
        assert inside(real.landmarks.points[EYES], cv2.boundingRect((fake.mask > 0.1).astype("u1")))


def test_the_donor_decides_the_face_and_difficulty_its_flaws():
    one, other = (render_swap(0, 0, donor, 1, 256) for donor in (1, 2))
    assert one.flaws == other.flaws
    change = np.abs(one.pixels.astype(int) - other.pixels).mean(axis=2)
    assert change[one.mask > 0.5].mean() > 2
    flaws = [make_flaws(0, 0, shot, "swap") for shot in range(600)]
    easy = [flaw for flaw in flaws if flaw.difficulty < 0.4]
    hard = [flaw for flaw in flaws if flaw.difficulty > 0.6]
    assert len(easy) > 10
    assert len(hard) > 10
    for name in ("checker", "seam", "misfit"):
        means = [np.mean([getattr(flaw, name) for flaw in group]) for group in (easy, hard)]
        assert means[0] > 1.15 * means[1], name


def test_two_faces_in_one_picture(cascade):
    pixels, landmarks = render_portrait_pair(0, 1, 2, 0, 256)
    assert pixels.shape == (256, 512, 3)
    found = sorted(hits(cascade, pixels), key=lambda box: box[0])
    assert len(found) == 2
    for face, box in zip(landmarks, found, strict=True):
        assert inside(face.points[EYES], box)


def test_camera_knows_nothing_but_its_key():
    pixels = render_face(0, 0, 0, 128).pixels
    camera = make_camera(0, 3, 4)
    assert camera == make_camera(0, 3, 4) != make_camera(0, 3, 5)
    data = encode(pixels, camera)
    assert data == encode(pixels, camera)
    assert data[:3] == b"\xff\xd8\xff"


@pytest.mark.parametrize("size", [63, 513])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ValueError, match="expected 64 to 512"):
        render_face(0, 0, 0, size)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="expected one of"):
        render_swap(0, 0, 1, 0, 64, "paste")
