"""The folder of a build: what may lie in it, the record of what is being built there, and the records of its shards.

Layout
------
::

    <out>/.build/ build.json          what is built, from which sources, under which versions: all that merge and repair need
                  unused.csv          source rows that no task uses
                  shards/000000.json  a shard that is done: what its tasks made

A shard record is two lines: a header with the SHA-256 of the second, and the outcomes of its tasks. Records stay when the
dataset is complete: ``verify --repair`` makes tables anew from them. They hold labels; nobody needs them to use a dataset.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import cv2
from pydantic import BaseModel, ConfigDict, ValidationError

from builders.panorama.compose import Made
from builders.sources.base import Rejected
from srgaze360.dataset import ANNOTATIONS_FILE, INFO_FILE, MANIFEST_FILE, REJECTED_FILE, explain
from srgaze360.errors import InputError, first_ids
from srgaze360.files import canonical_json, write_text
from srgaze360.sampler import SAMPLER_ID
from srgaze360.versions import environment

WORK = ".build"
RENDERED = "rendered"  # folders of WORK with sources that the build rendered itself begin with this
OWN_FILES = (
    ANNOTATIONS_FILE,
    INFO_FILE,
    MANIFEST_FILE,
    REJECTED_FILE,
    "README.md",
    "LICENSES.md",
    "CITATION.cff",
    "croissant.json",
    "conditions.png",
)
OWN_FOLDERS = ("panoramas", WORK)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceRecord(_Record):
    """A source of a build: its facts, where it lay, and what its reader repaired."""

    kind: str
    title: str
    licence: str
    citation: str
    role: Literal["gaze", "background"]
    root: str
    repaired: dict[str, int]


class BuildRecord(_Record):
    """``.build/build.json``. A build is the same build if plan and machine are the same.

    ``command`` is the command line that began it without its part of the shards, for messages; empty from Python.
    """

    schema_version: Literal[1] = 1
    plan: str
    machine: dict[str, str]
    name: str
    recipe: dict[str, Any]
    limit: int | None
    panoramas: int
    shards: int
    sources: list[SourceRecord]
    versions: dict[str, str]
    command: str = ""


def machine() -> dict[str, str]:
    """What decides pixels beside recipe and sources: the sampler, libraries, and the processor's instruction sets."""
    versions = environment()
    libraries = {name: versions[name] for name in ("numpy", "opencv-python")}
    return {"sampler": SAMPLER_ID, **libraries, "cpu": cv2.getCPUFeaturesLine()}


def differences(recorded: Mapping[str, str], now: Mapping[str, str]) -> str:
    """What differs between two machines, in words; empty if nothing does."""
    return first_ids(f"{name} {recorded.get(name)} (now {value})" for name, value in now.items() if recorded.get(name) != value)


def record_path(out: Path) -> Path:
    """Where the record of the build in folder ``out`` lies."""
    return out / WORK / "build.json"


def shard_path(out: Path, index: int) -> Path:
    """Where the record of a shard lies."""
    return out / WORK / "shards" / f"{index:06d}.json"


def unused_path(out: Path) -> Path:
    """Where the source rows lie that no task uses."""
    return out / WORK / "unused.csv"


# --- the record of the build ------------------------------------------------------------------------------------------


def read_record(out: Path) -> BuildRecord:
    """Read ``build.json``; raises InputError where it is absent or damaged."""
    path = record_path(out)
    try:
        return BuildRecord.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"Expected a build in {out}, but {path} is not there: nothing was begun in this folder, or its working files were "
            "left out when it was copied. Give the folder of `srgaze360 build --out`, or build again."
        ) from None
    except ValidationError as error:
        raise InputError(
            f"Expected the record of a build in {path}, found: {explain(error)}. Build again with --overwrite."
        ) from None


def begin(out: Path, record: BuildRecord, unused: Iterable[Rejected], *, overwrite: bool) -> BuildRecord:
    """Make ``out`` ready for a build, or for going on with it; returns the record under which it was begun.

    Several processes may begin the same build at the same time.

    Raises
    ------
    InputError
        ``out`` holds something else, or another build.
    """
    if overwrite:
        _remove_own(out)
    if record_path(out).exists():
        begun = read_record(out)
        if other := other_build(begun, record.plan, record.machine):
            raise InputError(
                f"{out} holds a build that was begun with {other}. Give another --out, or --overwrite to build anew there."
            )
        return begun
    check_folder(out)
    write_rejected(unused_path(out), unused)
    write_text(record_path(out), record.model_dump_json(indent=1))
    return record


