"""What the commands show on stderr: progress bars, tables, warnings."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

FILE_WIDTH = 200
"""Columns of tables in files and pipes, which have no width of their own; rich takes 80 there."""

stderr = Console(stderr=True)


def results_console() -> Console:
    """Makes the console of tables on stdout."""
    return Console(width=None if sys.stdout.isatty() else FILE_WIDTH)


def warn(message: str) -> None:
    stderr.print(f"[yellow]warning:[/] {message}", highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar on stderr; yields a function that takes the items done and in all."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    hidden = not stderr.is_terminal
    with Progress(*columns, console=stderr, transient=True, disable=hidden) as progress:
        task = progress.add_task(what, total=None)

        def advance(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        yield advance


def figures_table(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> Table:
    """Makes a table of metrics: one row an evaluation, intervals in brackets."""
    table = Table(title=title)
    for heading in columns.values():
        table.add_column(heading)
    for row in rows:
        table.add_row(*(formatted(row.get(name)) for name in columns))
    return table


def formatted(value: Any) -> str:
    """Writes a metric as `0.912 [0.871, 0.944]`, and one without a value as `undefined`."""
    if isinstance(value, dict):
        if value["value"] is None:
            return "undefined"
        if value["low"] is None:
            return f"{value['value']:.3f}"
        return f"{value['value']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
    if value is None:
        return "undefined"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
