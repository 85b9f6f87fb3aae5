"""Groups of runs: members equal single runs, stops resume, and the whole is judged as one."""

import hashlib
import json
import shutil
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from dfd_tf.cli.main import run as cli_run
from dfd_tf.config.loading import load_experiment, parse_experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.config.run_group import (
    check_members,
    experiment_changes,
    leave_one_out_group,
    read_group,
    seed_group,
)
from dfd_tf.evaluation import report_files
from dfd_tf.evaluation.group_evaluation import spread
from dfd_tf.training import groups as groups_module
from dfd_tf.training.run import train
from pipelines.errors import InputError, Stopped

OVERRIDES = [
    "detector.image_size=16",
    "detector.widths=[4, 4]",
    "detector.latent=4",
    "detector.phases=[{name: all, epochs: 1, learning_rate: 0.01}]",
    "data.batch_size=16",
    "data.augment=null",
]
FLAGS = [part for override in OVERRIDES for part in ("--set", override)]
DOMAINS = ("lab", "web")


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Noise pictures of two domains; fakes are brighter, in `web` the other way round."""
    folder = tmp_path_factory.mktemp("domains")
    generator = np.random.default_rng(0)
    for domain in DOMAINS:
        for split, count in (("train", 12), ("val", 20), ("test", 12)):
            for label in ("real", "fake"):
                place = folder / "photos" / domain / split / label
                place.mkdir(parents=True)
                bright = 150 if (label == "fake") == (domain == "lab") else 100
                for number in range(count):
                    pixels = generator.normal(bright, 60, (16, 16, 3)).clip(0, 255).astype("uint8")
                    Image.fromarray(pixels).save(place / f"{number:02}.png")
    arguments = [str(folder / "photos"), "--out", str(folder / "records"), "--size", "16"]
    fixed = ["--faces", "none", "--splits", "keep", "--workers", "1"]
    assert cli_run(["prepare", *arguments, *fixed]) == 0
    return folder / "records"


@pytest.fixture(scope="module")
def seeds(records, tmp_path_factory):
    """Two seeds, the second stopped before it began, then resumed; judged on the test split."""
    folder = tmp_path_factory.mktemp("groups") / "two seeds"
    arguments = ["train", "residual_ae_small", "--data", str(records), "--run", str(folder)]
    original, calls = groups_module.train, []

    def stopped_at_second(experiment, *positional, **keywords):
        calls.append(experiment.seed)
        if len(calls) == 2:
            raise Stopped("stopped by SIGTERM", 143)
        original(experiment, *positional, **keywords)

    with mock.patch.object(groups_module, "train", stopped_at_second):
        assert cli_run([*arguments, *FLAGS, "--seeds", "2", "--set", "seed=7"]) == 143
    assert calls == [7, 8]
    assert not (folder / "seed_8" / "config.yaml").exists()
    assert cli_run([*arguments, *FLAGS, "--seeds", "2", "--set", "seed=7", "--resume"]) == 0
    return folder


@pytest.fixture(scope="module")
def left_out(records, tmp_path_factory):
    folder = tmp_path_factory.mktemp("groups") / "left_out"
    arguments = ["train", "residual_ae_small", "--data", str(records), "--run", str(folder)]
    assert cli_run([*arguments, *FLAGS, "--leave-one-domain-out"]) == 0
    return folder


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def evaluated(group, name, capsys):
    """Judges a group; returns what it wrote and what it printed."""
    capsys.readouterr()
    # The pictures of every member's own report are tested elsewhere, and take the time here.
    with mock.patch.object(report_files, "_plots", return_value={}):
        assert cli_run(["evaluate", str(group)]) == 0
    with Image.open(group / "reports" / f"{name}_test.png") as picture:
        assert np.ptp(np.asarray(picture.convert("L"))) > 200
    figures = json.loads((group / "reports" / f"{name}_test.json").read_text())
    return figures, capsys.readouterr().out


def test_a_member_is_the_run_it_would_be_alone(seeds, records, tmp_path):
    keras.utils.clear_session()
    experiment = load_experiment("residual_ae_small", [*OVERRIDES, "seed=8"])
    train(experiment, records, tmp_path / "alone")
    for name in ("best/model.weights.h5", "calibration.json", "config.yaml"):
        assert digest(tmp_path / "alone" / name) == digest(seeds / "seed_8" / name)
    weights = {digest(seeds / f"seed_{seed}" / "best" / "model.weights.h5") for seed in (7, 8)}
    assert len(weights) == 2


def test_a_finished_group_is_left_as_it_is_and_can_grow(seeds, records, tmp_path, capsys):
    copy = tmp_path / "a copy"
    shutil.copytree(seeds, copy)
    before = digest(copy / "seed_7" / "best" / "model.weights.h5")
    arguments = ["train", "residual_ae_small", "--data", str(records), "--run", str(copy)]
    arguments += [*FLAGS, "--set", "seed=7"]
    calibration = copy / "seed_8" / "calibration.json"
    content = {**json.loads(calibration.read_text()), "caveats": ["[odd] caveat"]}
    calibration.write_text(json.dumps(content))
    original = groups_module.train

    def copied(experiment, data, place, **keywords):
        if experiment.seed == 9:
            shutil.copytree(copy / "seed_8", place)
        else:
            original(experiment, data, place, **keywords)

    free = ["--set", "training.checkpoint_steps=2"]
    with mock.patch.object(groups_module, "train", copied):
        assert cli_run([*arguments, "--seeds", "3", "--resume", *free]) == 0
    output = capsys.readouterr()
    assert "seed_9" in output.out
    assert "standard deviation" in output.out
    assert "too good" in output.err
    assert f"dfd-tf evaluate '{copy}'" in output.err
    for member in ("seed_7", "seed_8", "seed_9"):
        missing = json.loads((copy / member / "calibration.json").read_text())["missing"]
        assert missing
        for name, reason in missing.items():
            line = f"warning: {member}: operating point {name} was not set: {reason}\n"
            assert line in output.err
    assert "warning: seed_8: [odd] caveat\n" in output.err
    assert "seed_7: [odd] caveat" not in output.err
    assert digest(copy / "seed_7" / "best" / "model.weights.h5") == before
    assert [member.seed for member in read_group(copy).members] == [7, 8, 9]
    for wrong, message in (
        (["--seeds", "3"], "not empty; give --resume"),
        (["--seeds", "2", "--resume"], "can grow, not shrink"),
        (["--leave-one-domain-out", "--resume"], "planned as seeds"),
        (
            ["--seeds", "3", "--resume", "--set", "data.batch_size=8", "--threads", "2"],
            "settings changed since it was planned: data.batch_size: 16 -> 8; undo",
        ),
        (["--seeds", "3", "--resume", "--force"], "--force is for one run; a group's settings are"),
        (["--resume"], "holds a group of runs"),
    ):
        assert cli_run([*arguments, *wrong]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_a_member_that_is_not_as_planned_is_named(seeds, records, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(seeds, copy)
    member = RunDirectory(copy / "seed_8")
    planned = member.read_experiment()
    training = planned.training.model_copy(update={"threads": 1, "checkpoint_steps": 2})
    free = planned.model_copy(update={"training": training})
    # What `--resume --force` of that run alone leaves behind.
    (phase,) = free.detector.phases
    phases = (phase.model_copy(update={"epochs": 2}),)
    detector = free.detector.model_copy(update={"phases": phases})
    member.write_experiment(free.model_copy(update={"detector": detector}))
    again = ["train", "residual_ae_small", "--data", str(records), "--run", str(copy), *FLAGS]
    for arguments in (
        ["evaluate", str(copy)],
        [*again, "--seeds", "2", "--set", "seed=7", "--resume"],
    ):
        assert cli_run(arguments) == 2
        error = capsys.readouterr().err
        assert "not as planned: seed_8 (detector.phases.0.epochs: 1 -> 2);" in error
        assert error.count("\n") == 1
    assert not (copy / "reports").exists()
    member.write_experiment(free)
    check_members(copy, read_group(copy))


def test_seeds_are_judged_with_spread_and_intervals(seeds, capsys):
    figures, shown = evaluated(seeds, "seeds", capsys)
    (dataset,) = figures["datasets"]
    level = dataset["levels"]["image"]
    assert dataset["relation"] == "in-domain"
    aucs = []
    for name in ("seed_7", "seed_8"):
        own = json.loads(next((seeds / name / "reports").glob("*/test/metrics.json")).read_text())
        assert level["members"][name]["auc"] == own["levels"]["image"]["ranking"]["auc"]
        assert level["members"][name]["auc"]["low"] is not None
        aucs.append(own["levels"]["image"]["ranking"]["auc"]["value"])
    over = level["spread"]["auc"]
    assert over == {
        "num": 2,
        "mean": pytest.approx(np.mean(aucs)),
        "std": pytest.approx(np.std(aucs, ddof=1)),
        "min": min(aucs),
        "max": max(aucs),
    }
    assert f"{np.mean(aucs):.3f} ± {np.std(aucs, ddof=1):.3f}" in shown
    assert "the chance of training" in shown


def test_domains_left_out_are_judged_on_what_was_never_seen(left_out, capsys):
    figures, shown = evaluated(left_out, "leave_one_domain_out", capsys)
    assert [one["left_out"] for one in figures["domains"]] == list(DOMAINS)
    aucs = []
    for one, other in zip(figures["domains"], reversed(DOMAINS), strict=True):
        run = left_out / one["member"]
        assert f"leave_out: {one['left_out']}" in (run / "config.yaml").read_text()
        assert one["held_out"]["relation"] == "left-out domain"
        assert one["trained"]["relation"] == "in-domain"
        assert one["held_out"]["domains"] == [one["left_out"]]
        assert one["trained"]["domains"] == [other]
        (scores,) = (run / "reports").glob(f"*/test_{one['left_out']}/image_scores.csv")
        rows = [line.split(",") for line in scores.read_text().splitlines()[1:]]
        assert len(rows) == 24
        expected = roc_auc_score(
            [row[1] == "fake" for row in rows], [float(row[2]) for row in rows]
        )
        found = one["held_out"]["levels"]["image"]["ranking"]["auc"]["value"]
        assert found == pytest.approx(expected)
        aucs.append(expected)
    assert figures["held_out_auc"]["mean"] == pytest.approx(np.mean(aucs))
    assert figures["worst_domain"] == DOMAINS[int(np.argmin(aucs))]
    assert "domain left out" in shown
    assert f"worst: {figures['worst_domain']}" in shown


def test_what_a_group_cannot_do_is_one_line(left_out, seeds, records, tiny_records, capsys):
    data = ["--data", str(records)]
    for arguments, message in (
        (["evaluate", str(left_out), "--data", str(tiny_records)], "the records it was trained on"),
        (["evaluate", str(seeds), "--robustness"], "take one run"),
        (["evaluate", str(seeds), "--operating-point", "odd"], "no such operating point"),
        (["compare", str(seeds), str(left_out), *data], "give its members, such as"),
        (
            ["train", "residual_ae_small", *data, "--seeds", "2", "--leave-one-domain-out"],
            "not both",
        ),
        (["train", "residual_ae_small", *data, "--seeds", "1"], "x>=2"),
    ):
        assert cli_run(arguments) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def experiment(**data):
    return parse_experiment({"detector": {"name": "residual_ae"}, "data": data}, "test")


def test_plans():
    group = seed_group(experiment(), "f", 3)
    assert [member.seed for member in group.members] == [0, 1, 2]
    assert [member.experiment(group.experiment).seed for member in group.members] == [0, 1, 2]
    group = leave_one_out_group(experiment(), "f", ["a b", "a/b", "c"])
    names = [member.name for member in group.members]
    assert len(set(names)) == 3
    assert all(Path(name).name == name for name in names)
    left = [member.experiment(group.experiment).data.leave_out for member in group.members]
    assert left == ["a b", "a/b", "c"]


def test_plans_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="needs two domains or more, found a"):
        leave_one_out_group(experiment(), "f", ["a"])
    with pytest.raises(InputError, match="must be null"):
        leave_one_out_group(experiment(leave_out="a"), "f", ["a", "b"])


def test_changed_settings_are_listed_and_free_ones_are_not():
    before, overrides = load_experiment("residual_ae_small", OVERRIDES), [*OVERRIDES]
    overrides += ["training.strategy=cpu", "training.threads=3", "training.checkpoint_steps=2"]
    assert experiment_changes(before, load_experiment("residual_ae_small", overrides)) == []
    overrides += ["seed=1", "detector.widths=[4, 8]", "data.augment={}", "data.domains=[a]"]
    found = [*map(str, experiment_changes(before, load_experiment("residual_ae_small", overrides)))]
    keys = ["detector.widths: [", "seed: 0 -> 1", "data.augment: None -> {"]
    keys.append("data.domains: [] -> ['a']")
    assert len(found) == len(keys)
    assert all(line.startswith(key) for line, key in zip(found, keys, strict=True))


def test_adversarial_domains_need_two_beside_the_one_left_out(records, tmp_path, capsys):
    run = tmp_path / "lodo"
    arguments = ["train", "dann_small", "--data", str(records), "--run", str(run)]
    assert cli_run([*arguments, "--leave-one-domain-out"]) == 2
    error = capsys.readouterr().err
    assert "needs three domains or more" in error
    assert "found 2 (lab, web)" in error
    assert "[1/2]" not in error
    assert error.count("\n") == 1
    assert not run.exists()


def test_a_run_with_a_space_is_quoted_and_its_calibration_warns(seeds, records, tmp_path, capsys):
    run = tmp_path / "one run"
    shutil.copytree(seeds / "seed_7", run)
    arguments = ["train", "residual_ae_small", "--data", str(records), "--run", str(run), *FLAGS]
    assert cli_run([*arguments, "--set", "seed=7", "--resume"]) == 0
    error = capsys.readouterr().err
    assert f"next: dfd-tf evaluate '{run}'\n" in error
    for name, reason in json.loads((run / "calibration.json").read_text())["missing"].items():
        assert f"warning: operating point {name} was not set: {reason}\n" in error


def test_spread_by_hand():
    assert spread([1.0, 2.0, 3.0, None]) == {"num": 3, "mean": 2, "std": 1, "min": 1, "max": 3}
    assert spread([2.0])["std"] is None
    assert spread([None]) == {"num": 0, "mean": None, "std": None, "min": None, "max": None}