def check_folder(out: Path, *, overwrite: bool = False) -> None:
    """Raise InputError where ``out`` holds something that no build (nor one to be overwritten) has written."""
    if overwrite:
        _check_own(out)
        return
    others = sorted(path.name for path in out.iterdir() if path.name != WORK) if out.is_dir() else []
    if others and not record_path(out).exists():
        raise InputError(
            f"Expected --out {out} to be new, empty, or a build to resume, found there: {first_ids(others)}. Give another "
            "folder."
        )


def other_build(begun: BuildRecord, plan: str, now: Mapping[str, str]) -> str:
    """What makes a build another than the one that was begun, in words; empty if it is the same."""
    if begun.plan != plan:
        return "another recipe, other sources or another --limit"
    changed = differences(begun.machine, now)
    return f"other versions ({changed}), whose pixels may differ" if changed else ""


def _check_own(out: Path) -> None:
    others = [path.name for path in out.iterdir() if path.name not in {*OWN_FILES, *OWN_FOLDERS}] if out.exists() else []
    if others:
        raise InputError(
            f"--overwrite removes only what a build wrote, but {out} also holds: {first_ids(sorted(others))}. Move that away."
        )


def _remove_own(out: Path) -> None:
    """Remove what builds write, and nothing else; what was rendered for the build is a source, and stays."""
    _check_own(out)
    for file in (INFO_FILE, *OWN_FILES):  # its record first: what is half removed is no dataset
        (out / file).unlink(missing_ok=True)
    for path in [out / "panoramas", *(path for path in (out / WORK).glob("*") if not path.name.startswith(RENDERED))]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


# --- the records of shards --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ShardRecord:
    """What the tasks of a shard made, and on what machine (:func:`machine`)."""

    machine: Mapping[str, str]
    made: tuple[Made, ...]


def write_shard(out: Path, index: int, record: ShardRecord) -> None:
    """Write the record of a shard, which says that it is done."""
    made = [{"rows": m.rows, "entry": m.entry, "rejected": [asdict(item) for item in m.rejected]} for m in record.made]
    body = json.dumps(made, separators=(",", ":"))
    header = canonical_json({"machine": record.machine, "sha256": _sha256(body)})
    write_text(shard_path(out, index), f"{header}\n{body}\n")


def read_shard(out: Path, index: int) -> ShardRecord:
    """Read the record of a shard; raises InputError where it is absent or damaged."""
    path = shard_path(out, index)
    try:
        head, body, _ = path.read_text(encoding="utf-8").split("\n")
        header = json.loads(head)
        made = [Made(tuple(m["rows"]), m["entry"], tuple(Rejected(**item) for item in m["rejected"])) for m in json.loads(body)]
        record, fault = ShardRecord(header["machine"], tuple(made)), "its content is not what its first line says"
        if header["sha256"] == _sha256(body):
            return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        fault = str(error)
    raise InputError(
        f"Expected the record of a finished shard in {path}, but it cannot be used: {fault}. Delete it, then run the same "
        "build command again: its panoramas are made anew."
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def missing_shards(out: Path, shards: int) -> list[int]:
    """Shards that have no record."""
    return [index for index in range(shards) if not shard_path(out, index).exists()]


# --- rejected rows ----------------------------------------------------------------------------------------------------


def write_rejected(path: Path, rejected: Iterable[Rejected]) -> None:
    """Write rejected rows as CSV, sorted, each once."""
    names = [field.name for field in fields(Rejected)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(sorted({tuple(getattr(item, name) for name in names) for item in rejected}))
    write_text(path, text.getvalue())


def read_rejected(path: Path) -> list[Rejected]:
    """Read rejected rows."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [Rejected(**row) for row in csv.DictReader(stream)]


def say_shards(indices: Sequence[int]) -> str:
    """Shards by number, in runs: ``"3, 7-9"``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], index]
        else:
            runs.append([index])
    return first_ids("-".join(map(str, run)) for run in runs)
