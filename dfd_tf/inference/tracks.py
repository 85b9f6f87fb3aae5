"""Which faces of a video are the same person: tracking by detection, over gaps and cuts.

Frame by frame, faces are given to the persons known so far so that the sum of costs is lowest (the
assignment problem; Bewley et al., "Simple online and realtime tracking", 2016, with appearance as
in Wojke et al., "Deep SORT", 2017). The cost is the distance of looks, less a bonus for lying where
the person was a moment ago. Looks decide: sampled frames are often seconds apart, and a cut moves
everybody, so that place alone would mix people up. A face unlike everyone known is somebody new.
Where frames have no times (a folder of them), or crops are harmonised (their records hold no
place), looks alone decide.

What a face looks like is measured on the crop the network sees, so that records and files give the
same persons: the colours of skin, hair and surroundings, and the coarse pattern of light and dark.
Between photos of unlike people that is a poor face recognition; within one clip it serves. On 360
photos and renderings moved, turned and relit a little, 5 % are farther from themselves than 0.52,
and 5 % of different people are closer than 0.57.
"""

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

LARGEST_COST = 0.5
"""Above it a face is nobody known."""
PLACE_BONUS = 0.1
"""What a box in the very same place is worth, a moment after."""
_MOMENT_SECONDS = 1.0
"""Time after which the bonus is halved."""
_NEW_LOOK = 0.25
"""Distance from all looks of a person from which on another one is remembered."""
_MOST_LOOKS = 16
_MANY = 1e3

_SIDE = 64
_COLOURS = np.arange(-20.0, 45.0, 5.0)
_SMOOTHING = 2.0  # bins: light that changes colour a little shifts all of them by one
_PATTERN_SIDE = 8
_PATTERN_WEIGHT = 0.6


def appearance(images: np.ndarray) -> np.ndarray:
    """Describes what faces look like.

    Args:
        images: (n, side, side, 3) uint8 RGB crops; n may be 0.

    Returns:
        (n, 352) float16: square roots of the histograms of a and b (CIELAB) of the middle and of
        all of the crop, and its 8 x 8 lightness less mean over deviation. Euclidean distances
        compare two.
    """
    size = 2 * (len(_COLOURS) - 1) ** 2 + _PATTERN_SIDE**2
    found = np.empty((len(images), size), np.float16)
    for row, image in zip(found, images, strict=True):
        row[:] = _describe(image)
    return found


def _describe(image: np.ndarray) -> np.ndarray:
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    middle = lab[_SIDE // 4 : -_SIDE // 4, _SIDE // 4 : -_SIDE // 4]
    light = cv2.resize(
        lab[..., 0], (_PATTERN_SIDE, _PATTERN_SIDE), interpolation=cv2.INTER_AREA
    ).ravel()
    pattern = (light - light.mean()) / (light.std() + 2.0) / _PATTERN_SIDE
    return np.concatenate([_colours(middle), _colours(lab), _PATTERN_WEIGHT * pattern])


def _colours(lab: np.ndarray) -> np.ndarray:
    """A smoothed histogram whose Euclidean distances are Hellinger's, times a half of the two."""
    a, b = (np.clip(lab[..., i].ravel(), _COLOURS[0], _COLOURS[-1]) for i in (1, 2))
    counts = np.histogram2d(a, b, bins=[_COLOURS, _COLOURS])[0].astype(np.float32)
    smooth = cv2.GaussianBlur(counts, (0, 0), _SMOOTHING)
    return np.sqrt(smooth.ravel() / smooth.sum() / 2.0)


def track_persons(
    frames: np.ndarray,
    seconds: np.ndarray,
    boxes: np.ndarray | None,
    descriptors: np.ndarray,
) -> np.ndarray:
    """Tells the persons of one video apart.

    Args:
        frames: (n,) numbers of the frames the faces are in.
        seconds: (n,) times of those; NaN where they have none: place then says nothing.
        boxes: (n, 4) left, top, width, height as fractions of the frame; None where place is to
            take no part.
        descriptors: (n, d) from `appearance`.

    Returns:
        (n,) int64, the number of each face's person, from 1 in order of appearance; no person is
        twice in a frame. The order of the faces does not matter.
    """
    looks = np.asarray(descriptors, np.float32)
    if boxes is None:
        places = np.zeros((len(frames), 4))
        keys = [(frame, look.tobytes()) for frame, look in zip(frames, looks, strict=True)]
        order = np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)
    else:
        places = np.asarray(boxes, np.float32).astype(np.float64)  # records keep no more digits
        order = np.lexsort([*places.T[::-1], frames])
    persons = np.zeros(len(frames), np.int64)
    known = _KnownPersons(looks.shape[1])
    starts = np.flatnonzero(np.diff(np.asarray(frames)[order], prepend=-1))
    for here in np.split(order, starts[1:]) if len(order) else ():
        persons[here] = known.assign(float(seconds[here[0]]), places[here], looks[here])
    return persons


class _KnownPersons:
    """The persons seen so far: where and when last, and what they looked like."""

    def __init__(self, size: int) -> None:
        self.boxes = np.empty((0, 4))
        self.seconds = np.empty(0)
        self.looks = np.empty((0, size), np.float32)
        self.owners = np.empty(0, np.int64)

    def assign(self, seconds: float, boxes: np.ndarray, looks: np.ndarray) -> np.ndarray:
        """Returns the numbers, from 1, of the persons whose faces are in one frame."""
        found = np.zeros(len(boxes), np.int64)
        if len(self.boxes):
            distances = self._distances(looks)
            freshness = 1.0 / (1.0 + np.abs(seconds - self.seconds) / _MOMENT_SECONDS)
            freshness = np.nan_to_num(freshness, nan=0.0)
            costs = distances - PLACE_BONUS * overlap(boxes, self.boxes) * freshness
            costs[costs > LARGEST_COST] = _MANY
            for face, person in zip(*linear_sum_assignment(costs), strict=True):
                if costs[face, person] < _MANY:
                    found[face] = person + 1
                    self.boxes[person], self.seconds[person] = boxes[face], seconds
                    is_new = distances[face, person] > _NEW_LOOK
                    if is_new and np.sum(self.owners == person) < _MOST_LOOKS:
                        self._remember(person, looks[face])
        for face in np.flatnonzero(found == 0):
            found[face] = len(self.boxes) + 1
            self._remember(len(self.boxes), looks[face])
            self.boxes = np.concatenate([self.boxes, boxes[face : face + 1]])
            self.seconds = np.append(self.seconds, seconds)
        return found

    def _remember(self, person: int, look: np.ndarray) -> None:
        self.looks = np.concatenate([self.looks, look[None]])
        self.owners = np.append(self.owners, person)

    def _distances(self, looks: np.ndarray) -> np.ndarray:
        """Distance of each face from the closest look of each person, (faces, persons)."""
        distances = np.full((len(looks), len(self.boxes)), np.inf)
        for row, look in zip(distances, looks, strict=True):
            np.minimum.at(row, self.owners, np.linalg.norm(self.looks - look, axis=1))
        return distances


def overlap(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (n, 4) and (m, 4), left, top, width, height: (n, m)."""
    first, second = boxes[:, None], others[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=-1)
    either = np.prod(first[..., 2:], axis=-1) + np.prod(second[..., 2:], axis=-1) - shared
    return shared / np.maximum(either, np.finfo(np.float64).tiny)
