"""Rules of structure: columns, types and rows that can be read at all, and what must agree between rows and record."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from annotation.lint.labels import PERSON, Labels
from annotation.lint.registry import Found, rule
from srgaze360.dataset import COLUMNS, SPLITS
from srgaze360.errors import InputError, first_ids
from srgaze360.files import path_inside

BUILD = "Write the column as the schema has it (srgaze360.dataset.COLUMNS), or build the dataset again."


@rule("schema", "error", fix=BUILD, structural=True)
def schema(labels: Labels) -> Iterator[Found]:
    """Every column of the schema is there, with its type."""
    for name, misfit in labels.misfits.items():
        yield Found("", "", f"{name}: {misfit} ({COLUMNS[name].meaning})")


@rule("unreadable-row", "error", fix="Fill in the value, or remove the row.", structural=True)
def unreadable_row(labels: Labels) -> Iterator[Found]:
    """Rows have no nulls where the schema has none, and their numbers are finite (other rules leave such rows out)."""
    ids = {name: labels.raw.column(name) for name in ("sample_id", "panorama_id")}
    for row, reason in labels.unreadable.items():
        yield Found(str(ids["sample_id"][row].as_py() or ""), str(ids["panorama_id"][row].as_py() or ""), reason)


@rule("repeated-id", "error", fix="Give every person on every panorama an id of its own.")
def repeated_id(labels: Labels) -> Iterator[Found]:
    """A sample_id is one row's alone."""
    ids = pd.Series(labels.sample_ids)
    times = ids.map(ids.value_counts())
    yield from labels.found(ids.duplicated().to_numpy(), lambda row: f"{times[row]} rows have this id")


@rule("path", "error", needs=["image_path"], fix="Write the path relative to the dataset's folder, with forward slashes.")
def path(labels: Labels) -> Iterator[Found]:
    """The panorama's path is relative and stays inside the dataset's folder."""
    paths = labels.image_paths
    codes, distinct = pd.factorize(paths)
    bad = np.array([not _inside(labels, str(one)) for one in distinct], dtype=bool)
    yield from labels.found(bad[codes], lambda row: f"image_path is {paths[row]!r}")


def _inside(labels: Labels, relative: str) -> bool:
    try:
        path_inside(labels.root, relative)
    except InputError:
        return False
    return True


@rule("split", "error", needs=["split"], fix=f"Use one of {', '.join(SPLITS)}.")
def split(labels: Labels) -> Iterator[Found]:
    """The split is train, val or test."""
    splits = labels.texts("split")
    yield from labels.found(~np.isin(splits.astype(str), SPLITS), lambda row: f"split is {splits[row]!r}")


# The condition is not among them: a panorama of suite seam has people whose arc crosses it, and others.
SHARED = ("image_path", "suite", "width", "height", "cluster_id", "photos", "background")


@rule("panorama", "error", needs=["panorama_id", *SHARED, *PERSON], fix="Give all rows of a panorama the same values.")
def panorama(labels: Labels) -> Iterator[Found]:
    """Rows of one panorama agree about it, and show no more photos than it has."""
    home = labels.codes("panorama_id")
    first = np.unique(home, return_index=True)[1]
    reasons: dict[int, str] = {}
    for name in SHARED:
        codes, values = labels.codes(name), labels.texts(name)
        for row in np.flatnonzero(codes != codes[first][home]).tolist():
            reasons.setdefault(row, f"{name} is {values[row]!r}, in the panorama's first row {values[first[home[row]]]!r}")
    yield from labels.told(reasons)
    photos = pd.DataFrame({"home": home, "photo": labels.codes("source", "source_image")}).drop_duplicates()
    shown = np.bincount(photos["home"], minlength=len(first))
    said = labels.numbers("photos")
    for place in np.flatnonzero(shown > said[first]).tolist():
        row = first[place]
        yield Found("", labels.panorama_ids[row], f"people of {shown[place]} photos, but photos is {said[row]:g}")


@rule("counts", "error", needs=["split", "cluster_id"], fix="Write dataset.yaml again from the rows, or restore the rows.")
def counts(labels: Labels) -> Iterator[Found]:
    """People, panoramas and clusters of every split are those that dataset.yaml says."""
    if labels.unreadable:
        return  # their splits may be what cannot be read
    splits, clusters, panoramas = labels.texts("split"), labels.texts("cluster_id"), labels.panorama_ids
    for name in dict.fromkeys([*labels.info.splits, *(one for one in SPLITS if one in set(splits))]):
        own, said = splits == name, labels.info.splits.get(name)
        if said is None:
            yield Found("", "", f"{own.sum()} people in {name}, which dataset.yaml does not have")
            continue
        found = {"people": int(own.sum()), "panoramas": len(set(panoramas[own]))}
        told = [f"{value} {what}, not {getattr(said, what)}" for what, value in found.items() if value != getattr(said, what)]
        odd = set(clusters[own]) ^ set(said.clusters)
        told += [f"other clusters than listed ({first_ids(sorted(odd))})"] if odd else []
        if told:
            yield Found("", "", f"{name}: {'; '.join(told)}")
