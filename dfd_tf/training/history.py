"""`history.csv`: one row an epoch, without anything that differs between two equal runs."""

import csv
import io
from dataclasses import dataclass, field
from typing import Any

from dfd_tf.config.run_directory import RunDirectory


@dataclass
class History:
    """Figures of the epochs so far.

    Args:
        rows: One dict an epoch: `epoch` (from 1), `phase`, `steps` (total), `learning_rate`, then
            the logs in the order the detector gives them; None where a figure does not exist.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)

    def append(self, row: dict[str, Any]) -> None:
        self.rows.append(row)

    def write(self, run: RunDirectory) -> None:
        """Replaces the file, or removes it before the first epoch.

        Floats are written so that they read back exactly.
        """
        if not self.rows:
            run.history.unlink(missing_ok=True)
            return
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        run.write(run.history, text.getvalue().encode())
