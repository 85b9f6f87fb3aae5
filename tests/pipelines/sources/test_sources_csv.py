import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Cause, InputError
from pipelines.media_item import FAKE, REAL, UNKNOWN
from pipelines.sources.csv_manifest import CsvManifest


def manifest(folder, content, domain=None):
    file = folder / "list.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CsvManifest(str(file), domain=domain, staging=folder / "staging")


def test_two_columns_suffice(tmp_path):
    opened = manifest(tmp_path, "path,label\nb/2.jpg,fake\na/1.jpg,real\n")
    items = opened.items()
    assert [(i.key, i.label, i.domain, i.dataset, i.split) for i in items] == [
        ("a/1.jpg", REAL, "list", "list", None),
        ("b/2.jpg", FAKE, "list", "list", None),
    ]
    assert items[0].path == str(tmp_path / "a/1.jpg")
    assert (opened.failures, opened.skipped) == ([], {})


def test_all_columns_any_order_and_extra_ones(tmp_path):
    content = (
        "note,Label,split,PATH,domain,identity,video,method,dataset,width\n"
        '"a, b",1,Valid,x.mp4,web,id3,v7,Face2Face,ff,12\n'
        ",0,,y.jpg,,id3,v7,,ff,\n"
    )
    first, second = manifest(tmp_path, content).items()
    assert (first.label, first.split, first.domain, first.dataset) == (FAKE, "val", "web", "ff")
    assert (first.method, first.video, first.identity) == ("Face2Face", "ff/Face2Face/v7", "ff/id3")
    assert (second.video, second.identity, second.domain) == ("ff/real/v7", "ff/id3", "ff")
    assert second.split is None


@pytest.mark.parametrize(
    ("text", "label"),
    [("real", REAL), ("FAKE ", FAKE), ("unknown", UNKNOWN), ("0", REAL), ("1", FAKE),
     ("-1", UNKNOWN)],
)  # fmt: skip
def test_labels(tmp_path, text, label):
    assert [i.label for i in manifest(tmp_path, f"path,label\na.jpg,{text}\n").items()] == [label]


def test_bad_rows_are_named_by_line_and_the_rest_is_read(tmp_path):
    content = (
        "path,label,split\n"
        "good.jpg,real,train\n"
        "odd.jpg,maybe,train\n"
        "\n"
        ",real,train\n"
        "short.jpg\n"
        "where.jpg,fake,dev\n"
        "a,comma.jpg,real,train\n"
        '"quoted" wrongly.jpg,real,train\n'
        "nul\0.jpg,real,train\n"
        "last.jpg,fake,test\n"
    )
    opened = manifest(tmp_path, content)
    assert [item.key for item in opened.items()] == ["good.jpg", "last.jpg"]
    reasons = {int(f.reason.split(":")[0].removeprefix("line ")): f for f in opened.failures}
    assert sorted(reasons) == [3, 5, 6, 7, 8, 9, 10]
    assert all(f.cause is Cause.BAD_ROW for f in opened.failures)
    assert "label 'maybe', expected one of real, 0, fake, 1, unknown, -1" in reasons[3].reason
    assert "no path" in reasons[5].reason
    assert "no label" in reasons[6].reason
    assert "split 'dev'" in reasons[7].reason
    assert "4 cells under 3 columns" in reasons[8].reason
    assert "NUL" in reasons[10].reason
    assert reasons[3].path == "odd.jpg"


@pytest.mark.parametrize(
    "other", ["a.jpg,fake,train", "./a.jpg,real,test", "b/../a.jpg,fake,train"]
)
def test_rows_that_contradict_each_other_are_both_left_out(tmp_path, other):
    opened = manifest(tmp_path, f"path,label,split\na.jpg,real,train\nc.jpg,real,val\n{other}\n")
    assert [item.key for item in opened.items()] == ["c.jpg"]
    (failure,) = opened.failures
    assert str(failure) == "a.jpg: line 2: line 4 says otherwise of the same file; neither is used"


def test_repeated_rows_count_once(tmp_path):
    opened = manifest(tmp_path, "path,label\na.jpg,real\n./a.jpg,0\na.jpg,real\n")
    assert [item.key for item in opened.items()] == ["a.jpg"]
    assert opened.failures == []
    assert opened.skipped == {"repeated rows": 2}
    opened.items()
    assert opened.skipped == {"repeated rows": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column path and label"),
        (
            b"file,label\na,real\n",
            "no column path in the first line; expected the header path,label",
        ),
        (b"path;label\na;real\n", "no column path and label"),
        (b"path,label\n", "no rows below the header"),
    ],
)
def test_files_that_are_no_manifest(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        manifest(tmp_path, content).items()


def test_a_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        CsvManifest(str(tmp_path / "no.csv"), domain=None, staging=tmp_path).items()


def test_byte_order_mark_windows_lines_and_undecodable_names(tmp_path):
    opened = manifest(
        tmp_path, b"\xef\xbb\xbfpath,label\r\n\xff.jpg,real\r\nb\xe2\x80\xa8.jpg,1\r\n"
    )
    assert [item.key for item in opened.items()] == ["b\u2028.jpg", "\udcff.jpg"]


def test_absolute_paths_and_an_explicit_domain(tmp_path):
    content = f"path,label,domain\n{tmp_path}/x.jpg,real,web\n../up.jpg,real,\n"
    items = manifest(tmp_path, content, domain="mine").items()
    assert [item.path for item in items] == [
        str(tmp_path.parent / "up.jpg"),
        str(tmp_path / "x.jpg"),
    ]
    assert {item.domain for item in items} == {"mine"}


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_give_items_or_one_line(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("csv")
    for text in (content, b"path,label,split\n" + content):
        opened = manifest(folder, text)
        try:
            items = opened.items()
        except InputError as error:
            assert "\n" not in str(error)
        else:
            assert len({item.path for item in items}) == len(items)
            assert all("\n" not in str(failure) for failure in opened.failures)
