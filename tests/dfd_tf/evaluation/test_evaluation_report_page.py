"""report.html: stands alone, says what metrics.json says, and nothing it holds can do harm."""

import json
import re

import numpy as np
import pytest
from evaluation_samples import calibration_of, face_samples, normal_scores
from report_runs import (
    CALIBRATION,
    EVIL,
    HISTORY,
    PROOF,
    WEIGHTS,
    Page,
    make_records,
    make_report,
    make_run,
    video_faces,
)

from dfd_tf.evaluation.audit_files import failed_audit
from dfd_tf.evaluation.html_page import inline_png, render
from dfd_tf.evaluation.report_page import write_page
from dfd_tf.evaluation.robustness import level_figures, worst_cases
from pipelines.records.manifest import ShardInfo


@pytest.fixture(scope="module")
def evil_report(tmp_path_factory):
    """Page, run and figures of a report full of names that mean harm."""
    folder = tmp_path_factory.mktemp("evil")
    shard = ShardInfo("faces-test", "test", 1, 1, "0" * 64, {f"1|{EVIL}": 1})
    manifest = make_records(folder / "records", domains=(EVIL,), shards=(shard,), name="<b>set</b>")
    run = make_run(folder / "run", manifest, caveats=(EVIL,))
    faces = video_faces(
        domains=np.repeat(["d", EVIL] * 2, 30), methods=np.repeat(["", "swap", EVIL], [60, 30, 30])
    )
    report, figures = make_report(run, manifest, faces, warnings=[f"beware of {EVIL}"])
    path = write_page(run, report.folder, folder / "records")
    return Page(path.read_text()), report.folder, figures


def plain_page(
    tmp_path, faces, calibration=CALIBRATION, history=HISTORY, *, drawn=False, **changes
):
    manifest = make_records(tmp_path / "records", **changes)
    run = make_run(tmp_path / "run", manifest, calibration, history)
    report, figures = make_report(run, manifest, faces, calibration, drawn=drawn)
    return Page(write_page(run, report.folder, tmp_path / "records").read_text()), figures


def some_faces():
    return face_samples(*normal_scores(4, 30, 30))


def test_the_page_asks_for_nothing(evil_report):
    page, folder, _ = evil_report
    assert {tag for tag, _ in page.tags}.isdisjoint({"link", "iframe", "object", "base", "form"})
    assert all(source.startswith("data:image/") for source in page.attributes("img", "src"))
    assert len(page.attributes("img", "src")) == 11  # five plots a level, training curves
    assert page.attributes("script", "src") == [None]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert {target.removeprefix("#") for target in page.attributes("a", "href")} <= ids
    (policy,) = [a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a]
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    )
    assert "url(" not in (folder / "report.html").read_text().lower()


def test_names_that_mean_harm_are_only_text(evil_report):
    page, folder, _ = evil_report
    source = (folder / "report.html").read_bytes().decode("utf-8")
    assert "<script>alert" not in source
    assert "<b>set" not in source
    assert len(page.attributes("script", "src")) == 1
    assert {name for _, found in page.tags for name in found if name.startswith("on")} == set()
    shown = EVIL.replace("\udcff", "\\udcff")
    assert f"beware of {shown}" in page.text
    assert page.text.count(shown) > 5


def written(metric):
    """A metric as cells of tables show it."""
    if metric["value"] is None:
        return "undefined"
    text = f"{metric['value']:.3f}"
    return text if metric["low"] is None else f"{text} [{metric['low']:.3f}, {metric['high']:.3f}]"


