"""Which images of a video come one after the other, and whether they have times."""

import numpy as np

from dfd_tf.evaluation.scoring import image_numbers, known_times


def test_images_are_numbered_by_path_and_then_by_frame_as_people_count():
    paths = ["v/10.png", "v/9.png", "v/10.png", "v/010.png", "v/b2.avi", "v/b10.avi", "v/b2.avi"]
    numbers = image_numbers(paths, [0, 0, 0, 0, 7, 0, 20])
    assert numbers.tolist() == [2, 0, 2, 1, 3, 5, 4]
    assert image_numbers(["a.avi"] * 3, [30, 4, 100]).tolist() == [1, 0, 2]
    assert image_numbers([], []).tolist() == []


def test_only_videos_of_one_file_have_times():
    columns = {
        "media/path": np.array(["a.avi", "a.avi", "f/1.png", "f/2.png", "still.png"]),
        "media/video": np.array(["a", "a", "f", "f", ""]),
        "media/time_seconds": np.array([0.0, 0.2, 0.0, 0.0, 0.0], np.float32),
    }
    found = known_times(columns)
    np.testing.assert_allclose(found, [0.0, 0.2, np.nan, np.nan, 0.0], rtol=1e-6)
