"""Private splits: a dataset whose labels of one split stay with the organiser, and scoring against them.

Conventions
-----------
``seal`` writes two things. The *public* dataset is the whole dataset, but in the sealed split nothing that follows from a label
is left: :data:`HIDDEN` columns are blank, further columns of the source are null, and digests are of what is left. It verifies,
and predictions are made on it as on any other; its version ends in ``+sealed.<split>``. The *sealed* file holds the labels of
that split and the public dataset's key, readable by its owner alone.

``score_sealed`` gives aggregates: means and intervals, rounded (:data:`ROUNDED`), of groups of :data:`LEAST_PEOPLE` people or
more; no errors of persons. Every look is a line of ``SEALED.log.jsonl`` beside the sealed file, written before the result is,
and the result says how many looks there were of that name: whoever tries long enough learns a split that is secret, too.

A split made from public sources is no secret: who has the sources can make it again. Sealing is for labels that nobody else
has.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from leaderboard.protocols import ALL_METRICS
from leaderboard.records import GroupScores, ScoreRecord
from leaderboard.scoring import score_file
from srgaze360.console import Advance, silent
from srgaze360.dataset import (
    COLUMNS,
    MANIFEST_FILE,
    Dataset,
    DatasetInfo,
    ManifestEntry,
    explain,
    panorama_label_digest,
    read_annotations_file,
    read_manifest,
)
from srgaze360.dataset_writer import write_dataset
from srgaze360.errors import InputError
from srgaze360.files import atomic_folder, atomic_path, canonical_json, digest, path_inside, write_text
from srgaze360.predictions import DatasetKey
from srgaze360.predictors import dataset_key

HEADER_KEY = b"srgaze360-sealed"
LEAST_PEOPLE = 50
ROUNDED = {"deg": 1, "rad": 2, "fraction": 2, "standard deviations": 1, "nats": 1, "correlation": 2}

# What follows from a label, or says which row of a public source a person is; and what stands there instead.
HIDDEN: Mapping[str, Any] = {
    "gaze_lon_deg": None,
    "gaze_lat_deg": None,
    "gaze_points_deg": [],
    "gaze_annotators": [],
    "gaze_band": None,
    "in_frame": False,
    "crosses_seam": False,
    "source_image": "sealed",
    "source_person": "sealed",
    "repairs": [],
}


class _Header(BaseModel):
    """What a sealed file says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    public: DatasetInfo
    original: DatasetKey
    split: str


class Sealed(NamedTuple):
    """An opened sealed file: the labels as rows of the public dataset, the split, and the dataset they come from."""

    data: Dataset
    split: str
    original: DatasetKey


def seal(data: Dataset, split: str, out: Path, sealed: Path) -> DatasetInfo:
    """Write the public dataset and the sealed labels of a split.

    Parameters
    ----------
    data
        The whole dataset; it is not changed.
    split
        Split whose labels are sealed.
    out
        New folder of the public dataset; panoramas are hard links where the file system has them, else copies.
    sealed
        New file (``.parquet``) of the labels, outside of ``out``.

    Returns
    -------
    DatasetInfo
        That of the public dataset.

    Raises
    ------
    InputError
        The split is unknown; ``out`` or ``sealed`` is there already; ``sealed`` lies in the public dataset.
    EnvironmentProblem
        Something cannot be written.
    """
    rows = data.select(split=split)
    if sealed.suffix != ".parquet":
        raise InputError(f"Expected a name that ends in .parquet for the sealed labels, found {sealed.name}. Rename it.")
    if sealed.resolve().is_relative_to(out.resolve()):
        raise InputError(
            f"Expected the sealed labels outside of the public dataset {out}, found {sealed}. Give another --labels."
        )
    for path in (out, sealed):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"Expected nothing at {path} yet, but something is there. Give another name, or remove it.")
    table = pq.read_table(data.root / "annotations.parquet")
    public_rows = [_blank(row) if row["split"] == split else row for row in table.to_pylist()]
    labels = {name: panorama_label_digest(list(group)) for name, group in groupby(public_rows, key=itemgetter("panorama_id"))}
    entries = [ManifestEntry(**{**entry, "label_digest": labels[entry["panorama_id"]]}) for entry in read_manifest(data.root)]
    info = data.info.model_copy(
        update={
            "version": f"{data.info.version}+sealed.{split}",
            "label_digest": digest(sorted(entry.label_digest for entry in entries)),
        }
    )
    header = _Header(public=info, original=dataset_key(data), split=split)
    with atomic_path(sealed) as place:
        own = table.filter(pc.equal(table.column("split"), split))
        pq.write_table(own.replace_schema_metadata({HEADER_KEY: header.model_dump_json().encode()}), place, compression="zstd")
        place.chmod(0o600)
    with atomic_folder(out) as folder:
        write_dataset(folder, info, public_rows)
        write_text(folder / MANIFEST_FILE, "".join(f"{canonical_json(entry.model_dump())}\n" for entry in entries))
        write_text(folder / "README.md", _readme(info, split, len(rows)))
        if (data.root / "LICENSES.md").is_file():
            shutil.copy2(data.root / "LICENSES.md", folder / "LICENSES.md")
        for entry in entries:
            _link(path_inside(data.root, entry.path), path_inside(folder, entry.path))
    return info


