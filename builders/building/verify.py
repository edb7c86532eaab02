"""Checking a built dataset level by level: recipe, labels, files, pixels.

Conventions
-----------
*recipe*: ``dataset.yaml`` has the recipe its recipe digest says. *labels*: the digests of the annotations are those of the
manifest, and the manifest's those of ``dataset.yaml``. *files*: every panorama of the manifest is there, with its bytes and
SHA-256, and there are no others; tables have the SHA-256 that ``croissant.json`` gives. *pixels*: decoded panoramas have their
pixel digest; it can only differ where the bytes agree if this machine's decoder does. Each level includes those before it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa

from srgaze360.console import silent
from srgaze360.croissant import CROISSANT_FILE
from srgaze360.dataset import (
    ANNOTATIONS_FILE,
    INFO_FILE,
    MANIFEST_FILE,
    DatasetInfo,
    read_annotations,
    read_info,
    read_manifest,
)
from srgaze360.errors import InputError
from srgaze360.files import digest, digest_file, path_inside
from srgaze360.integrity import pixel_digest, stored_label_digests

Level = Literal["recipe", "labels", "files", "pixels"]
LEVELS: tuple[Level, ...] = get_args(Level)
BATCH = 64


@dataclass(frozen=True)
class Finding:
    """Something that is not as it should be: at which level, of what kind, where."""

    level: Level
    kind: str
    where: str


def verify(root: Path, level: Level = "pixels", advance: Callable[[int], None] = silent) -> list[Finding]:
    """Check the dataset in folder ``root``; an empty list means that everything is as it should be.

    Parameters
    ----------
    root
        The dataset's folder.
    level
        How far to go: recipe and labels are quick, files reads every panorama, pixels decodes it as well.
    advance
        Told the number of panoramas just checked (from level files on).

    Raises
    ------
    InputError
        The folder holds no dataset.
    """
    info = read_info(root)
    depth = LEVELS.index(level)
    findings = []
    if digest(info.recipe) != info.recipe_digest:
        findings.append(Finding("recipe", "recipe digest of dataset.yaml is not that of its recipe", INFO_FILE))
    if depth == 0:
        return findings
    try:
        entries = read_manifest(root)
    except InputError as error:
        return [*findings, Finding("labels", f"manifest cannot be used ({error})", MANIFEST_FILE)]
    findings += _label_findings(root, info, entries)
    if depth >= LEVELS.index("files"):
        findings += _file_findings(root, info, entries, level == "pixels", advance)
    return findings


# --- labels -----------------------------------------------------------------------------------------------------------


def _label_findings(root: Path, info: DatasetInfo, entries: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    if digest(sorted(entry["label_digest"] for entry in entries)) != info.label_digest:
        yield Finding("labels", "label digest of dataset.yaml is not that of the manifest", MANIFEST_FILE)
    try:
        read_annotations(root)
        digests = dict(stored_label_digests(root / ANNOTATIONS_FILE))
    except (InputError, OSError, ValueError, pa.ArrowException) as error:
        yield Finding("labels", f"annotations cannot be read ({error})", ANNOTATIONS_FILE)
        return
    for entry in entries:
        found = digests.pop(entry["panorama_id"], None)
        if found != entry["label_digest"]:
            yield Finding("labels", "annotations changed" if found else "no annotations", entry["panorama_id"])
    for name in sorted(digests):
        yield Finding("labels", "annotations of a panorama that is not in the manifest", name)


# --- files and pixels -------------------------------------------------------------------------------------------------


def _file_findings(
    root: Path, info: DatasetInfo, entries: Sequence[Mapping[str, Any]], pixels: bool, advance: Callable[[int], None]
) -> Iterator[Finding]:
    if digest(sorted(entry["pixel_digest"] for entry in entries)) != info.pixel_digest:
        yield Finding("pixels", "pixel digest of dataset.yaml is not that of the manifest", MANIFEST_FILE)
    listed = {entry["path"] for entry in entries}
    found = {path.relative_to(root).as_posix() for path in (root / "panoramas").rglob("*") if path.is_file()}
    yield from _table_findings(root)
    for path in sorted(found - listed):
        yield Finding("files", "not in the manifest", path)
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]  # bounded: a queue of everything would hold every result
            yield from filter(None, pool.map(lambda entry: check_panorama(root, entry, pixels=pixels), batch))
            advance(len(batch))


def _table_findings(root: Path) -> Iterator[Finding]:
    """The files that ``croissant.json`` describes have the SHA-256 it gives."""
    try:
        described = json.loads((root / CROISSANT_FILE).read_text(encoding="utf-8"))["distribution"]
        digests = {item["contentUrl"]: item["sha256"] for item in described if "sha256" in item}
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Finding("files", f"cannot be read ({error})", CROISSANT_FILE)
        return
    for name, expected in digests.items():
        path = path_inside(root, name)
        if not path.is_file():
            yield Finding("files", "missing", name)
        elif digest_file(path) != expected:
            yield Finding("files", "another SHA-256", name)


def check_panorama(root: Path, entry: Mapping[str, Any], *, pixels: bool) -> Finding | None:
    """What is wrong with the file of a manifest entry: the first thing, or None."""
    path = path_inside(root, entry["path"])
    if not path.is_file():
        return Finding("files", "missing", entry["path"])
    content = path.read_bytes()
    if len(content) != entry["bytes"]:
        return Finding("files", f"{len(content)} bytes, not {entry['bytes']}", entry["path"])
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        return Finding("files", "another SHA-256", entry["path"])
    if pixels and pixel_digest(content) != entry["pixel_digest"]:
        return Finding("pixels", "another pixel digest: this machine decodes the same bytes differently", entry["path"])
    return None
