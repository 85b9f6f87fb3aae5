import csv
import os
import shutil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Cause, InputError
from pipelines.media_item import FAKE, REAL
from pipelines.sources.folder import FolderSource, read_place


def tree(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(file.encode("utf-8", "surrogateescape"))


def source(root, domain=None):
    return FolderSource(str(root), domain=domain, staging=root / "staging")


def table(items):
    return {item.key: (item.label, item.split, item.domain) for item in items}


def test_real_and_fake(tmp_path):
    root = tmp_path / "faces"
    tree(root, "real/b.jpg", "real/a.jpg", "fake/c.png")
    opened = source(root)
    items = opened.items()
    assert [item.key for item in items] == ["fake/c.png", "real/a.jpg", "real/b.jpg"]
    assert table(items) == {
        "fake/c.png": (FAKE, None, "faces"),
        "real/a.jpg": (REAL, None, "faces"),
        "real/b.jpg": (REAL, None, "faces"),
    }
    assert items[0].path == str(root / "fake/c.png")
    assert (opened.name, opened.failures, opened.skipped) == ("faces", [], {})
    assert all(not (i.video or i.identity or i.related or i.method) for i in items)


def test_splits_domains_and_their_synonyms(tmp_path):
    tree(
        tmp_path,
        "ciplab/Training/Real/a.jpg",
        "ciplab/validation/FAKE/a.jpg",
        "stylegan2/test/1_fake/a.jpg",
        "valid/stylegan2/original/a.jpg",
        "manipulated/train/a.jpg",
        "other/authentic/x.jpg",
    )
    dataset = tmp_path.name
    assert table(source(tmp_path).items()) == {
        "ciplab/Training/Real/a.jpg": (REAL, "train", "ciplab"),
        "ciplab/validation/FAKE/a.jpg": (FAKE, "val", "ciplab"),
        "stylegan2/test/1_fake/a.jpg": (FAKE, "test", "stylegan2"),
        "valid/stylegan2/original/a.jpg": (REAL, "val", "stylegan2"),
        "manipulated/train/a.jpg": (FAKE, "train", dataset),
        "other/authentic/x.jpg": (REAL, None, "other"),
    }


def test_an_explicit_domain_overrides_the_folders_but_not_the_dataset(tmp_path):
    tree(tmp_path, "ciplab/real/ann/a.jpg")
    (item,) = source(tmp_path, domain="mine").items()
    assert (item.domain, item.dataset, item.identity) == ("mine", "ciplab", "ciplab/ann")


@pytest.mark.parametrize(
    ("below", "label", "split"),
    [
        ("lfw/real", REAL, None),
        ("lfw/Fake", FAKE, None),
        ("lfw/train/real", REAL, "train"),
        ("lfw/val/fake", FAKE, "val"),
    ],
)
def test_a_class_folder_given_directly(tmp_path, below, label, split):
    tree(tmp_path / below, "a.jpg", "Ann/b.jpg")
    items = source(tmp_path / below).items()
    assert [(i.label, i.split, i.domain, i.identity) for i in items] == [
        (label, split, "lfw", "lfw/Ann"),
        (label, split, "lfw", ""),
    ]


def test_a_split_folder_given_directly(tmp_path):
    tree(tmp_path / "lfw/test", "real/a.jpg")
    assert table(source(tmp_path / "lfw/test").items()) == {"real/a.jpg": (REAL, "test", "lfw")}


def test_folders_below_win_over_the_roots_own_name(tmp_path):
    tree(tmp_path / "real", "train/fake/a.jpg", "val/real/b.jpg")
    assert table(source(tmp_path / "real").items()) == {
        "train/fake/a.jpg": (FAKE, "train", tmp_path.name),
        "val/real/b.jpg": (REAL, "val", tmp_path.name),
    }


def test_people_and_videos_are_groups(tmp_path):
    root = tmp_path / "ds"
    tree(
        root,
        "real/Ann Lee/Ann_Lee_0001.jpg",
        "fake/Ann Lee/x.jpg",
        "real/youtube/012/0001.png",
        "real/youtube/012/0002.png",
        "fake/Deepfakes/012/frame_1.png",
        "fake/Face2Face/012/frame_1.png",
    )
    items = {item.key: item for item in source(root).items()}
    assert items["real/Ann Lee/Ann_Lee_0001.jpg"].identity == "ds/Ann Lee"
    assert items["fake/Ann Lee/x.jpg"].identity == "ds/Ann Lee"
    assert items["real/youtube/012/0001.png"].video == "ds/real/youtube/012"
    assert items["real/youtube/012/0002.png"].video == "ds/real/youtube/012"
    assert items["fake/Deepfakes/012/frame_1.png"].video == "ds/Deepfakes/012"
    assert items["fake/Face2Face/012/frame_1.png"].video == "ds/Face2Face/012"
    assert items["fake/Face2Face/012/frame_1.png"].method == "Face2Face"
    assert {i.related for k, i in items.items() if "frame" in k} == {("ds/012",)}


def test_one_ordinary_name_makes_a_group_a_person(tmp_path):
    tree(tmp_path, "real/ann/0001.png", "real/ann/portrait.png")
    assert [i.video for i in source(tmp_path).items()] == ["", ""]


def test_folders_without_a_class_show_the_layouts(tmp_path):
    tree(tmp_path, "Ann_Lee/a.jpg")
    with pytest.raises(InputError, match=r"Ann_Lee/a\.jpg\); expected real\|fake/FILES or"):
        source(tmp_path).items()


def test_an_empty_and_a_missing_folder(tmp_path):
    with pytest.raises(InputError, match="no files; expected"):
        source(tmp_path).items()
    with pytest.raises(InputError, match="no such folder"):
        source(tmp_path / "none").items()


def test_media_outside_the_classes_fail_and_documents_are_counted(tmp_path):
    tree(tmp_path, "real/a.jpg", "lfw/Ann/b.jpg", "real/fake/c.png", "README.md", "labels.csv")
    opened = source(tmp_path)
    assert [item.key for item in opened.items()] == ["real/a.jpg"]
    assert [(f.path, f.cause) for f in opened.failures] == [
        ("lfw/Ann/b.jpg", Cause.UNLABELLED),
        ("real/fake/c.png", Cause.UNLABELLED),
    ]
    assert opened.skipped == {"outside the class folders": 2}


def test_hidden_and_junk_files_are_counted(tmp_path):
    tree(
        tmp_path,
        "real/a.jpg",
        "real/.DS_Store",
        "real/._a.jpg",
        "real/Thumbs.db",
        "real/desktop.ini",
        ".git/real/x.jpg",
        "__MACOSX/real/y.jpg",
    )
    opened = source(tmp_path)
    assert [item.key for item in opened.items()] == ["real/a.jpg"]
    assert opened.skipped == {"hidden": 3, "junk": 3}
    opened.items()
    assert opened.skipped == {"hidden": 3, "junk": 3}


def test_links_are_followed_and_loops_end(tmp_path):
    tree(tmp_path / "pool", "a.jpg")
    root = tmp_path / "root"
    tree(root, "fake/b.jpg")
    (root / "real").symlink_to(tmp_path / "pool")
    (root / "fake" / "up").symlink_to(root)
    (tmp_path / "pool" / "self").symlink_to(tmp_path / "pool")
    (root / "fake" / "broken.jpg").symlink_to(tmp_path / "nowhere")
    (root / "fake" / "loop.jpg").symlink_to(root / "fake" / "loop.jpg")
    os.mkfifo(root / "fake" / "pipe.jpg")
    opened = source(root)
    assert [item.key for item in opened.items()] == ["fake/b.jpg", "real/a.jpg"]
    assert opened.skipped == {"links to a folder above": 2}
    assert {(f.path, f.cause) for f in opened.failures} == {
        ("fake/broken.jpg", Cause.MISSING),
        ("fake/loop.jpg", Cause.MISSING),
        ("fake/pipe.jpg", Cause.NOT_A_FILE),
    }


def test_a_link_to_a_dataset_keeps_its_name(tmp_path):
    tree(tmp_path / "v1.2.3-final", "real/a.jpg")
    (tmp_path / "celeb").symlink_to(tmp_path / "v1.2.3-final")
    assert [item.domain for item in source(tmp_path / "celeb").items()] == ["celeb"]
    assert source(tmp_path / "celeb" / ".." / "celeb").name == "v1.2.3-final"


def test_odd_names_are_kept_literally(tmp_path):
    names = [
        "with space.jpg",
        "日本.jpg",
        "new\nline.jpg",
        "-leading.jpg",
        "%03d.jpg",
        "back\\slash.jpg",
        "x" * 251 + ".jpg",
        os.fsdecode(b"\xff\xfe.jpg"),
        "noextension",
    ]
    tree(tmp_path, *(f"real/{name}" for name in names))
    items = source(tmp_path).items()
    assert {item.key for item in items} == {f"real/{name}" for name in names}
    assert all(os.path.isfile(item.path) for item in items)  # noqa: PTH113


def test_moving_a_dataset_changes_only_the_paths(tmp_path):
    tree(tmp_path / "one/ds", "train/real/ann/a.jpg", "test/fake/m/v/01.png")
    before = source(tmp_path / "one/ds").items()
    shutil.move(tmp_path / "one", tmp_path / "two")
    after = source(tmp_path / "two/ds").items()
    assert [i.path for i in before] != [i.path for i in after]
    for a, b in zip(before, after, strict=True):
        fields = ("key", "label", "domain", "dataset", "method", "video", "identity", "split")
        assert [getattr(a, f) for f in fields] == [getattr(b, f) for f in fields]


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(("real", "Fake", "original", "SYNTHESIZED")),
    st.sampled_from((None, "train", "VALID", "testing")),
    st.sampled_from((None, "celeb", "日本")),
    st.lists(st.sampled_from(("a", "b c", "01")), max_size=3),
    st.booleans(),
)
def test_every_stated_layout_reads_back(name, split, domain, groups, split_below):
    above = [domain] if domain else []
    if split and split_below:
        folders = [*above, name, split, *groups]
    else:
        folders = [*above, *([split] if split else []), name, *groups]
    place = read_place(folders)
    assert place is not None
    assert place.label == (REAL if name in ("real", "original") else FAKE)
    assert place.split == {None: None, "train": "train", "VALID": "val", "testing": "test"}[split]
    assert place.domain == (domain or "")
    below = "/".join(part for part in (place.method, place.group) if part)
    assert below == "/".join(groups)


def test_ciplab_and_stylegan2_agree_with_their_manifest(shared_data):
    with (shared_data / "MANIFEST.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("images/")]
    labels = {"real": REAL, "fake": FAKE}
    assert table(source(shared_data / "images").items()) == {
        row["path"].removeprefix("images/"): (labels[row["label"]], row["split"], row["domain"])
        for row in rows
    }
