"""The interchange formats there are, and the two ways through them all: out of a dataset, and into a new version of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from annotation.applying import AMBIGUOUS, BOX, apply_edits
from annotation.interchange import coco, cvat, labelstudio, table
from annotation.interchange.comparing import compare
from annotation.interchange.records import Content, Place, Places
from annotation.versions import revise
from srgaze360.console import Advance, silent
from srgaze360.dataset import ANNOTATIONS_FILE, Dataset, DatasetInfo
from srgaze360.errors import InputError, suggestion
from srgaze360.files import write_text

CARRIED = {
    *("sample_id", "panorama_id", "image_path", *BOX, "gaze_points_deg", "gaze_annotators", "in_frame", AMBIGUOUS),
}
"""Columns that every format carries. What follows from them (directions, bands, consensus) follows again on import."""
DERIVED = {
    *("head_lon_deg", "head_lat_deg", "head_radius_deg", "gaze_lon_deg", "gaze_lat_deg"),
    *("crosses_seam", "head_band", "gaze_band"),
}


class Companion(NamedTuple):
    """A file beside the labels that the tool needs: what is put behind their name, its text, what it is for."""

    suffix: str
    text: Callable[[], str]
    meaning: str


@dataclass(frozen=True)
class Format:
    """A format: its name and suffix, ``write(places, info, images)``, ``read(path, places, reviewer)``, and what it cannot do.

    ``also`` are the columns it has beside :data:`CARRIED`, ``remarks`` sentences for whoever exports.
    """

    name: str
    suffix: str
    write: Callable[[Sequence[Place], DatasetInfo, str], str]
    read: Callable[[Path, Places, str], Content]
    also: frozenset[str] = frozenset()
    companions: tuple[Companion, ...] = ()
    remarks: tuple[str, ...] = field(default=())
    flat: bool = True  # heads across the seam are cut


FORMATS: Mapping[str, Format] = {
    item.name: item
    for item in (
        Format(
            "coco",
            ".json",
            lambda places, info, _: coco.write(places, info),
            coco.read,
            also=frozenset({"width", "height", "split", "suite", "condition", "cluster_id", "head_radius_deg"}),
            remarks=(
                "COCO editors show the consensus alone: who moves it there replaces all annotations of that person by one.",
            ),
        ),
        Format(
            "cvat",
            ".xml",
            lambda places, info, _: cvat.write(places, info),
            cvat.read,
            also=frozenset({"width", "height"}),
            companions=(Companion(".labels.json", cvat.write_labels, "labels and attributes for the task's raw constructor"),),
            remarks=("CVAT rounds coordinates to 0.01 pixel; shapes that nobody moves keep their angles by the attribute.",),
        ),
        Format(
            "labelstudio",
            ".json",
            lambda places, _, images: labelstudio.write(places, images or labelstudio.LOCAL_FILES),
            labelstudio.read,
            also=frozenset({"width", "height", "split", "suite", "condition"}),
            companions=(Companion(".config.xml", labelstudio.write_config, "the project's labelling configuration"),),
        ),
        Format("csv", ".csv", lambda places, *_: table.write(places), table.read, flat=False),
    )
}


def format_named(name: str) -> Format:
    """A format by name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in FORMATS:
        raise InputError(f"Expected an interchange format, found {name!r}. {suggestion(name, list(FORMATS))}")
    return FORMATS[name]


# --- out --------------------------------------------------------------------------------------------------------------


class Exported(NamedTuple):
    """What an export wrote: files with what they are for, counts, and what the format cannot carry (whole sentences)."""

    files: dict[str, str]
    counts: dict[str, int]
    notes: list[str]


