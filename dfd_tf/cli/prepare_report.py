"""What `prepare` shows: a bar a stage while it works, and a summary at its end."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from pipelines.prepare import Progress

STAGES = {
    "index": "looking at media",
    "carrier": "measuring faces",
    "shards": "finding faces, writing shards",
}


class PrepareProgress:
    """Context manager that is called with each `Progress` of `prepare`."""

    def __init__(self, console: Console) -> None:
        self._bars = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks = {
            stage: self._bars.add_task(text, total=None, visible=False, speed="")
            for stage, text in STAGES.items()
        }

    def __enter__(self) -> Self:
        self._bars.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.__exit__(kind, error, traceback)

    def __call__(self, progress: Progress) -> None:
        task = self._tasks[progress.stage]
        speed = self._bars.tasks[task].speed
        self._bars.update(
            task,
            completed=progress.done,
            total=progress.total,
            visible=True,
            speed=f"{speed:.0f}/s" if speed else "",
        )
