"""The result of a review: a new version of the dataset, beside the one that was reviewed, which is never changed.

Conventions
-----------
The last entry of each person counts, whoever made it. *Rejected* people are taken out, with the reason and the reviewer, as are
those whose head box was deleted. The labels of *accepted* people, and of those who were edited without a verdict, are applied
where they differ from the dataset's. *Skipped* people stay as they were, edited or not; how many of them were edited is told.
What was set aside has no effect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from annotation.applying import apply_edits
from annotation.edits import Edit
from annotation.review.labels import edit_of, removal
from annotation.review.store import Entry, Store
from annotation.versions import next_version, revise
from srgaze360.console import Advance, silent
from srgaze360.dataset import ANNOTATIONS_FILE, Dataset, explain
from srgaze360.errors import InputError

Bump = Literal["patch", "minor"]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    bump: Bump = "patch"


class Edits(NamedTuple):
    """What a review changes, and how many people it leaves as they were, by why."""

    edits: list[Edit]
    left: dict[str, int]


@dataclass(frozen=True)
class Result:
    """A result: where it was written and as which version (None: not written), changes by kind, who was left as they were."""

    path: Path | None
    version: str | None
    label_digest: str | None
    changes: dict[str, int]
    left: dict[str, int]
    reviewers: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**self.__dict__, "path": None if self.path is None else str(self.path)}


def read_bump(content: bytes) -> Bump:
    """Which number of the version is raised, from JSON.

    Raises
    ------
    InputError
        It is neither ``patch`` nor ``minor``.
    """
    try:
        return _Asked.model_validate_json(content).bump
    except ValidationError as error:
        raise InputError(f'Expected {{"bump": "patch"}} or {{"bump": "minor"}}, found: {explain(error)}.') from None


def beside(data: Dataset, bump: Bump = "patch") -> Path:
    """The folder beside a dataset for its next version: its name with that version at the end."""
    root = data.root.resolve()
    return root.with_name(f"{root.name.removesuffix(f'-{data.info.version}')}-{next_version(data.info.version, bump)}")


def edits_of(entries: Sequence[Entry], rows: Sequence[dict[str, Any]]) -> Edits:
    """Edits from the entries that count, of people of the dataset whose rows are given."""
    by_id = {row["sample_id"]: row for row in rows}
    edits: list[Edit] = []
    left: Counter[str] = Counter()
    for entry in entries:
        edit = edit_of(entry.label, by_id[entry.sample_id], entry.reviewer)
        if entry.verdict == "rejected":
            edits.append(removal(entry.sample_id, entry.reviewer, "rejected", entry.label.comment))
        elif entry.verdict == "skipped":
            left["skipped, edits not applied" if edit else "skipped"] += 1
        elif edit is not None:
            edits.append(edit)
        else:
            left["accepted as they are" if entry.verdict else "looked at, not decided"] += 1
    return Edits(edits, dict(left))


def write_result(
    root: Path,
    store: Store,
    out: Path | None,
    *,
    bump: Bump = "patch",
    note: str = "",
    link: bool = False,
    advance: Advance = silent,
) -> Result:
    """Write the result of a review as a new version of the dataset in folder ``root``; or say what it would be.

    Parameters
    ----------
    root, store
        The dataset and its review.
    out
        New folder, apart from the dataset; None: nothing is written.
    bump
        The number of the version that is raised.
    note
        A line for the changelog, before who reviewed.
    link, advance
        As for :func:`annotation.versions.revise`.

    Raises
    ------
    InputError
        The review changes nothing, or takes everybody out; ``out`` is in use; the dataset is not what its manifest says.
    EnvironmentProblem
        The system refused to write.
    """
    data = Dataset.open(root)
    rows = pq.read_table(root / ANNOTATIONS_FILE).to_pylist()
    entries = store.decided()
    edits, left = edits_of(entries, rows)
    reviewers = dict(Counter(entry.reviewer for entry in entries))
    if out is None:
        return Result(None, None, None, apply_edits(rows, edits).counts, left, reviewers)
    if out.exists():
        raise InputError(
            f"Expected no folder {out} yet, found one. Move it away, or give --out to `srgaze360 annotate result`."
        )
    today = datetime.now(UTC).date().isoformat()
    version = next_version(data.info.version, bump)
    told = " ".join(filter(None, (note, _who(reviewers, left))))
    made = revise(data, edits, out, version=version, note=told, date=today, link=link, advance=advance)
    return Result(out, made.info.version, made.info.label_digest, made.counts, left, reviewers)


def _who(reviewers: dict[str, int], left: dict[str, int]) -> str:
    """Who reviewed how many people, and whom the review left as they were, for the changelog."""
    people = ", ".join(f"{name} ({count})" for name, count in sorted(reviewers.items()))
    kept = "; ".join(f"{count} {why}" for why, count in sorted(left.items()))
    return f"Reviewed in the browser, people by who saw them last: {people}." + (f" Not changed: {kept}." if kept else "")
