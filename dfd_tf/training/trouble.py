# ruff: noqa: ARG002 - the signatures are Keras's
"""Warnings of the detector about its own training: printed once and kept with the run."""

from typing import Any

import keras
from rich.console import Console
from rich.markup import escape

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.training.history import History


class Trouble(keras.callbacks.Callback):
    """Asks the detector after every epoch whether it sees trouble.

    Args:
        run: Its provenance gets the warnings, under `warnings`.
        history: Rows of the epochs before.
        console: Where warnings are printed.
    """

    state_key = "trouble"

    def __init__(self, run: RunDirectory, history: History, console: Console) -> None:
        super().__init__()
        self.run = run
        self.history = history
        self.console = console
        self.given: list[str] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        warning = self.model.trouble([*self.history.rows, dict(logs)])
        if warning is None or warning in self.given:
            return
        self.given.append(warning)
        self.console.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
        facts = self.run.read_json(self.run.provenance)
        self.run.write_json(self.run.provenance, {**facts, "warnings": self.given})

    def fields(self) -> dict[str, Any]:
        return {"given": self.given}

    def restore(self, fields: dict[str, Any]) -> None:
        self.given = list(fields["given"])
