"""MODEL_CARD.md: a head that model hubs read, figures of metrics.json, nothing that does harm."""

import json

import numpy as np
import pytest
import yaml
from evaluation_samples import calibration_of, face_samples, normal_scores
from report_runs import CALIBRATION, EVIL, make_records, make_report, make_run, plain, video_faces

from dfd_tf.evaluation.model_card import METRIC_TYPES, markdown_text, write_model_card
from pipelines.records.manifest import ShardInfo

SECTIONS = (
    "Intended use",
    "Out of scope",
    "Training data and splits",
    "Evaluation",
    "Calibration and thresholds",
    "Limits and caveats",
    "How to reproduce",
)


def card(run):
    """Writes the card and returns its head, parsed, and its body."""
    text = plain(write_model_card(run).read_text())
    start, head, body = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(head), body


def check_head(head):
    """The rules of huggingface/hub-docs, modelcard.md: what is required, and of which type."""
    assert isinstance(head["license"], str)
    assert head["library_name"] == "keras"
    for name in ("tags", "datasets"):
        assert all(isinstance(value, str) for value in head[name])
    for model in head.get("model-index", []):
        assert isinstance(model["name"], str)
        for result in model["results"]:
            assert isinstance(result["task"]["type"], str)
            assert all(isinstance(result["dataset"][key], str) for key in ("type", "name"))
            assert result["metrics"]
            for metric in result["metrics"]:
                assert isinstance(metric["type"], str)
                assert isinstance(metric["value"], float)
                assert metric["type"] in head["metrics"]


