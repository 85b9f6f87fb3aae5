import json
import math
import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import InputError
from pipelines.fingerprints import NearDuplicates
from pipelines.splits import SplitItem, assign_splits, components

FRACTIONS = (0.7, 0.15, 0.15)


def naive_components(items, pairs):
    """Breadth-first search over pairwise links: the definition, independent of union-find."""

    def keys(item):
        return {k for k in (item.identity, item.video, *item.related) if k} | (
            {("sha", item.sha256)} if item.sha256 else set()
        )

    linked = {frozenset(pair) for pair in pairs}
    unseen = set(range(len(items)))
    found = set()
    while unseen:
        front, group = [unseen.pop()], set()
        while front:
            i = front.pop()
            group.add(i)
            near = {
                j for j in unseen if keys(items[i]) & keys(items[j]) or frozenset((i, j)) in linked
            }
            unseen -= near
            front += near
        found.add(frozenset(items[i].key for i in group))
    return found


@st.composite
def media(draw, stated=False):
    number = draw(st.integers(1, 40))
    few = st.integers(0, 12)
    items = []
    for i in range(number):
        label = draw(st.sampled_from((0, 0, 1, 1, -1)))
        video = draw(few)
        items.append(
            SplitItem(
                key=f"k{i:02d}",
                label=label,
                domain=draw(st.sampled_from("ab")),
                identity=draw(st.sampled_from(("", "", f"id/{draw(few)}"))),
                video=draw(st.sampled_from(("", f"d/{label}/{video}"))),
                related=draw(st.sampled_from(((), (f"id/{draw(few)}",)))),
                sha256=draw(st.sampled_from(("", f"sha{draw(few)}"))),
                split=draw(st.sampled_from((None, "train", "val", "test"))) if stated else None,
            )
        )
    index = st.integers(0, number - 1)
    pairs = draw(st.lists(st.tuples(index, index).filter(lambda p: p[0] < p[1]), max_size=4))
    return items, NearDuplicates(tuple(sorted(set(pairs))), {"method": "given"})


@settings(max_examples=60, deadline=None)
@given(media())
def test_components_are_those_of_a_plain_search(case):
    items, near = case
    found = {frozenset(items[i].key for i in group) for group in components(items, near)}
    assert found == naive_components(items, near.pairs)


@settings(max_examples=60, deadline=None)
@given(media(), st.integers(0, 3))
def test_no_component_is_cut_and_the_proof_says_so(case, seed):
    items, near = case
    plan = assign_splits(items, FRACTIONS, seed, near_duplicates=near)
    for group in naive_components(items, near.pairs):
        assert (
            len({s for item, s in zip(items, plan.splits, strict=True) if item.key in group}) == 1
        )
    assert plan.proof.leak_free
    assert all(found["count"] == 0 for found in plan.proof.overlaps.values())
    assert plan.overlaps == ()


@settings(max_examples=40, deadline=None)
@given(media(stated=True), st.integers(0, 3), st.booleans(), st.randoms(use_true_random=False))
def test_order_of_the_items_changes_nothing(case, seed, keep, rng):
    items, near = case
    order = list(range(len(items)))
    rng.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    shuffled = NearDuplicates(
        tuple(tuple(sorted((place[i], place[j]))) for i, j in near.pairs), near.method
    )
    fractions = None if keep else FRACTIONS
    first = assign_splits(items, fractions, seed, near_duplicates=near)
    second = assign_splits([items[i] for i in order], fractions, seed, near_duplicates=shuffled)
    assert [first.splits[i] for i in order] == list(second.splits)
    assert first.proof == second.proof


@settings(max_examples=40, deadline=None)
@given(media(stated=True), st.booleans())
def test_proof_counts_sum_up_and_are_json(case, keep):
    items, near = case
    plan = assign_splits(
        items, None if keep else FRACTIONS, 0, near_duplicates=near, on_overlap="drop"
    )
    proof = json.loads(json.dumps(plan.proof.to_dict()))
    counted = {
        (split, label, domain): n
        for split, labels in proof["counts"].items()
        for label, domains in labels.items()
        for domain, n in domains.items()
    }
    names = {0: "real", 1: "fake", -1: "unknown"}
    assert counted == Counter(
        (split, names[item.label], item.domain)
        for item, split in zip(items, plan.splits, strict=True)
        if split
    )
    assert sum(counted.values()) + proof["dropped"] == len(items)
    assert proof["dropped"] == len(plan.overlaps) == plan.splits.count(None)
    assert proof["components"] == len(naive_components(items, near.pairs))


