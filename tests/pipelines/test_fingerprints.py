import csv
import math

import cv2
import numpy as np
import pytest

from pipelines.fingerprints import SIDE, find_near_duplicates
from pipelines.media.thumbnails import decode_thumbnail
from pipelines.settings import MediaLimits


def thumbnail(image):
    """The thumbnail `prepare` takes of a file that holds the image."""
    data = cv2.imencode(".png", image)[1].tobytes()
    return decode_thumbnail(data, "image", SIDE, MediaLimits())


def picture(seed, size=160):
    """A (size, size, 3) uint8 picture with structure at all scales, as photographs have."""
    rng = np.random.default_rng(seed)
    image = np.zeros((size, size, 3))
    for cells in (3, 6, 12, 24):
        noise = rng.normal(0, 1 / cells, (cells, cells, 3))
        image += cv2.resize(noise, (size, size), interpolation=cv2.INTER_CUBIC)
    image = (image - image.min()) / np.ptp(image)
    return (30 + 170 * image).astype(np.uint8)


def jpeg(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1)


def scaled(image, factor, interpolation=cv2.INTER_AREA):
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=interpolation)


COPIES = {
    "jpeg 95": lambda image: jpeg(image, 95),
    "jpeg 30": lambda image: jpeg(image, 30),
    "75 percent": lambda image: scaled(image, 0.75, cv2.INTER_LINEAR),
    "50 percent": lambda image: scaled(image, 0.5, cv2.INTER_CUBIC),
    "50 percent nearest": lambda image: scaled(image, 0.5, cv2.INTER_NEAREST),
    "50 percent, jpeg 30": lambda image: jpeg(scaled(image, 0.5), 30),
    "twice the size": lambda image: scaled(image, 2.0, cv2.INTER_CUBIC),
    "brighter": lambda image: cv2.convertScaleAbs(image, alpha=1.1, beta=10),
    "darker": lambda image: cv2.convertScaleAbs(image, alpha=0.9, beta=-10),
    "grey": lambda image: np.repeat(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2),
    "mirrored": lambda image: image[:, ::-1].copy(),
    "mirrored, jpeg 50": lambda image: jpeg(image[:, ::-1].copy(), 50),
}


def correlations(thumbnails):
    """Smaller margin of the two 16 x 16 correlations over their thresholds, by np.corrcoef."""
    small = thumbnails.astype(float).reshape(-1, 16, 2, 16, 2).mean(axis=(2, 4))
    across, down = small[:, :, 1:] - small[:, :, :-1], small[:, 1:] - small[:, :-1]
    gradients = np.concatenate([across.reshape(-1, 240), down.reshape(-1, 240)], axis=1)
    grey = np.corrcoef(small.reshape(-1, 256))
    return np.minimum(grey - 0.97, np.corrcoef(gradients) - 0.93)


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_strangers_are_not(kind):
    images = [picture(seed) for seed in range(8)]
    copies = [COPIES[kind](image) for image in images]
    found = find_near_duplicates(np.stack([thumbnail(image) for image in images + copies]))
    assert found.pairs == tuple((i, i + 8) for i in range(8))


def test_the_search_misses_nothing_a_plain_loop_finds():
    rng = np.random.default_rng(0)
    thumbnails = []
    for seed in range(12):
        image = thumbnail(picture(seed))
        for amplitude in (0, 1, 2, 3, 4, 5):
            noise = cv2.resize(rng.normal(0, amplitude, (16, 16)), (32, 32))
            mirror = 1 if amplitude % 2 else -1
            thumbnails.append(np.clip(image + noise, 0, 255).astype(np.uint8)[:, ::mirror])
    thumbnails = np.stack(thumbnails)
    both = correlations(np.concatenate([thumbnails, thumbnails[:, :, ::-1]]))
    n = len(thumbnails)
    same = (both[:n, :n] >= 0) | (both[:n, n:] >= 0)
    expected = {(i, j) for i in range(n) for j in range(i + 1, n) if same[i, j]}
    assert set(find_near_duplicates(thumbnails).pairs) == expected
    # The thresholds lie inside the range of the noise, or the comparison would prove nothing.
    assert 12 * 3 < len(expected) < 12 * 13


def test_many_equal_pictures_are_tied_by_as_few_pairs_as_it_takes():
    thumbnails = np.stack([thumbnail(picture(0))] * 300 + [thumbnail(picture(1))] * 2)
    found = find_near_duplicates(thumbnails)
    assert len(found.pairs) == 299 + 1
    assert {j for _, j in found.pairs} == {*range(1, 300), 301}


def test_pictures_without_contrast_are_not_compared():
    thumbnails = np.full((3, 32, 32), 128, np.uint8)
    thumbnails[2, ::2] = 129
    found = find_near_duplicates(thumbnails)
    assert found.pairs == ()
    assert found.method["compared"] == 0
    assert found.method["without_contrast"] == 3


def test_frames_of_one_item_are_one_item():
    frames = [thumbnail(picture(seed)) for seed in (0, 0, 1, 1, 2)]
    assert find_near_duplicates(np.stack(frames), owners=[4, 4, 4, 2, 3]).pairs == ((2, 4),)


def test_nothing_has_no_pairs():
    assert find_near_duplicates(np.empty((0, 32, 32), np.uint8)).pairs == ()


@pytest.mark.parametrize(
    "thumbnails", [np.zeros((2, 16, 16), np.uint8), np.zeros((2, 32, 32), np.float32)]
)
def test_other_arrays_are_refused(thumbnails):
    with pytest.raises(ValueError, match=r"expected uint8 \(n, 32, 32\)"):
        find_near_duplicates(thumbnails)


# Looked at: one photograph of one woman, twice, under two ages.
SAME_PHOTOGRAPH = ("25_1_1_20170103230312265", "28_1_1_20170103225945785")


@pytest.mark.parametrize("domain", ["ciplab", "stylegan2", "utkface", "lfw_gray350", "olivetti"])
def test_copies_of_real_faces_are_found_and_strangers_are_not(shared_data, domain):
    with (shared_data / "MANIFEST.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["domain"] == domain][::5]
    files = [(shared_data / row["path"]).read_bytes() for row in rows]
    kinds = [kind for kind in COPIES if "nearest" not in kind]
    copied = range(0, len(files), math.ceil(len(files) / 15))
    thumbnails = [decode_thumbnail(data, "file", SIDE, MediaLimits()) for data in files]
    for i in copied:
        image = cv2.imdecode(np.frombuffer(files[i], np.uint8), cv2.IMREAD_COLOR)
        thumbnails += [thumbnail(COPIES[kind](image)) for kind in kinds]
    origin = [*range(len(files)), *(i for i in copied for _ in kinds)]

    found = find_near_duplicates(np.stack(thumbnails))

    expected = {(i, n) for n, i in enumerate(origin) if n >= len(files)}
    assert len(expected & set(found.pairs)) / len(expected) > 0.98
    others = {(origin[i], origin[j]) for i, j in found.pairs if origin[i] != origin[j]}
    for i, j in others:
        # Shots of one sitting may be near-duplicates; people may not.
        same_person = domain == "olivetti" and rows[i]["group"] == rows[j]["group"]
        assert same_person or all(
            name in rows[k]["path"] for name, k in zip(SAME_PHOTOGRAPH, (i, j), strict=True)
        )
