"""What every export format shares: the panoramas of a dataset, the folder that is written, the record of what was left out.

Conventions
-----------
An export reads the dataset and never writes to it. Everything is written to a folder beside ``--out`` that takes its name at
the end: a stopped export leaves nothing that could pass for one. Rows keep the order of the annotations.

Pixels are continuous, (0, 0) at the upper left corner (:mod:`srgaze360.sphere`); a format that counts otherwise says so in its
own file. What a format cannot hold goes to ``left_out.csv`` with its reason: nothing vanishes.
"""

from __future__ import annotations

import csv
import io
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from srgaze360 import sphere
from srgaze360.dataset import Dataset
from srgaze360.errors import InputError
from srgaze360.files import path_inside, write_text

LICENCES_FILE = "LICENSES.md"
CITATION_FILE = "CITATION.cff"
LEFT_OUT_FILE = "left_out.csv"


class ExportOptions(BaseModel):
    """Options of a format that has none; others derive from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LeftOut(NamedTuple):
    """A row of the dataset that a format cannot hold, and why."""

    sample_id: str
    split: str
    reason: str


@dataclass(frozen=True)
class Panorama:
    """A panorama and the rows of everyone on it; ``index`` are their places in the dataset's arrays."""

    panorama_id: str
    split: str
    path: Path
    index: tuple[int, ...]
    rows: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """File name of the panorama: its id and its format's suffix."""
        return f"{self.panorama_id}{self.path.suffix}"

    @property
    def width(self) -> int:
        """Width in pixels, as annotated."""
        return int(self.rows[0]["width"])

    @property
    def height(self) -> int:
        """Height in pixels, as annotated."""
        return int(self.rows[0]["height"])


@dataclass
class Written:
    """What a format wrote: ``files`` counts by kind, ``notes`` are lines of the export's README."""

    files: Counter[str] = field(default_factory=Counter)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Format:
    """An export format: its name, what it is in a line, its options, and its writer.

    ``write(data, folder, options, advance)`` fills an empty folder; ``advance`` is told the number of panoramas just done.
    """

    name: str
    what: str
    options: type[ExportOptions]
    write: Callable[[Dataset, Path, Any, Callable[[int], None]], Written]


# --- the dataset ------------------------------------------------------------------------------------------------------


def panoramas(data: Dataset) -> list[Panorama]:
    """Panoramas of a dataset in the order of its annotations, each with its rows as plain values."""
    rows = [{str(name): plain(value) for name, value in row.items()} for row in data.annotations.to_dict("records")]
    places: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        places.setdefault(row["panorama_id"], []).append(index)
    return [
        Panorama(
            name,
            rows[index[0]]["split"],
            path_inside(data.root, rows[index[0]]["image_path"]),
            tuple(index),
            tuple(rows[place] for place in index),
        )
        for name, index in places.items()
    ]


def by_split(items: Sequence[Panorama]) -> dict[str, list[Panorama]]:
    """Panoramas of each split, in the order in which the splits first appear."""
    found: dict[str, list[Panorama]] = {}
    for item in items:
        found.setdefault(item.split, []).append(item)
    return found


def plain(value: Any) -> Any:  # noqa: ANN401 - a cell of a data frame
    """Bring a cell of the annotations to plain JSON types: nested arrays to lists, missing values to None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and value != value else value


def annotation_directions(row: Mapping[str, Any]) -> sphere.FloatArray:
    """Directions (m, 3) of a row's gaze annotations."""
    lonlat = np.radians(np.array(row["gaze_points_deg"], dtype=np.float64).reshape(-1, 2))
    return sphere.direction_from_lonlat(lonlat[:, 0], lonlat[:, 1])


def read_bytes(path: Path) -> bytes:
    """Content of a panorama's file.

    Raises
    ------
    InputError
        The file is missing.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"Expected a panorama at {path}, but there is no such file. Run `srgaze360 verify` on the dataset, mend it, then "
            "export again."
        ) from None


# --- files of an export ------------------------------------------------------------------------------------------------


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_companions(data: Dataset, folder: Path, chosen: Format, written: Written) -> None:
    """Write what travels with every export: README, licences, citation, and the list of what was left out.

    Raises
    ------
    InputError
        The dataset has no ``LICENSES.md``: pixels do not travel without their terms.
    """
    licences = data.root / LICENCES_FILE
    if not licences.is_file():
        raise InputError(
            f"Expected {licences}, but there is no such file, and an export without the terms of its photos must not be made. "
            "Build the dataset again, or restore the file."
        )
    shutil.copyfile(licences, folder / LICENCES_FILE)
    if (data.root / CITATION_FILE).is_file():
        shutil.copyfile(data.root / CITATION_FILE, folder / CITATION_FILE)
    write_csv(folder / LEFT_OUT_FILE, LeftOut._fields, written.left_out)
    write_text(folder / "README.md", _readme(data, chosen, written))


def _readme(data: Dataset, chosen: Format, written: Written) -> str:
    info = data.info
    reasons = Counter(item.reason for item in written.left_out)
    counts = "\n".join(f"- {count} {kind}" for kind, count in written.files.items())
    left_out = "\n".join(f"- {count}: {reason}" for reason, count in reasons.most_common()) or "- none"
    notes = "\n".join(f"- {note}" for note in written.notes)
    return f"""# {info.name} {info.version}: {chosen.name}

{chosen.what} Exported by `srgaze360 export --format {chosen.name}`.

**Licences:** the photos keep theirs; read `{LICENCES_FILE}` before you share a single pixel.

## Content

{counts}

{notes}

## Rows left out

{left_out}

`{LEFT_OUT_FILE}` names each of them.

## Made from

| | |
|---|---|
| recipe digest | `{info.recipe_digest}` |
| label digest | `{info.label_digest}` |
| pixel digest | `{info.pixel_digest}` |
| splits | {", ".join(data.splits)} |
| suites | {", ".join(data.suites)} |
"""