@settings(max_examples=60, deadline=None)
@given(media(stated=True))
def test_kept_splits_are_checked_against_every_pair(case):
    items, near = case
    plan = assign_splits(items, None, 0, near_duplicates=near)
    held = dict(zip((item.key for item in items), plan.splits, strict=True))
    free = all(len({held[k] for k in group}) == 1 for group in naive_components(items, near.pairs))
    assert plan.proof.leak_free == free
    dropped = assign_splits(items, None, 0, near_duplicates=near, on_overlap="drop")
    assert dropped.proof.leak_free
    order = ["train", "val", "test"]
    for i, reason in dropped.overlaps:
        group = next(g for g in naive_components(items, near.pairs) if items[i].key in g)
        latest = max((held[k] for k in group), key=order.index)
        assert order.index(held[items[i].key]) < order.index(latest)
        assert latest in reason
    kept = {i for i, split in enumerate(dropped.splits) if split}
    assert all(dropped.splits[i] == plan.splits[i] for i in kept)


@pytest.mark.parametrize("seed", range(3))
def test_fractions_are_met_in_every_cell(seed):
    rng = random.Random(seed)
    items = []
    for person in range(400):
        domain = "large" if person % 4 else "small"
        for shot in range(rng.randint(1, 6)):
            label = rng.random() < 0.3
            items.append(SplitItem(f"{person}/{shot}", int(label), domain, identity=f"d/{person}"))
    rng.shuffle(items)
    plan = assign_splits(items, FRACTIONS, seed)
    cells = defaultdict(Counter)
    for item, split in zip(items, plan.splits, strict=True):
        cells[item.label, item.domain][split] += 1
    for cell, counts in cells.items():
        for split, fraction in zip(("train", "val", "test"), FRACTIONS, strict=True):
            assert counts[split] / counts.total() == pytest.approx(fraction, abs=0.03), cell


def test_single_items_meet_the_fractions_exactly():
    items = [SplitItem(f"{i}", i % 2, "d") for i in range(200)]
    counts = Counter(assign_splits(items, (0.7, 0.1, 0.2), 5).splits)
    assert counts == {"train": 140, "val": 20, "test": 40}


def test_the_seed_decides_and_only_the_seed():
    items = [SplitItem(f"{i}", i % 2, "d") for i in range(60)]
    first = assign_splits(items, FRACTIONS, 1)
    assert assign_splits(items, FRACTIONS, 1).splits == first.splits
    assert assign_splits(items, FRACTIONS, 2).splits != first.splits


def test_each_split_gets_each_label_when_groups_suffice():
    items = [SplitItem(f"r{i}", 0, "d", identity=f"d/{i % 3}") for i in range(300)]
    items += [SplitItem(f"f{i}", 1, "d") for i in range(3)]
    plan = assign_splits(items, (0.9, 0.05, 0.05), 0)
    found = {(items[i].label, split) for i, split in enumerate(plan.splits)}
    assert found == {(label, split) for label in (0, 1) for split in ("train", "val", "test")}


@pytest.mark.parametrize(
    ("groups", "fractions", "expected"),
    [
        (1, FRACTIONS, {"train"}),
        (2, FRACTIONS, {"train", "val"}),
        (3, FRACTIONS, {"train", "val", "test"}),
        (2, (0.5, 0.0, 0.5), {"train", "test"}),
        (9, (0.0, 0.0, 1.0), {"test"}),
    ],
)
def test_few_groups_fill_train_then_val_then_test(groups, fractions, expected):
    items = [SplitItem(f"{i}", 0, "d", video=f"d/real/{i % groups}") for i in range(20)]
    assert set(assign_splits(items, fractions, 0).splits) == expected


def test_kept_splits_are_left_alone_and_the_rest_follows():
    items = [
        SplitItem("a", 0, "d", identity="d/1", split="test"),
        SplitItem("b", 0, "d", identity="d/1"),
        SplitItem("c", 1, "d", split="train"),
        SplitItem("e", 1, "d", split="val"),
    ]
    plan = assign_splits(items, None, 0)
    assert plan.splits == ("test", "test", "train", "val")
    assert plan.proof.leak_free
    assert plan.proof.stated == 3
    assert plan.proof.carved == {}


def test_validation_is_carved_from_train_where_a_domain_states_none():
    items = [SplitItem(f"t{i:03d}", i % 2, "a", split="train") for i in range(200)]
    items += [SplitItem(f"s{i:03d}", i % 2, "a", split="test") for i in range(40)]
    items += [SplitItem(f"b{i:03d}", i % 2, "b", split="train") for i in range(40)]
    items += [SplitItem(f"v{i:03d}", i % 2, "b", split="val") for i in range(10)]
    plan = assign_splits(items, None, 0)
    assert plan.proof.carved == {"a": 0.15}
    assert plan.proof.counts == {
        "train": {"real": {"a": 85, "b": 20}, "fake": {"a": 85, "b": 20}},
        "val": {"real": {"a": 15, "b": 5}, "fake": {"a": 15, "b": 5}},
        "test": {"real": {"a": 20}, "fake": {"a": 20}},
    }


