"""Images of a TensorFlow Datasets dataset, written out as the files they were encoded from.

`tfds:NAME[/CONFIG][:VERSION][:SPLITS]`, or a folder that TFDS has prepared. SPLITS are joined by
`+` and may be slices (`train[:10%]+test`). The official train, validation and test splits are
stated as such. A class label whose names say real and fake is used; every other dataset is material
for one-class training: everything real.
"""

import contextlib
import csv
import os
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.errors import InputError, MediaError, printable
from pipelines.media_item import REAL, UNKNOWN, MediaItem
from pipelines.sources.folder import CLASS_NAMES, SPLIT_NAMES

PREFIX = "tfds:"
_ADDRESS = re.compile(
    r"(?P<name>[\w/]+(?::\d+\.\d+\.\d+)?)(?::(?P<splits>[^:].*))?", re.ASCII | re.DOTALL
)
_INDEX = "index.csv"
_SUFFIXES = ((b"\x89PNG", ".png"), (b"\xff\xd8", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


class TfdsSource:
    """The images of a TFDS dataset.

    Args:
        location: `tfds:...` or the folder of a prepared version, which holds `dataset_info.json`.
        domain: Domain of every item; None: the dataset's name.
        staging: Folder below which the images are written, once.
    """

    def __init__(self, location: str, *, domain: str | None, staging: Path) -> None:
        self._location = location
        self._domain = domain
        self._staging = staging
        self._splits = ""
        self.name = Path(location).name
        if location.startswith(PREFIX):
            match = _ADDRESS.fullmatch(location.removeprefix(PREFIX))
            if not match:
                raise InputError(
                    f"{printable(location)}: expected tfds:NAME[/CONFIG][:VERSION][:SPLITS], "
                    "such as tfds:cifar10 or tfds:cifar10:train[:10%]+test"
                )
            self.name, self._splits = match["name"], match["splits"] or ""
        self.failures: list[MediaError] = []
        self.skipped: dict[str, int] = {}

    def items(self) -> list[MediaItem]:
        """Returns the items; downloads, prepares and writes out what is not there yet."""
        builder = self._open()
        self.name = builder.info.name
        image, label = self._features(builder)
        items: list[MediaItem] = []
        for split in self._splits.split("+") if self._splits else sorted(builder.info.splits):
            folder = self._staging / "_".join(
                re.sub(r"[^\w.]+", "-", part)
                for part in (*builder.info.full_name.split("/"), split)
            )
            if not _is_complete(folder):
                _write_images(builder, split, image, label, folder)
            items += self._items(folder, split)
        return sorted(items, key=lambda item: item.key)

    def _open(self) -> Any:
        import tensorflow_datasets as tfds

        where = printable(self._location)
        if not self._location.startswith(PREFIX):
            try:
                return tfds.builder_from_directory(self._location)
            except Exception as error:
                raise InputError(f"{where}: not a TFDS folder: {_one_line(error)}") from error
        try:
            builder = tfds.builder(self.name, data_dir=os.environ.get("TFDS_DATA_DIR"))
        except Exception as error:
            raise InputError(
                f"{where}: TFDS cannot open it: {_one_line(error)}; names are listed at "
                "https://www.tensorflow.org/datasets"
            ) from error
        if not builder.is_prepared():
            try:
                # TFDS announces the download on stdout, which is for results.
                with contextlib.redirect_stdout(sys.stderr):
                    builder.download_and_prepare()
            except Exception as error:
                raise InputError(
                    f"{where}: not prepared in {builder.data_dir} and cannot be downloaded: "
                    f"{_one_line(error)}; prepare it on a machine with network access and set "
                    "TFDS_DATA_DIR to the folder"
                ) from error
        return builder

    def _features(self, builder: Any) -> tuple[str, str | None]:
        """Returns the names of the image feature and of the label, None without one to use."""
        import tensorflow_datasets as tfds

        features = builder.info.features
        images = [name for name, f in features.items() if isinstance(f, tfds.features.Image)]
        if not images:
            raise InputError(
                f"{printable(self._location)}: no image among its features {', '.join(features)}"
            )
        for name, feature in features.items():
            names = getattr(feature, "names", None) or ()
            if {CLASS_NAMES.get(n.casefold()) for n in names} >= set(CLASS_NAMES.values()):
                return images[0], name
        return images[0], None

    def _items(self, folder: Path, split: str) -> Iterator[MediaItem]:
        stated = SPLIT_NAMES.get(split.partition("[")[0].strip())
        for file, text in _read_index(folder):
            label = CLASS_NAMES.get(text.casefold(), UNKNOWN) if text else REAL
            yield MediaItem(
                path=str(folder / file),
                key=f"{split}/{file}",
                label=label,
                domain=self._domain or self.name,
                dataset=self.name,
                split=stated,
            )


def _write_images(builder: Any, split: str, image: str, label: str | None, folder: Path) -> None:
    """Writes one split in the order of its shards; the folder gets its name when all is there."""
    import tensorflow_datasets as tfds

    try:
        dataset = builder.as_dataset(
            split=split,
            decoders={image: tfds.decode.SkipDecoding()},
            shuffle_files=False,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
    except ValueError as error:
        known = ", ".join(sorted(builder.info.splits))
        raise InputError(
            f"{builder.info.name}: split {split!r}: {_one_line(error)}; it has {known}"
        ) from error
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    names = builder.info.features[label].names if label else []
    rows = []
    for index, example in enumerate(tfds.as_numpy(dataset)):
        encoded = example[image]
        file = f"{index:08d}{_suffix(encoded)}"
        (partial / file).write_bytes(encoded)
        rows.append((file, len(encoded), names[example[label]] if label else ""))
    with (partial / _INDEX).open("w", newline="") as index_file:
        csv.writer(index_file).writerows(rows)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def _is_complete(folder: Path) -> bool:
    """Whether the index and every file it lists, at its size, are there."""
    if not (folder / _INDEX).is_file():
        return False
    with (folder / _INDEX).open(newline="") as index_file:
        sizes = {file: int(size) for file, size, _ in csv.reader(index_file)}
    found = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    return all(found.get(file) == size for file, size in sizes.items())


def _read_index(folder: Path) -> list[tuple[str, str]]:
    """Returns file name and class name of each image, the latter empty where there is no label."""
    with (folder / _INDEX).open(newline="") as index_file:
        return [(file, text) for file, _, text in csv.reader(index_file)]


def _suffix(encoded: bytes) -> str:
    return next((suffix for magic, suffix in _SUFFIXES if encoded.startswith(magic)), ".img")


def _one_line(error: Exception) -> str:
    """Returns the first line of an error's text, whose rest TFDS fills with advice."""
    lines: Sequence[str] = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
