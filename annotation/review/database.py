"""The file of a review: an SQLite database beside the dataset, made, opened and held to be of that dataset.

Conventions
-----------
A commit is on the disk when it returns (write-ahead log, ``synchronous=FULL``): neither a killed program nor a power cut takes
it back. The log needs memory that processes share, so they have to be on one machine; network file systems do not give it.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

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


def connect(path: Path, info: DatasetInfo, *, new: bool = True) -> sqlite3.Connection:
    """Open the store at ``path`` of a dataset, or make it, if that may be (``new``).

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
        raise refused(path, error) from error
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, info: DatasetInfo) -> None:
    """Set a connection up, make the tables where there are none, and see that they are of this dataset."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (mark,) = connection.execute("PRAGMA application_id").fetchone()  # in this order: another process commits both at once
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
    connection.execute("COMMIT")


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


def refused(path: Path, error: Exception) -> InputError | EnvironmentProblem:
    """The error for users where SQLite or the system refused to read or write the store at ``path``."""
    if isinstance(error, sqlite3.DatabaseError) and "not a database" in str(error):
        return InputError(f"Expected the store of a review at {path}, found a file that is no database. Give another --store.")
    return EnvironmentProblem(
        f"Expected to read and write the store of the review {path}, but the system refused: {error}. Check free space and "
        f"permissions of {path.parent}, or give --store elsewhere; what was acknowledged before is saved."
    )
