"""What a benchmark has done: ``benchmark.json``, written after every step, and what it says of each.

Conventions
-----------
A step is done if the record has it finished with the same inputs, and its files are there with their sizes. Inputs are JSON
values that decide the product: parts of the configuration, and digests of the products of other steps; never the time, the
machine or the code's revision, which are recorded beside them. The record is replaced whole, so a kill leaves the last one.
Every look at the test split is noted before it is taken, and never removed.
"""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srgaze360.dataset import INFO_FILE, explain
from srgaze360.errors import InputError, first_ids
from srgaze360.files import TEMPORARY_PATTERN, digest, digest_file, read_json, write_text
from srgaze360.predictors import RUN_FILE, read_run
from srgaze360.versions import code_revision, environment

RECORD_FILE = "benchmark.json"
DATASET = "dataset"  # folder of the dataset, in that of the benchmark
LOCK_FILE = ".lock"
LOG_FILE = "log.csv"  # of a run: says how it went, and decides no prediction


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StepRecord(_Record):
    """A step that was begun: from which inputs, and, once finished, what it made and how long that took.

    ``product`` is the digest of what was made, ``files`` its files by path with their sizes in bytes, ``seconds`` the wall time
    of the attempt that finished it, ``attempts`` how often it was begun with these inputs, ``error`` why the last one failed.
    """

    inputs: dict[str, Any]
    begun: str
    attempts: int = 1
    finished: str | None = None
    seconds: float | None = None
    product: str | None = None
    files: dict[str, int] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    revision: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)


class TestRun(_Record):
    """One look at the test split: when, by which row and seed, with which run, and by which code."""

    __test__ = False  # not a test of pytest's

    when: str
    row: str
    seed: int
    run: str | None
    dataset: str
    split: str
    revision: str | None


class BenchmarkRecord(_Record):
    """``benchmark.json``. ``trials`` is how many settings of each learnt method were tried on val: by it, or as declared."""

    schema_version: Literal[1] = 1
    config: dict[str, Any] = Field(default_factory=dict)
    trials: int = 0
    steps: dict[str, StepRecord] = Field(default_factory=dict)
    test_runs: list[TestRun] = Field(default_factory=list)

    def looks(self) -> dict[str, int]:
        """How many times each row has looked at the test split; what a benchmark scored on another split is none."""
        rows = [run.row for run in self.test_runs if run.split == "test"]
        return {row: rows.count(row) for row in sorted(set(rows))}


class Ledger:
    """The record of a benchmark's folder, kept on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.record = read_benchmark(root) if (root / RECORD_FILE).is_file() else BenchmarkRecord()

    def declare(self, config: Mapping[str, Any], trials: int) -> None:
        """Say what is compared now."""
        self._keep(self.record.model_copy(update={"config": dict(config), "trials": trials}))

    def step(self, name: str) -> StepRecord | None:
        """What is known of a step."""
        return self.record.steps.get(name)

    def done(self, name: str, inputs: Mapping[str, Any]) -> bool:
        """Whether a step is finished with these inputs, and its files are there."""
        step = self.step(name)
        return bool(step and step.finished and step.inputs == inputs and not self.lost(step))

    def lost(self, step: StepRecord) -> list[str]:
        """Files of a finished step that are not there as they were."""
        return [path for path, size in step.files.items() if _size(self.root / path) != size]

    def begin(self, name: str, inputs: Mapping[str, Any]) -> None:
        """Note that a step is begun."""
        before = self.step(name)
        attempts = before.attempts + 1 if before and before.inputs == inputs and not before.finished else 1
        self._put(
            name,
            StepRecord(inputs=dict(inputs), begun=_now(), attempts=attempts, revision=code_revision(), versions=environment()),
        )

    def finish(self, name: str, seconds: float, product: str, files: list[Path], facts: Mapping[str, Any]) -> None:
        """Note that a step is done, and what it made; ``files`` are below the benchmark's folder."""
        sizes = {path.relative_to(self.root).as_posix(): path.stat().st_size for path in files}
        update = {"finished": _now(), "seconds": round(seconds, 3), "product": product, "files": sizes, "facts": dict(facts)}
        self._put(name, self.record.steps[name].model_copy(update=update))

    def fail(self, name: str, error: str) -> None:
        """Note why a step failed."""
        self._put(name, self.record.steps[name].model_copy(update={"error": error}))

    def look(self, row: str, seed: int, run: str | None, dataset: str, split: str) -> None:
        """Note that a row is about to see the test split."""
        seen = TestRun(when=_now(), row=row, seed=seed, run=run, dataset=dataset, split=split, revision=code_revision())
        self._keep(self.record.model_copy(update={"test_runs": [*self.record.test_runs, seen]}))

    def _put(self, name: str, step: StepRecord) -> None:
        self._keep(self.record.model_copy(update={"steps": {**self.record.steps, name: step}}))

    def _keep(self, record: BenchmarkRecord) -> None:
        if record != self.record or not (self.root / RECORD_FILE).is_file():
            write_text(self.root / RECORD_FILE, record.model_dump_json(indent=1) + "\n")
        self.record = record


def read_benchmark(root: Path) -> BenchmarkRecord:
    """Read ``benchmark.json`` of the benchmark in folder ``root``.

    Raises
    ------
    InputError
        The file is missing or is not such a record.
    """
    path = root / RECORD_FILE
    try:
        return BenchmarkRecord.model_validate(read_json(path, "record of a benchmark (made by `srgaze360 benchmark`)"))
    except ValidationError as error:
        raise InputError(
            f"Expected the record of a benchmark in {path}, found: {explain(error)}. Give another --out, or put the file back."
        ) from None


def check_folder(root: Path) -> None:
    """Raise InputError where ``root`` holds something that is neither a benchmark nor a dataset for one to take."""
    if root.is_file():
        raise InputError(f"Expected a folder for the benchmark, found a file at {root}. Give another --out.")
    found = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    present = [name for name in found if name != LOCK_FILE and not fnmatch(name, TEMPORARY_PATTERN)]
    if present == [DATASET] and (root / DATASET / INFO_FILE).is_file():
        return
    if present and RECORD_FILE not in present:
        raise InputError(
            f"Expected --out {root} to be new, empty, or the folder of a benchmark to go on with, found there: "
            f"{first_ids(present)}. Give another folder."
        )


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Keep other benchmarks out of the folder; the lock goes with the process, however that ends."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"Expected no other benchmark at work in {root}, but one is. Wait until it is done, or give another --out."
            ) from None
        yield


def discard(path: Path) -> None:
    """Remove a folder such that, killed at any moment, either all of it is in its place or nothing is."""
    old = path.with_name(f".{path.name}.old")
    for place in (old, path):
        if place.is_symlink() or place.is_file():
            place.unlink()
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        path.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def run_digest(run: Path) -> str:
    """Digest of a training run: what its record says apart from measurements, and every file that holds numbers learnt."""
    record = read_run(run).model_dump(mode="json", exclude={"facts", "versions"})
    kept = [path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in (RUN_FILE, LOG_FILE)]
    return digest([record, {path.relative_to(run).as_posix(): digest_file(path) for path in kept}])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
