"""The audit of a record folder: split proof, copies and shortcuts, before anything is trained."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dfd_tf.evaluation.shortcuts import CONFIDENCE, TOGETHER, Shortcut, measure_shortcuts
from pipelines.executors import Executor
from pipelines.media_item import FAKE, LABEL_NAMES, REAL
from pipelines.nuisances import COLLECT, NUISANCES, NUMERIC, MeasuredRecord, measure_shard
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records
from pipelines.settings import PrepareSettings, prepare_settings
from pipelines.shared_content import AuditedMedium, SharedContent, find_shared_content

NUM_EXAMPLES = 20
COPIES_NAME = "copies.csv"

_LABELS = {nuisance.name: nuisance.label for nuisance in NUISANCES} | {TOGETHER: "all together"}


@dataclass(frozen=True)
class Audit:
    """What was found.

    Args:
        manifest: Of the records.
        media: All media.
        shared: Copies among them.
        shortcuts: One verdict a nuisance, and one for all together at the end.
        limit: Largest AUC tolerated.
    """

    manifest: Manifest
    media: list[AuditedMedium]
    shared: list[SharedContent]
    shortcuts: list[Shortcut]
    limit: float

    @property
    def over(self) -> list[Shortcut]:
        """The shortcuts, the worst first."""
        found = [s for s in self.shortcuts if s.verdict == "over" and s.low is not None]
        return sorted(found, key=lambda s: -(s.low or 0.0))

    @property
    def leaks(self) -> bool:
        """Whether splits share content, by the proof or by what was found."""
        proof = bool(self.manifest.split_proof.get("leak_free", False))
        return not proof or any(shared.crosses_splits for shared in self.shared)

    @property
    def passed(self) -> bool:
        """Whether neither a shortcut nor a leak was found."""
        return not self.over and not self.leaks

    @property
    def undecided(self) -> str:
        """Why the shortcuts could not be judged; empty where they were."""
        last = self.shortcuts[-1]
        return last.reason if last.verdict in ("undecided", "undefined") else ""

    def num(self, label: int) -> int:
        """Number of media of a label."""
        return sum(medium.label == label for medium in self.media)


def audit_records(
    records: Path,
    limit: float,
    executor: Executor,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Audit:
    """Audits all splits of a record folder together: a shortcut in any of them counts.

    Args:
        records: The folder.
        limit: Largest AUC tolerated, in (0.5, 1).
        executor: Where the records are measured, shard by shard.
        progress: Called with the records measured and in all.

    Raises:
        InputError: There is no such folder.
        DatasetError: It is damaged.
    """
    manifest = verify_records(records, deep=False)
    total = sum(shard.records for shard in manifest.shards)
    measured: list[MeasuredRecord] = []
    progress(0, total)
    whole = prepare_settings(manifest.settings).faces.detector == "none"
    work = partial(measure_shard, folder=records, find_faces=whole)
    for found in executor.run(work, manifest.shards):
        measured += found
        progress(len(measured), total)
    media, shared = find_shared_content(measured)
    return Audit(manifest, media, shared, measure_shortcuts(media, limit), limit)


def advice(audit: Audit) -> dict[str, str]:
    """What would remove each shortcut that is over the limit: name -> advice."""
    settings = prepare_settings(audit.manifest.settings)
    cures = {nuisance.name: nuisance.cure for nuisance in NUISANCES}
    return {s.name: _applicable(cures[s.name], settings) for s in audit.over if s.name in cures}


def _applicable(cure: str, settings: PrepareSettings) -> str:
    """Sends nobody back to what was done already: what is left then lies in the content."""
    done = (settings.harmonize and "--harmonize" in cure) or (
        settings.faces.detector != "none" and "--faces" in cure
    )
    return COLLECT if done else cure


def headline(audit: Audit) -> str:
    """Returns the finding in one sentence."""
    faults = ["splits share content"] if audit.leaks else []
    if audit.over:
        worst = audit.over[0]
        together = worst.name == TOGETHER
        what = "all nuisances together" if together else f"{_LABELS[worst.name]} alone"
        faults.append(
            f"real and fake can be told apart by {what}: AUC {worst.auc:.3f}, at least "
            f"{worst.low:.3f} with 95 % confidence, limit {audit.limit:g}"
        )
    if faults:
        return "; ".join(faults)
    if audit.undecided:
        return f"splits share nothing; shortcuts cannot be judged: {audit.undecided}"
    highest = max((s for s in audit.shortcuts if s.auc is not None), key=lambda s: s.auc or 0.0)
    return (
        f"splits share nothing, and no nuisance is over the limit of {audit.limit:g} (highest: "
        f"{_LABELS[highest.name]}, AUC {highest.auc:.3f})"
    )


def audit_summary(audit: Audit) -> dict[str, Any]:
    """Returns `audit.json`: JSON values."""
    cures = advice(audit)
    proof = audit.manifest.split_proof
    rows = [_row(shortcut, audit, cures) for shortcut in audit.shortcuts]
    overlaps = proof.get("overlaps", {})
    return {
        "dataset": audit.manifest.name,
        "records_fingerprint": audit.manifest.fingerprint(),
        "passed": audit.passed,
        "headline": headline(audit),
        "limit": audit.limit,
        "confidence": CONFIDENCE,
        "media": {LABEL_NAMES[label]: audit.num(label) for label in LABEL_NAMES},
        "clusters": {
            LABEL_NAMES[label]: len({m.cluster for m in audit.media if m.label == label})
            for label in (REAL, FAKE)
        },
        "splits": {
            "leak_free": not audit.leaks,
            "proof": bool(proof.get("leak_free", False)),
            "components": proof.get("components"),
            "overlaps": {kind: found["count"] for kind, found in overlaps.items()},
        },
        "copies": _copies(audit.shared),
        "nuisances": rows[:-1],
        "together": rows[-1],
        "advice": list(dict.fromkeys(cures.values())),
        "harmonization": dict(audit.manifest.harmonization) or None,
    }


def _row(shortcut: Shortcut, audit: Audit, cures: dict[str, str]) -> dict[str, Any]:
    return {
        "name": shortcut.name,
        "label": _LABELS[shortcut.name],
        "auc": {"value": shortcut.auc, "low": shortcut.low, "high": shortcut.high},
        "verdict": shortcut.verdict,
        "reason": shortcut.reason,
        "n": {
            LABEL_NAMES[label]: _num_known(shortcut.name, audit, label) for label in (REAL, FAKE)
        },
        "advice": cures.get(shortcut.name),
    }


def _num_known(name: str, audit: Audit, label: int) -> int:
    """Media of a label that have a value; all have a format."""
    held = [medium for medium in audit.media if medium.label == label]
    if name not in NUMERIC:
        return len(held)
    place = NUMERIC.index(name)
    return sum(not np.isnan(medium.values[place]) for medium in held)


def _copies(shared: list[SharedContent]) -> dict[str, Any]:
    counts = {
        kind: {
            "count": sum(one.kind == kind for one in shared),
            "across_splits": sum(one.kind == kind and one.crosses_splits for one in shared),
            "across_classes": sum(one.kind == kind and one.crosses_classes for one in shared),
        }
        for kind in ("exact", "near")
    }
    examples = [
        {
            "kind": one.kind,
            "across_splits": one.crosses_splits,
            "across_classes": one.crosses_classes,
            "media": [
                {
                    "path": medium.path,
                    "label": LABEL_NAMES[medium.label],
                    "split": medium.split,
                    "shard": medium.shard,
                }
                for medium in one.media
            ],
        }
        for one in shared[:NUM_EXAMPLES]
    ]
    return {**counts, "examples": examples, "all": COPIES_NAME}
