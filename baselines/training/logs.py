"""The log of a training: ``log.csv`` in the run's folder, one line for every few steps.

Conventions
-----------
A line speaks of the steps since the line before it: losses are means per person before their weights are applied, ``loss`` is
their weighted sum, ``grad_norm`` the mean norm of the gradient before clipping, ``waiting`` the share of time spent waiting
for data, ``peak_memory_mb`` that of the first process's GPU. ``step`` counts the steps done. Lines at which the val split was
looked at have its columns too. What does not apply is blank.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path

from baselines.training.losses import TERMS
from srgaze360.errors import EnvironmentProblem
from srgaze360.files import write_text

LOG_FILE = "log.csv"
COLUMNS = (
    *("step", "epoch", "lr", "loss", *TERMS, "grad_norm", "people_per_s", "waiting", "peak_memory_mb"),
    *("val_deg", "val_loss", *(f"val_{name}" for name in TERMS)),
)


class Log:
    """A log that is written line by line; ``text`` is what it holds.

    A training that goes on hands over the text as it was at the checkpoint, which replaces the file: steps that are done again
    are not logged twice, and none is missing.
    """

    def __init__(self, folder: Path, text: str = "") -> None:
        self.path = folder / LOG_FILE
        self.text = text or _line(COLUMNS)
        write_text(self.path, self.text)

    def add(self, values: Mapping[str, float | None]) -> None:
        """Append a line; it is on the disk when this returns.

        Raises
        ------
        EnvironmentProblem
            The disk is full or the file cannot be written to.
        """
        unknown = set(values) - set(COLUMNS)
        if unknown:
            raise KeyError(f"no columns {sorted(unknown)}")
        cells = [values.get(name) for name in COLUMNS]
        line = _line(["" if cell is None else f"{cell:.7g}" for cell in cells])
        try:
            with self.path.open("a", encoding="utf-8", newline="") as stream:
                stream.write(line)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise EnvironmentProblem(
                f"Expected to add a line to {self.path}, but the system refused: {error.strerror or error}. Check free space "
                f"and permissions of {self.path.parent}, then run the same command again: training goes on from its last "
                "checkpoint."
            ) from error
        self.text += line


def _line(cells: tuple[str, ...] | list[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()


def read_log(path: Path) -> list[dict[str, float | None]]:
    """Lines of a log, blanks as None."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(stream)]
