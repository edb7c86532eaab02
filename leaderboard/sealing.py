"""Private splits: a dataset whose labels of one split stay with the organiser, and scoring against them.

Conventions
-----------
``seal`` writes two things. The *public* dataset is the whole dataset, but in the sealed split nothing that follows from a label
is left: :data:`HIDDEN` columns are blank, further columns of the source are null, ids and file names are drawn anew (they are
functions of photo and person), and digests are of what is left. It verifies, and predictions are made on it as on any other;
its version ends in ``+sealed.<split>``. The *sealed* file holds the labels of that split under the new ids, with the old ones
beside them, and the public dataset's key, readable by its owner alone.

Suites whose poses were chosen by the labels (``longitude_deg: seam`` puts the seam through the arc from head to gaze) tell them
to whoever can read the recipe: a split that has one is refused.

``score_sealed`` gives aggregates: means and intervals, rounded (:data:`ROUNDED`), of groups of :data:`LEAST_PEOPLE` people or
more; no errors of persons. Every look is a line of ``SEALED.log.jsonl`` beside the sealed file, written before the result is,
and the result says how many looks there were of that name: whoever tries long enough learns a split that is secret, too.

A split made from public sources is no secret: who has the sources can make it again. Sealing is for labels that nobody else
has.
"""

from __future__ import annotations

import fcntl
import hmac
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from leaderboard.people import Labels, key_of
from leaderboard.protocols import ALL_METRICS
from leaderboard.records import GroupScores, ScoreRecord
from leaderboard.scoring import score_file
from srgaze360.console import Advance, silent
from srgaze360.dataset import (
    ANNOTATIONS_FILE,
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
from srgaze360.errors import InputError, first_ids
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
    "background_images": [],
    "repairs": [],
}
RENAMED = ("sample_id", "panorama_id", "cluster_id")
OLD_PREFIX = "original_"  # of the columns that hold the old ids in the sealed file
MARK = "+sealed."  # in the version of a dataset without the labels of a split


