"""`dfd-tf audit`: do splits share content, and could a detector live on shortcuts?"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.table import Table

VERDICTS = {"over": "over the limit", "below": "", "undecided": "undecided", "undefined": ""}


@click.command()
@click.argument("records", type=click.Path(path_type=Path))
@click.option(
    "--limit",
    type=click.FloatRange(0.5, 1, min_open=True, max_open=True),
    default=0.65,
    show_default=True,
    help="Largest AUC a nuisance may have: compared with the lower end of its 95 % interval.",
)
@click.option("--format", "output_format", type=click.Choice(["table", "json"]), default="table")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Default: RECORDS/audit."
)
@click.option("--workers", type=click.IntRange(min=1), help="Processes; default: one a core.")
def command(
    records: Path, limit: float, output_format: str, output: Path | None, workers: int | None
) -> None:
    """Check RECORDS for what makes good figures worthless, before training.

    Split proof; copies and near copies across splits and classes; and how well nuisances alone
    (file format, JPEG quality, size, sharpness, framing and so on) tell real from fake. Writes
    audit.html, audit.json, copies.csv and plots. Exits with 1 when splits share content or a
    nuisance is over the limit.
    """
    from rich.markup import escape

    from dfd_tf.cli.console import progress_bar, results_console, stderr, warn
    from dfd_tf.evaluation.audit import audit_records, audit_summary, headline
    from dfd_tf.evaluation.audit_files import FOLDER, write_audit
    from pipelines.errors import CheckFailed
    from pipelines.executors import LocalExecutor

    executor = LocalExecutor(workers or len(os.sched_getaffinity(0)))
    with progress_bar(escape(f"measuring {records.name}")) as progress:
        audit = audit_records(records, limit, executor, progress)
    page = write_audit(audit, output or records / FOLDER)[0]
    summary = audit_summary(audit)
    if output_format == "json":
        click.echo(json.dumps(summary, indent=2, allow_nan=False))
    else:
        console = results_console()
        console.print(_shortcuts_table(summary))
        console.print(_copies_table(summary))
        for line in summary["advice"]:
            console.print(f"advice: {escape(line)}", highlight=False, soft_wrap=True)
    stderr.print(escape(f"report: {page}"), highlight=False, soft_wrap=True)
    across = sum(summary["copies"][kind]["across_classes"] for kind in ("exact", "near"))
    if across:
        warn(f"{across} copies are called real and fake; see {escape(str(page))}")
    if not audit.passed:
        raise CheckFailed(f"{records}: {headline(audit)}")
    if audit.undecided:
        warn(escape(headline(audit)))


def _shortcuts_table(summary: dict[str, Any]) -> "Table":
    from dfd_tf.cli.console import figures_table

    media = summary["media"]
    title = f"{summary['dataset']}: real from fake by nuisances alone, {media['real']} real and "
    title += f"{media['fake']} fake media, limit {summary['limit']:g}"
    rows = [
        {
            "label": row["label"],
            "auc": row["auc"],
            "verdict": VERDICTS[row["verdict"]] or row["reason"],
            "advice": row["advice"] or "",
        }
        for row in [summary["together"], *summary["nuisances"]]
    ]
    columns = {
        "label": "nuisance",
        "auc": "AUC [95 %]",
        "verdict": "verdict",
        "advice": "what would remove it",
    }
    return figures_table(title, rows, columns)


def _copies_table(summary: dict[str, Any]) -> "Table":
    from rich.table import Table

    splits = "share nothing" if summary["splits"]["leak_free"] else "share content"
    table = Table(title=f"splits {splits}; copies found among the stored faces")
    for heading in ("kind", "found", "across splits", "across classes"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    for kind in ("exact", "near"):
        counts = summary["copies"][kind]
        cells = (counts["count"], counts["across_splits"], counts["across_classes"])
        table.add_row(kind, *map(str, cells))
    return table