def test_every_table_says_what_metrics_json_says(evil_report):
    page, folder, figures = evil_report
    assert json.loads((folder / "metrics.json").read_text()) == json.loads(json.dumps(figures))
    ranking = ("auc", "average_precision", "eer", "tpr_at_fpr_1", "tpr_at_fpr_5")
    for name, level in figures["levels"].items():
        n = f"{level['num_real']} real and {level['num_fake']} fake"
        where = f"<b>set</b>/test, {name} level, {n}"
        expected = [
            [
                f"{metric['value']:.3f}",
                "none" if metric["low"] is None else f"{metric['low']:.3f} to {metric['high']:.3f}",
            ]
            for metric in (
                *(level["ranking"][key] for key in ranking),
                *(level["probability"][key] for key in ("log_loss", "brier", "ece")),
            )
        ]
        rows = page.table(f"Ranking and probabilities, {where}")
        assert [row[1:3] for row in rows] == expected
        for row in page.table(f"Decisions, {where}"):
            found = level["decisions"][row[0].split()[0]]
            assert row[1] == f"{found['threshold']:.4g}"
            counted = {"fpr": ("false_positives", "real"), "recall": ("true_positives", "fake")}
            cells = []
            for key in ("fpr", "recall", "precision", "balanced_accuracy", "f1"):
                cells.append(written(found[key]))
                if key in counted:
                    count, label = counted[key]
                    cells[-1] += f" {found[count]} of {level[f'num_{label}']} {label}"
            assert row[2:] == cells
        for kind in ("domain", "method"):
            caption = {"domain": "By domain", "method": "By manipulation"}[kind]
            rows = page.table(f"{caption}, {where}")
            groups = level[f"by_{kind}"]
            assert [row[1:3] for row in rows] == [
                [str(group["num_real"]), str(group["num_fake"])] for group in groups.values()
            ]
            assert [row[3:] for row in rows] == [
                [written(group[key]) for key in ranking] for group in groups.values()
            ]
            worst = [row[0] for row in rows if row[0].endswith("(worst)")]
            assert len(worst) == 1
            expected_worst = level[f"worst_{kind}"].replace("\udcff", "\\udcff")
            assert worst == [f"{expected_worst} (worst)"]


def test_copies_by_other_bytes_are_not_promised_to_be_found(evil_report):
    page, _, _ = evil_report
    assert "checked by bytes; copies saved anew are not found" in page.text


def test_sort_keys_are_the_whole_figures(evil_report):
    page, _, figures = evil_report
    keys = {value for value in page.attributes("td", "data-value") if value}
    for level in figures["levels"].values():
        assert {str(metric["value"]) for metric in level["ranking"].values()} <= keys


def test_the_first_screen_holds_verdict_and_warnings(evil_report):
    page, _, figures = evil_report
    first = page.text[: page.text.index("Figures ·")]
    for name, level in figures["levels"].items():
        auc = level["ranking"]["auc"]
        n = f"{level['num_real']} real and {level['num_fake']} fake"
        told = f"AUC {auc['value']:.3f} (95 % interval {auc['low']:.3f} to {auc['high']:.3f})"
        assert f"Better than chance: {told} at {name} level, {n}." in first
    assert "1 warning: read before any figure" in first
    assert "balanced" in first


def test_captions_carry_level_split_and_n(evil_report):
    page, _, figures = evil_report
    captions = [t["caption"] for t in page.tables if "level" in t["caption"]]
    assert len(captions) >= 10
    assert all("real" in caption and "/" in caption for caption in captions)
    for level in figures["levels"].values():
        auc = level["ranking"]["auc"]
        assert f"ROC; AUC {auc['value']:.3f} (95 % interval {auc['low']:.3f}" in page.text


def test_what_is_missing_is_said(tmp_path):
    page, _ = plain_page(tmp_path, some_faces(), None, None, drawn=True)
    for sentence in (
        "Not audited: run dfd-tf audit",
        "Not measured: run dfd-tf evaluate",
        "No cases were drawn",
        "No training curves: the run holds no history.csv",
        "not calibrated: scores have no thresholds",
        "No decisions: no threshold is set",
        "operating point balanced is not set (the run is not calibrated)",
    ):
        assert sentence in page.text, sentence
    assert len(page.attributes("img", "src")) == 3


@pytest.mark.parametrize(
    ("label", "sentence"),
    [
        (0, "Undefined at image level: all labelled ones are real"),
        (1, "Undefined at image level: all labelled ones are fake"),
        (-1, "Nothing could be measured: no labelled images"),
    ],
)
def test_one_class_or_none_is_said_first(tmp_path, label, sentence):
    page, _ = plain_page(tmp_path, face_samples(np.linspace(0, 1, 30), np.full(30, label)))
    assert sentence in page.text[: page.text.index("Figures ·")]
    assert "None" not in page.text
    assert "nan" not in re.findall(r"\w+", page.text)


