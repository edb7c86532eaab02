"""The store of a review: every decision of every reviewer, in one SQLite file beside the dataset.

Conventions
-----------
Entries are only ever added (triggers see to that). A person's entries are numbered from 1, their *revision*; the last is what
counts. :meth:`Store.save` takes the revision that a reviewer saw: where it is not the last any more, what they saved is *set
aside*: kept, listed in the history under the revision it was based on, and of no effect. A reviewer who works blind sees no
revision but their own, and is held to that alone.

A write is on the disk before it is told of (write-ahead log, ``synchronous=FULL``): neither a killed program nor a power cut
takes it back. Several processes may work on one store, on one machine: SQLite's log needs memory that they share, which network
file systems do not give.

A store belongs to one dataset, by name, version and label digest, and lies outside its folder. Times are UTC.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from annotation.review.labels import DECIDED, Label, Verdict
from srgaze360.dataset import DatasetInfo
from srgaze360.errors import EnvironmentProblem, InputError

SUFFIX = ".review.sqlite"
SCHEMA_VERSION = 1
APPLICATION_ID = 0x53523336  # "SR36", in the header of the file
BUSY_S = 15.0  # to wait for another process that writes

_TABLES = """
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sample_id TEXT NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 0),
    reviewer TEXT NOT NULL CHECK (reviewer <> ''),
    time TEXT NOT NULL,
    action TEXT NOT NULL,
    verdict TEXT CHECK (verdict IN ('accepted', 'rejected', 'skipped')),
    label TEXT NOT NULL,
    own TEXT,
    edited INTEGER NOT NULL CHECK (edited IN (0, 1)),
    seconds REAL NOT NULL CHECK (seconds >= 0),
    set_aside INTEGER NOT NULL CHECK (set_aside IN (0, 1))
);
CREATE UNIQUE INDEX IF NOT EXISTS one_revision ON entries (sample_id, revision) WHERE set_aside = 0;
CREATE INDEX IF NOT EXISTS by_sample ON entries (sample_id, id);
CREATE INDEX IF NOT EXISTS by_reviewer ON entries (reviewer, sample_id, revision);
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END;
"""
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


def store_path(root: Path, chosen: Path | None = None) -> Path:
    """Where the store of the dataset in folder ``root`` is: beside it, unless one was chosen.

    Raises
    ------
    InputError
        It would be inside the dataset, which a review never changes.
    """
    root = root.resolve()
    path = chosen or root.with_name(root.name + SUFFIX)
    if root in (path.resolve(), *path.resolve().parents):
        raise InputError(f"Expected --store outside of the dataset {root}, found {path}. A review changes nothing in there.")
    return path


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
        if not new and not path.is_file():
            raise InputError(
                f"Expected the store of a review at {path}, but there is no such file. Review with `srgaze360 annotate serve`, "
                "or give --store."
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            connection.row_factory = sqlite3.Row
            try:
                _prepare(connection, path, info)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise _refused(path, error) from error
        return cls(path, connection)

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
                try:
                    yield self._connection.execute
                except BaseException:
                    self._connection.execute("ROLLBACK")
                    raise
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise _refused(self.path, error) from error

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, words: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._connection.execute(words, values).fetchall()
            except sqlite3.Error as error:
                raise _refused(self.path, error) from error

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
        """The state of every person who has an entry; or by the entries of a blind reviewer alone."""
        chosen = "" if own_of is None else "reviewer = ? AND own IS NOT NULL AND "
        words = f"SELECT sample_id, verdict, edited, max(revision) AS revision FROM entries WHERE {chosen}{_NOW}"  # noqa: S608
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


# --- the file ---------------------------------------------------------------------------------------------------------


def _prepare(connection: sqlite3.Connection, path: Path, info: DatasetInfo) -> None:
    """Set a connection up, make the tables where there are none, and see that they are of this dataset."""
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and mark != APPLICATION_ID:
        raise InputError(f"Expected the store of a review at {path}, found a database of something else. Give another --store.")
    _write_ahead(connection, path)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")  # two servers may start at once
    for statement in _statements(_TABLES):
        connection.execute(statement)
    about = {"schema_version": str(SCHEMA_VERSION), "dataset": info.name, "version": info.version, "digest": info.label_digest}
    for key, value in about.items():
        connection.execute("INSERT OR IGNORE INTO about VALUES (?, ?)", (key, value))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    found = dict(connection.execute("SELECT key, value FROM about").fetchall())
    connection.execute("COMMIT")
    if found["schema_version"] != about["schema_version"]:
        raise InputError(
            f"Expected a store of schema {SCHEMA_VERSION} at {path}, found schema {found['schema_version']}. Use the "
            "version of srgaze360 that wrote it."
        )
    if found != about:
        raise InputError(
            f"Expected the review of {info.name} {info.version} (label digest {info.label_digest[:12]}) at {path}, found "
            f"that of {found['dataset']} {found['version']} (label digest {found['digest'][:12]}). Its decisions are about "
            "other labels: review this dataset in another --store, or give the dataset that this store is of."
        )


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines():
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _write_ahead(connection: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            break
        except sqlite3.OperationalError as error:  # another process is just doing the same, which SQLite does not wait for
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    if mode != "wal":
        raise EnvironmentProblem(
            f"Expected a file system that can hold SQLite's write-ahead log at {path}, found one that cannot (mode {mode}). "
            "Give --store on a local disk."
        )


def _refused(path: Path, error: Exception) -> InputError | EnvironmentProblem:
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return InputError(f"Expected the store of a review at {path}, found a file that is no database. Give another --store.")
    return EnvironmentProblem(
        f"Expected to read and write the store of the review {path}, but the system refused: {error}. Check free space and "
        f"permissions of {path.parent}, or give --store elsewhere; what was acknowledged before is saved."
    )
