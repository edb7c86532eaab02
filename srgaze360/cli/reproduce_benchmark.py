"""A finished run of the procedural benchmark beside the records that the project publishes.

Conventions
-----------
Numbers are means of the primary metric on the ranking suite, averaged over training seeds. What needs no training follows from
the recipe and *reproduces* a number if it rounds to the same hundredth. Trained methods differ from machine to machine: their
means *agree within seeds* if they are at most two standard errors apart, with the standard deviation over seeds pooled over the
published methods that were trained several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from srgaze360.errors import InputError, first_ids

if TYPE_CHECKING:
    from leaderboard.records import ScoreRecord

REPRODUCED, WITHIN, NOT, MISSING = "yes", "within seeds", "no", "not run"
DECIMALS = 2
STANDARD_ERRORS = 2.0


class Row(NamedTuple):
    """A method's published mean (of so many seeds) beside one's own, None where it was not run."""

    predictor: str
    published: float
    seeds: int
    own: float | None
    own_seeds: int
    reproduced: str


def read_results(folder: Path) -> list[ScoreRecord]:
    """Every score in ``folder``, or in its ``results`` or ``records``.

    Raises
    ------
    InputError
        There is none.
    """
    from leaderboard.records import read_record

    places = [folder, folder / "records", *sorted((folder / "results").glob("*"))]
    found = [path for place in places for path in sorted(place.glob("*.json")) if path.name not in _NO_RECORDS]
    if not found:
        raise InputError(
            f"Expected score records (.json) in {folder}, its records/ or results/, found none. Run `srgaze360 benchmark "
            "procedural --out DIR` and give DIR, and for --published docs/results/procedural of a checkout."
        )
    return [read_record(path) for path in found]


_NO_RECORDS = frozenset({"benchmark.json", "board.json"})


def compare_results(published: Sequence[ScoreRecord], own: Sequence[ScoreRecord]) -> tuple[list[Row], float]:
    """Rows in the order of the published means, and the pooled standard deviation over seeds.

    Raises
    ------
    InputError
        The records are of different datasets, splits, ranking suites or protocols.
    """
    keys = {_setting(record) for record in (*published, *own)}
    if len(keys) > 1:
        raise InputError(
            f"Expected records of one dataset, split, suite and protocol, found {len(keys)}: "
            f"{first_ids(sorted(' / '.join(key) for key in keys))}. Build the dataset from the recipe as it ships."
        )
    known, ours = _values(published), _values(own)
    several = [np.var(values, ddof=1) for values in known.values() if len(values) > 1]
    sd = float(np.sqrt(np.mean(several))) if several else 0.0
    rows = []
    for name, values in sorted(known.items(), key=lambda item: float(np.mean(item[1]))):
        mean, found = float(np.mean(values)), ours.get(name, [])
        if not found:
            rows.append(Row(name, mean, len(values), None, 0, MISSING))
            continue
        value = float(np.mean(found))
        error = sd * np.sqrt(1.0 / len(values) + 1.0 / len(found))
        same = round(value, DECIMALS) == round(mean, DECIMALS)
        near = _trained(name, published) and abs(value - mean) <= STANDARD_ERRORS * error
        rows.append(Row(name, mean, len(values), value, len(found), REPRODUCED if same else WITHIN if near else NOT))
    return rows, sd


def _setting(record: ScoreRecord) -> tuple[str, ...]:
    key = record.dataset
    return f"{key.name} {key.version} ({key.digest[:12]})", record.split, record.ranking_suite, record.protocol


def _values(records: Sequence[ScoreRecord]) -> dict[str, list[float]]:
    from leaderboard.protocols import find_protocol

    found: dict[str, list[float]] = {}
    for record in records:
        value = record.overall.metrics[find_protocol(record.protocol).primary].value
        if value is not None:
            found.setdefault(record.predictor.name, []).append(value)
    return found


def _trained(name: str, published: Sequence[ScoreRecord]) -> bool:
    """Whether a method learns weights: those that count what they see give the same number everywhere."""
    from srgaze360.predictors import PREDICTORS

    record = next(record for record in published if record.predictor.name == name)
    if not record.predictor.training_data:
        return False
    return name not in PREDICTORS.names() or hasattr(PREDICTORS.get(name), "network")


def table(rows: Sequence[Row], unit: str) -> Any:  # noqa: ANN401 - a rich table; rich is imported late
    """Rows as a table for the terminal."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("", f"published [{unit}]", "seeds", f"here [{unit}]", "seeds", "reproduced"):
        shown.add_column(Text(head), justify="right" if head else "left")
    styles = {REPRODUCED: "green", WITHIN: "green", NOT: "red"}
    for row in rows:
        own = "–" if row.own is None else f"{row.own:.{DECIMALS}f}"
        verdict = Text(row.reproduced, style=styles.get(row.reproduced, "dim"))
        shown.add_row(row.predictor, f"{row.published:.{DECIMALS}f}", str(row.seeds), own, str(row.own_seeds or "–"), verdict)
    return shown
