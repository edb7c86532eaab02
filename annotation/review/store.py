"""The store of a review: every decision of every reviewer, in one SQLite file beside the dataset.

Conventions
-----------
Entries are only ever added (triggers see to that). A person's entries are numbered from 1, their *revision*; the last is what
counts. :meth:`Store.save` takes the revision that a reviewer saw: where it is not the last any more, what they saved is *set
aside*: kept, listed in the history under the revision it was based on, and of no effect. A reviewer who works blind sees no
revision but their own, and is held to that alone.

A write is on the disk before it is told of, and several processes may work on one store (:mod:`annotation.review.database`).

A store belongs to one dataset, by name, version and label digest, and lies outside its folder. Times are UTC.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from annotation.review.database import connect, refused
from annotation.review.labels import DECIDED, Label, Verdict
from srgaze360.dataset import DatasetInfo

_FIELDS = "id, sample_id, revision, reviewer, time, action, verdict, label, own, edited, seconds, set_aside"
_LAST = f"SELECT {_FIELDS} FROM entries WHERE sample_id = ? AND set_aside = 0"  # noqa: S608 - a constant
_NOW = "set_aside = 0 GROUP BY sample_id"  # with max(revision), SQLite gives the other columns of that row


@dataclass(frozen=True)
class Entry:
    """A decision as it was saved. ``own`` is what a blind reviewer saved, where ``label`` is that of everybody after it."""

    id: int
    sample_id: str
    revision: int
    reviewer: str
    time: str
    action: str
    verdict: Verdict | None
    label: Label
    own: Label | None
    edited: bool
    seconds: float
    set_aside: bool


class State(NamedTuple):
    """Where the review of a person is: revision, verdict, whether the label is not that of the dataset."""

    revision: int
    verdict: Verdict | None
    edited: bool


NOTHING = State(0, None, False)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a reviewer wants saved: a decision on the revision that they saw."""

    sample_id: str
    reviewer: str
    seen: int
    label: Label
    verdict: Verdict | None
    action: str
    seconds: float


class Saved(NamedTuple):
    """A proposal that counts: its revision."""

    revision: int


class SetAside(NamedTuple):
    """A proposal that came too late: the entry it is kept as, and the one that came before it."""

    kept: int
    current: Entry


class ReviewerProgress(NamedTuple):
    """What a reviewer did: number of people they decided on, median seconds on each person that they saved anything of."""

    name: str
    done: int
    median_seconds: float


Finish = Callable[[Label, Label | None, Label | None], tuple[Label, bool]]


