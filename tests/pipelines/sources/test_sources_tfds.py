import hashlib
import io
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL, UNKNOWN
from pipelines.sources.tfds_source import TfdsSource

tfds = pytest.importorskip("tensorflow_datasets")


def encoded(seed, file_format):
    pixels = np.random.default_rng(seed).integers(0, 255, (12, 10, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, file_format)
    return buffer.getvalue()


class Tiny(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.2.0")
    FORMAT = "png"
    NAMES = ("cat", "dog")
    SPLITS = {"train": 5, "test": 3}  # noqa: RUF012

    def _info(self):
        features = {
            "image": tfds.features.Image(encoding_format=self.FORMAT),
            "label": tfds.features.ClassLabel(names=list(self.NAMES)),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, n) for split, n in self.SPLITS.items()}

    def _generate_examples(self, split, number):
        for i in range(number):
            image = io.BytesIO(encoded([i, len(split)], self.FORMAT))
            yield i, {"image": image, "label": i % len(self.NAMES)}


class TinyForgery(Tiny):
    FORMAT = "jpeg"
    NAMES = ("manipulated", "original", "unsure")
    SPLITS = {"train": 3, "validation": 3, "extra": 1}  # noqa: RUF012


class TinyText(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        yield 0, {"text": "a"}


class TinyOffline(Tiny):
    def _split_generators(self, dl_manager):
        print("downloading")
        raise ConnectionError("no route to host\nadvice")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds")
    for builder in (Tiny, TinyForgery, TinyText):
        builder(data_dir=folder).download_and_prepare()
    return folder


@pytest.fixture
def opened(tmp_path, data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))

    def open_location(location, domain=None):
        return TfdsSource(location, domain=domain, staging=tmp_path / "staging")

    return open_location


def digests(items):
    from pathlib import Path

    return {hashlib.sha256(Path(item.path).read_bytes()).hexdigest() for item in items}


def test_original_bytes_official_splits_and_everything_real(opened):
    source = opened("tfds:tiny")
    items = source.items()
    assert [(i.split, i.label, i.domain, i.dataset) for i in items] == [
        *[("test", REAL, "tiny", "tiny")] * 3,
        *[("train", REAL, "tiny", "tiny")] * 5,
    ]
    assert items[0].key == "test/00000000.png"
    for split, number in (("train", 5), ("test", 3)):
        expected = {
            hashlib.sha256(encoded([i, len(split)], "png")).hexdigest() for i in range(number)
        }
        assert digests(i for i in items if i.split == split) == expected


def test_class_names_that_say_real_and_fake_are_labels(opened):
    items = opened("tfds:tiny_forgery", domain="mine").items()
    assert {i.split for i in items} == {"train", "val", None}
    assert {i.domain for i in items} == {"mine"}
    train = {hashlib.sha256(encoded([i, 5], "jpeg")).hexdigest(): i for i in range(3)}
    labels = {train[next(iter(digests([i])))]: i.label for i in items if i.split == "train"}
    assert labels == {0: FAKE, 1: REAL, 2: UNKNOWN}
    assert all(i.path.endswith(".jpg") for i in items)


def test_chosen_splits_and_slices(opened):
    items = opened("tfds:tiny:1.2.0:train[:2]+test").items()
    assert [(i.key, i.split) for i in items] == [
        ("test/00000000.png", "test"),
        ("test/00000001.png", "test"),
        ("test/00000002.png", "test"),
        ("train[:2]/00000000.png", "train"),
        ("train[:2]/00000001.png", "train"),
    ]


def test_a_prepared_folder_is_a_location(opened, data_dir):
    by_folder = opened(str(data_dir / "tiny/1.2.0")).items()
    assert [i.key for i in by_folder] == [i.key for i in opened("tfds:tiny").items()]


def test_files_are_written_once_and_healed(opened, tmp_path):
    from pathlib import Path

    items = opened("tfds:tiny").items()
    before = {i.path: Path(i.path).stat().st_mtime_ns for i in items}
    opened("tfds:tiny").items()
    assert {path: Path(path).stat().st_mtime_ns for path in before} == before

    broken = Path(items[-1].path)
    content = broken.read_bytes()
    for damage in (lambda: broken.write_bytes(content[:-1]), broken.unlink):
        damage()
        assert opened("tfds:tiny").items() == items
        assert broken.read_bytes() == content

    complete = broken.parent
    partial = complete.with_name(complete.name + ".partial")
    shutil.move(complete, partial)
    (partial / "index.csv").unlink()
    (partial / "left over").write_text("from a killed run")
    assert opened("tfds:tiny").items() == items
    assert not partial.exists()
    assert not (complete / "left over").exists()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("tfds:tiny_text", "tfds:tiny_text: no image among its features text"),
        ("tfds:no_such_dataset", "tfds:no_such_dataset: TFDS cannot open it: .*not found"),
        ("tfds:tiny:nowhere", r"tiny: split 'nowhere': .*; it has test, train"),
        ("tfds:", "expected tfds:NAME"),
        ("tfds:../tiny", "expected tfds:NAME"),
    ],
)
def test_what_cannot_be_read_is_one_line(opened, location, message):
    with pytest.raises(InputError, match=message) as caught:
        opened(location).items()
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_dataset(opened, tmp_path):
    with pytest.raises(InputError, match="not a TFDS folder"):
        opened(str(tmp_path)).items()


def test_offline_is_one_line_and_stdout_stays_clean(opened, capfd):
    with pytest.raises(
        InputError, match=r"not prepared in .* and cannot be downloaded: no route to host; prepare"
    ):
        opened("tfds:tiny_offline").items()
    sys.stdout.flush()
    assert capfd.readouterr().out == ""
