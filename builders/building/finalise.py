"""The end of a build: the records of all shards, joined in plan order into the files of a dataset.

Conventions
-----------
What is needed lies in the build's folder, so whoever has the folder can do this. Records are streamed, twice: first counted
and checked (:class:`Summary`), then written. What is held in memory are names and digests, some hundred bytes a panorama; no
rows. ``dataset.yaml`` comes last and says that the dataset is complete: a process that dies before leaves a build that the
same command finishes, to the same bytes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builders.building.folder import (
    BuildRecord,
    ShardRecord,
    SourceRecord,
    read_rejected,
    read_shard,
    unused_path,
    write_rejected,
)
from builders.publishing.citation import write_citation
from builders.report.card import write_card
from builders.sources.base import Rejected
from srgaze360.croissant import write_croissant
from srgaze360.dataset import INFO_FILE, MANIFEST_FILE, REJECTED_FILE, SPLITS, DatasetInfo, SourceInfo, SplitInfo
from srgaze360.dataset_writer import ExtraColumns, annotations_writer, write_info
from srgaze360.errors import InputError
from srgaze360.files import TEMPORARY_PATTERN, atomic_path, canonical_json, digest


@dataclass
class Summary:
    """What the shards of a build hold, without their rows."""

    rejected: set[Rejected]
    extras: ExtraColumns = field(default_factory=ExtraColumns)
    photos: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    people: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))
    behind: set[str] = field(default_factory=set)
    conditions: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    panoramas: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    clusters: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    label_digests: list[str] = field(default_factory=list)
    pixel_digests: list[str] = field(default_factory=list)
    machines: dict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, shard: ShardRecord) -> None:
        """Take note of a shard."""
        for name, version in shard.machine.items():
            self.machines[name].setdefault(version)
        for made in shard.made:
            self.rejected.update(made.rejected)
            self.extras.see(made.rows)
            if made.entry is None:
                continue
            self.label_digests.append(made.entry["label_digest"])
            self.pixel_digests.append(made.entry["pixel_digest"])
            self.panoramas[made.rows[0]["split"]] += 1
            for row in made.rows:
                self._add_row(row)

    def _add_row(self, row: Mapping[str, Any]) -> None:
        self.photos[row["source"]].add(row["source_image"])
        self.people[row["source"]].add((row["source_image"], row["source_person"]))
        self.behind.update(row["background_images"])
        self.conditions[row["suite"]].setdefault(row["condition"])  # in the recipe's order: that of the rows
        self.rows[row["split"]] += 1
        self.clusters[row["split"]].add(row["cluster_id"])

    def reasons(self) -> dict[str, int]:
        """Rejections by reason, most frequent first."""
        return count_reasons(self.rejected)


def count_reasons(rejected: Iterable[Rejected]) -> dict[str, int]:
    """Rejections by reason, the most frequent first."""
    return dict(Counter(item.fault for item in sorted(rejected, key=lambda item: item.fault)).most_common())


def finalise(out: Path, record: BuildRecord, expected: DatasetInfo | None = None) -> tuple[DatasetInfo, dict[str, int]]:
    """Join the shards of the build in folder ``out``; returns the dataset's record, and rejections by reason.

    Raises
    ------
    InputError
        A shard's record is missing or damaged, nothing could be built, or the digests are not those of ``expected``.
    """
    summary = Summary(set(read_rejected(unused_path(out))))
    for shard in _shards(out, record):
        summary.add(shard)
    if not summary.rows:
        counts = "; ".join(f"{reason} ({count})" for reason, count in summary.reasons().items())
        raise InputError(
            f"Nothing could be built: every source row was rejected. Reasons: {counts}. Mend the source, then build again."
        )
    info = _info(record, summary)
    if expected is not None and (info.label_digest, info.pixel_digest) != (expected.label_digest, expected.pixel_digest):
        raise InputError(
            f"Expected to make the dataset in {out} as it was, with label digest {expected.label_digest[:12]} and pixel digest "
            f"{expected.pixel_digest[:12]}; its sources now give {info.label_digest[:12]} and {info.pixel_digest[:12]}. They "
            "have changed: build anew with --overwrite."
        )
    (out / INFO_FILE).unlink(missing_ok=True)  # until the end this is no dataset
    write_rejected(out / REJECTED_FILE, summary.rejected)
    with atomic_path(out / MANIFEST_FILE) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as manifest:
        for shard in _shards(out, record):
            manifest.writelines(canonical_json(made.entry) + "\n" for made in shard.made if made.entry is not None)
    with annotations_writer(out, summary.extras.schema()) as write:
        for shard in _shards(out, record):
            write(row for made in shard.made for row in made.rows)
    reasons = summary.reasons()
    write_card(out, info, reasons)
    write_citation(out, info)
    write_croissant(out, info)
    write_info(out, info)
    for leftover in out.rglob(TEMPORARY_PATTERN):
        leftover.unlink(missing_ok=True)
    return info, reasons


def _shards(out: Path, record: BuildRecord) -> Iterator[ShardRecord]:
    return (read_shard(out, index) for index in range(record.shards))


def _info(record: BuildRecord, summary: Summary) -> DatasetInfo:
    versions = {name: " and ".join(found) for name, found in summary.machines.items()}  # one each, but for some repairs
    return DatasetInfo(
        name=record.name,
        version=record.recipe["version"],
        recipe=record.recipe,
        recipe_digest=digest(record.recipe),
        sampler=versions.pop("sampler"),
        seed=record.recipe["seed"],
        versions=record.versions | versions,
        sources=[_source_info(source, summary) for source in record.sources if source.role == "gaze"],
        backgrounds=[_source_info(source, summary) for source in record.sources if source.role == "background"],
        splits={
            split: SplitInfo(
                panoramas=summary.panoramas[split], people=summary.rows[split], clusters=sorted(summary.clusters[split])
            )
            for split in SPLITS
            if summary.rows[split]
        },
        suites={suite: list(conditions) for suite, conditions in summary.conditions.items()},
        rejected=len(summary.rejected),
        label_digest=digest(sorted(summary.label_digests)),
        pixel_digest=digest(sorted(summary.pixel_digests)),
    )


def _source_info(source: SourceRecord, summary: Summary) -> SourceInfo:
    """Photos and people of a source that are in the dataset; for backgrounds, the images behind photos."""
    behind = sum(image.startswith(f"{source.kind}/") for image in summary.behind)
    return SourceInfo(
        kind=source.kind,
        title=source.title,
        licence=source.licence,
        citation=source.citation,
        photos=behind if source.role == "background" else len(summary.photos[source.kind]),
        people=len(summary.people[source.kind]),
        repaired=source.repaired,
    )
