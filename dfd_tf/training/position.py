"""Where a training stands."""

from dataclasses import dataclass


@dataclass
class Position:
    """Progress through the phases; counts what is done, so all begin at 0.

    Args:
        phase: Phases done.
        epoch: Epochs done in the present phase.
        step: Steps done in the present epoch.
        total_epochs: Epochs done over all phases; also the index of the epoch of the data order.
        total_steps: Steps done over all phases.
    """

    phase: int = 0
    epoch: int = 0
    step: int = 0
    total_epochs: int = 0
    total_steps: int = 0

    def end_step(self) -> None:
        self.step += 1
        self.total_steps += 1

    def end_epoch(self) -> None:
        self.step = 0
        self.epoch += 1
        self.total_epochs += 1

    def begin_phase(self, phase: int) -> None:
        self.phase = phase
        self.epoch = 0
        self.step = 0