def _blank(row: dict[str, Any]) -> dict[str, Any]:
    return {name: HIDDEN.get(name, row[name]) if name in COLUMNS else None for name in row}


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)


def _readme(info: DatasetInfo, split: str, people: int) -> str:
    return (
        f"# {info.name} {info.version}\n\n"
        f"The labels of the {people} people of split `{split}` are not here: whoever keeps them scores predictions with\n"
        "`srgaze360 score FILE --sealed LABELS`. In that split every column that follows from a label is blank\n"
        f"({', '.join(f'`{name}`' for name in HIDDEN)}, and further facts of the source).\n"
    )


def is_sealed(data: Dataset, split: str) -> bool:
    """Whether the labels of a split are not in a dataset."""
    return data.info.version.endswith(f"+sealed.{split}")


def open_sealed(path: Path) -> Sealed:
    """Open sealed labels.

    Raises
    ------
    InputError
        There is no such file, or it is none of sealed labels.
    """
    table = read_annotations_file(path)
    metadata = pq.read_schema(path).metadata or {}
    try:
        header = _Header.model_validate_json(metadata[HEADER_KEY])
    except (KeyError, ValidationError) as error:
        found = explain(error) if isinstance(error, ValidationError) else "no header"
        raise InputError(
            f"Expected sealed labels (made by `srgaze360 split seal`) in {path}, found {found}. Give the file that was sealed."
        ) from None
    return Sealed(Dataset(path.parent, header.public, table), header.split, header.original)


def score_sealed(
    file: str | Path,
    sealed: Path,
    out: Path,
    *,
    protocol: str = "spherical",
    resamples: int = 2000,
    seed: int = 0,
    advance: Advance = silent,
) -> dict[str, Any]:
    """Score predictions made on the public dataset against sealed labels, and write the aggregates.

    Parameters
    ----------
    file
        A predictions file, or the word ``human``.
    sealed
        The sealed labels. The look is noted in ``<sealed>.log.jsonl`` before anything is written.
    out
        ``RESULT.json`` to write.
    protocol, resamples, seed, advance
        As for :func:`leaderboard.scoring.score_file`.

    Returns
    -------
    dict
        What is written.

    Raises
    ------
    CheckFailed, InputError
        As for :func:`leaderboard.scoring.score_file`; also where the file is none of sealed labels.
    """
    opened = open_sealed(sealed)
    if out.suffix != ".json":
        raise InputError(f"Expected a name that ends in .json for the result, found {out.name}. Rename it.")
    with tempfile.TemporaryDirectory(prefix="srgaze360-") as place:  # errors of persons do not outlive the scoring
        record = score_file(
            file,
            opened.data,
            opened.split,
            Path(place) / "r.json",
            protocol=protocol,
            resamples=resamples,
            seed=seed,
            advance=advance,
        )
    looks = _noted(sealed.with_name(f"{sealed.name}.log.jsonl"), record)
    result = aggregates(record) | {"looks": looks}
    write_text(out, json.dumps(result, indent=2) + "\n")
    return result


def aggregates(record: ScoreRecord) -> dict[str, Any]:
    """What of a record may be told: means and intervals, rounded, of groups that are not small."""
    kept = {name: getattr(record, name) for name in ("protocol", "protocol_version", "split", "ranking_suite", "created")}
    return {
        "kind": "sealed",
        **kept,
        "dataset": record.dataset.model_dump(),
        "predictor": record.predictor.model_dump(mode="json"),
        "predictions_digest": record.predictions_digest,
        "groups": [_group(group) for group in record.groups if group.people >= LEAST_PEOPLE],
        "withheld": f"groups of fewer than {LEAST_PEOPLE} people, errors of persons, further digits",
        "versions": record.versions,
    }


def _group(group: GroupScores) -> dict[str, Any]:
    metrics = {}
    for name, estimate in group.metrics.items():
        digits = ROUNDED[ALL_METRICS[name].unit]
        if estimate.people >= LEAST_PEOPLE:
            values = {key: getattr(estimate, key) for key in ("value", "low", "high")}
            rounded = {key: None if value is None else round(value, digits) for key, value in values.items()}
            metrics[name] = {**rounded, "people": estimate.people, "clusters": estimate.clusters}
    return {"by": group.by, "suite": group.suite, "group": group.group, "metrics": metrics}


def _noted(log: Path, record: ScoreRecord) -> int:
    """Note a look in the log, and return how many there were of predictors of that name, this one included."""
    look = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "predictor": record.predictor.name,
        "predictions_digest": record.predictions_digest,
        "protocol": record.protocol,
    }
    with log.open("a+", encoding="utf-8") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)  # goes with the file
        stream.write(json.dumps(look, ensure_ascii=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
        stream.seek(0)
        return sum(one["predictor"] == record.predictor.name for one in _looks(stream.read()))


def _looks(text: str) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:  # half a line of a process that was killed
            continue