def test_thresholds_set_anew_since_are_said(tmp_path):
    manifest = make_records(tmp_path / "records")
    run = make_run(tmp_path / "run", manifest, calibration_of(*normal_scores(9, 120, 120)))
    report, _ = make_report(run, manifest, some_faces(), drawn=False)
    page = Page(write_page(run, report.folder, tmp_path / "records").read_text())
    assert "Thresholds were set anew since: evaluate again." in page.text


def test_dropped_items_and_broken_splits_are_shown(tmp_path):
    crossing = {"count": 2, "examples": [{"key": "person_7", "splits": {"train": 1, "test": 1}}]}
    proof = PROOF | {"leak_free": False, "overlaps": PROOF["overlaps"] | {"identity": crossing}}
    page, _ = plain_page(tmp_path, some_faces(), split_proof=proof)
    assert "Splits share content" in page.text
    assert page.table("What ties")[0] == ["identity", "0", "2", "person_7"]
    assert page.table("Items and faces without a record") == [["no_face", "1"]]
    assert "90 of 91 gave a face" in page.text
    assert [row[3] for row in page.table("Faces, records")] == ["20", "10"] * 3


def an_auc(value, low, high):
    return {"value": value, "low": low, "high": high}


@pytest.mark.parametrize(
    "history",
    [
        "",
        "epoch,phase,steps,loss\n",
        "epoch,phase\n1,head\n",
        "phase,loss\nhead,0.5\n",
        HISTORY.replace("0.75", "three"),
        HISTORY.replace("\n2,", "\nx,"),
        HISTORY[:-12],
        HISTORY + "4,all,16,0.4,0.1,0.5,0.6,0.7\n",
        '1"2,"',
        "\0",
    ],
)
def test_a_damaged_history_leaves_the_curves_out(tmp_path, history):
    page, _ = plain_page(tmp_path, some_faces(), history=history)
    assert "No training curves: history.csv of the run is damaged" in page.text
    assert page.attributes("img", "src") == []


def an_audit(manifest, **changes):
    row = {"label": "frame rate", "auc": an_auc(None, None, None), "verdict": "undefined"}
    row |= {"n": {"real": 3, "fake": 4}, "reason": "", "advice": ""}
    copies = {"count": 0, "across_splits": 0, "across_classes": 0}
    return {
        "dataset": "records",
        "records_fingerprint": manifest.fingerprint(),
        "passed": True,
        "headline": "nothing",
        "advice": [],
        "limit": 0.65,
        "together": row,
        "nuisances": [row],
        "copies": {"exact": copies, "near": copies, "examples": [], "all": "copies.csv"},
    } | changes


@pytest.mark.parametrize(
    "damage",
    [
        lambda audit: {"records_fingerprint": audit["records_fingerprint"], "passed": True},
        lambda audit: {k: v for k, v in audit.items() if k != "records_fingerprint"},
        lambda audit: audit | {"copies": {"exact": audit["copies"]["exact"]}},
        lambda audit: audit | {"passed": "yes"},
        lambda _: None,
    ],
)
def test_a_damaged_audit_is_no_audit(tmp_path, damage):
    records = tmp_path / "records"
    manifest = make_records(records)
    (records / "audit").mkdir()
    path = records / "audit" / "audit.json"
    path.write_text(json.dumps(an_audit(manifest)))
    assert failed_audit(records) is None
    page, _ = plain_page(tmp_path, some_faces())
    assert "Passed: nothing" in page.text
    path.write_text(json.dumps(damage(an_audit(manifest))))
    assert "audit.json: damaged; run `dfd-tf audit" in failed_audit(records)
    page, _ = plain_page(tmp_path, some_faces())
    assert "audit.json is damaged: run dfd-tf audit RECORDS and evaluate again" in page.text
    assert "the audit of these records is damaged" in page.text[: page.text.index("Figures ·")]
    assert "Passed" not in page.text


