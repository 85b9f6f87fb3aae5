"""What an audit leaves beside the records: audit.json, a page, pictures, and a list of copies."""

import csv
import io
import json
from pathlib import Path
from typing import Any

from dfd_tf.evaluation.audit import COPIES_NAME, Audit, audit_summary
from dfd_tf.evaluation.audit_plots import nuisance_plot, overview_plot
from dfd_tf.evaluation.html_page import inline_png, render
from dfd_tf.evaluation.plots import png_bytes
from dfd_tf.evaluation.stored_figures import StoredAudit, checked_json
from pipelines.errors import InputError, printable
from pipelines.media_item import FAKE, LABEL_NAMES, REAL
from pipelines.nuisances import NUISANCES
from pipelines.records.files import write_atomically
from pipelines.records.manifest import load_manifest

FOLDER = "audit"
SUMMARY_NAME = "audit.json"
PAGE_NAME = "audit.html"


def write_audit(audit: Audit, folder: Path) -> list[Path]:
    """Writes everything, `audit.json` last.

    Args:
        audit: What was found.
        folder: Where; made when missing. Files of an earlier audit are replaced.

    Returns:
        The files, the page first.

    Raises:
        InputError: The folder cannot be made.
        DatasetError: The disk is full, or the like.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); choose --output") from None
    summary = audit_summary(audit)
    pictures = _pictures(audit, summary)
    page = render(
        "audit.html",
        summary=summary,
        copies=audit.shared,
        label_names=LABEL_NAMES,
        pictures={name: inline_png(content) for name, content in pictures.items()},
        printable=printable,
    )
    files = {PAGE_NAME: page.encode()}
    files |= {f"{name}.png": content for name, content in pictures.items()}
    files[COPIES_NAME] = _copies_table(audit)
    files[SUMMARY_NAME] = (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode()
    for name, content in files.items():
        write_atomically(folder / name, content)
    return [folder / name for name in files]


def failed_audit(records: Path) -> str | None:
    """Returns what the last audit of just these records found wrong; None without such an audit.

    Raises:
        InputError: There is no such folder.
        DatasetError: It has no sound manifest.
    """
    path = records / FOLDER / SUMMARY_NAME
    if not path.is_file():
        return None
    try:
        summary = checked_json(path.read_bytes(), StoredAudit)
        # An audit of what the folder held before says nothing.
        stale = summary["records_fingerprint"] != load_manifest(records).fingerprint()
        if summary["passed"] or stale:
            return None
        return f"{records}: the audit failed: {summary['headline']}; see {path.parent / PAGE_NAME}"
    except (OSError, ValueError):
        return f"{path}: damaged; run `dfd-tf audit {records}` again"


def _pictures(audit: Audit, summary: dict[str, Any]) -> dict[str, bytes]:
    labels = {row["name"]: row["label"] for row in [*summary["nuisances"], summary["together"]]}
    title = (
        f"How well nuisances alone tell real from fake\n{printable(audit.manifest.name)}, all "
        f"splits, {audit.num(REAL)} real and {audit.num(FAKE)} fake media"
    )
    pictures = {"overview": overview_plot(audit.shortcuts, labels, audit.limit, title)}
    by_name = {shortcut.name: shortcut for shortcut in audit.shortcuts}
    for nuisance in NUISANCES:
        shortcut = by_name[nuisance.name]
        if shortcut.auc is not None:
            pictures[nuisance.name] = nuisance_plot(audit.media, nuisance, shortcut)
    return {name: png_bytes(figure) for name, figure in pictures.items()}


def _copies_table(audit: Audit) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(
        ["group", "kind", "across_splits", "across_classes", "path", "label", "split", "shard"]
    )
    for group, shared in enumerate(audit.shared, start=1):
        for medium in shared.media:
            writer.writerow(
                [
                    group,
                    shared.kind,
                    "yes" if shared.crosses_splits else "no",
                    "yes" if shared.crosses_classes else "no",
                    printable(medium.path),
                    LABEL_NAMES[medium.label],
                    medium.split,
                    medium.shard,
                ]
            )
    return text.getvalue().encode()
