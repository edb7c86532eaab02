"""Panoramas made small and heads cut out, once, before training: what every epoch reads again.

Conventions
-----------
A panorama is shrunk to the rows that the method asks for; each head is cut from the panorama as it was built, wider than the
network will see it. A split prepared under a cache folder lies in a folder named by the digest of all that it depends on:
the dataset's labels and pixels, the rows chosen, the size of the pictures, the sampler, and :data:`VERSION`.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import numpy as np

from baselines.data.ahead import ahead
from baselines.data.crops import head_crop, reach_of, resized, wide_reach, wide_size
from baselines.data.people import Person, Prepared, Subject
from baselines.data.photos import photos_of, with_photos
from baselines.data.store import Skipped, Store, open_store, write_store
from baselines.training.settings import DataSettings
from srgaze360.console import Advance, silent
from srgaze360.dataset import Dataset
from srgaze360.errors import EnvironmentProblem, InputError
from srgaze360.files import digest, path_inside
from srgaze360.images import read_panorama
from srgaze360.placement import Photo
from srgaze360.predictors import Query
from srgaze360.sampler import SAMPLER_ID

__all__ = ["Person", "Prepared", "PreparedSplit", "Subject", "prepare"]

Result = TypeVar("Result")

VERSION = 1  # of the way from pixels to pixels in this module; part of the cache's key


class Sheet(NamedTuple):
    """A panorama still to be prepared: its id, its file, and the people on it."""

    panorama_id: str
    path: Path
    people: tuple[Subject, ...]


def prepare(path: Path, people: Sequence[Subject], settings: DataSettings, panorama_id: str = "") -> Prepared:
    """Read a panorama, shrink it, and cut out the heads, with a margin.

    Parameters
    ----------
    path
        The panorama's file.
    people
        Who is on it.
    settings
        Rows of the panorama; size and reach of the crops.
    panorama_id
        Its id; by default its path.

    Returns
    -------
    Prepared
        The panorama (height, 2 height, 3) and the stored crops.

    Raises
    ------
    InputError
        The file is missing, cannot be decoded, or is not twice as wide as high.
    """
    full = read_panorama(path)
    reaches = wide_reach(reach_of([person.radius for person in people], settings.crop_reach), settings.crop).tolist()
    size = wide_size(settings.crop)
    cut = [
        Person(
            sample_id=person.sample_id,
            head=np.asarray(person.head, dtype=np.float64),
            radius=float(person.radius),
            crop=head_crop(full, person.head, reach, size),
            crop_reach=reach,
            gaze=person.gaze,
            points=person.points,
            in_frame=bool(person.in_frame),
        )
        for person, reach in zip(people, reaches, strict=True)
    ]
    return Prepared(panorama_id or str(path), resized(full, settings.height), tuple(cut))


class PreparedSplit(Sequence[Prepared]):
    """The panoramas of a selection of a dataset, prepared; open one with :meth:`open`. It can be sent to other processes.

    Attributes
    ----------
    skipped
        Pairs (path, reason) for panoramas that cannot be read; they are not in the split.
    people
        Number of people on the panoramas of the split.
    """

    def __init__(
        self, pages: Store | _Fresh, people: int, skipped: Skipped, photos: Mapping[str, Photo] = MappingProxyType({})
    ) -> None:
        self._pages, self._photos = pages, photos
        self.people = people
        self.skipped = skipped

    @classmethod
    def open(
        cls,
        data: Dataset,
        settings: DataSettings,
        cache: Path | None = None,
        *,
        photos: bool = False,
        workers: int = 0,
        advance: Advance = silent,
    ) -> PreparedSplit:
        """Prepare the panoramas of a selection, or find them prepared in the cache.

        Parameters
        ----------
        data
            The rows of a split, or fewer. People whose gaze is unknown stay: whether they look out of frame is known.
        settings
            Size of the pictures.
        cache
            Folder in which what is prepared is kept and found again. Without one, every panorama is decoded here once, to know
            which can be, and again whenever it is asked for. Processes may share it: one prepares while the others wait.
        photos
            Whether people come with maps of what is photo, which take their time.
        workers
            Processes that prepare; 0 does it in this one.
        advance
            Told of each panorama done.

        Raises
        ------
        InputError
            No people, no known gaze, or not one panorama that can be read.
        EnvironmentProblem
            The disk is full or the cache cannot be written to.
        """
        sheets = _sheets(data)
        known = photos_of(data) if photos else {}
        if cache is None:
            faults = list(_advancing(ahead(_fault, sheets, workers), advance))
            kept = [sheet for sheet, fault in zip(sheets, faults, strict=True) if fault is None]
            skipped = [(str(sheet.path), fault) for sheet, fault in zip(sheets, faults, strict=True) if fault is not None]
            split = cls(_Fresh(kept, settings), sum(len(sheet.people) for sheet in kept), skipped, known)
        else:
            store = _stored(sheets, cache / _key(data, settings), settings, workers, advance)
            split = cls(store, len(store.index.people), store.index.skipped, known)
        if not len(split):
            path, reason = split.skipped[0]
            raise InputError(
                f"Expected panoramas in {data.root}, found that none of {len(split.skipped)} can be read; the first is {path}: "
                f"{reason} Run `srgaze360 verify {data.root}`."
            )
        return split

    @classmethod
    def asked(
        cls, queries: Sequence[Query], settings: DataSettings, cache: Path, *, workers: int = 0, advance: Advance = silent
    ) -> PreparedSplit:
        """Prepare the panoramas that queries are about, in the order of their first query, or find them in the cache.

        Raises
        ------
        InputError
            A panorama cannot be read: nobody on it could be answered.
        EnvironmentProblem
            The disk is full or the cache cannot be written to.
        """
        groups: dict[Path, list[Query]] = {}
        for query in queries:
            groups.setdefault(query.panorama_path, []).append(query)
        sheets = [Sheet(str(path), path, tuple(map(Subject.of, group))) for path, group in groups.items()]
        store = _stored(sheets, cache / _key_of_queries(groups, settings), settings, workers, advance)
        if store.index.skipped:
            path, reason = store.index.skipped[0]
            raise InputError(
                f"Expected every panorama to be readable, found {len(store.index.skipped)} of {len(sheets)} that are not; the "
                f"first is {path}: {reason} Run `srgaze360 verify` on the dataset."
            )
        return cls(store, len(queries), [])

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, index: int) -> Prepared:  # type: ignore[override]  # no slices
        return with_photos(self._pages[range(len(self))[index]], self._photos)


class _Fresh:
    """Panoramas that are prepared whenever they are asked for."""

    def __init__(self, sheets: Sequence[Sheet], settings: DataSettings) -> None:
        self._sheets, self._settings = sheets, settings

    def __len__(self) -> int:
        return len(self._sheets)

    def __getitem__(self, index: int) -> Prepared:
        sheet = self._sheets[index]
        return prepare(sheet.path, sheet.people, self._settings, sheet.panorama_id)


# --- what is to be prepared -------------------------------------------------------------------------------------------


def _sheets(data: Dataset) -> list[Sheet]:
    """The panoramas of a selection in order of appearance, each with its people."""
    if not len(data):
        raise InputError(
            f"Expected people in the chosen rows of {data.root}, found none. Choose a split or suite that has some."
        )
    if not np.isfinite(data.gazes).any():
        raise InputError(
            f"Expected people whose gaze is known in the chosen rows of {data.root}, found {len(data)} people and no gaze. "
            "Build the dataset with labels, or choose another split; a sealed split cannot be trained or validated on."
        )
    truth = data.truth()
    radii = np.radians(data.annotations["head_radius_deg"].to_numpy(dtype=np.float64))
    ids = data.annotations["sample_id"].tolist()
    names = data.annotations["panorama_id"].tolist()
    places: dict[str, list[int]] = {}
    for at, path in enumerate(data.annotations["image_path"].tolist()):
        places.setdefault(path, []).append(at)

    def subject(at: int) -> Subject:
        gaze = data.gazes[at]
        known = None if np.isnan(gaze).any() else gaze
        points = truth.points[at][truth.weights[at] > 0.0]
        return Subject(ids[at], data.heads[at], float(radii[at]), known, points, bool(truth.in_frame[at]))

    return [
        Sheet(names[rows[0]], path_inside(data.root, path), tuple(subject(at) for at in rows)) for path, rows in places.items()
    ]


def _key(data: Dataset, settings: DataSettings) -> str:
    """Digest of all that the prepared panoramas of a selection depend on."""
    truth = data.truth()
    rows = hashlib.sha256()
    for column in ("sample_id", "panorama_id", "image_path"):
        rows.update("\n".join(data.annotations[column]).encode())
    radii = data.annotations["head_radius_deg"].to_numpy(dtype=np.float64)
    for array in (data.heads, radii, data.gazes, truth.points, truth.weights, truth.in_frame):
        rows.update(np.ascontiguousarray(array).tobytes())
    return digest(
        {
            "version": VERSION,
            "sampler": SAMPLER_ID,
            "labels": data.info.label_digest,
            "pixels": data.info.pixel_digest,
            "rows": rows.hexdigest(),
            "settings": settings.model_dump(mode="json"),
        }
    )[:32]


def _key_of_queries(groups: Mapping[Path, Sequence[Query]], settings: DataSettings) -> str:
    """Digest of all that the prepared panoramas of queries depend on; files are told by size and time of change."""
    asked = hashlib.sha256()
    for path, group in groups.items():
        facts = path.stat() if path.is_file() else None
        asked.update(f"{path.absolute()}|{facts and (facts.st_size, facts.st_mtime_ns)}|".encode())
        for query in group:
            asked.update(f"{query.sample_id}|{query.head_radius!r}|".encode() + np.asarray(query.head, np.float64).tobytes())
    kind = {"version": VERSION, "sampler": SAMPLER_ID, "settings": settings.model_dump(mode="json")}
    return digest({**kind, "queries": asked.hexdigest()})[:32]


# --- the cache --------------------------------------------------------------------------------------------------------


def _stored(sheets: Sequence[Sheet], folder: Path, settings: DataSettings, workers: int, advance: Advance) -> Store:
    """The store in a folder, prepared unless a whole one is there and all that it skipped is still unreadable."""
    store = _usable(folder, sheets)
    if store is not None:
        return store
    with _alone(folder):
        store = _usable(folder, sheets)  # another process may have been faster
        if store is None:
            shutil.rmtree(folder, ignore_errors=True)
            made = _advancing(ahead(partial(_prepared, settings=settings), sheets, workers), advance)
            write_store(folder, made, settings.height, wide_size(settings.crop))
            store = Store(folder)
    return store


def _usable(folder: Path, sheets: Sequence[Sheet]) -> Store | None:
    """The whole store in a folder; None where there is none, or a panorama that it skipped can be read here and now.

    Its skipped panoramas may be those of another copy of the dataset: what counts is whether this one's can be read.
    """
    store = open_store(folder)
    if store is None:
        return None
    kept = set(store.index.panoramas)
    missing = [sheet for sheet in sheets if sheet.panorama_id not in kept]
    return None if any(_fault(sheet) is None for sheet in missing) else store


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process is preparing the same folder; the lock goes with the process that holds it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise EnvironmentProblem(
            f"Expected to keep prepared panoramas in {folder.parent}, but the system refused: {error.strerror or error}. Check "
            "free space, permissions, and that the file system has locks, or train without a cache (`--set train.cache=false`)."
        ) from error
    with lock:
        yield


def _prepared(sheet: Sheet, settings: DataSettings) -> Prepared | tuple[str, str]:
    """The panorama, prepared; or its path and why it cannot be read."""
    try:
        return prepare(sheet.path, sheet.people, settings, sheet.panorama_id)
    except (InputError, OSError) as error:
        return str(sheet.path), str(error)


def _advancing(results: Iterable[Result], advance: Advance) -> Iterator[Result]:
    for result in results:
        yield result
        advance(1)


def _fault(sheet: Sheet) -> str | None:
    """Why a panorama cannot be read, or None."""
    try:
        read_panorama(sheet.path)
    except (InputError, OSError) as error:
        return str(error)
    return None
