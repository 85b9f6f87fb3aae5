"""The source `synthetic[:IDENTITIES[:SEED]]`: procedural faces, real and swapped, as JPEG files.

Photos of people who do not exist, rendered on the spot: what the demo and the tests train on, and a
ground on which every answer is known. Each person has `PHOTOS` real photos and as many fakes, in
which somebody else's face was put on theirs (`swap`) or mixed with it (`blend`).

Swaps stay within families of `FAMILY` people with consecutive numbers. A fake ties its donor to its
target at a split; were donors drawn from everybody, all people would hang together and nothing
could be split.

The classes differ in nothing but the face: size, pose, light, background, camera, JPEG quality are
drawn alike for both, and each fake goes through the same camera after its face was blended in.
Image k of person i is a pure function of (seed, i, k): more people, another order or a second
process change no file.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.errors import InputError, MediaError
from pipelines.media_item import FAKE, REAL, MediaItem
from pipelines.sources.base import identity_key
from pipelines.sources.synthetic_camera import encode, make_camera
from pipelines.sources.synthetic_people import FILE_STREAM, stream
from pipelines.sources.synthetic_portraits import render_face
from pipelines.sources.synthetic_swaps import METHODS, render_swap

FAMILY = 4
PHOTOS = 5
DEFAULT_IDENTITIES = 60
MAX_IDENTITIES = 10_000
MAX_SEED = 2**32 - 1
# Part of the staging folder's name: raise it when the pictures change, or old ones would be kept.
RENDERER_VERSION = 1
# Fakes are made from photos of their own, never from a real photo of the dataset.
_FIRST_FAKE_SHOT = 1_000_000
_SIZES = (232, 288)


class SyntheticFaces:
    """Renders synthetic faces below a staging folder and lists them.

    Args:
        location: `synthetic`, `synthetic:IDENTITIES` or `synthetic:IDENTITIES:SEED`; 60 and 0
            where left out.
        domain: Domain of every item; None for `synthetic`.
        staging: Folder below which the files are written; those already there are kept.

    Raises:
        InputError: The location is none of the above.
    """

    name = "synthetic"

    def __init__(self, location: str, *, domain: str | None, staging: Path) -> None:
        self.identities, self.seed = _parse(location)
        self.folder = staging / f"synthetic_v{RENDERER_VERSION}_seed{self.seed}"
        self.failures: Sequence[MediaError] = ()
        self.skipped: Mapping[str, int] = {}
        self._domain = domain or self.name

    def items(self) -> list[MediaItem]:
        """Renders what is missing and returns all items sorted by key."""
        items = [
            item
            for identity in range(self.identities)
            for photo in range(PHOTOS)
            for item in (self._real(identity, photo), self._fake(identity, photo))
        ]
        return sorted(items, key=lambda item: item.key)

    def _real(self, identity: int, photo: int) -> MediaItem:
        key = f"real/{_person(identity)}/{photo:03}.jpg"
        path = self.folder / key
        if not path.exists():
            size = _file_size(self.seed, identity, photo)
            pixels = render_face(self.seed, identity, photo, size).pixels
            _write(path, encode(pixels, make_camera(self.seed, identity, photo)))
        return MediaItem(
            path=str(path),
            key=key,
            label=REAL,
            domain=self._domain,
            dataset=self.name,
            identity=self._identity_key(identity),
        )

    def _fake(self, identity: int, photo: int) -> MediaItem:
        key = f"fake/{_person(identity)}/{photo:03}.jpg"
        path = self.folder / key
        shot = _FIRST_FAKE_SHOT + photo
        method = METHODS[photo % len(METHODS)]
        donor = donor_of(self.seed, identity, shot)
        if not path.exists():
            size = _file_size(self.seed, identity, shot)
            pixels = render_swap(self.seed, identity, donor, shot, size, method).pixels
            _write(path, encode(pixels, make_camera(self.seed, identity, shot)))
        return MediaItem(
            path=str(path),
            key=key,
            label=FAKE,
            domain=self._domain,
            dataset=self.name,
            method=method,
            identity=self._identity_key(identity),
            related=(self._identity_key(identity), self._identity_key(donor)),
        )

    def _identity_key(self, identity: int) -> str:
        return identity_key(self.name, f"seed{self.seed}_{_person(identity)}")


def donor_of(seed: int, target: int, shot: int) -> int:
    """Who gives the face in a fake of `target`: another member of the same family."""
    step = int(stream(seed, FILE_STREAM, target, shot).integers(1, FAMILY))
    return target - target % FAMILY + (target + step) % FAMILY


def _file_size(seed: int, identity: int, shot: int) -> int:
    """Side of the image file, pixels."""
    return int(stream(seed, FILE_STREAM, identity, shot, 1).integers(*_SIZES))


def _person(identity: int) -> str:
    return f"identity_{identity:04}"


def _parse(location: str) -> tuple[int, int]:
    name, *numbers = location.split(":")
    usage = f"{location!r}: expected synthetic[:IDENTITIES[:SEED]], for example synthetic:60:0"
    if name != SyntheticFaces.name or len(numbers) > 2:
        raise InputError(usage)
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise InputError(f"{usage}; the numbers are whole and not negative")
    identities = int(numbers[0]) if numbers else DEFAULT_IDENTITIES
    seed = int(numbers[1]) if len(numbers) > 1 else 0
    if not 1 <= identities <= MAX_IDENTITIES or seed > MAX_SEED:
        raise InputError(
            f"{location!r}: expected 1 to {MAX_IDENTITIES} identities, a seed up to {MAX_SEED}"
        )
    return identities, seed


def _write(path: Path, data: bytes) -> None:
    """Writes a file under a temporary name first: a file that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)