def test_a_run_that_was_not_evaluated_says_so(tmp_path):
    manifest = make_records(tmp_path / "records")
    head, body = card(make_run(tmp_path / "run", manifest, None))
    check_head(head)
    assert "model-index" not in head
    assert "Not evaluated yet" in body
    assert "not calibrated" in body
    assert [line[3:] for line in body.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert "| train | real | d | 20 |" in body


def test_the_head_holds_the_figures_of_every_evaluation(tmp_path):
    manifest = make_records(tmp_path / "records")
    run = make_run(tmp_path / "run", manifest)
    report, figures = make_report(run, manifest, video_faces(), warnings=["beware"], drawn=False)
    other = make_records(tmp_path / "other", name="other")
    make_report(run, other, face_samples(np.linspace(0, 1, 30), np.zeros(30)), drawn=False)
    head, body = card(run)
    check_head(head)
    found = head["model-index"][0]["results"]
    splits = [(r["dataset"]["type"], r["dataset"]["split"], r["task"]["name"]) for r in found]
    assert splits == [
        ("other", "test", "Deepfake detection, image level, 30 real and 0 fake"),
        ("records", "test", "Deepfake detection, image level, 60 real and 60 fake"),
        ("records", "test", "Deepfake detection, video level, 30 real and 30 fake"),
    ]
    # One class alone: only what that class defines.
    assert {metric["type"] for metric in found[0]["metrics"]} == {"false_positive_rate"}
    stored = json.loads((report.folder / "metrics.json").read_text())
    for result, level in zip(found[1:], ("image", "video"), strict=True):
        values = {metric["type"]: metric["value"] for metric in result["metrics"]}
        measured = stored["levels"][level]
        flat = {
            **measured["ranking"],
            **measured["probability"],
            **measured["decisions"]["balanced"],
        }
        assert values == {kind: flat[name]["value"] for name, kind in METRIC_TYPES.items()}
        auc = flat["auc"]
        told = f"{auc['value']:.3f} (95 % interval {auc['low']:.3f} to {auc['high']:.3f})"
        n = f"{measured['num_real']} real and {measured['num_fake']} fake"
        assert f"AUC {told} at {level} level, {n}" in body
        fpr = flat["fpr"]
        row = f"| {fpr['value']:.3f} (95 % interval {fpr['low']:.3f} to {fpr['high']:.3f}) |"
        assert f"(above {flat['threshold']:.4g}) {row}" in body
    assert "> - records, test: beware" in body
    assert figures["selection"] in body


def test_reports_of_other_weights_are_left_out(tmp_path):
    manifest = make_records(tmp_path / "records")
    run = make_run(tmp_path / "run", manifest)
    report, figures = make_report(run, manifest, video_faces(), drawn=False)
    path = report.folder / "metrics.json"
    path.write_text(json.dumps(figures | {"weights_sha256": "f" * 64}))
    head, body = card(run)
    assert "model-index" not in head
    assert "Not evaluated yet" in body


DAMAGES = {
    "one key alone": lambda figures: {"weights_sha256": figures["weights_sha256"]},
    "no weights": lambda figures: {k: v for k, v in figures.items() if k != "weights_sha256"},
    "a list": lambda figures: [figures],
    "text for a number": lambda figures: (
        figures | {"levels": {"image": figures["levels"]["image"] | {"positive_rate": "half"}}}
    ),
    "no such worst domain": lambda figures: (
        figures | {"levels": {"image": figures["levels"]["image"] | {"worst_domain": "nowhere"}}}
    ),
}


@pytest.mark.parametrize("damage", [*DAMAGES, "cut short"])
def test_a_damaged_report_is_left_out_and_named(tmp_path, damage):
    manifest = make_records(tmp_path / "records")
    run = make_run(tmp_path / "run", manifest)
    make_report(run, manifest, video_faces(), drawn=False)
    whole, _ = card(run)
    other = make_records(tmp_path / "other", name="other")
    report, figures = make_report(run, other, video_faces(), drawn=False)
    assert len(card(run)[0]["model-index"][0]["results"]) == 4
    text = json.dumps(figures)
    content = text[:-20] if damage == "cut short" else json.dumps(DAMAGES[damage](figures))
    (report.folder / "metrics.json").write_text(content)
    head, body = card(run)
    assert head == whole
    assert "**Damaged and left out:** reports/other/test/metrics.json; evaluate again" in body
    assert "### records, test" in body


def test_thresholds_are_those_of_the_calibration(tmp_path):
    manifest = make_records(tmp_path / "records")
    few = calibration_of(*normal_scores(1, 30, 30))
    _, body = card(make_run(tmp_path / "run", manifest, few))
    for threshold in few.thresholds:
        assert f"| {threshold.name} | {threshold.value:.6g} |" in body
    assert "strict is not set: a false positive rate of 1% needs 99 real" in body


def test_names_that_mean_harm_stay_text(tmp_path):
    shard = ShardInfo("faces-test", "test", 1, 1, "0" * 64, {f"1|{EVIL}": 1})
    name = "x: [y\n---\n"
    manifest = make_records(tmp_path / "records", domains=(EVIL,), shards=(shard,), name=name)
    run = make_run(tmp_path / "run", manifest, caveats=(EVIL,))
    make_report(
        run, make_records(tmp_path / "r"), video_faces(domains=EVIL), warnings=[EVIL], drawn=False
    )
    head, body = card(run)
    check_head(head)
    assert head["datasets"] == ["x: [y\\n---\\n"]
    assert "<script" not in body
    assert "[x](http" not in body
    assert "\\udcff" in body
    assert str(tmp_path) not in body


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain_name.jpg", "plain_name.jpg"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("a|b`c*d[e](f)\\", "a\\|b\\`c\\*d\\[e\\](f)\\\\"),
        ("two\nlines", "two\\\\nlines"),
    ],
)
def test_markdown_text(text, expected):
    assert markdown_text(text) == expected


def test_equal_runs_give_equal_cards(tmp_path):
    manifest = make_records(tmp_path / "records")
    run = make_run(tmp_path / "run", manifest, CALIBRATION)
    make_report(run, manifest, video_faces(), drawn=False)
    first = write_model_card(run).read_bytes()
    assert write_model_card(run).read_bytes() == first
