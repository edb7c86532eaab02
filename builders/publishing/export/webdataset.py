"""WebDataset: tar shards with one panorama and the rows of everyone on it per sample.

Conventions
-----------
::

    <split>-000000.tar: KEY.jpg (or .png), KEY.json        index.json: the shards, their sizes and SHA-256

KEY is the panorama's id. The panorama is the dataset's own file, byte for byte; the JSON is ``{"panorama": ..., "people":
[...]}`` with every column of the annotations. A shard holds panoramas of one split.

The same dataset gives the same bytes: members are sorted by key, owned by nobody (uid = gid = 0), dated 1970 and of mode 0644.
Archives are POSIX (pax), whose extra headers appear only for names that the older ustar cannot hold: with ids as the builder
makes them the shards *are* ustar, which every reader knows. Ids are hashes, so a shard is a random sample of its split.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import Field

from builders.publishing.export.base import ExportOptions, Panorama, Written, by_split, panoramas, read_bytes
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError, first_ids
from srgaze360.files import atomic_path, canonical_json, digest_file, write_text

PANORAMA_KEYS = ("panorama_id", "split", "suite", "condition", "cluster_id", "width", "height")


class WebDatasetOptions(ExportOptions):
    """``shard_size``: panoramas per shard."""

    shard_size: int = Field(default=1000, ge=1)


def write(data: Dataset, folder: Path, options: WebDatasetOptions, advance: Callable[[int], None]) -> Written:
    """Write the shards of a dataset and their index."""
    written = Written()
    shards: list[dict[str, Any]] = []
    for split, items in by_split(panoramas(data)).items():
        _check_keys(items)
        for number, batch in enumerate(_batches(sorted(items, key=lambda item: item.panorama_id), options.shard_size)):
            path = folder / f"{split}-{number:06d}.tar"
            _write_shard(path, batch, advance)
            size = {"samples": len(batch), "people": sum(len(item.rows) for item in batch), "bytes": path.stat().st_size}
            shards.append({"path": path.name, "split": split, **size, "sha256": digest_file(path)})
            written.files += {"shards": 1, "panoramas": size["samples"], "people": size["people"]}
    info = data.info
    index = {
        "schema_version": 1,
        "dataset": {"name": info.name, "version": info.version},
        "label_digest": info.label_digest,
        "pixel_digest": info.pixel_digest,
        "shards": shards,
    }
    write_text(folder / "index.json", canonical_json(index) + "\n")
    written.notes += [
        "Each sample is `KEY.jpg` (or `.png`) and `KEY.json`, KEY the panorama's id; `people` in the JSON has every column of "
        "the annotations. `index.json` lists the shards with their SHA-256.",
        "Members are sorted and their dates fixed: exporting the same dataset again gives the same bytes.",
    ]
    return written


def _check_keys(items: Sequence[Panorama]) -> None:
    bad = [item.panorama_id for item in items if "." in item.panorama_id or "/" in item.panorama_id]
    if bad:
        raise InputError(
            f"Expected panorama ids without '.' and '/', which part a WebDataset key from its suffix; found {len(bad)} with: "
            f"{first_ids(bad)}. Rename those panoramas in the annotations."
        )


def _batches(items: Sequence[Panorama], size: int) -> Iterator[list[Panorama]]:
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _write_shard(path: Path, items: Sequence[Panorama], advance: Callable[[int], None]) -> None:
    with atomic_path(path) as temporary, tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT) as archive:
        for item in items:
            panorama = {key: item.rows[0][key] for key in PANORAMA_KEYS}
            _add(archive, item.name, read_bytes(item.path))
            _add(archive, f"{item.panorama_id}.json", canonical_json({"panorama": panorama, "people": item.rows}).encode())
            advance(1)


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner 0, date 0 and mode 0644 are its defaults
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))
