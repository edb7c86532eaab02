"""The record of a score: everything needed to print it, to rank it, and to doubt it.

Conventions
-----------
``RESULT.json`` holds the record, ``RESULT.samples.parquet`` beside it one row per person: ``sample_id, cluster_id, suite,
condition``, the person's group in each breakdown (``group_<breakdown>``) and a column per metric (NaN where a person has no
value), so that later comparisons can be paired. Metrics carry the names of their protocol; angles are degrees where the name
says ``_deg``, radians where it says ``_rad``. A number that does not exist is null, never NaN. Two scorings of the same
predictions differ in :data:`TIME_FIELDS` alone. ``tier`` is the keeper's of a board, and given when a record is put there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, get_args

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from srgaze360.dataset import explain
from srgaze360.errors import InputError, first_ids
from srgaze360.files import atomic_path, digest, read_json, write_text
from srgaze360.predictions import MAX_ROWS, DatasetKey, PredictorCard
from srgaze360.untrusted import open_parquet

TIME_FIELDS = frozenset({"created", "wall_s"})
# What the keeper of a board did: took somebody's record, scored somebody's predictions, or ran the method.
Tier = Literal["self-reported", "re-scored", "re-run"]
TIERS: tuple[Tier, ...] = get_args(Tier)
SAMPLE_KEYS = ("sample_id", "cluster_id", "suite", "condition")
GROUP_PREFIX = "group_"
_PERSON_BYTES = 2048  # of somebody's errors in memory, at most


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Estimate(_Record):
    """A metric over a group: value and interval (null where there is none), and over how many people of how many clusters."""

    value: float | None
    low: float | None
    high: float | None
    people: int
    clusters: int


class GroupScores(_Record):
    """Metrics of a group of people. ``by`` says what groups them (``suite``, ``condition`` or a breakdown's name)."""

    by: str
    suite: str
    group: str
    people: int
    clusters: int
    metrics: dict[str, Estimate]

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells the group from all others: (by, suite, group)."""
        return self.by, self.suite, self.group


class ScoreRecord(_Record):
    """``RESULT.json``. ``overall`` is over the ranking suite alone: suites share their photos and must not be pooled.

    ``versions`` and ``revision`` are what it was scored with, ``predicted_with`` what the predictions say they were made with:
    versions, and the device.
    """

    schema_version: Literal[1] = 1
    kind: Literal["predictions", "human"]
    protocol: str
    protocol_version: str
    dataset: DatasetKey
    split: str
    suite: str | None
    ranking_suite: str
    predictor: PredictorCard
    predictions_digest: str
    samples_digest: str
    people: int
    clusters: int
    split_people: int
    overall: GroupScores
    suites: list[GroupScores]
    conditions: list[GroupScores]
    breakdowns: list[GroupScores]
    resamples: int
    confidence: float
    seed: int
    minimum_people: int
    notes: list[str]
    versions: dict[str, str]
    predicted_with: dict[str, str] = {}
    revision: str | None
    created: str
    wall_s: float
    tier: Tier = "self-reported"

    @property
    def groups(self) -> list[GroupScores]:
        """Every group that is scored: overall, suites, conditions, breakdowns."""
        return [self.overall, *self.suites, *self.conditions, *self.breakdowns]

    @property
    def content_digest(self) -> str:
        """Digest of everything but the time fields, and the trust that a board puts in it."""
        unsaid = set() if self.predicted_with else {"predicted_with"}  # as of records that could not say it
        return digest(self.model_dump(mode="json", exclude={*TIME_FIELDS, "tier", *unsaid}))


def record_name(record: ScoreRecord) -> str:
    """File name of a record on a board: its predictor, and the beginning of its digest."""
    return f"{slug(record.predictor.name)}-{record.content_digest[:8]}.json"


def slug(name: str) -> str:
    """A predictor's name as part of a file name: letters, digits, dots and dashes."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.")[:40] or "predictor"


def samples_path(record: Path) -> Path:
    """Where the per-person errors of a record lie: ``RESULT.json`` → ``RESULT.samples.parquet``."""
    return record.with_suffix(".samples.parquet")


def samples_digest(samples: pd.DataFrame) -> str:
    """Digest of per-person errors: of their content, not of the file that holds them."""
    return digest([list(samples.columns), pd.util.hash_pandas_object(samples, index=False).tolist()])


def write_record(path: Path, record: ScoreRecord, samples: pd.DataFrame) -> None:
    """Write a record and, first, the per-person errors beside it."""
    with atomic_path(samples_path(path)) as temporary:
        pq.write_table(pa.Table.from_pandas(samples, preserve_index=False), temporary, compression="zstd")
    write_text(path, record.model_dump_json(indent=2) + "\n")


def read_record(path: Path) -> ScoreRecord:
    """Read a record.

    Raises
    ------
    InputError
        The file is missing or is not a record.
    """
    try:
        return ScoreRecord.model_validate(read_json(path, "score record (made by `srgaze360 score`)"))
    except ValidationError as error:
        raise InputError(
            f"Expected a score record (schema 1) in {path}, found: {explain(error)}. Score the predictions again."
        ) from None


def read_samples(path: Path, record: ScoreRecord) -> pd.DataFrame:
    """Read the per-person errors that belong to a record.

    Raises
    ------
    InputError
        The file is missing, cannot be read, or is not the one that the record was made with.
    """
    try:
        holds = min(max(record.people, 0), MAX_ROWS) * _PERSON_BYTES  # boards take records from strangers
        with open_parquet(path, "a Parquet file", "Score again.", holds=holds) as file:
            samples: pd.DataFrame = file.read(use_threads=False).to_pandas()
    except FileNotFoundError:
        raise InputError(
            f"Expected the per-person errors of a score at {path}, but there is no such file. Keep it beside the record, or "
            "score again."
        ) from None
    missing = [name for name in SAMPLE_KEYS if name not in samples]
    if missing or samples_digest(samples) != record.samples_digest:
        found = f"it lacks {first_ids(missing)}" if missing else "their digest differs from the record's"
        raise InputError(f"Expected in {path} the per-person errors of its record, but {found}. Score the predictions again.")
    return samples
