"""Prepared panoramas on disk: two flat ``.npy`` arrays that are mapped into memory, the labels, and an index.

Conventions
-----------
``panoramas.npy`` (P, h, 2h, 3) and ``crops.npy`` (B, S, S, 3) are uint8; ``labels.npz`` holds the people's numbers in the order
of the crops, and how many people each panorama has; ``index.json`` the ids, in order, and what was skipped. The pictures are
appended by plain writes, so that a full disk is an error and not a killed process.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from baselines.data.people import Person, Prepared
from srgaze360.errors import InputError
from srgaze360.files import atomic_folder, read_json, write_text

INDEX_FILE, LABELS_FILE, PANORAMAS_FILE, CROPS_FILE = "index.json", "labels.npz", "panoramas.npy", "crops.npy"
Skipped = list[tuple[str, str]]


class Index(BaseModel):
    """``index.json``: ids of panoramas and people in the order of the arrays; panoramas that were skipped, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    panoramas: list[str]
    people: list[str]
    skipped: Skipped


class ArrayWriter:
    """An ``.npy`` file of uint8 that rows of one shape are appended to; complete once closed."""

    def __init__(self, path: Path, row: tuple[int, ...]) -> None:
        self._row, self._count = row, 0
        self._stream = path.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._stream:
            if kind is None:
                self._stream.seek(0)
                self._write_header()

    def append(self, row: NDArray[np.uint8]) -> None:
        """Append one row, of the writer's shape."""
        self._stream.write(row.tobytes())
        self._count += 1

    def _write_header(self) -> None:
        # numpy leaves room for the first axis to grow, so the header's length does not depend on the count
        header = {"descr": "|u1", "fortran_order": False, "shape": (self._count, *self._row)}
        np.lib.format.write_array_header_1_0(self._stream, header)


def write_store(folder: Path, prepared: Iterable[Prepared | tuple[str, str]], height: int, crop: int) -> None:
    """Write prepared panoramas to a new folder, atomically.

    Parameters
    ----------
    folder
        Where to.
    prepared
        Panoramas, or pairs (path, reason) for those to be skipped.
    height, crop
        Rows of the panoramas and of the crops.

    Raises
    ------
    EnvironmentProblem
        The disk is full or the folder cannot be written to.
    """
    skipped: Skipped = []
    panoramas: list[str] = []
    counts: list[int] = []
    people: list[Person] = []
    with atomic_folder(folder) as new:
        with (
            ArrayWriter(new / PANORAMAS_FILE, (height, 2 * height, 3)) as pictures,
            ArrayWriter(new / CROPS_FILE, (crop, crop, 3)) as crops,
        ):
            for item in prepared:
                if not isinstance(item, Prepared):
                    skipped.append(item)
                    continue
                pictures.append(item.panorama)
                panoramas.append(item.panorama_id)
                counts.append(len(item.people))
                for person in item.people:
                    crops.append(person.crop)
                    people.append(person._replace(crop=_NO_CROP))
        nowhere = np.full(3, np.nan)
        np.savez(
            new / LABELS_FILE,
            people=np.array(counts, dtype=np.int64),
            heads=np.array([person.head for person in people]).reshape(-1, 3),
            radii=np.array([person.radius for person in people]),
            reaches=np.array([person.crop_reach for person in people]),
            gazes=np.array([nowhere if person.gaze is None else person.gaze for person in people]).reshape(-1, 3),
            in_frame=np.array([person.in_frame for person in people], dtype=bool),
            annotations=np.array([len(person.points) for person in people], dtype=np.int64),
            points=np.concatenate([np.zeros((0, 3)), *(person.points for person in people)]),
        )
        index = Index(panoramas=panoramas, people=[person.sample_id for person in people], skipped=skipped)
        write_text(new / INDEX_FILE, index.model_dump_json())


_NO_CROP = np.zeros((0, 0, 3), dtype=np.uint8)


class Store:
    """The panoramas that :func:`write_store` wrote, read as they are asked for; sent to another process, only its folder is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.index = Index.model_validate(read_json(folder / INDEX_FILE, "index of prepared panoramas"))
        self._panoramas = np.load(folder / PANORAMAS_FILE, mmap_mode="r")
        self._crops = np.load(folder / CROPS_FILE, mmap_mode="r")
        with np.load(folder / LABELS_FILE) as labels:
            self._labels = dict(labels)
        self._people = _offsets(self._labels["people"])
        self._points = _offsets(self._labels["annotations"])
        found = (len(self._panoramas), len(self._crops), len(self._labels["people"]), len(self._labels["heads"]))
        expected = (len(self.index.panoramas), len(self.index.people)) * 2
        if found != expected or self._people[-1] != expected[1] or self._points[-1] != len(self._labels["points"]):
            raise InputError(f"Expected arrays for {expected} panoramas and people in {folder}, found {found}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (self._folder,)

    def __len__(self) -> int:
        return len(self.index.panoramas)

    def __getitem__(self, index: int) -> Prepared:
        start, stop = self._people[index], self._people[index + 1]
        people = tuple(self._person(at) for at in range(start, stop))
        return Prepared(self.index.panoramas[index], np.asarray(self._panoramas[index]), people)

    def _person(self, at: int) -> Person:
        labels = self._labels
        gaze = labels["gazes"][at]
        return Person(
            sample_id=self.index.people[at],
            head=labels["heads"][at],
            radius=float(labels["radii"][at]),
            crop=np.asarray(self._crops[at]),
            crop_reach=float(labels["reaches"][at]),
            gaze=None if np.isnan(gaze).any() else gaze,
            points=labels["points"][self._points[at] : self._points[at + 1]],
            in_frame=bool(labels["in_frame"][at]),
        )


def open_store(folder: Path) -> Store | None:
    """The store in a folder; None where there is none, or not a whole one."""
    try:
        return Store(folder)
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, ValidationError):
        return None


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts)])
