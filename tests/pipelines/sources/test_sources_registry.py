import subprocess
import sys

import pytest

from pipelines.errors import InputError
from pipelines.sources.csv_manifest import CsvManifest
from pipelines.sources.folder import FolderSource
from pipelines.sources.registry import SOURCES, guess, open_source
from pipelines.sources.synthetic import SyntheticFaces
from pipelines.sources.tfds_source import TfdsSource


def test_locations_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "list.CSV").write_text("path,label\n")
    prepared = tmp_path / "cifar10/3.0.2"
    prepared.mkdir(parents=True)
    for file in ("dataset_info.json", "features.json"):
        (prepared / file).write_text("{}")
    expected = {
        "tfds:cifar10": "tfds",
        str(prepared): "tfds",
        "synthetic": "synthetic",
        "synthetic:12:3": "synthetic",
        "./synthetic": "folder",
        "folder.csv": "folder",
        "list.CSV": "csv",
    }
    assert {location: guess(location) for location in expected} == expected


def test_nothing_and_other_files_are_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"a\.jpg: neither a folder nor a \.csv file; expected"):
        guess(str(tmp_path / "a.jpg"))
    with pytest.raises(InputError, match="no such file or folder"):
        guess(str(tmp_path / "b"))


def test_sources_open_by_name_and_by_guess(tmp_path):
    (tmp_path / "list.csv").write_text("path,label\na.jpg,real\n")
    kinds = {
        ("auto", str(tmp_path)): FolderSource,
        ("auto", str(tmp_path / "list.csv")): CsvManifest,
        ("auto", "tfds:cifar10"): TfdsSource,
        ("auto", "synthetic:2"): SyntheticFaces,
        ("folder", "synthetic"): FolderSource,
    }
    for (name, location), kind in kinds.items():
        opened = open_source(name, location, domain="d", staging=tmp_path / "staging")
        assert type(opened) is kind
        assert list(opened.failures) == []
        assert dict(opened.skipped) == {}
    assert not (tmp_path / "staging").exists()


def test_an_unknown_source_names_the_known_ones(tmp_path):
    with pytest.raises(InputError, match="expected one of auto, folder, csv, tfds, synthetic"):
        open_source("dfdc", str(tmp_path), domain=None, staging=tmp_path)
    assert set(SOURCES) == {"folder", "csv", "tfds", "synthetic", "pseudo_fakes"}


def test_opening_sources_imports_no_tensorflow():
    code = (
        "import sys, pipelines.sources.registry, pipelines.splits\n"
        "print(sorted({'tensorflow', 'keras', 'tensorflow_datasets'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
