"""The manifest: what a record folder holds, and the mark that it is whole. Free of TensorFlow.

It is written last, by rename; readers take the shards from it, never by listing the folder, and
refuse a folder without one.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pipelines.errors import DatasetError, InputError
from pipelines.media_item import LABEL_NAMES, SPLITS
from pipelines.records.files import write_atomically
from pipelines.records.schema import DATASET_NAME, SCHEMA_VERSION

MANIFEST_NAME = "manifest.json"
NO_COMPRESSION = "none"


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard.

    Args:
        file: Name in the record folder.
        split: `train`, `val` or `test`.
        records: Number of records.
        bytes: Size of the file.
        sha256: Digest of the file, hex.
        counts: `label|domain` (such as `1|stylegan2`) -> number of records.
    """

    file: str
    split: str
    records: int
    bytes: int
    sha256: str
    counts: Mapping[str, int]

    def __post_init__(self) -> None:
        if not self.file or Path(self.file).name != self.file:
            raise ValueError(f"shard {self.file!r} is not a plain file name")
        if self.split not in SPLITS:
            raise ValueError(f"{self.file}: split {self.split!r}, expected one of {SPLITS}")
        if sum(self.counts.values()) != self.records:
            raise ValueError(f"{self.file}: counts {dict(self.counts)} are not {self.records}")


@dataclass(frozen=True, slots=True)
class Failure:
    """One media item or face that did not become a record.

    Args:
        key: Key of the media item.
        cause: Member of `pipelines.errors.Cause`.
        reason: One line for people.
    """

    key: str
    cause: str
    reason: str


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record of a sound shard whose picture cannot be used.

    Args:
        file: Name of the shard.
        index: Number of the record in it, from 0.
        offset: Where it begins in the file, bytes.
        group: `label|domain`, its key in the shard's counts.
        reason: What is wrong, in words.
    """

    file: str
    index: int
    offset: int
    group: str
    reason: str

    def describe(self, folder: Path) -> str:
        """Returns one line: path of the shard, place and reason."""
        return f"{folder / self.file}: record {self.index} at byte {self.offset}: {self.reason}"


@dataclass(frozen=True)
class Manifest:
    """Everything known about a record folder.

    Args:
        name: Name of the dataset, for reports.
        settings: `PrepareSettings` as a dict.
        shards: In reading order: by split (train, val, test), then by number.
        domains: Sorted; the id of a domain is its place here.
        failed: What did not become a record.
        split_proof: `SplitProof.to_dict()`.
        sources: What was prepared, one JSON object a source.
        harmonization: `carrier_survey.survey_report()`; empty where crops were not harmonised.
        compression: `none`; there is no other yet.
        schema_version: Version of the format.
        skipped: Records that readers leave out; counts and records of the shards are without them.
            Never stored.

    Raises:
        ValueError: Shards repeat or are of domains or labels outside the vocabularies.
    """

    name: str
    settings: Mapping[str, Any]
    shards: tuple[ShardInfo, ...]
    domains: tuple[str, ...]
    failed: tuple[Failure, ...] = ()
    split_proof: Mapping[str, Any] = field(default_factory=dict)
    sources: tuple[Mapping[str, Any], ...] = ()
    harmonization: Mapping[str, Any] = field(default_factory=dict)
    compression: str = NO_COMPRESSION
    schema_version: int = SCHEMA_VERSION
    skipped: tuple[BadRecord, ...] = ()

    def __post_init__(self) -> None:
        # What JSON makes of them, so that a manifest equals itself once saved and loaded.
        for name in ("settings", "split_proof", "harmonization"):
            object.__setattr__(self, name, _plain(getattr(self, name)))
        object.__setattr__(self, "sources", tuple(map(_plain, self.sources)))
        names = Counter(shard.file for shard in self.shards)
        if repeated := [name for name, count in names.items() if count > 1]:
            raise ValueError(f"shard {repeated[0]} is listed twice")
        if list(self.domains) != sorted(set(self.domains)):
            raise ValueError(f"domains {self.domains} are not sorted and distinct")
        for shard in self.shards:
            for key in shard.counts:
                label, _, domain = key.partition("|")
                if domain not in self.domains or label not in map(str, LABEL_NAMES):
                    raise ValueError(f"{shard.file}: counts {key!r}, not in the vocabularies")

    @property
    def labels(self) -> tuple[int, ...]:
        """Labels that occur, sorted."""
        keys = {key for shard in self.shards for key in shard.counts}
        return tuple(sorted({int(key.partition("|")[0]) for key in keys}))

    @property
    def failures(self) -> dict[str, int]:
        """Number of failures by cause."""
        return dict(sorted(Counter(failure.cause for failure in self.failed).items()))

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns split -> `label|domain` -> number of records, for all three splits."""
        totals: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
        for shard in self.shards:
            totals[shard.split].update(shard.counts)
        return {split: dict(sorted(total.items())) for split, total in totals.items()}

    def split_shards(self, split: str) -> tuple[ShardInfo, ...]:
        """Returns the shards of a split, in reading order."""
        return tuple(shard for shard in self.shards if shard.split == split)

    def skipped_in(self, shard: ShardInfo) -> list[int]:
        """Returns the numbers of a shard's records that readers leave out, ascending."""
        return sorted(bad.index for bad in self.skipped if bad.file == shard.file)

    def leaving_out(self, bad: Iterable[BadRecord]) -> "Manifest":
        """Returns the manifest of what is left without some records, its fingerprint the same."""
        skipped = tuple(bad)
        lost: dict[str, Counter[str]] = {shard.file: Counter() for shard in self.shards}
        for record in skipped:
            lost[record.file][record.group] += 1
        shards = []
        for shard in self.shards:
            counts = Counter(shard.counts) - lost[shard.file]
            shards.append(replace(shard, records=counts.total(), counts=dict(counts)))
        return replace(self, shards=tuple(shards), skipped=(*self.skipped, *skipped))

    def fingerprint(self) -> str:
        """Returns a digest of the content: schema, domain ids, and every shard's split and bytes.

        Two builds of the same records have the same fingerprint wherever they lie and whatever
        they are called.
        """
        shards = [[shard.file, shard.split, shard.sha256] for shard in self.shards]
        return _digest([self.schema_version, list(self.domains), shards])

    def to_dict(self) -> dict[str, Any]:
        """Returns the manifest as JSON types, with the sums that people look for first."""
        return {
            "schema_version": self.schema_version,
            "name": self.name,
            "fingerprint": self.fingerprint(),
            "compression": self.compression,
            "labels": {str(label): LABEL_NAMES[label] for label in self.labels},
            "domains": list(self.domains),
            "counts": self.counts(),
            "failures": self.failures,
            "split_proof": dict(self.split_proof),
            "settings": dict(self.settings),
            "sources": [dict(source) for source in self.sources],
            # Only where there is one: manifests of earlier programs stay as they were.
            **({"harmonization": dict(self.harmonization)} if self.harmonization else {}),
            "shards": [
                {**asdict(s), "counts": dict(sorted(s.counts.items()))} for s in self.shards
            ],
            "failed": [asdict(failure) for failure in self.failed],
        }


