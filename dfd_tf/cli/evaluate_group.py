"""`dfd-tf evaluate` of a group of runs: one table over seeds, or over domains left out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape

from dfd_tf.cli.console import figures_table, progress_bar, results_console, stderr, warn
from dfd_tf.config.run_group import LEAVE_ONE_OUT, RunGroup
from pipelines.errors import printable

if TYPE_CHECKING:
    from dfd_tf.evaluation.scoring import Progress

METRICS = {
    "auc": "AUC [95 %]",
    "average_precision": "AP [95 %]",
    "eer": "EER [95 %]",
    "balanced_accuracy": "balanced accuracy [95 %]",
    "fpr": "FPR [95 %]",
}
SEED_COLUMNS = {"dataset": "dataset", "n": "real + fake", "run": "run", **METRICS}
DOMAIN_COLUMNS = {
    "left_out": "domain left out",
    "n": "real + fake",
    "positive_rate": "positive rate",
    **METRICS,
    "trained": "AUC on the domains trained on",
}


def evaluate_members(
    run: str,
    group: RunGroup,
    data: tuple[Path, ...],
    split: str,
    operating_point: str,
    output_format: str,
) -> None:
    """Judges a group and prints its table, or its JSON."""
    from dfd_tf.evaluation.group_evaluation import evaluate_group

    figures, files = evaluate_group(run, group, data, split, operating_point, _bar)
    for line in _warnings(figures):
        warn(escape(line))
    stderr.print(escape(f"group: {files[0]}, {files[1].name}"), highlight=False, soft_wrap=True)
    if output_format == "json":
        click.echo(json.dumps(figures, indent=2))
        return
    title = escape(f"{run} at {operating_point!r}, {split} split")
    left_out = figures["kind"] == LEAVE_ONE_OUT
    rows = domain_rows(figures) if left_out else seed_rows(figures)
    columns = DOMAIN_COLUMNS if left_out else SEED_COLUMNS
    console = results_console()
    console.print(figures_table(title, rows, columns))
    if not left_out:
        console.print(figures["note"], highlight=False, soft_wrap=True)


@contextmanager
def _bar(what: str) -> "Iterator[Progress]":
    with progress_bar(escape(what)) as progress:
        yield progress


def _warnings(figures: dict[str, Any]) -> list[str]:
    if figures["kind"] == LEAVE_ONE_OUT:
        found = [
            f"{one['member']}: {line}" for one in figures["domains"]
            for line in one["held_out"]["warnings"]
        ]  # fmt: skip
    else:
        found = [
            f"{one['dataset']}: {line}" for one in figures["datasets"] for line in one["warnings"]
        ]
    return list(dict.fromkeys(found))


def seed_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a seed, then mean and standard deviation, and range, of each dataset and level."""
    rows = []
    for one in figures["datasets"]:
        for level, found in one["levels"].items():
            origin = {
                "dataset": escape(f"{one['dataset']} ({one['relation']})"),
                "n": f"{found['num_real']} + {found['num_fake']} {level}s",
            }
            missing = dict.fromkeys(METRICS, "no threshold")
            for name, metrics in found["members"].items():
                rows.append({**origin, "run": name, **missing, **metrics})
            for name, text in (("mean ± SD", _mean), ("range", _range)):
                row = {metric: text(value) for metric, value in found["spread"].items()}
                rows.append({**origin, "run": name, **dict.fromkeys(METRICS, ""), **row})
    return rows


def domain_rows(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a domain left out and level, then the mean over domains and the worst."""
    from dfd_tf.evaluation.group_evaluation import table_metrics

    rows: list[dict[str, Any]] = []
    for one in figures["domains"]:
        for level, found in one["held_out"]["levels"].items():
            trained = one["trained"]["levels"].get(level)
            rows.append(
                {
                    "left_out": escape(printable(one["left_out"])),
                    "n": f"{found['num_real']} + {found['num_fake']} {level}s",
                    "positive_rate": found["positive_rate"],
                    **dict.fromkeys(METRICS, "no threshold"),
                    **table_metrics(found),
                    "trained": trained["ranking"]["auc"] if trained else None,
                }
            )
    auc = figures["held_out_auc"]
    blank = dict.fromkeys(DOMAIN_COLUMNS, "")
    rows.append({**blank, "left_out": "mean ± SD", "n": "images", "auc": _mean(auc)})
    worst = figures["worst_domain"]
    if worst is not None:
        rows.append(
            {**blank, "left_out": f"worst: {escape(printable(worst))}", "n": "images",
             "auc": f"{auc['min']:.3f}"}
        )  # fmt: skip
    return rows


def _mean(found: dict[str, Any]) -> str:
    if found["mean"] is None:
        return "undefined"
    deviation = "" if found["std"] is None else f" ± {found['std']:.3f}"
    return f"{found['mean']:.3f}{deviation}"


def _range(found: dict[str, Any]) -> str:
    return "undefined" if found["mean"] is None else f"{found['min']:.3f} to {found['max']:.3f}"