class Store:
    """A store, open. Its methods may be called from any thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def open(cls, path: Path, info: DatasetInfo, *, new: bool = True) -> Store:
        """Open the store at ``path`` of a dataset, or make it, if that may be.

        Raises
        ------
        InputError
            The file is no store, is that of another dataset or of a later version of this program, or is not there.
        EnvironmentProblem
            The system does not let it be read or written.
        """
        return cls(path, connect(path, info, new=new))

    def close(self) -> None:
        """Close the file; what was saved is in it either way."""
        with self._lock:
            self._connection.close()

    # --- writing ------------------------------------------------------------------------------------------------------

    def save(self, proposal: Proposal, finish: Finish, *, blind: bool = False) -> Saved | SetAside:
        """Save a proposal, or set it aside where somebody was faster. It is on the disk when this returns.

        The same proposal again, by the same reviewer, is no conflict with itself: an answer may have been lost on the way.

        Parameters
        ----------
        proposal
            What is to be saved.
        finish
            Given the proposal's label, the last one of everybody and the last own one of the reviewer (None where nobody saved
            any): the label of everybody from now on, and whether it is not that of the dataset.
        blind
            The revision that the reviewer saw is that of their own last entry.

        Raises
        ------
        EnvironmentProblem
            The system did not let it be written: nothing is saved.
        """
        with self._transaction() as run:
            last = _one(run(f"{_LAST} ORDER BY revision DESC LIMIT 1", (proposal.sample_id,)))
            own = last
            if blind:
                words = f"{_LAST} AND reviewer = ? AND own IS NOT NULL ORDER BY revision DESC LIMIT 1"
                own = _one(run(words, (proposal.sample_id, proposal.reviewer)))
            known = own.revision if own else 0
            before = (own.own if blind else own.label) if own else None
            label, edited = finish(proposal.label, last.label if last else None, before)
            if known != proposal.seen and own is not None:
                said = proposal.label if blind else label
                if own.reviewer == proposal.reviewer and (before, own.verdict) == (said, proposal.verdict):
                    return Saved(own.revision)
                return SetAside(self._add(run, proposal, proposal.seen, label, edited, blind=blind, set_aside=True), own)
            revision = (last.revision if last else 0) + 1
            self._add(run, proposal, revision, label, edited, blind=blind, set_aside=False)
            return Saved(revision)

    @staticmethod
    def _add(
        run: Callable[..., sqlite3.Cursor],
        proposal: Proposal,
        revision: int,
        label: Label,
        edited: bool,
        *,
        blind: bool,
        set_aside: bool,
    ) -> int:
        values = {
            "sample_id": proposal.sample_id,
            "revision": revision,
            "reviewer": proposal.reviewer,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "action": proposal.action,
            "verdict": proposal.verdict,
            "label": label.model_dump_json(),
            "own": proposal.label.model_dump_json() if blind else None,
            "edited": int(edited),
            "seconds": proposal.seconds,
            "set_aside": int(set_aside),
        }
        places = ", ".join(f":{name}" for name in values)
        return int(run(f"INSERT INTO entries ({', '.join(values)}) VALUES ({places})", values).lastrowid or 0)  # noqa: S608

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """A transaction that others wait for; committed at the end, or undone."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                raise refused(self.path, error) from error
            finally:
                if self._connection.in_transaction:  # SQLite undoes some failures itself
                    self._connection.rollback()

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, words: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._connection.execute(words, values).fetchall()
            except sqlite3.Error as error:
                raise refused(self.path, error) from error

    def last(self, sample_id: str, *, own_of: str | None = None) -> Entry | None:
        """The entry that counts for a person; or the last that a blind reviewer made."""
        if own_of is None:
            rows = self._read(f"{_LAST} ORDER BY revision DESC LIMIT 1", (sample_id,))
        else:
            words = f"{_LAST} AND reviewer = ? AND own IS NOT NULL ORDER BY revision DESC LIMIT 1"
            rows = self._read(words, (sample_id, own_of))
        return _entry(rows[0]) if rows else None

    def history(self, sample_id: str) -> list[Entry]:
        """All entries of a person, oldest first."""
        rows = self._read(f"SELECT {_FIELDS} FROM entries WHERE sample_id = ? ORDER BY id", (sample_id,))  # noqa: S608
        return [_entry(row) for row in rows]

    def decided(self) -> list[Entry]:
        """The entry that counts for every person who has one, by id of the person."""
        rows = self._read(f"SELECT {_FIELDS}, max(revision) FROM entries WHERE {_NOW} ORDER BY sample_id")  # noqa: S608
        return [_entry(row) for row in rows]

    def states(self, *, own_of: str | None = None) -> dict[str, State]:
        """The state of every person who has an entry; or by the entries of a blind reviewer alone.

        Edited by a blind reviewer is whoever they gave points.
        """
        chosen, edited = "", "edited"
        if own_of is not None:
            chosen, edited = (
                "reviewer = ? AND own IS NOT NULL AND ",
                "json_array_length(own, '$.gaze_points_deg') > 0 AS edited",
            )
        words = f"SELECT sample_id, verdict, {edited}, max(revision) AS revision FROM entries WHERE {chosen}{_NOW}"  # noqa: S608
        rows = self._read(words, () if own_of is None else (own_of,))
        return {row["sample_id"]: State(row["revision"], row["verdict"], bool(row["edited"])) for row in rows}

    def reviewers(self) -> list[ReviewerProgress]:
        """What each reviewer did, by name. What was set aside is time they spent, and nothing they decided."""
        rows = self._read(
            "SELECT reviewer, sample_id, sum(seconds) AS seconds, max(set_aside = 0 AND verdict IN (?, ?)) AS done "
            "FROM entries GROUP BY reviewer, sample_id ORDER BY reviewer",
            DECIDED,
        )
        people: dict[str, list[sqlite3.Row]] = defaultdict(list)
        for row in rows:
            people[row["reviewer"]].append(row)
        return [
            ReviewerProgress(name, sum(bool(row["done"]) for row in own), float(median(row["seconds"] for row in own)))
            for name, own in people.items()
        ]


def _one(cursor: sqlite3.Cursor) -> Entry | None:
    row = cursor.fetchone()
    return None if row is None else _entry(row)


def _entry(row: sqlite3.Row) -> Entry:
    values = {name: row[name] for name in Entry.__dataclass_fields__}
    return Entry(
        **{
            **values,
            "label": Label.model_validate_json(row["label"]),
            "own": None if row["own"] is None else Label.model_validate_json(row["own"]),
            "edited": bool(row["edited"]),
            "set_aside": bool(row["set_aside"]),
        }
    )