def save_manifest(folder: Path, manifest: Manifest) -> Path:
    """Writes `manifest.json` by rename: after this the folder counts as whole.

    Raises:
        ValueError: Records are left out, which a reader may do, not a folder.
        DatasetError: The file system refused.
    """
    if manifest.skipped:
        raise ValueError("a manifest that leaves records out is not for storing")
    content = manifest.to_dict()
    text = json.dumps({**content, "checksum": _digest(content)}, indent=1) + "\n"
    path = folder / MANIFEST_NAME
    write_atomically(path, text.encode())
    return path


def load_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a record folder; the shards are not looked at.

    Raises:
        InputError: There is no such folder.
        DatasetError: No manifest, or one that is damaged, edited or of another schema version.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such record folder; make one with `dfd-tf prepare`")
    path = folder / MANIFEST_NAME
    content = _read(path)
    version = content.get("schema_version")
    if version != SCHEMA_VERSION:
        raise DatasetError(
            f"{path}: schema version {version}, this program reads version {SCHEMA_VERSION}; "
            "run `dfd-tf prepare` again"
        )
    if content.pop("checksum", None) != _digest(content):
        raise DatasetError(
            f"{path}: edited or damaged since it was written (its checksum does not match); "
            "restore it or run `dfd-tf prepare` again"
        )
    if content["compression"] != NO_COMPRESSION:
        raise DatasetError(
            f"{path}: compression {content['compression']!r}, only {NO_COMPRESSION!r} is supported"
        )
    try:
        return _from_dict(content)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f"{path}: {error}") from error


def shard_name(split: str, index: int, count: int) -> str:
    """Returns the name of a shard; the pattern is TFDS's, so that TFDS finds it."""
    return f"{DATASET_NAME}-{split}.tfrecord-{index:05d}-of-{count:05d}"


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DatasetError(
            f"{path}: not found; the folder is no record folder or its `dfd-tf prepare` was not "
            "finished (run it again, it continues)"
        ) from None
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise DatasetError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content


def _from_dict(content: dict[str, Any]) -> Manifest:
    return Manifest(
        name=content["name"],
        settings=content["settings"],
        shards=tuple(ShardInfo(**shard) for shard in content["shards"]),
        domains=tuple(content["domains"]),
        failed=tuple(Failure(**failure) for failure in content["failed"]),
        split_proof=content["split_proof"],
        sources=tuple(content["sources"]),
        harmonization=content.get("harmonization", {}),
        compression=content["compression"],
        schema_version=content["schema_version"],
    )


def _plain(content: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(content))


def _digest(content: Any) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