def test_a_dataset_without_a_test_split_gets_none():
    items = [SplitItem(f"{i}", 0, "d", split="train" if i % 5 else "val") for i in range(50)]
    assert set(assign_splits(items, None, 0).proof.counts) == {"train", "val"}


def test_overlaps_are_named_by_kind_with_their_keys():
    items = [
        SplitItem("a", 0, "d", identity="d/ann", split="train"),
        SplitItem("b", 0, "d", identity="d/ann", split="test"),
        SplitItem("c", 1, "d", video="d/m/v", split="train"),
        SplitItem("e", 1, "d", video="d/m/v", split="val"),
        SplitItem("f", 0, "d", sha256="00", split="train"),
        SplitItem("g", 1, "d", sha256="00", split="val"),
        SplitItem("h", 0, "d", split="val"),
        SplitItem("i", 0, "d", split="test"),
        SplitItem("j", 1, "d", related=("d/donor",), split="train"),
        SplitItem("k", 1, "d", related=("d/donor",), split="test"),
    ]
    near = NearDuplicates(((6, 7),), {"method": "given"})
    plan = assign_splits(items, None, 0, near_duplicates=near)
    overlaps = plan.proof.overlaps
    assert {kind: found["count"] for kind, found in overlaps.items()} == dict.fromkeys(
        ("identity", "video", "related", "exact_duplicate", "near_duplicate"), 1
    )
    assert overlaps["identity"]["examples"] == [{"key": "d/ann", "splits": {"train": 1, "test": 1}}]
    assert overlaps["video"]["examples"][0]["key"] == "d/m/v"
    assert overlaps["related"]["examples"][0]["key"] == "d/donor"
    assert overlaps["exact_duplicate"]["examples"][0]["key"] == "f = g"
    assert overlaps["near_duplicate"]["examples"][0] == {
        "key": "h ~ i",
        "splits": {"val": 1, "test": 1},
    }
    assert plan.proof.label_conflicts == {
        "count": 1,
        "examples": [{"key": "f = g", "labels": ["fake", "real"]}],
    }
    assert not plan.proof.leak_free
    assert "1 by identity (such as 'd/ann')" in plan.proof.summary()

    dropped = assign_splits(items, None, 0, near_duplicates=near, on_overlap="drop")
    assert [items[i].key for i, _ in dropped.overlaps] == ["a", "c", "f", "h", "j"]
    assert dropped.overlaps[0][1] == "left out of train: shares content with test (b)"
    assert dropped.proof.leak_free
    assert dropped.proof.dropped == 5


def test_listed_overlaps_are_bounded_and_counted():
    items = [
        SplitItem(f"{split}{i:03d}", 0, "d", identity=f"d/{i:03d}", split=split)
        for i in range(50)
        for split in ("train", "test")
    ]
    found = assign_splits(items, None, 0).proof.overlaps["identity"]
    assert found["count"] == 50
    assert [example["key"] for example in found["examples"]] == [f"d/{i:03d}" for i in range(20)]


def test_a_video_has_one_label():
    items = [SplitItem("a", 0, "d", video="d/m/1"), SplitItem("b", 1, "d", video="d/m/1")]
    with pytest.raises(InputError, match=r"video d/m/1: labelled fake and real, expected one"):
        assign_splits(items)


def test_a_key_occurs_once():
    with pytest.raises(InputError, match=r"a: 1 keys occur more than once"):
        assign_splits([SplitItem("a", 0, "d"), SplitItem("a", 1, "e")])


@pytest.mark.parametrize(
    "fractions", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1), (math.nan, 0.5, 0.5)]
)
def test_fractions_are_shares_of_one(fractions):
    with pytest.raises(InputError, match="expected three numbers"):
        assign_splits([SplitItem("a", 0, "d")], fractions)


def test_no_items_have_an_empty_proof():
    plan = assign_splits([])
    assert plan.splits == ()
    assert plan.proof.leak_free
    assert plan.proof.components == 0


def test_names_that_are_no_text_are_split_too():
    items = [SplitItem(f"\udcff{i}\n", 0, "d") for i in range(10)]
    assert set(assign_splits(items).splits) == {"train", "val", "test"}
