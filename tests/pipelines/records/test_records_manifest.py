"""The manifest: saved, loaded, refused when it is not what was written."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Cause, DatasetError, InputError
from pipelines.records.manifest import (
    MANIFEST_NAME,
    Failure,
    Manifest,
    ShardInfo,
    load_manifest,
    save_manifest,
    shard_name,
)


def shard(split="train", index=0, **counts):
    counts = counts or {"0|a": 2, "1|b": 3}
    return ShardInfo(shard_name(split, index, 2), split, sum(counts.values()), 99, "ab", counts)


def manifest(**changes):
    values = {
        "name": "photos",
        "settings": {"splits": (0.7, 0.15, 0.15), "faces": {"model": None}},
        "shards": (shard(), shard(index=1), shard("val")),
        "domains": ("a", "b"),
        "failed": (
            Failure("x.png", Cause.DAMAGED, "cut"),
            Failure("y.png", Cause.NO_FACE, "no face"),
            Failure("z\udce9.png", Cause.NO_FACE, "no face"),
        ),
        "split_proof": {"leak_free": True, "examples": ("p", "q")},
        "sources": ({"name": "folder", "items": 3},),
    }
    return Manifest(**(values | changes))


def test_a_manifest_survives_the_file(tmp_path):
    save_manifest(tmp_path, manifest())
    assert load_manifest(tmp_path) == manifest()
    assert [path.name for path in tmp_path.iterdir()] == [MANIFEST_NAME]


@settings(max_examples=40, deadline=None)
@given(
    domains=st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4, unique=True),
    counts=st.lists(st.integers(0, 5), min_size=4, max_size=4),
    name=st.text(max_size=10),
    proof=st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers()),
)
def test_any_manifest_survives_the_file(tmp_path_factory, domains, counts, name, proof):
    domains = tuple(sorted(domains))
    found = dict(zip((f"0|{domain}" for domain in domains), counts, strict=False))
    one = shard(**found)
    made = manifest(name=name, shards=(one,), domains=domains, split_proof=proof)
    folder = tmp_path_factory.mktemp("manifest")
    save_manifest(folder, made)
    assert load_manifest(folder) == made


def test_sums():
    made = manifest()
    assert made.counts() == {
        "train": {"0|a": 4, "1|b": 6},
        "val": {"0|a": 2, "1|b": 3},
        "test": {},
    }
    assert made.failures == {"damaged": 1, "no_face": 2}
    assert made.labels == (0, 1)
    assert [s.file for s in made.split_shards("train")] == [
        shard_name("train", i, 2) for i in (0, 1)
    ]


def test_people_find_the_sums_in_the_file(tmp_path):
    content = json.loads(save_manifest(tmp_path, manifest()).read_text())
    assert content["counts"]["train"] == {"0|a": 4, "1|b": 6}
    assert content["labels"] == {"0": "real", "1": "fake"}
    assert content["failures"] == {"damaged": 1, "no_face": 2}
    assert content["compression"] == "none"


def test_the_fingerprint_is_of_the_content():
    made = manifest()
    same = replace(made, name="other", failed=(), sources=(), settings={}, split_proof={})
    assert same.fingerprint() == made.fingerprint()
    others = [
        replace(made, domains=("a", "b", "c")),
        replace(made, shards=made.shards[:2]),
        replace(made, shards=(made.shards[1], made.shards[0], made.shards[2])),
        replace(made, shards=(replace(made.shards[0], sha256="ac"), *made.shards[1:])),
    ]
    assert len({m.fingerprint() for m in (made, *others)}) == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: manifest(shards=(shard(), shard())), "listed twice"),
        (lambda: manifest(domains=("b", "a")), "not sorted"),
        (lambda: manifest(domains=("a",)), r"counts '1\|b', not in the vocabularies"),
        (lambda: manifest(shards=(shard(**{"2|a": 1}),)), r"counts '2\|a', not in"),
        (lambda: replace(shard(), records=4), "are not 4"),
        (lambda: replace(shard(), file="../x"), "not a plain file name"),
        (lambda: replace(shard(), split="dev"), "split 'dev'"),
    ],
)
def test_contradictions_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change()


def refuses(folder, message):
    with pytest.raises(DatasetError, match=message) as caught:
        load_manifest(folder)
    assert caught.value.exit_code == 4
    assert MANIFEST_NAME in str(caught.value)
    assert "\n" not in str(caught.value)


def test_b09_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such record folder"):
        load_manifest(tmp_path / "nowhere")


def test_b19_no_manifest(tmp_path):
    refuses(tmp_path, "not found")


@pytest.mark.parametrize("text", ["", "[]", "null", '{"a"', "\xff", "12"])
def test_b19_no_manifest_at_all_in_the_file(tmp_path, text):
    (tmp_path / MANIFEST_NAME).write_bytes(text.encode("latin-1"))
    refuses(tmp_path, "not readable as JSON|expected a JSON object")


def test_b19_another_schema_version_names_both(tmp_path):
    path = save_manifest(tmp_path, manifest())
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": 99}))
    refuses(tmp_path, "schema version 99, this program reads version 1")


def leaves(content, place=()):
    if isinstance(content, dict | list):
        pairs = content.items() if isinstance(content, dict) else enumerate(content)
        for key, value in pairs:
            yield from leaves(value, (*place, key))
    else:
        yield place


def test_b19_any_edited_value_is_noticed(tmp_path):
    path = save_manifest(tmp_path, manifest())
    text = path.read_text()
    places = list(leaves(json.loads(text)))
    assert len(places) > 50
    for place in places:
        content = json.loads(text)
        *parents, last = place
        holder = content
        for key in parents:
            holder = holder[key]
        holder[last] = 7 if holder[last] != 7 else 8
        path.write_text(json.dumps(content))
        refuses(tmp_path, "edited or damaged|schema version 7")


def test_b19_a_value_removed_or_added_is_noticed(tmp_path):
    path = save_manifest(tmp_path, manifest())
    content = json.loads(path.read_text())
    for key in set(content) - {"schema_version"}:
        path.write_text(json.dumps({k: v for k, v in content.items() if k != key}))
        refuses(tmp_path, "edited or damaged")
    path.write_text(json.dumps(content | {"more": 1}))
    refuses(tmp_path, "edited or damaged")


def test_b12_unknown_compression_is_refused(tmp_path):
    save_manifest(tmp_path, manifest(compression="GZIP"))
    refuses(tmp_path, "compression 'GZIP', only 'none' is supported")


def test_b10_a_directory_in_place_of_the_manifest(tmp_path):
    (tmp_path / MANIFEST_NAME).mkdir()
    refuses(tmp_path, "Is a directory")
