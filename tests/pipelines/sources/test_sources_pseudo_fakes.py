"""The source of pseudo-fakes: what it lists, how it encodes, what it leaves out."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL
from pipelines.settings import PSEUDO_FAKE_FAMILIES
from pipelines.sources import pseudo_fakes as module
from pipelines.sources.registry import guess, open_source
from pipelines.sources.synthetic_portraits import render_face


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Two people in named folders, one loose picture, a fake and a broken file."""
    root = tmp_path_factory.mktemp("faces")
    for person, name in enumerate(["train/ann/1", "train/ann/2", "val/ben/1", "loose", "fake/x"]):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(render_face(1, person, 0, 64).pixels[:, :56]).save(path)
    (root / "broken.png").write_bytes(b"no picture")
    return root


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "SIDE", 48)


@pytest.fixture(scope="module")
def staging(tmp_path_factory):
    return tmp_path_factory.mktemp("staging")


def listed(faces, staging, families="self_blend:"):
    return open_source("auto", f"pseudo_fakes:{families}{faces}", domain=None, staging=staging)


def test_items_keep_pairs_people_and_splits(faces, staging):
    source = listed(faces, staging)
    items = source.items()
    assert [item.key for item in items] == sorted(item.key for item in items)
    assert [(item.label, item.method) for item in items] == [(FAKE, "self_blend")] * 4 + [
        (REAL, "")
    ] * 4
    by_key = {item.key: item for item in items}
    first, fake = by_key["real/train/ann/1.png.jpg"], by_key["fake/self_blend/train/ann/1.png.jpg"]
    assert first.identity == fake.identity == by_key["real/train/ann/2.png.jpg"].identity
    assert set(first.related) & set(fake.related)
    assert (first.split, by_key["real/val/ben/1.png.jpg"].split) == ("train", "val")
    assert by_key["real/loose.png.jpg"].split is None
    assert {item.domain for item in items} == {source.name}
    assert [failure.path.endswith("broken.png") for failure in source.failures] == [True]
    assert source.skipped["fakes"] == 1


def test_pictures_are_encoded_alike_and_differ_in_a_part(faces, staging):
    items = {item.key: item for item in listed(faces, staging).items()}
    for name in ("loose", "val/ben/1"):
        real, fake = (
            Image.open(items[f"{kind}/{name}.png.jpg"].path) for kind in ("real", "fake/self_blend")
        )
        assert real.size == fake.size == (48, 48)
        assert real.quantization == fake.quantization
        gaps = np.abs(np.asarray(real, int) - np.asarray(fake, int)).max(axis=-1)
        assert gaps.max() > 8
        assert (gaps == 0).mean() > 0.2


def test_files_that_are_there_are_kept(faces, tmp_path):
    folder = faces / "train"
    path = next(Path(i.path) for i in listed(folder, tmp_path).items() if i.label == FAKE)
    path.write_bytes(b"kept")
    again = listed(folder, tmp_path).items()
    assert path in [Path(item.path) for item in again]
    assert path.read_bytes() == b"kept"


def test_pictures_do_not_depend_on_the_staging_folder(faces, tmp_path):
    first, other = (
        {item.key: Path(item.path).read_bytes() for item in listed(faces / "train", place).items()}
        for place in (tmp_path / "one", tmp_path / "other")
    )
    assert first == other


def test_all_families_without_a_choice(faces, staging):
    items = listed(faces / "train", staging, families="").items()
    assert {item.method for item in items} == {"", *PSEUDO_FAKE_FAMILIES}
    # Donors come from the same run: no split may part it.
    assert len({item.related for item in items}) == 1


@pytest.mark.parametrize("location", ["pseudo_fakes:", "pseudo_fakes:/no/such/folder"])
def test_odd_addresses_are_refused(location, tmp_path):
    assert guess(location) == "pseudo_fakes"
    if location == "pseudo_fakes:":
        location = f"pseudo_fakes:{tmp_path}"
    with pytest.raises(InputError, match="pseudo_fakes:FOLDER"):
        open_source("auto", location, domain=None, staging=tmp_path).items()