def test_a_failed_audit_is_a_warning_and_a_table(tmp_path):
    manifest = make_records(tmp_path / "records")
    rows = [
        {"label": "JPEG quality", "auc": an_auc(0.91, 0.85, 0.95), "verdict": "over"},
        {"label": "frame rate", "auc": an_auc(None, None, None), "verdict": "undefined"},
    ]
    rows = [row | {"n": {"real": 30, "fake": 31}, "reason": "", "advice": ""} for row in rows]
    copies = {"count": 2, "across_splits": 1, "across_classes": 0}
    audit = {
        "dataset": "records",
        "records_fingerprint": manifest.fingerprint(),
        "passed": False,
        "headline": "JPEG quality tells fakes",
        "advice": ["prepare with --harmonize"],
        "limit": 0.65,
        "together": rows[0] | {"label": "all together"},
        "nuisances": rows,
        "copies": {"exact": copies, "near": copies},
    }
    (tmp_path / "records" / "audit").mkdir()
    path = tmp_path / "records" / "audit" / "audit.json"
    path.write_text(json.dumps(audit))
    page, _ = plain_page(tmp_path, some_faces())
    warned = page.text[: page.text.index("Figures ·")]
    assert "the audit of these records failed: JPEG quality tells fakes" in warned
    assert page.table("How well facts of the files alone") == [
        ["all together", "0.910 [0.850, 0.950]", "30", "31", "over the limit"],
        ["JPEG quality", "0.910 [0.850, 0.950]", "30", "31", "over the limit"],
        ["frame rate", "undefined", "30", "31", "undefined"],
    ]
    path.write_text(json.dumps(audit | {"records_fingerprint": "of others"}))
    page, _ = plain_page(tmp_path, some_faces())
    assert "Not audited" in page.text


def test_degradations_are_a_table_with_the_worst_named(tmp_path):
    manifest = make_records(tmp_path / "records")
    run = make_run(tmp_path / "run", manifest)
    report, _ = make_report(run, manifest, some_faces(), drawn=False)
    clean = face_samples(*normal_scores(5, 20, 20))
    harmed = face_samples(*normal_scores(6, 20, 20, distance=0.2))
    levels = [
        {"level": level, **level_figures(clean, samples, 0.5, seed=0)}
        for level, samples in ((90, clean), (10, harmed))
    ]
    figures = {
        "weights_sha256": WEIGHTS,
        "dataset": "records",
        "split": "test",
        "level": "image",
        "num_real": 20,
        "num_fake": 20,
        "num_images_of_split": 60,
        "threshold": 0.5,
        "operating_point": "balanced",
        "interval": "95 % bootstrap",
        "clean": level_figures(clean, clean, 0.5, seed=0),
        "perturbations": {"jpeg": {"meaning": "JPEG quality", "levels": levels}},
        "not_measured": {"h264": "no codec"},
    }
    figures["worst"] = worst_cases(figures)
    path = report.folder / "robustness.json"
    path.write_text(json.dumps(figures))
    page = Page(write_page(run, report.folder, tmp_path / "records").read_text())
    rows = page.table("Degradations, records/test, image level, 20 real and 20 fake")
    assert rows[0][2] == written(figures["clean"]["auc"])
    assert [row[:2] for row in rows[1:]] == [["jpeg", "90"], ["jpeg (lowest AUC)", "10"]]
    for row, level in zip(rows[1:], levels, strict=True):
        assert row[2:] == [
            written(level[name]) for name in ("auc", "auc_change", "flip_rate", "fpr", "recall")
        ]
    assert "h264 was not measured: no codec" in page.text
    clean = {name: figures["clean"][name] for name in ("auc", "fpr")}
    for damaged in (
        {"weights_sha256": WEIGHTS},
        {name: value for name, value in figures.items() if name != "not_measured"},
        figures | {"clean": clean},
        figures | {"perturbations": {"jpeg": {"meaning": "JPEG quality", "levels": [{}]}}},
        [],
    ):
        path.write_text(json.dumps(damaged))
        page = Page(write_page(run, report.folder, tmp_path / "records").read_text())
        assert "robustness.json is damaged: run dfd-tf evaluate RUN --robustness again" in page.text
    path.write_text(json.dumps(figures | {"weights_sha256": "of another training"}))
    page = Page(write_page(run, report.folder, tmp_path / "records").read_text())
    assert "Not measured: run dfd-tf evaluate" in page.text


def test_a_page_needs_all_its_values():
    with pytest.raises(Exception, match="undefined"):
        render("report.html", run="r")


def test_pictures_become_data():
    assert inline_png(b"\x89PNG") == "data:image/png;base64,iVBORw=="
