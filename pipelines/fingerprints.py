"""Near-duplicates: the same picture re-encoded, rescaled, brightened a little or mirrored.

Portrait photographs look alike, and aligned ones more so: a 64-bit hash takes strangers for copies
and chains a whole dataset into one component. Two pictures count as one here when, at 16 x 16
pixels, both the grey levels and the local gradients correlate almost perfectly. Gradients are what
tells strangers apart: among 12,057 real and generated faces and CIFAR-10 pictures no two different
motifs reached 0.88, while JPEG quality 30 and half the size leave 0.99 of a 160-pixel image. What
this does not tie are two composites of one photograph once more than an eye or a mouth differs:
they score as low as strangers, and only a source that names its donors can tie them.

Mirrored copies count because training flips its images: the mirror image of a test picture is a
picture seen in training.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

SIDE = 32
MIN_GREY_CORRELATION = 0.97
MIN_GRADIENT_CORRELATION = 0.93
# Below this standard deviation, in grey levels, there is no picture to compare.
MIN_CONTRAST = 2.0

_POOLED = 16
_NUM_FREQUENCIES = 6
_BLOCK = 2048
# Unit vectors that correlate by c are sqrt(2 - 2c) apart, and no projection is further apart.
_MAX_DISTANCE = float(np.sqrt(2 - 2 * MIN_GREY_CORRELATION)) + 1e-3


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of items that show the same picture.

    Args:
        pairs: Index pairs (i, j) with i < j, sorted.
        method: How they were found, with the thresholds: goes into the split proof.
    """

    pairs: tuple[tuple[int, int], ...] = ()
    method: Mapping[str, float | int | str] = field(default_factory=dict)


NO_NEAR_DUPLICATES = NearDuplicates()


def find_near_duplicates(
    thumbnails: np.ndarray, owners: Sequence[int] | None = None
) -> NearDuplicates:
    """Returns all pairs of items with thumbnails of the same picture.

    Exact equality of thumbnails is settled by sorting; the rest by one matrix product per block of
    low frequencies, which misses nothing, and the two correlations for what is left.

    Args:
        thumbnails: (n, 32, 32) uint8 grey, from `media.thumbnails`.
        owners: Item index of each thumbnail, for items with several (frames of a video); None:
            thumbnail i belongs to item i. Thumbnails of one item are not compared.
    """
    if thumbnails.shape[1:] != (SIDE, SIDE) or thumbnails.dtype != np.uint8:
        raise ValueError(
            f"thumbnails: {thumbnails.dtype} {thumbnails.shape}, expected uint8 (n, {SIDE}, {SIDE})"
        )
    owner = np.arange(len(thumbnails)) if owners is None else np.asarray(owners, np.int64)
    pictures = np.flatnonzero(_contrast(thumbnails) >= MIN_CONTRAST)
    flattened = thumbnails[pictures].reshape(len(pictures), SIDE * SIDE)
    _, first, group = np.unique(flattened, axis=0, return_index=True, return_inverse=True)
    equal = np.stack([pictures[first][group.reshape(-1)], pictures], axis=1)

    distinct = pictures[first]
    upright = thumbnails[distinct]
    mirrored = upright[:, :, ::-1]
    found = [equal, distinct[_same_picture(upright, upright)]]
    found.append(distinct[_same_picture(upright, mirrored)])
    pairs = np.sort(owner[np.concatenate(found)], axis=1)
    pairs = np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)
    return NearDuplicates(
        tuple((int(i), int(j)) for i, j in pairs),
        {
            "method": "grey and gradient correlation at 16x16 pixels, also with the mirror image",
            "min_grey_correlation": MIN_GREY_CORRELATION,
            "min_gradient_correlation": MIN_GRADIENT_CORRELATION,
            "compared": len(pictures),
            "without_contrast": len(thumbnails) - len(pictures),
        },
    )