def export(data: Dataset, name: str, out: Path, *, split: str | None = None, images: str = "") -> Exported:
    """Write the labels of a dataset, or of one split, to a file of another format. Panoramas stay where they are.

    Parameters
    ----------
    data
        The dataset; all of it, whatever selection this is.
    name
        Key of :data:`FORMATS`.
    out
        New file; companions are written beside it.
    split
        This split alone.
    images
        For Label Studio: what the paths of panoramas are put behind.

    Raises
    ------
    InputError
        Unknown format or split; a file is there already, or would be in the dataset.
    EnvironmentProblem
        The system refused to write.
    """
    chosen = format_named(name)
    if split is not None:
        data.select(split=split)
    rows = [row for row in _rows(data) if split in (None, row["split"])]
    places = list(Places(rows).by_id.values())
    texts = {out: (chosen.write(places, data.info, images), "the labels")}
    texts |= {out.with_name(out.stem + item.suffix): (item.text(), item.meaning) for item in chosen.companions}
    for path in texts:
        if path.exists():
            raise InputError(f"Expected no file at {path} yet, found one. Give another --out, or remove it.")
    if out.resolve().is_relative_to(data.root.resolve()):
        raise InputError(f"Expected --out outside of the dataset {data.root}, found {out}. Give a place elsewhere.")
    for path, (text, _) in texts.items():
        write_text(path, text)
    counts = {"panoramas": len(places), "people": len(rows), "gaze points": sum(len(row["gaze_points_deg"]) for row in rows)}
    return Exported({str(path): meaning for path, (_, meaning) in texts.items()}, counts, _cannot(chosen, rows))


def _rows(data: Dataset) -> list[dict[str, Any]]:
    return list(pq.read_table(data.root / ANNOTATIONS_FILE).to_pylist())


def _cannot(chosen: Format, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    columns = list(rows[0]) if rows else []
    left = [name for name in columns if name not in CARRIED | DERIVED | chosen.also]
    follows = [name for name in columns if name in DERIVED - chosen.also]
    notes = [
        f"Not in the file, and kept as they are by an import: {', '.join(left)}.",
        f"Not in the file, and computed again where a head or a gaze is changed: {', '.join(follows)}.",
    ]
    across = sum(row["head_u1"] > 1.0 for row in rows)
    if chosen.flat and across:
        notes.append(f"Flat pictures do not wrap: {across} heads across the seam are two boxes each, which an import joins.")
    return notes + list(chosen.remarks)


# --- in ---------------------------------------------------------------------------------------------------------------


class Imported(NamedTuple):
    """What an import changed, as numbers of people by kind; the new version (empty: none was written); remarks."""

    counts: dict[str, int]
    version: str
    label_digest: str
    panoramas: int
    notes: list[str]


def import_file(
    path: Path,
    data: Dataset,
    name: str,
    out: Path | None,
    *,
    annotator: str = "",
    version: str | None = None,
    note: str = "",
    date: str = "",
    link: bool = False,
    advance: Advance = silent,
) -> Imported:
    """Read labels from a file and write them as a new version of the dataset, which itself is only read.

    Parameters
    ----------
    path, name
        The file, and its format: a key of :data:`FORMATS`.
    data
        The dataset that the labels are of.
    out
        New folder for the version; None: say what would change, and write nothing.
    annotator
        Who worked on the file, where it does not say so itself.
    version, note, date, link, advance
        As for :func:`annotation.versions.revise`.

    Returns
    -------
    Imported
        Without a version where nothing differs: then nothing is written.

    Raises
    ------
    InputError
        The file cannot be read or does not fit the dataset, or the new version cannot be made.
    EnvironmentProblem
        The system refused to write.
    """
    chosen = format_named(name)
    rows = _rows(data)
    places = Places(rows)
    content = chosen.read(path, places, annotator)
    changes = compare(content, places, path, annotator)
    counts = apply_edits(rows, changes.edits, changes.additions).counts
    if out is None or not counts:
        return Imported(counts, "", "", len(content.pictures), changes.notes)
    info, counts = revise(
        data,
        changes.edits,
        out,
        additions=changes.additions,
        version=version,
        note=note or f"Imported from {path.name} ({name}).",
        date=date,
        link=link,
        advance=advance,
    )
    return Imported(counts, info.version, info.label_digest, len(content.pictures), changes.notes)
