"""Domains in training: what is refused, the table, ids, a domain left out, lambda on resume."""

import hashlib
import io
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from killed_runs import Killed, fingerprints, raise_killed
from PIL import Image
from rich.console import Console
from tiny_training import at_step

from dfd_tf.cli.main import run as cli_run
from dfd_tf.config.loading import parse_experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.evaluation.evaluate_run import evaluate_run
from dfd_tf.inference.predictor import load_predictor
from dfd_tf.networks import backbones
from dfd_tf.networks.backbones import OwnNetwork
from dfd_tf.networks.weight_files import load_weight_file
from dfd_tf.training import data as data_module
from dfd_tf.training.data import open_training_data
from dfd_tf.training.domains import DomainTable, confounding, domain_table
from dfd_tf.training.run import train
from dfd_tf.training.state_keeper import newest_state
from pipelines.errors import InputError
from pipelines.records.manifest import Manifest, ShardInfo, save_manifest
from pipelines.records.schema import FaceRecord
from pipelines.records.writer import ShardWriter
from pipelines.sampling import Group
from pipelines.settings import PrepareSettings

SIDE = 16
BALANCED = {"0|a": 30, "1|a": 10, "0|b": 10, "1|b": 30}
VALIDATION = {"0|a": 3, "1|a": 3, "0|b": 3, "1|b": 3}


def settings(**data):
    return parse_experiment(
        {
            "detector": {
                "name": "dann",
                "image_size": SIDE,
                "backbone": "tiny",
                "weights": "none",
                "phases": [{"name": "all", "epochs": 2, "learning_rate": 0.01}],
            },
            "data": {"batch_size": 8, "balance": "class_domain", "augment": None} | data,
            "training": {"checkpoint_steps": 2},
        },
        "test",
    )


def manifest(train, val=None):
    counts = {"train": train, "val": VALIDATION if val is None else val}
    names = {key.partition("|")[2] for split in counts.values() for key in split}
    shards = tuple(
        ShardInfo(f"faces-{split}", split, sum(of_split.values()), 1, "0" * 64, of_split)
        for split, of_split in counts.items()
    )
    proof = {"leak_free": True}
    return Manifest(
        name="photos", settings={}, domains=tuple(sorted(names)), shards=shards, split_proof=proof
    )


def opened(found, experiment):
    batches = mock.Mock(num_examples=1, steps_per_epoch=1)
    with (
        mock.patch.object(data_module, "verify_records", return_value=found),
        mock.patch.object(data_module, "training_batches", return_value=batches) as training,
        mock.patch.object(data_module, "evaluation_batches", return_value=batches) as evaluation,
    ):
        data = open_training_data(
            Path("records"), experiment, one_class=False, uses_unlabelled=True, needs_domains=True
        )
    return data, training, evaluation


@pytest.mark.parametrize(
    ("train_counts", "data", "message"),
    [
        ({"0|a": 3, "1|a": 3}, {}, "all training images are of one domain"),  # C-20
        ({"0|a": 3, "1|a": 3, "0|b": 3}, {}, "domain b holds real images only"),
        ({"0|a": 3, "1|a": 3, "1|b": 3, "-1|b": 9}, {}, "domain b holds fake images only"),
        ({"0|a": 3, "1|b": 3}, {}, "domain a holds real images only"),
        (BALANCED, {"domains": ["a"]}, "all training images are of one domain"),
        (BALANCED, {"leave_out": "b"}, "all training images are of one domain"),
        ({"0|a": 9}, {"pseudo_fakes": {}}, "all training images are of one domain"),
        (BALANCED, {"leave_out": "c"}, r"data.leave_out: photos has no c \(it has a, b\)"),
        (BALANCED, {"domains": ["a"], "leave_out": "a"}, "without a no domain is left"),
    ],
)
def test_confounded_domains_are_refused_with_the_table(train_counts, data, message):
    with pytest.raises(InputError, match=message) as error:
        opened(manifest(train_counts), settings(**data))
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


def test_the_refusal_shows_the_table_and_the_switch():
    found = manifest({"0|a": 3, "1|a": 4, "0|b": 5, "-1|b": 2})
    with pytest.raises(InputError) as error:
        opened(found, settings())
    assert "a 3 real 4 fake 0 unknown; b 5 real 0 fake 2 unknown" in str(error.value)
    assert "detector.allow_confounded=true" in str(error.value)
    allowed = settings().model_dump(mode="json")
    allowed["detector"]["allow_confounded"] = True
    data, *_ = opened(found, parse_experiment(allowed, "test"))
    assert any("warning: domain b holds real images only" in note for note in data.notes)


def test_an_unlabelled_domain_is_fine_and_its_images_reach_training():
    found = manifest({"0|a": 3, "1|a": 4, "-1|b": 9}, {"0|a": 2, "1|a": 2, "-1|b": 3})
    data, training, evaluation = opened(found, settings())
    assert training.call_args.args[2].labels == "all"
    assert {call.kwargs["labels"] for call in evaluation.call_args_list} == {"all", "labelled"}
    assert (data.num_val_real, data.num_val_fake) == (2, 2)
    assert data.num_domains == 2
    assert ["b", "0", "real", "0", "fake", "9", "unknown"] in [note.split() for note in data.notes]


