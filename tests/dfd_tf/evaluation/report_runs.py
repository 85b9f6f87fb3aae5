"""Run directories and record folders made of a few small files, and a reader of HTML pages."""

import json
from html.parser import HTMLParser

import numpy as np
from evaluation_samples import calibration_of, face_samples, normal_scores

from dfd_tf.config.loading import load_experiment
from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.evaluation.evaluate import Evaluation, evaluate_samples
from dfd_tf.evaluation.plots import PlotContext
from dfd_tf.evaluation.report_files import METRICS_NAME, Report, write_report
from pipelines.records.manifest import Failure, Manifest, ShardInfo, save_manifest

EVIL = "<script>alert(1)</script>&\"'`|[x](http://evil)\udcff"
"""A name of file, domain or method that means harm, and is no UTF-8 besides."""

WEIGHTS = "0" * 64
CALIBRATION = calibration_of(*normal_scores(1, 120, 120))
HISTORY = """epoch,phase,steps,loss,learning_rate,val_loss,val_auc
1,head,4,0.9,0.001,0.8,0.6
2,all,8,0.7,0.0001,0.75,0.7
3,all,12,0.5,0.0001,0.77,
"""
OVERLAPS = {"count": 0, "examples": []}
PROOF = {
    "leak_free": True,
    "mode": "assigned",
    "seed": 0,
    "components": 60,
    "dropped": 0,
    "links": {"identity": 0, "video": 12},
    "overlaps": {"identity": OVERLAPS, "video": OVERLAPS},
    "label_conflicts": OVERLAPS,
}


def make_records(folder, **changes):
    """A record folder of a manifest and nothing else; returns the manifest."""
    settings = {
        "crop": {"size": 64, "format": "jpeg", "quality": 95},
        "faces": {"detector": "haar", "margin": 0.3},
    }
    shards = tuple(
        ShardInfo(f"faces-{split}", split, 30, 1, "0" * 64, {"0|d": 20, "1|d": 10})
        for split in ("train", "val", "test")
    )
    facts = {
        "name": "records",
        "settings": settings,
        "shards": shards,
        "domains": ("d",),
        "failed": (Failure(EVIL, "no_face", EVIL),),
        "sources": ({"items": 91, "recorded": 90},),
        "split_proof": PROOF,
    }
    manifest = Manifest(**(facts | changes))
    folder.mkdir(parents=True, exist_ok=True)
    save_manifest(folder, manifest)
    return manifest


def make_run(folder, manifest, calibration=CALIBRATION, history=HISTORY, caveats=()):
    """A run directory that says it was trained, without weights."""
    run = RunDirectory(folder)
    run.create()
    run.write_experiment(load_experiment("spatial_small"))
    model = ModelFile(
        detector="spatial",
        num_domains=1,
        bytes=1,
        sha256=WEIGHTS,
        pretrained="random (asked for by weights: none)",
        caveats=caveats,
        phase="all",
        epoch=2,
        selection="val_auc",
        value=0.7,
    )
    run.write_json(run.model, model.model_dump(mode="json"))
    facts = {
        "python": "3.11",
        "packages": {"dfd-tf": "0.1.0", "tensorflow": "2.21.0", "keras": "3.15.1"},
        "git": {"commit": "abc", "changed": True},
        "machine": {"system": "L", "architecture": "x", "processor": "p", "cores": 2},
        "seed": 7,
        "selection": {"metric": "val_auc", "rule": "highest val_auc"},
        "records": {
            "name": manifest.name,
            "fingerprint": manifest.fingerprint(),
            "domains": list(manifest.domains),
            "settings": dict(manifest.settings),
            "counts": manifest.counts(),
            "leak_free": True,
        },
    }
    run.write_json(run.provenance, facts)
    if calibration is not None:
        run.write(run.calibration, calibration.to_json().encode())
    if history is not None:
        run.write(run.history, history.encode())
    return run


def make_report(run, manifest, faces, calibration=CALIBRATION, warnings=(), *, drawn=True):
    """A report folder as `evaluate_run` leaves it, without cases; returns it and the figures.

    Without `drawn` it holds metrics.json alone.
    """
    measured = evaluate_samples(faces, calibration, seed=0)
    facts = {
        "run": str(run),
        "detector": "spatial",
        "weights_sha256": WEIGHTS,
        "pretrained": "random",
        "selection": "best val_auc on the validation split, epoch 2",
        "dataset": manifest.name,
        "dataset_fingerprint": manifest.fingerprint(),
        "split": "test",
        "relation": "in-domain",
        "aggregation": {"image": "highest score of its faces", "video": "mean over frames"},
        "operating_point": "balanced",
        "interval": "95 % percentile bootstrap",
        "items": {"found": 91, "recorded": 90, "not_used": manifest.failures},
        "warnings": list(warnings),
        "domains": np.unique(faces.domains).tolist(),
    }
    evaluation = Evaluation(measured.levels, {**facts, **measured.figures})
    context = PlotContext(run.path.name, manifest.name, "test")
    report = Report(run, run.reports / manifest.name / "test", context)
    if drawn:
        write_report(report, evaluation, calibration, "balanced")
    else:
        report.add(METRICS_NAME, json.dumps(evaluation.figures).encode())
    return report, evaluation.figures


def video_faces(domains="d", methods=""):
    """Two frames of each of 60 videos, half of them fake, in two domains and two methods."""
    scores, labels = normal_scores(2, 60, 60)
    videos = [f"ds/{label}/{i // 2}" for i, label in enumerate(labels)]
    keys = [f"{video}#{i % 2}" for i, video in enumerate(videos)]
    return face_samples(scores, labels, keys, videos, domains=domains, methods=methods)


def plain(text):
    """The same text with ordinary spaces."""
    return text.replace("&nbsp;", " ").replace("\N{NO-BREAK SPACE}", " ")


class Page(HTMLParser):
    """What a page holds: tags with their attributes, text, and tables as rows of cell texts."""

    def __init__(self, text):
        super().__init__()
        text = plain(text)
        self.tags, self.tables, self.text = [], [], ""
        self._cell, self._hidden, self._caption = None, None, False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style"}:
            self._hidden = tag
        if tag == "table":
            self.tables.append({"caption": "", "rows": []})
        elif tag == "tr":
            self.tables[-1]["rows"].append([])
        elif tag in {"td", "th"}:
            self._cell = ""
        elif tag == "caption":
            self._caption = True

    def handle_endtag(self, tag):
        if tag == self._hidden:
            self._hidden = None
        if tag in {"td", "th"}:
            self.tables[-1]["rows"][-1].append(" ".join(self._cell.split()))
            self._cell = None
        elif tag == "caption":
            self._caption = False

    def handle_data(self, data):
        if self._hidden:
            return
        self.text += data
        if self._caption:
            self.tables[-1]["caption"] += data
        if self._cell is not None:
            self._cell += data

    def table(self, start):
        """Rows of the one table whose caption starts so, without its head."""
        (found,) = [t for t in self.tables if t["caption"].strip().startswith(start)]
        return found["rows"][1:]

    def attributes(self, tag, name):
        return [attributes.get(name) for found, attributes in self.tags if found == tag]