class _Header(BaseModel):
    """What a sealed file says of itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    public: DatasetInfo
    original: DatasetKey
    split: str


class Sealed(NamedTuple):
    """An opened sealed file: its path, the labels as rows of the public dataset, the split, the dataset they come from."""

    path: Path
    data: Dataset
    split: str
    original: DatasetKey


def seal(
    data: Dataset, split: str, out: Path, sealed: Path, finish: Callable[[Path, DatasetInfo], None] = lambda *_: None
) -> DatasetInfo:
    """Write the public dataset and the sealed labels of a split.

    Parameters
    ----------
    data
        The whole dataset; it is not changed.
    split
        Split whose labels are sealed.
    out
        New folder of the public dataset.
    sealed
        New file (``.parquet``) of the labels, outside of ``out``.
    finish
        Called with the folder and the record of the public dataset when all else is in it.

    Returns
    -------
    DatasetInfo
        That of the public dataset.

    Raises
    ------
    InputError
        The split is unknown, or has a suite whose poses were chosen by the labels; the dataset is a public one already; ``out``
        or ``sealed`` is there; ``sealed`` lies in the public dataset.
    EnvironmentProblem
        Something cannot be written.
    """
    rows = data.select(split=split)
    _check(data, rows, split, out, sealed)
    table = pq.read_table(data.root / ANNOTATIONS_FILE)
    key = secrets.token_bytes(32)  # thrown away: nobody can tell which new id was which old one, but for the sealed file
    all_rows = table.to_pylist()
    own = [_renamed(row, key) for row in all_rows if row["split"] == split]
    names = {row[OLD_PREFIX + "panorama_id"]: row for row in own}
    waiting = iter(own)
    public = [_blank(next(waiting)) if row["split"] == split else row for row in all_rows]
    labels = {name: panorama_label_digest(list(group)) for name, group in groupby(public, key=itemgetter("panorama_id"))}
    paths: dict[str, str] = {}
    entries = []
    for entry in read_manifest(data.root):
        new = names.get(entry["panorama_id"])
        name, path = (new["panorama_id"], new["image_path"]) if new else (entry["panorama_id"], entry["path"])
        paths[path] = entry["path"]
        entries.append(ManifestEntry(**{**entry, "panorama_id": name, "path": path, "label_digest": labels[name]}))
    clusters = sorted({row["cluster_id"] for row in own})
    info = data.info.model_copy(
        update={
            "version": f"{data.info.version}{MARK}{split}",
            "label_digest": digest(sorted(entry.label_digest for entry in entries)),
            "splits": {**data.info.splits, split: data.info.splits[split].model_copy(update={"clusters": clusters})},
            "revisions": [],  # digests of true labels, which a guess could be tried against
        }
    )
    header = _Header(public=info, original=dataset_key(data), split=split)
    try:
        with atomic_folder(out) as folder:
            write_dataset(folder, info, public)
            write_text(folder / MANIFEST_FILE, "".join(f"{canonical_json(entry.model_dump())}\n" for entry in entries))
            write_text(folder / "README.md", _readme(info, split, len(rows)))
            for name in ("LICENSES.md", "rejected.csv"):
                if (data.root / name).is_file():
                    _without(data.root / name, folder / name, name == "rejected.csv")
            for path, old in paths.items():
                target = path_inside(folder, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path_inside(data.root, old), target)
            finish(folder, info)
            _write_labels(sealed, own, table.schema, header)
    except BaseException:
        sealed.unlink(missing_ok=True)
        raise
    return info


def _check(data: Dataset, rows: Dataset, split: str, out: Path, sealed: Path) -> None:
    """Raise InputError where a split must not be sealed, or not to these places."""
    if MARK in data.info.version:
        raise InputError(
            f"Expected a dataset with all its labels in {data.root}, found {data.info.version}: some are sealed already. Seal "
            "a split of the original."
        )
    if told := sorted(suite for suite in rows.suites if _by_labels(data.info.recipe, suite)):
        raise InputError(
            f"Expected no suite in split {split!r} whose poses were chosen by the labels, found {first_ids(told)}: who reads "
            f"the recipe could compute the labels from the poses. Build the dataset without it: --set suites.{told[0]}=null."
        )
    if sealed.suffix != ".parquet":
        raise InputError(f"Expected a name that ends in .parquet for the sealed labels, found {sealed.name}. Rename it.")
    if sealed.resolve().is_relative_to(out.resolve()):
        raise InputError(
            f"Expected the sealed labels outside of the public dataset {out}, found {sealed}. Give another --labels."
        )
    for path in (out, sealed):
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise InputError(f"Expected nothing at {path} yet, but something is there. Give another name, or remove it.")


def _by_labels(recipe: Mapping[str, Any], suite: str) -> bool:
    """Whether a recipe chooses the poses of a suite by where people look."""
    settings = (recipe.get("suites") or {}).get(suite) or {}
    drawn = [(settings.get(how) or {}).get("longitude_deg") for how in ("draw", "vary")] + [
        (recipe.get("base") or {}).get("longitude_deg")
    ]
    return "seam" in canonical_json(drawn)


def _renamed(row: dict[str, Any], key: bytes) -> dict[str, Any]:
    """A row under new ids, the old ones beside them."""
    new = {name: hmac.new(key, f"{name}/{row[name]}".encode(), "sha256").hexdigest()[:16] for name in RENAMED}
    path = PurePosixPath(row["image_path"])
    image = str(path.with_name(new["panorama_id"] + path.suffix))
    return {**row, **new, "image_path": image, **{OLD_PREFIX + name: row[name] for name in RENAMED}}


def _blank(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in row.items() if not name.startswith(OLD_PREFIX)}
    return {name: HIDDEN.get(name, value) if name in COLUMNS else None for name, value in kept.items()}


def _without(source: Path, target: Path, header_alone: bool) -> None:
    """Copy a file, or its first line: rejected rows name photos and people."""
    text = source.read_text(encoding="utf-8")
    write_text(target, text.splitlines(keepends=True)[0] if header_alone and text else text)


def _write_labels(path: Path, rows: Sequence[dict[str, Any]], schema: pa.Schema, header: _Header) -> None:
    fields = [*schema, *(pa.field(OLD_PREFIX + name, pa.string()) for name in RENAMED)]
    table = pa.Table.from_pylist(list(rows), schema=pa.schema(fields))
    with atomic_path(path) as place:
        os.close(os.open(place, os.O_CREAT | os.O_WRONLY, 0o600))  # before anything is in it
        metadata = {HEADER_KEY: header.model_dump_json().encode()}
        pq.write_table(table.replace_schema_metadata(metadata), place, compression="zstd")


def _readme(info: DatasetInfo, split: str, people: int) -> str:
    return (
        f"# {info.name} {info.version}\n\n"
        f"The labels of the {people} people of split `{split}` are not here: whoever keeps them scores predictions with\n"
        "`srgaze360 score FILE --sealed LABELS`. In that split every column that follows from a label is blank\n"
        f"({', '.join(f'`{name}`' for name in HIDDEN)}, and further facts of the source).\n"
    )


def is_sealed(data: Labels, split: str) -> bool:
    """Whether the labels of a split are not in a dataset."""
    return f"{MARK}{split}" in key_of(data).version


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
    return Sealed(path, Dataset(path.parent, header.public, table), header.split, header.original)


def score_sealed(
    file: str | Path,
    sealed: Sealed,
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
        The opened labels. The look is noted in ``<file>.log.jsonl`` beside them before anything is written.
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
        As for :func:`leaderboard.scoring.score_file`.
    """
    if out.suffix != ".json":
        raise InputError(f"Expected a name that ends in .json for the result, found {out.name}. Rename it.")
    with tempfile.TemporaryDirectory(prefix="srgaze360-") as place:  # errors of persons do not outlive the scoring
        record = score_file(
            file,
            sealed.data,
            sealed.split,
            Path(place) / "r.json",
            protocol=protocol,
            resamples=resamples,
            seed=seed,
            advance=advance,
        )
    looks = _noted(sealed.path.with_name(f"{sealed.path.name}.log.jsonl"), record)
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
