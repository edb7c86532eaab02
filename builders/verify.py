"""Checking a built dataset against its manifest, level by level: files, labels, pixels.

Conventions
-----------
*files*: every panorama of the manifest is there, with its bytes and SHA-256, and there are no others. *labels*: the digests
of the annotations are those of the manifest and of ``dataset.yaml``. *pixels*: decoded panoramas have their pixel digest; it
can only differ where the bytes agree if this machine's JPEG decoder does.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builders.compose import panorama_label_digest, pixel_digest
from srgaze360.console import silent
from srgaze360.dataset import COLUMNS, MANIFEST_FILE, Dataset
from srgaze360.errors import InputError
from srgaze360.files import digest, path_inside

BATCH = 64


@dataclass(frozen=True)
class Finding:
    """Something that is not as the manifest says: at which level, of what kind, where."""

    level: str
    kind: str
    where: str


def read_manifest(root: Path) -> list[dict[str, Any]]:
    """Entries of ``manifest.jsonl`` of the dataset in folder ``root``."""
    path = root / MANIFEST_FILE
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        raise InputError(f"Expected {path}, but there is no such file. Build the dataset again.") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"Expected one JSON object per line in {path}, but it cannot be read: {error}. Build again.") from None


def verify(root: Path, *, pixels: bool = True, advance: Callable[[int], None] = silent) -> list[Finding]:
    """Check the dataset in folder ``root``; an empty list means that everything is as the manifest says.

    Parameters
    ----------
    root
        The dataset's folder.
    pixels
        Decode every panorama as well.
    advance
        Told the number of panoramas just checked.
    """
    data = Dataset.open(root)
    entries = read_manifest(root)
    findings = list(_label_findings(data, entries))
    listed = {entry["path"] for entry in entries}
    found = {path.relative_to(root).as_posix() for path in (root / "panoramas").rglob("*") if path.is_file()}
    findings += [Finding("files", "not in the manifest", path) for path in sorted(found - listed)]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(entries), BATCH):
            batch = entries[start : start + BATCH]  # bounded: a queue of everything would hold every result
            for result in pool.map(lambda entry: _file_findings(root, entry, pixels=pixels), batch):
                findings += result
            advance(len(batch))
    if digest(sorted(entry["pixel_digest"] for entry in entries)) != data.info.pixel_digest:
        findings.append(Finding("pixels", "pixel digest of dataset.yaml is not that of the manifest", MANIFEST_FILE))
    return findings


def _file_findings(root: Path, entry: Mapping[str, Any], *, pixels: bool) -> list[Finding]:
    path = path_inside(root, entry["path"])
    if not path.is_file():
        return [Finding("files", "missing", entry["path"])]
    content = path.read_bytes()
    if len(content) != entry["bytes"]:
        return [Finding("files", f"{len(content)} bytes, not {entry['bytes']}", entry["path"])]
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        return [Finding("files", "another SHA-256", entry["path"])]
    if pixels and pixel_digest(content) != entry["pixel_digest"]:
        return [Finding("pixels", "another pixel digest: this machine decodes the same bytes differently", entry["path"])]
    return []


def _label_findings(data: Dataset, entries: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in data.annotations[list(COLUMNS)].to_dict("records"):
        rows[row["panorama_id"]].append({str(name): _plain(value) for name, value in row.items()})
    for entry in entries:
        name = entry["panorama_id"]
        if name not in rows:
            yield Finding("labels", "no annotations", name)
        elif panorama_label_digest(rows[name]) != entry["label_digest"]:
            yield Finding("labels", "annotations changed", name)
    for name in sorted(rows.keys() - {entry["panorama_id"] for entry in entries}):
        yield Finding("labels", "annotations of a panorama that is not in the manifest", name)
    if digest(sorted(entry["label_digest"] for entry in entries)) != data.info.label_digest:
        yield Finding("labels", "label digest of dataset.yaml is not that of the manifest", MANIFEST_FILE)


def _plain(value: Any) -> Any:  # noqa: ANN401 - a cell of a data frame
    """Bring a cell back to what was hashed: nested arrays to lists, missing values to None, numpy scalars to Python's."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value