def _same_picture(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Returns (m, 2) index pairs where left[i] and right[j] show the same picture.

    `right` is `left` itself or its mirror images, so that (i, j) and (j, i) are one question.
    """
    found = [np.empty((0, 2), np.int64)]
    for pairs in _candidates(_frequencies(left), _frequencies(right)):
        a, b = _pool(left[pairs[:, 0]]), _pool(right[pairs[:, 1]])
        same = (_correlation(a, b) >= MIN_GREY_CORRELATION) & (
            _correlation(_gradients(a), _gradients(b)) >= MIN_GRADIENT_CORRELATION
        )
        found.append(pairs[same])
    return np.concatenate(found)


def _candidates(left: np.ndarray, right: np.ndarray) -> Iterator[np.ndarray]:
    """Yields blocks of index pairs whose (n, k) features lie within the largest distance.

    Rows are sorted by the first feature, which left[i] and right[i] share, so only a window of
    them can be near, and only one side of it needs a look. The squared distance is one matrix
    product: -|a - b|^2 / 2 = a.b - |a|^2 / 2 - |b|^2 / 2.
    """
    order = np.argsort(left[:, 0])
    left, right = left[order], right[order]
    ones = np.ones((len(left), 1), np.float32)
    left_terms = np.hstack([left, -0.5 * (left**2).sum(1, keepdims=True), ones])
    right_terms = np.hstack([right, ones, -0.5 * (right**2).sum(1, keepdims=True)])
    for start in range(0, len(left), _BLOCK):
        stop = min(start + _BLOCK, len(left))
        high = int(np.searchsorted(left[:, 0], left[stop - 1, 0] + _MAX_DISTANCE))
        for column in range(start, high, _BLOCK):
            columns = slice(column, min(column + _BLOCK, high))
            products = left_terms[start:stop] @ right_terms[columns].T
            near = np.flatnonzero(products >= -0.5 * _MAX_DISTANCE**2)
            rows, cols = np.divmod(near, products.shape[1])
            rows, cols = rows + start, cols + column
            once = rows < cols
            yield np.stack([order[rows[once]], order[cols[once]]], axis=1)


def _frequencies(thumbnails: np.ndarray) -> np.ndarray:
    """Returns (n, 35) float32: the lowest cosine frequencies of the normalised 16 x 16 pictures.

    The first column is the lowest vertical frequency, which a mirror image shares.
    """
    size = _POOLED
    basis = np.cos(np.pi * np.outer(np.arange(_NUM_FREQUENCIES), np.arange(size) + 0.5) / size)
    basis *= np.sqrt(np.where(np.arange(_NUM_FREQUENCIES) == 0, 1, 2) / size)[:, None]
    blocks = [np.empty((0, _NUM_FREQUENCIES**2), np.float32)]
    for start in range(0, len(thumbnails), _BLOCK):
        pooled = _pool(thumbnails[start : start + _BLOCK])
        pooled -= pooled.mean(axis=(1, 2), keepdims=True)
        pooled /= np.linalg.norm(pooled, axis=(1, 2), keepdims=True)
        # Horizontal frequency first, so that column 1 is the lowest vertical one.
        coefficients = (basis @ pooled @ basis.T).transpose(0, 2, 1)
        flattened = coefficients.reshape(len(pooled), _NUM_FREQUENCIES**2)
        blocks.append(flattened.astype(np.float32))
    return np.concatenate(blocks)[:, 1:]


def _contrast(thumbnails: np.ndarray) -> np.ndarray:
    """Returns the (n,) standard deviation of the pooled thumbnails, grey levels."""
    blocks = [np.empty(0)]
    for start in range(0, len(thumbnails), _BLOCK):
        blocks.append(_pool(thumbnails[start : start + _BLOCK]).std(axis=(1, 2)))
    return np.concatenate(blocks)


def _pool(thumbnails: np.ndarray) -> np.ndarray:
    """Returns (n, 16, 16) float64 averages of (n, 32, 32) uint8 thumbnails."""
    step = SIDE // _POOLED
    shape = (len(thumbnails), _POOLED, step, _POOLED, step)
    return thumbnails.reshape(shape).mean(axis=(2, 4), dtype=np.float64)


def _gradients(pooled: np.ndarray) -> np.ndarray:
    """Returns (n, 480): differences of horizontal and of vertical neighbours, together."""
    size = _POOLED * (_POOLED - 1)
    across = np.diff(pooled, axis=2).reshape(len(pooled), size)
    down = np.diff(pooled, axis=1).reshape(len(pooled), size)
    return np.concatenate([across, down], axis=1)


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns the (n,) correlation coefficients of the rows of two (n, ...) arrays."""
    size = int(np.prod(a.shape[1:]))
    a, b = a.reshape(len(a), size), b.reshape(len(b), size)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    return (a * b).sum(axis=1) / np.maximum(scale, np.finfo(np.float64).tiny)
