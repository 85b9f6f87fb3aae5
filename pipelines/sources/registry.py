"""The sources by name. A new source is one module and one line here."""

import os
from pathlib import Path

from pipelines.errors import InputError, printable
from pipelines.sources import pseudo_fakes, tfds_source
from pipelines.sources.base import Source, SourceFactory
from pipelines.sources.csv_manifest import CsvManifest
from pipelines.sources.folder import FolderSource
from pipelines.sources.pseudo_fakes import PseudoFakes
from pipelines.sources.synthetic import SyntheticFaces
from pipelines.sources.tfds_source import TfdsSource

SOURCES: dict[str, SourceFactory] = {
    "folder": FolderSource,
    "csv": CsvManifest,
    "tfds": TfdsSource,
    "synthetic": SyntheticFaces,
    "pseudo_fakes": PseudoFakes,
}
AUTO = "auto"


def open_source(name: str, location: str, *, domain: str | None, staging: Path) -> Source:
    """Returns a source; nothing is read before its `items` are asked for.

    Args:
        name: A key of SOURCES, or `auto` to tell it from the location.
        location: Folder, CSV file, `tfds:NAME...`, `synthetic[:IDENTITIES[:SEED]]` or
            `pseudo_fakes:[FAMILY,...:]FOLDER`.
        domain: Domain of every item, or None to let the source name it.
        staging: Folder below which a source without files of its own writes them.

    Raises:
        InputError: Unknown name, nothing at the location, or a location of no known kind.
    """
    if name == AUTO:
        name = guess(location)
    if name not in SOURCES:
        raise InputError(f"source {name!r}: expected one of {', '.join((AUTO, *SOURCES))}")
    return SOURCES[name](location, domain=domain, staging=staging)


def guess(location: str) -> str:
    """Returns the name of the source that a location belongs to.

    The addresses `tfds:...`, `pseudo_fakes:...` and `synthetic...` come first; write `./synthetic`
    for a folder of that name.
    """
    if location.startswith(tfds_source.PREFIX):
        return "tfds"
    if location.startswith(pseudo_fakes.PREFIX):
        return "pseudo_fakes"
    if location == "synthetic" or location.startswith("synthetic:"):
        return "synthetic"
    path = Path(location)
    if path.is_dir():
        prepared = all((path / file).is_file() for file in ("dataset_info.json", "features.json"))
        return "tfds" if prepared else "folder"
    if path.is_file() and path.suffix.casefold() == ".csv":
        return "csv"
    found = (
        "neither a folder nor a .csv file" if os.path.lexists(path) else "no such file or folder"
    )
    raise InputError(
        f"{printable(location)}: {found}; expected a folder, a CSV file, tfds:NAME, synthetic or "
        "pseudo_fakes:FOLDER"
    )