def test_pseudo_fakes_bring_both_classes_into_domains_of_real_images():
    found = manifest({"0|a": 4, "0|b": 6}, {"0|a": 2, "0|b": 2})
    with mock.patch.object(data_module, "with_fixed_pseudo_fakes"):
        data, *_ = opened(found, settings(pseudo_fakes={}))
    assert not [note for note in data.notes if note.startswith("warning")]


def test_a_domain_missing_in_validation_is_said():  # C-20
    data, *_ = opened(manifest(BALANCED, {"0|a": 3, "1|a": 3}), settings())
    assert "warning: the val split has no images of domain b" in data.notes
    assert data.facts["domain_chance"]["majority"]["val"] == 1.0


def test_detectors_that_do_not_need_domains_take_one():
    found = manifest({"0|a": 3, "1|a": 3})
    with (
        mock.patch.object(data_module, "verify_records", return_value=found),
        mock.patch.object(data_module, "training_batches"),
        mock.patch.object(data_module, "evaluation_batches") as evaluation,
    ):
        data = open_training_data(Path("records"), settings(), one_class=False)
    assert data.notes == ()
    assert evaluation.call_args.kwargs["labels"] == "labelled"


@pytest.mark.parametrize(
    ("balance", "share"),
    # class: half of each class, of which a has 30 of 40 reals and 10 of 60 fakes, b the rest.
    [("none", 60 / 100), ("class", (10 / 40 + 50 / 60) / 2), ("class_domain", 1 / 2)],
)
def test_majority_share_follows_the_sampling(balance, share):
    counts = {Group("a", 0): 30, Group("a", 1): 10, Group("b", 0): 10, Group("b", 1): 50}
    table = DomainTable("train", ("a", "b"), counts)
    assert table.majority_share(balance) == pytest.approx(share)


def test_domains_without_images_do_not_count():
    table = domain_table(manifest({"0|a": 3, "1|a": 3, "0|b": 0}), "train", ("a", "b"))
    assert table.missing() == ("b",)
    reason = "all training images are of one domain; there must be two or more"
    assert confounding(table, is_paired=False) == reason


# From here on with records.


def tiny_network(image_size):
    pictures = keras.Input((image_size, image_size, 3))
    maps = keras.layers.Conv2D(6, 3, strides=2, activation="relu")(pictures)
    return keras.Model(pictures, keras.layers.Conv2D(8, 3, strides=2, activation="relu")(maps))


@pytest.fixture(scope="module")
def tiny_backbone():
    networks = {"tiny": OwnNetwork(tiny_network, backbones.MINUS_ONE_TO_ONE, load_weight_file)}
    with mock.patch.object(backbones, "OWN_NETWORKS", networks):
        yield


COUNTS = {
    "train": {(0, "a"): 6, (1, "a"): 6, (0, "b"): 9, (1, "b"): 7, (0, "c"): 5, (1, "c"): 8}
    | {(-1, "d"): 7},
    "val": {(0, "b"): 6, (1, "b"): 6, (0, "a"): 4, (1, "a"): 4, (-1, "d"): 5},
    "test": {(0, "a"): 7, (1, "a"): 6, (0, "b"): 5, (1, "b"): 5, (0, "c"): 4, (1, "c"): 4},
}


def record(key, label, domain):
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")
    random = np.random.default_rng(seed)
    # Colours tell the class, brightness the domain.
    colour = np.array([160, 90, 90]) if label == 1 else np.array([90, 90, 160])
    pixels = colour + 20 * "abcd".index(domain) + random.normal(0, 40, (SIDE, SIDE, 3))
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(buffer, "PNG")
    encoded = buffer.getvalue()
    return FaceRecord(
        encoded=encoded,
        format="png",
        height=SIDE,
        width=SIDE,
        sha256=hashlib.sha256(encoded).hexdigest(),
        label=label,
        domain=domain,
        path=key,
        source_format="png",
        source_bytes=len(encoded),
        source_width=SIDE,
        source_height=SIDE,
    )


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains") / "records"
    folder.mkdir()
    shards = []
    for split, groups in COUNTS.items():
        path = folder / f"faces-{split}.tfrecord-00000-of-00001"
        members = [(label, domain, n) for (label, domain), m in groups.items() for n in range(m)]
        with ShardWriter(path, split) as writer:
            # Domains alternate, so that places in the split are not places in a domain.
            for label, domain, number in sorted(members, key=lambda member: member[2]):
                writer.write(record(f"{split}/{domain}/{label}/{number}", label, domain))
        shards.append(writer.info)
    save_manifest(
        folder,
        Manifest(
            name="colours",
            settings=asdict(PrepareSettings()),
            shards=tuple(shards),
            domains=("a", "b", "c", "d"),
            split_proof={"leak_free": True},
        ),
    )
    return folder


