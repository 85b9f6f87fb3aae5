"""A CSV file that lists media: `path,label[,domain,identity,video,split,method,dataset]`.

Extra columns are ignored; paths are relative to the CSV file. Labels are real, fake, unknown or 0,
1, -1. Two rows of one path must agree. A row that cannot be used is a failure with its line number,
and the others go on.
"""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.errors import Cause, InputError, MediaError, printable
from pipelines.media_item import FAKE, REAL, UNKNOWN, MediaItem
from pipelines.sources.base import identity_key, video_key
from pipelines.sources.folder import SPLIT_NAMES

LABELS = {"real": REAL, "0": REAL, "fake": FAKE, "1": FAKE, "unknown": UNKNOWN, "-1": UNKNOWN}
REQUIRED = ("path", "label")
OPTIONAL = ("domain", "identity", "video", "split", "method", "dataset")
_HEADER = f"{','.join(REQUIRED)}[,{','.join(OPTIONAL)}]"


class CsvManifest:
    """The media a CSV file lists.

    Args:
        location: The CSV file, UTF-8, with a header.
        domain: Domain of every item; None: the row's domain, else its dataset, else the file's
            name.
        staging: Not used: the files are there.
    """

    def __init__(self, location: str, *, domain: str | None, staging: Path) -> None:  # noqa: ARG002
        self._file = Path(location)
        self._domain = domain
        self.name = self._file.stem
        self.failures: list[MediaError] = []
        self.skipped: dict[str, int] = {}

    def items(self) -> list[MediaItem]:
        self.failures, self.skipped = [], {}
        rows: dict[str, list[tuple[int, MediaItem]]] = defaultdict(list)
        for line, row in self._rows():
            try:
                item = self._item(row)
            except ValueError as error:
                self._fail(row.get("path", ""), line, str(error))
            else:
                rows[item.path].append((line, item))
        items = []
        for (line, item), *others in rows.values():
            contradiction = next((n for n, other in others if other != item), None)
            if contradiction is None:
                items.append(item)
                self._skip("repeated rows", len(others))
            else:
                reason = f"line {contradiction} says otherwise of the same file; neither is used"
                self._fail(item.key, line, reason)
        if not items and not self.failures:
            raise InputError(f"{self._name()}: no rows below the header")
        return sorted(items, key=lambda item: item.key)

    def _rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yields line number and cells by column of each well-formed row."""
        try:
            # Undecodable bytes stay what they are: a path may hold them.
            text = self._file.read_bytes().decode("utf-8-sig", "surrogateescape")
        except OSError as error:
            raise InputError(f"{self._name()}: cannot be read: {error.strerror}") from error
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        columns = [name.strip().casefold() for name in self._next(reader) or []]
        missing = [name for name in REQUIRED if name not in columns]
        if missing:
            raise InputError(
                f"{self._name()}: no column {' and '.join(missing)} in the first line; expected "
                f"the header {_HEADER}, separated by commas"
            )
        while (cells := self._next(reader)) is not None:
            if len(cells) > len(columns):
                reason = f"{len(cells)} cells under {len(columns)} columns; quote commas"
                self._fail(cells[0], reader.line_num, reason)
            elif cells:
                yield reader.line_num, dict(zip(columns, cells, strict=False))

    def _next(self, reader: Any) -> list[str] | None:
        """Returns the next well-formed row, None at the end."""
        while True:
            try:
                return next(reader, None)
            except csv.Error as error:
                self._fail("", reader.line_num, str(error))

    def _item(self, row: dict[str, str]) -> MediaItem:
        """Returns the item of a row; ValueError says what is wrong with it."""
        for name in REQUIRED:
            if not row.get(name, "").strip():
                raise ValueError(f"no {name}")
        if "\0" in row["path"]:
            raise ValueError("path with a NUL character")
        label = LABELS.get(row["label"].strip().casefold())
        if label is None:
            raise ValueError(f"label {row['label']!r}, expected one of {', '.join(LABELS)}")
        cells = {name: row.get(name, "").strip() for name in OPTIONAL}
        split = SPLIT_NAMES.get(cells["split"].casefold())
        if cells["split"] and split is None:
            raise ValueError(f"split {cells['split']!r}, expected train, val or test")
        key = PurePosixPath(os.path.normpath(row["path"])).as_posix()
        dataset = cells["dataset"] or cells["domain"] or self.name
        return MediaItem(
            path=os.path.normpath(self._file.parent / key),
            key=key,
            label=label,
            domain=self._domain or cells["domain"] or dataset,
            dataset=dataset,
            method=cells["method"],
            video=cells["video"] and video_key(dataset, cells["method"], label, cells["video"]),
            identity=cells["identity"] and identity_key(dataset, cells["identity"]),
            split=split,
        )

    def _fail(self, path: str, line: int, reason: str) -> None:
        named = MediaError(path or str(self._file), Cause.BAD_ROW, f"line {line}: {reason}")
        self.failures.append(named)

    def _skip(self, reason: str, number: int) -> None:
        if number:
            self.skipped[reason] = self.skipped.get(reason, 0) + number

    def _name(self) -> str:
        return printable(str(self._file))
