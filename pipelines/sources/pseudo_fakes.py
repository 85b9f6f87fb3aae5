"""The source `pseudo_fakes:[FAMILY,...:]FOLDER`: real faces, each with a pseudo-fake a family.

For measuring on the kinds of fakes a detector was trained on, but of unseen faces, and for looking
at them. Each image is cropped to its central square and scaled to `SIDE` pixels; the real one and
its fakes are then written alike, as JPEG of one quality, and a fake differs from its real image
only where it was forged. The faces are expected to fill the picture: `dfd-tf prepare --faces none`.

Images below folders named `fake` and the like are left out, all others are taken for real. Folders
named like a split state it; any other last folder is a person. A pseudo-fake is a function of the
file's key and the family. A splice has its donor among the `RUN` files next to each other in order
of key, and these are tied together, so that donor and splice do not part at a split.
"""

import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from pipelines.errors import InputError, MediaError, printable
from pipelines.media.images import read_image
from pipelines.media_item import FAKE, REAL, MediaItem
from pipelines.settings import PSEUDO_FAKE_FAMILIES, MediaLimits
from pipelines.sources.base import identity_key
from pipelines.sources.folder import CLASS_NAMES, SPLIT_NAMES
from pipelines.sources.walking import walk

PREFIX = "pseudo_fakes:"
SIDE = 256
RUN = 8
_QUALITY = 95
# Part of the staging folder's name: raise it when the pictures change, or old ones would be kept.
_VERSION = 1


class PseudoFakes:
    """Makes pseudo-fakes below a staging folder and lists them with their real images.

    Args:
        location: `pseudo_fakes:FOLDER` for every family, or with the families wanted,
            `pseudo_fakes:self_blend,splice:FOLDER`.
        domain: Domain of every item; None: `pseudo_fakes_` and the folder's name.
        staging: Folder below which the files are written; those already there are kept.

    Raises:
        InputError: Not such an address, or no folder there.
    """

    def __init__(self, location: str, *, domain: str | None, staging: Path) -> None:
        self.families, folder = _parse(location)
        self._root = Path(folder)
        whole = self._root.resolve()
        if not whole.is_dir():
            raise InputError(f"{printable(folder)}: no such folder; {_USAGE}")
        self.name = f"pseudo_fakes_{whole.name}"
        self.failures: list[MediaError] = []
        self.skipped: dict[str, int] = {}
        mark = hashlib.sha256(os.fsencode(whole)).hexdigest()[:12]
        self._folder = staging / f"pseudo_fakes_v{_VERSION}_{mark}"
        self._domain = domain or self.name

    def items(self) -> list[MediaItem]:
        """Makes what is missing and returns all items sorted by key."""
        listing = walk(self._root)
        self.failures, self.skipped = listing.failures, dict(listing.skipped)
        files = [file for file in listing.files if not _is_fake(file)]
        if left_out := len(listing.files) - len(files):
            self.skipped["fakes"] = left_out
        items = [
            item
            for first in range(0, len(files), RUN)
            for item in self._run(files[first : first + RUN])
        ]
        if not items:
            raise InputError(f"{printable(str(self._root))}: no image that can be used; {_USAGE}")
        return sorted(items, key=lambda item: item.key)

    def _run(self, files: Sequence[str]) -> Iterator[MediaItem]:
        """Items of files next to each other, whose splices have their donors among them."""
        made = ("", *self.families)
        if not all(self._path(file, family).exists() for file in files for family in made):
            files = self._make(files)
        tie = (identity_key(self.name, f"run of {files[0]}"),) if files else ()
        for file in files:
            *folders, name = PurePosixPath(file).parts
            splits = [
                SPLIT_NAMES[part.casefold()] for part in folders if part.casefold() in SPLIT_NAMES
            ]
            person = folders[-1] if folders and not _is_layout(folders[-1]) else name
            for family in made:
                yield MediaItem(
                    path=str(self._path(file, family)),
                    key=_key(file, family),
                    label=FAKE if family else REAL,
                    domain=self._domain,
                    dataset=self.name,
                    method=family,
                    identity=identity_key(self.name, person),
                    related=tie if "splice" in self.families else (identity_key(self.name, file),),
                    split=splits[0] if splits else None,
                )

    def _make(self, files: Sequence[str]) -> list[str]:
        """Writes the pictures of files next to each other; returns those that could be read."""
        # TensorFlow takes seconds to import, and other sources do without.
        from pipelines.sources.pseudo_fake_pictures import pseudo_fakes

        faces = {}
        for file in files:
            try:
                faces[file] = _square(read_image(self._root / file, MediaLimits()).pixels)
            except MediaError as error:
                self.failures.append(error)
        if faces:
            for file, pixels in faces.items():
                _save(self._path(file, ""), pixels)
            for family in self.families:
                made = pseudo_fakes(np.stack(list(faces.values())), list(faces), family)
                for file, pixels in zip(faces, made, strict=True):
                    _save(self._path(file, family), pixels)
        return list(faces)

    def _path(self, file: str, family: str) -> Path:
        return self._folder / _key(file, family)


_USAGE = (
    f"expected {PREFIX}FOLDER, a folder of real faces, or {PREFIX}FAMILY,...:FOLDER with some of "
    f"{', '.join(PSEUDO_FAKE_FAMILIES)}"
)


def _parse(location: str) -> tuple[tuple[str, ...], str]:
    if not location.startswith(PREFIX):
        raise InputError(f"{printable(location)}: {_USAGE}")
    rest = location.removeprefix(PREFIX)
    first, colon, folder = rest.partition(":")
    names = first.split(",")
    if colon and set(names) <= set(PSEUDO_FAKE_FAMILIES):
        return tuple(family for family in PSEUDO_FAKE_FAMILIES if family in names), folder
    return PSEUDO_FAKE_FAMILIES, rest


def _is_fake(file: str) -> bool:
    folders = PurePosixPath(file).parts[:-1]
    return any(CLASS_NAMES.get(folder.casefold()) == FAKE for folder in folders)


def _is_layout(folder: str) -> bool:
    return folder.casefold() in CLASS_NAMES or folder.casefold() in SPLIT_NAMES


def _square(pixels: np.ndarray) -> np.ndarray:
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = Image.fromarray(pixels[top : top + side, left : left + side])
    return np.asarray(square.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _key(file: str, family: str) -> str:
    return f"fake/{family}/{file}.jpg" if family else f"real/{file}.jpg"


def _save(path: Path, pixels: np.ndarray) -> None:
    """Writes a file under a temporary name first: a file that exists is whole."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY, subsampling=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}")
    temporary.write_bytes(buffer.getvalue())
    temporary.replace(path)
