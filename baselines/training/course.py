"""The course of a training: what is trained, when val is looked at, when to stop, and how it went.

Conventions
-----------
Steps are counted as done: a history of looks has (steps done, mean angular distance on val in degrees). There are
``settings.train.validations`` looks, evenly spread, the last at the end. Times are seconds, memory is bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from baselines.data.batch import Batch
from baselines.training.parallel import ALONE, Team
from baselines.training.settings import Settings

MEGABYTE = 2**20


class TrainingBatches(Protocol):
    """Where batches come from: this process's share of each, as functions of (seed, step)."""

    def batches(self, start_step: int) -> Iterator[Batch]:
        """Batches on the CPU, from a step on, without end."""


AfterStep = Callable[[nn.Module, torch.optim.Optimizer, int], None]


@dataclass(frozen=True)
class Course:
    """What is trained, how, where.

    ``panoramas`` is the number of panoramas of the train split (for the log's epochs), ``device`` and ``team`` are those of
    this process, ``after_step`` is called with the network, the optimiser and the number of steps done, for methods that change
    weights themselves; it must do the same in every process.
    """

    method: str
    settings: Settings
    seed: int
    folder: Path
    device: torch.device
    panoramas: int
    team: Team = ALONE
    after_step: AfterStep | None = None


@dataclass(frozen=True)
class Fit:
    """How a training went.

    ``chosen_step`` is that of the weights that were kept, ``chosen_by`` says why; of ``seconds`` spent training, ``waited``
    were spent waiting for data; ``looking`` were spent on val besides; ``people`` were seen, each time counted.
    """

    steps: int
    chosen_step: int
    chosen_by: str
    history: list[tuple[int, float]]
    stopped_early: bool
    seconds: float
    waited: float
    looking: float
    people: int
    peak_memory: int | None

    def facts(self) -> dict[str, Any]:
        """What a record says of it, as JSON values."""
        return {
            "steps": self.steps,
            "chosen_step": self.chosen_step,
            "chosen_by": self.chosen_by,
            "val_deg": dict(self.history).get(self.chosen_step),
            "stopped_early": self.stopped_early,
            "seconds": round(self.seconds, 1),
            "validation_seconds": round(self.looking, 1),
            "people_per_second": round(self.people / max(self.seconds, 1e-9), 1),
            "waiting": round(self.waited / max(self.seconds, 1e-9), 4),
            "peak_memory_mb": None if self.peak_memory is None else round(self.peak_memory / MEGABYTE),
        }


def looks(steps: int, validations: int) -> list[int]:
    """Numbers of steps done at which val is looked at and a checkpoint written."""
    return sorted({math.ceil(steps * (k + 1) / validations) for k in range(validations)})


def best_look(history: list[tuple[int, float]]) -> int:
    """Place in the history of the best score; the earliest of equals."""
    return min(range(len(history)), key=lambda k: history[k][1])


def out_of_patience(history: list[tuple[int, float]], patience: int) -> bool:
    """Whether the last ``patience`` looks brought nothing better; never with a patience of 0."""
    return bool(history) and 0 < patience <= len(history) - 1 - best_look(history)