def test_ids_are_those_of_the_domains_used(records):
    data = open_training_data(
        records, settings(leave_out="a"), one_class=False, uses_unlabelled=True, needs_domains=True
    )
    assert data.num_domains == 3
    assert data.num_train == 9 + 7 + 5 + 8 + 7
    seen, sampled = set(), Counter()
    epoch = data.batches(0, 0).dataset.take(data.steps_per_epoch)
    for batches in (epoch, data.loss_data, data.labelled_data):
        for images, targets in batches:
            # The pictures tell which domain they are of: 20 grey levels brighter each.
            green = tf.reduce_mean(tf.cast(images[..., 1], "float32"), axis=(1, 2)).numpy()
            found = np.rint((green - 90) / 20).astype(int)
            np.testing.assert_array_equal(found, targets["domain"].numpy() + 1)
            if batches is epoch:
                sampled.update(found.tolist())
            seen |= set(zip(found.tolist(), targets["label"].numpy().tolist(), strict=True))
    assert seen == {(1, 0), (1, 1), (2, 0), (2, 1), (3, -1)}
    # Balanced by domain; one without labels counts as one that holds a single class.
    assert all(abs(sampled[domain] - 36 / 3) <= 1 for domain in (1, 2, 3))


@pytest.fixture(scope="module")
def run(records, tmp_path_factory, tiny_backbone):
    """A training that leaves out domain a; what it printed lies beside it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    console = Console(file=io.StringIO(), width=10_000)
    keras.utils.clear_session()  # Names of layers, which weights files hold, begin anew.
    train(settings(leave_out="a"), records, folder, console=console)
    (folder.parent / "printed").write_text(console.file.getvalue())
    return folder


def test_a_domain_left_out_is_judged_alone(run, records, capsys):
    printed = (run.parent / "printed").read_text()
    assert "warning: the val split has no images of domain c" in printed
    directory = RunDirectory(run)
    facts = directory.read_json(directory.provenance)["records"]
    assert facts["used_domains"] == ["b", "c", "d"]
    assert facts["domain_table"]["train"]["c"] == {"real": 5, "fake": 8, "unknown": 0}
    assert facts["domain_chance"]["uniform"] == 1 / 3
    rows = newest_state(directory, pytest.fail).meta["history"]
    for name in ("loss", "label_loss", "domain_loss", "accuracy", "domain_accuracy", "lambda"):
        assert np.isfinite(rows[-1][name])
    assert 0 <= rows[-1]["val_domain_accuracy"] <= 1
    # Thresholds come from the validation images of the domains used.
    assert directory.read_json(directory.calibration)["num_real"] == 6

    predictor = load_predictor(str(run))
    whole, files = evaluate_run(predictor, records, "test", "balanced")
    assert files[0].parent.name == "test"
    assert set(whole.figures["levels"]["image"]["by_domain"]) == {"a", "b", "c"}
    assert any("mix trained domains with a," in text for text in whole.figures["warnings"])
    alone, files = evaluate_run(predictor, records, "test", "balanced", domains=["a"])
    assert files[0].parent.name == "test_a"
    level = alone.figures["levels"]["image"]
    assert (level["num_real"], level["num_fake"]) == (7, 6)
    of_whole = whole.figures["levels"]["image"]["by_domain"]["a"]
    assert level["ranking"]["auc"]["value"] == of_whole["auc"]["value"]
    assert alone.figures["domains"] == ["a"]
    assert not any("mix trained" in text for text in alone.figures["warnings"])
    assert "cases.png" in {file.name for file in files}

    assert cli_run(["evaluate", str(run), "--domain", "a", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[0]["levels"]["image"]["by_domain"].keys() == {"a"}
    assert cli_run(["evaluate", str(run)]) == 0
    assert "image, domain c" in capsys.readouterr().out
    assert cli_run(["evaluate", str(run), "--domain", "d"]) == 2
    assert "no images of domain d (it has a, b, c)" in capsys.readouterr().err


def test_lambda_goes_on_after_a_resume_as_if_never_interrupted(run, records, quiet, tmp_path):
    directory = RunDirectory(run)
    rows = newest_state(directory, pytest.fail).meta["history"]
    steps = rows[-1]["steps"]
    expected = [np.tanh(5 * (row["steps"] - 1) / steps) for row in rows]
    np.testing.assert_allclose([row["lambda"] for row in rows], expected, atol=1e-6)
    resumed = tmp_path / "resumed"
    keras.utils.clear_session()
    with at_step(steps // 2 + 2, raise_killed), pytest.raises(Killed):
        train(settings(leave_out="a"), records, resumed, console=quiet)
    keras.utils.clear_session()
    train(settings(leave_out="a"), records, resumed, resume=True, console=quiet)
    found = newest_state(RunDirectory(resumed), pytest.fail).meta["history"]
    assert [row["lambda"] for row in found] == [row["lambda"] for row in rows]
    assert fingerprints(resumed) == fingerprints(run)
