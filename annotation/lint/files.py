"""Rules of files: labels and panoramas are those that the manifest has digests of. Nothing here opens an image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa

from annotation.lint.labels import Labels
from annotation.lint.registry import Found, rule
from srgaze360.dataset import ANNOTATIONS_FILE, MANIFEST_FILE
from srgaze360.errors import InputError, first_ids
from srgaze360.files import digest, path_inside
from srgaze360.integrity import stored_label_digests

REPAIR = "Run `srgaze360 verify DIR --repair`, or fetch the file again."


@rule("manifest", "error", needs=["image_path"], fix="Build the dataset again, or fetch its manifest again.")
def manifest(labels: Labels) -> Iterator[Found]:
    """The manifest lists the panoramas of the table, and has the digests that dataset.yaml names."""
    entries = labels.manifest
    if isinstance(entries, str):
        yield Found("", "", entries)
        return
    for what in ("label_digest", "pixel_digest"):
        if digest(sorted(entry[what] for entry in entries.values())) != getattr(labels.info, what):
            yield Found("", "", f"{what} of dataset.yaml is not that of {MANIFEST_FILE}")
    paths = dict(zip(labels.panorama_ids[labels.first_rows], labels.image_paths[labels.first_rows], strict=True))
    for name, path in paths.items():
        entry = entries.get(name)
        if entry is None:
            yield Found("", name, f"{MANIFEST_FILE} does not list it")
        elif entry["path"] != path:
            yield Found("", name, f"{MANIFEST_FILE} has it at {entry['path']!r}, the table at {path!r}")
    if not labels.unreadable and (gone := sorted(entries.keys() - paths.keys())):
        yield Found("", "", f"{len(gone)} panoramas of {MANIFEST_FILE} have no people in the table: {first_ids(gone)}")


@rule(
    "labels-changed", "error",
    fix="If the change was meant, write it as a new version of the dataset (digests, manifest); else restore the table.",
)  # fmt: skip
def labels_changed(labels: Labels) -> Iterator[Found]:
    """The labels on a panorama are those that its pixels were made with: their digest is the manifest's."""
    entries = labels.manifest
    if isinstance(entries, str) or labels.misfits or labels.unreadable:
        return  # said by other rules, and then no digest can agree
    try:
        for name, found in stored_label_digests(labels.root / ANNOTATIONS_FILE):
            if name in entries and entries[name]["label_digest"] != found:
                yield Found("", name, f"label digest {found[:12]}, in {MANIFEST_FILE} {entries[name]['label_digest'][:12]}")
    except (OSError, ValueError, pa.ArrowException) as error:
        yield Found("", "", f"{ANNOTATIONS_FILE} is damaged: {error}")


@rule("image-missing", "error", needs=["image_path"], fix=REPAIR)
def image_missing(labels: Labels) -> Iterator[Found]:
    """Every panorama is there."""
    for row in labels.first_rows.tolist():
        relative = str(labels.image_paths[row])
        try:
            there = path_inside(labels.root, relative).is_file()
        except InputError:
            continue  # rule path
        if not there:
            yield Found("", labels.panorama_ids[row], f"no file {relative}")


@rule("image-shared", "error", needs=["image_path"], fix="Give every panorama a file of its own, or one id.")
def image_shared(labels: Labels) -> Iterator[Found]:
    """Two panoramas do not share a file."""
    table = pd.DataFrame({"path": labels.image_paths, "panorama": labels.panorama_ids}).drop_duplicates("panorama")
    for row in np.flatnonzero(table["path"].duplicated().to_numpy()).tolist():
        yield Found("", table["panorama"].iloc[row], f"{table['path'].iloc[row]} is another panorama's too")


@rule("size", "error", needs=["width", "height"], fix="Store the size of the panorama: width is twice the height.")
def size(labels: Labels) -> Iterator[Found]:
    """Panoramas are twice as wide as high."""
    width, height = labels.sizes[labels.first_rows].T
    for row in labels.first_rows[(width != 2 * height) | (height < 1)].tolist():
        yield Found("", labels.panorama_ids[row], "width {}, height {}".format(*labels.sizes[row]))
