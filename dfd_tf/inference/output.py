"""Predictions as a table, JSON lines or CSV: written as they come, complete even on Ctrl-C."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dfd_tf.inference.prediction import FilePrediction
from dfd_tf.inference.prediction import operating_point as find_operating_point
from dfd_tf.inference.predictor import Predictor
from pipelines.errors import InputError, printable

CSV_COLUMNS = (
    "path",
    "status",
    "kind",
    "verdict",
    "reason",
    "label",
    "score",
    "probability",
    "p_value",
    "p_value_fake",
    "threshold",
    "redelivered",
    "num_faces",
    "num_frames",
    "num_persons",
    "worst_person",
    "sampling",
    "aggregation",
    "temporal_p_value",
    "truncated",
    "notes",
    "error",
    "operating_point",
    "promised_fpr",
    "promised_miss",
    "detector",
    "model",
    "pretrained",
    "caveats",
)

_FILE_WIDTH = 160
STRANGE = 0.05
"""p-value of change over time from which on the table speaks of it."""

Write = Callable[[FilePrediction], None]


_Facts = dict[str, object]
"""What every result carries, so that it can be read without the run."""


@contextmanager
def open_output(
    path: Path | None, output_format: str, predictor: Predictor, operating_point: str
) -> Iterator[Write]:
    """Yields the function that writes one result; to stdout where `path` is None.

    Raises:
        InputError: The file cannot be written.
    """
    facts = _facts(predictor, operating_point)
    if path is None:
        with _WRITERS[output_format](sys.stdout, facts) as write:
            yield write
        return
    try:
        with (
            path.open("w", encoding="utf-8", newline="") as file,
            _WRITERS[output_format](file, facts) as write,
        ):
            yield write
    except OSError as error:
        raise InputError(f"{printable(str(path))}: cannot be written ({error.strerror})") from None


def row_maker(
    predictor: Predictor, operating_point: str
) -> Callable[[FilePrediction], dict[str, object]]:
    """Returns what makes plain values of a result that can be read without the run."""
    facts = _facts(predictor, operating_point)
    return lambda result: _row(result, facts)


def _facts(predictor: Predictor, operating_point: str) -> _Facts:
    threshold = find_operating_point(predictor, operating_point)
    calibration = predictor.calibration
    unset = "not set" if calibration else "uncalibrated"
    return {
        "operating_point": operating_point if threshold else unset,
        "detector": predictor.model.detector,
        "model": predictor.model.sha256[:16],
        "pretrained": predictor.model.pretrained,
        "caveats": "; ".join(
            [*predictor.model.caveats, *(calibration.caveats if calibration else ())]
        ),
    }


def _row(result: FilePrediction, facts: _Facts) -> dict[str, object]:
    """One result with what makes it readable alone."""
    return {**asdict(result), **facts}


@contextmanager
def _json_lines(file: TextIO, facts: _Facts) -> Iterator[Write]:
    def write(result: FilePrediction) -> None:
        file.write(json.dumps(_row(result, facts), ensure_ascii=False) + "\n")
        file.flush()

    yield write


@contextmanager
def _csv(file: TextIO, facts: _Facts) -> Iterator[Write]:
    writer = csv.DictWriter(file, CSV_COLUMNS, extrasaction="ignore")
    writer.writeheader()

    def write(result: FilePrediction) -> None:
        row = _row(result, facts) | {"num_faces": len(result.faces)} | _clip_cells(result)
        redelivered = _redelivered(result)
        writer.writerow(row | {"notes": "; ".join(result.notes), "redelivered": redelivered})
        file.flush()

    yield write


@contextmanager
def _table(file: TextIO, facts: _Facts) -> Iterator[Write]:
    # Text, not str: names in brackets are names, not rich's markup.
    title = Text("{detector}, model {model}, operating point {operating_point}".format_map(facts))
    caption = f"initial weights: {facts['pretrained']}"
    if facts["caveats"]:
        caption += f"\n{facts['caveats']}"
    table = Table(title=title, caption=Text(caption))
    table.add_column("file", overflow="fold")
    for name in ("verdict", "score", "probability", "p-value", "faces", "reason, notes"):
        table.add_column(name)

    def write(result: FilePrediction) -> None:
        table.add_row(
            Text(result.path),
            result.verdict or ("error" if result.error else "none"),
            *(_number(value) for value in (result.score, result.probability, result.p_value)),
            str(len(result.faces)),
            Text("; ".join([result.reason, *_told_of_persons(result), *result.notes])),
        )

    try:
        yield write
    finally:
        # Files and pipes have no width of their own; rich would fold everything to 80 columns.
        Console(file=file, width=None if file.isatty() else _FILE_WIDTH).print(table)


def _counted(result: FilePrediction) -> list[dict[str, Any]]:
    return [person for person in result.persons if person["counted"]]


def _clip_cells(result: FilePrediction) -> dict[str, object]:
    """What the row of a video holds of its persons; nothing for images and without a face."""
    persons = _counted(result)
    if result.video is None:
        return {}
    cells = {name: result.video[name] for name in ("sampling", "aggregation")}
    worst = persons[0] if persons else None
    return cells | {
        "num_persons": len(persons),
        "worst_person": worst and worst["person"],
        "temporal_p_value": worst and worst["temporal"]["p_value"],
    }


def _told_of_persons(result: FilePrediction) -> list[str]:
    """How many persons a video shows, which one decides, and who changes strangely over time."""
    persons = _counted(result)
    told = []
    if len(persons) > 1:
        worst = persons[0]
        told.append(
            f"{len(persons)} persons, the worst is person {worst['person']}"
            f" ({worst['first_seconds']:.1f} to {worst['last_seconds']:.1f} s)"
        )
    for person in persons:
        p_value = person["temporal"]["p_value"]
        if p_value is not None and p_value <= STRANGE:
            told.append(
                f"second opinion: person {person['person']} changes over time as few real ones do"
                f" (p = {p_value:.3g})"
            )
    return told


def _redelivered(result: FilePrediction) -> str:
    """`name: score` of each re-delivery, as a table cell holds it."""
    return "; ".join(f"{name}: {score!r}" for name, score in (result.redelivered or {}).items())


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


_WRITERS = {"table": _table, "jsonl": _json_lines, "csv": _csv}
