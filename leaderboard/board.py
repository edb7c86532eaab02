"""A board: a folder of score records that may stand beside each other, and the pages made from them.

Layout
------
::

    BOARD/ records/<predictor>-<digest8>.json  records/<predictor>-<digest8>.samples.parquet

``digest8`` begins the digest of the record without its time fields, so adding a score again changes nothing. The first record
decides what a board is about: dataset digest, split, protocol and its major version, ranking suite; what differs is refused,
with every reason at once. A board is built from its records alone: board.md, board.csv, index.html and plots.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from leaderboard.records import ScoreRecord, read_record, read_samples, samples_path, write_record
from leaderboard.scoring import HUMAN
from leaderboard.tables import BoardTables, board_tables, markdown, to_csv
from srgaze360.errors import CheckFailed, InputError
from srgaze360.files import write_text

RECORDS = "records"


def _major(version: str) -> str:
    return version.partition(".")[0]


# What all rows of a board must share: name in messages, how to read it off a record.
SHARED: dict[str, Callable[[ScoreRecord], object]] = {
    "protocol": lambda r: r.protocol,
    "protocol major version": lambda r: _major(r.protocol_version),
    "dataset name": lambda r: r.dataset.name,
    "dataset version": lambda r: r.dataset.version,
    "dataset digest": lambda r: r.dataset.digest,
    "split": lambda r: r.split,
    "ranking suite": lambda r: r.ranking_suite,
    "number of people": lambda r: r.people,
    "confidence": lambda r: r.confidence,
}

# Without these a number cannot be traced, and is not a result.
TRACED: dict[str, Callable[[ScoreRecord], str | None]] = {
    "dataset.name": lambda r: r.dataset.name,
    "dataset.version": lambda r: r.dataset.version,
    "dataset.digest": lambda r: r.dataset.digest,
    "protocol_version": lambda r: r.protocol_version,
    "predictions_digest": lambda r: r.predictions_digest,
    "samples_digest": lambda r: r.samples_digest,
    "versions.srgaze360": lambda r: r.versions.get("srgaze360"),
}


@dataclass(frozen=True)
class Added:
    """What :func:`add_record` did: where the record is, which older ones it replaced, whether it was there already."""

    path: Path
    replaced: list[Path]
    already_there: bool


def add_record(result: Path, board: Path, *, replace: bool = False) -> Added:
    """Copy a score record and its per-person errors to a board.

    Parameters
    ----------
    result
        ``RESULT.json`` of ``srgaze360 score``, its ``RESULT.samples.parquet`` beside it.
    board
        Folder of the board; made where absent.
    replace
        Put the record in the place of an earlier one of the same predictor.

    Raises
    ------
    CheckFailed
        The record must not stand beside the others; the message has every reason.
    InputError
        The record or its per-person errors cannot be read.
    """
    record = read_record(result)
    samples = read_samples(samples_path(result), record)
    others = {path: read_record(path) for path in record_paths(board)}
    path = board / RECORDS / f"{_slug(record.predictor.name)}-{record.content_digest[:8]}.json"
    if any(other.content_digest == record.content_digest for other in others.values()):
        return Added(path, [], already_there=True)
    same_name = [place for place, other in others.items() if _name(other) == _name(record)]
    kept = [other for place, other in others.items() if place not in same_name or not replace]
    reasons = [*_own_faults(record, samples), *_differences(record, kept)]
    if same_name and not replace:
        reasons.append(
            f"the board has another result of {record.predictor.name!r} already, {same_name[0].name} (--replace puts this one "
            "in its place)"
        )
    if reasons:
        raise CheckFailed(
            f"Expected a record that may stand on the board {board}, but {result} is refused: {'; '.join(reasons)}. Score the "
            "predictions again under the board's conditions, or start another board."
        )
    write_record(path, record, samples)
    for old in same_name:
        old.unlink()
        samples_path(old).unlink(missing_ok=True)
    return Added(path, same_name, already_there=False)


def record_paths(board: Path) -> list[Path]:
    """Files of a board's records, sorted by name."""
    return sorted((board / RECORDS).glob("*.json"))


def _slug(name: str) -> str:
    """A predictor's name as part of a file name: letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:40] or "predictor"


def _name(record: ScoreRecord) -> str:
    return record.predictor.name.casefold()


def _own_faults(record: ScoreRecord, samples: pd.DataFrame) -> list[str]:
    """Why a record can stand on no board."""
    lacking = [name for name, read in TRACED.items() if not read(record)]
    reasons = [f"it lacks {', '.join(lacking)}, without which a number cannot be traced"] if lacking else []
    if record.suite is not None or record.people != record.split_people or len(samples) != record.people:
        part = f" (suite {record.suite!r} alone)" if record.suite is not None else ""
        reasons.append(f"it covers {record.people} of the {record.split_people} people of split {record.split!r}{part}")
    if record.kind != HUMAN and _name(record) == HUMAN:
        reasons.append(f"the name {HUMAN!r} is kept for the annotators")
    return reasons


def _differences(record: ScoreRecord, others: list[ScoreRecord]) -> list[str]:
    """In what a record differs from the rows that are already there."""
    if not others:
        return []
    pairs = ((name, read(record), read(others[0])) for name, read in SHARED.items())
    return [f"its {name} is {found!r}, the board's is {wanted!r}" for name, found, wanted in pairs if found != wanted]


@dataclass(frozen=True)
class Built:
    """What :func:`build_board` wrote."""

    tables: BoardTables
    files: list[Path]


def build_board(board: Path, out: Path) -> Built:
    """Make ``board.md``, ``board.csv``, ``index.html`` and ``plots/`` in folder ``out`` from the records of a board.

    Raises
    ------
    InputError
        The board has no records, or one cannot be read.
    CheckFailed
        Its records may not stand beside each other: somebody put them there by hand.
    """
    from leaderboard.page import page
    from leaderboard.plots import save_plots

    paths = record_paths(board)
    if not paths:
        raise InputError(
            f"Expected a board with records in {board / RECORDS}, found none. Add some with `srgaze360 board add RESULT.json "
            f"--board {board}`."
        )
    loaded = [(record := read_record(path), read_samples(samples_path(path), record)) for path in paths]
    for path, (record, samples) in zip(paths, loaded, strict=True):
        reasons = [*_own_faults(record, samples), *_differences(record, [loaded[0][0]])]
        if reasons:
            raise CheckFailed(f"Expected records that may stand beside each other, but {path} may not: {'; '.join(reasons)}.")
    tables = board_tables([record for record, _ in loaded])
    samples_of = {record.predictor.name: samples for record, samples in loaded}
    pictures = save_plots(tables, samples_of, out / "plots")
    write_text(out / "board.md", markdown(tables))
    write_text(out / "board.csv", to_csv(tables))
    write_text(out / "index.html", page(tables, pictures))
    files = [out / name for name in ("index.html", "board.md", "board.csv")]
    return Built(tables, [*files, *(file for picture in pictures for file in picture.files)])
