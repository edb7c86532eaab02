"""Batches: for training, for validation, and for prediction.

Conventions
-----------
The panoramas of training come in an endless stream, one random order of the whole split after the other; batch ``step`` holds
the places [step n, (step + 1) n) of the stream. The order is a function of (seed, epoch), a panorama's augmentation one of
(seed, epoch, panorama id): a batch does not depend on where training was resumed, nor on workers. With several processes each
takes a part of the batch; the parts in order of rank are the batch of a single process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from baselines.data.ahead import ahead
from baselines.data.augment import augment, plain
from baselines.data.batch import Batch
from baselines.data.people import Person, Prepared, Subject
from baselines.data.prepared import PreparedSplit, prepare
from baselines.training.settings import DataSettings, Settings
from srgaze360.console import progress
from srgaze360.errors import InputError
from srgaze360.files import generator
from srgaze360.predictors import Query
from srgaze360.sphere import tangent_frame


def collate(prepared: Sequence[Prepared], *, targets: bool = True) -> Batch:
    """A batch on the CPU, pictures as uint8: the people of the first panorama, then those of the second, and so on.

    Parameters
    ----------
    prepared
        Panoramas of one size with crops of one size.
    targets
        Whether the batch says where people look; without, those fields are None.
    """
    people = [person for panorama in prepared for person in panorama.people]
    heads = np.array([person.head for person in people])
    batch = Batch(
        ids=[person.sample_id for person in people],
        panoramas=_pictures([panorama.panorama for panorama in prepared]),
        owner=torch.from_numpy(np.repeat(np.arange(len(prepared)), [len(panorama.people) for panorama in prepared])),
        heads=_floats(heads),
        frames=_floats(tangent_frame(heads)),
        radii=_floats([person.radius for person in people]),
        crops=_pictures([person.crop for person in people]),
        reach=_floats([person.crop_reach for person in people]),
    )
    return replace(batch, **_targets(people), photo=_photos(people)) if targets else batch


def _targets(people: Sequence[Person]) -> dict[str, Tensor]:
    nowhere = np.full(3, np.nan)
    counts = np.array([len(person.points) for person in people])
    weights = np.arange(max(int(counts.max()), 1)) < counts[:, None]
    points = np.zeros((*weights.shape, 3))
    points[weights] = np.concatenate([person.points for person in people])
    return {
        "gazes": _floats([nowhere if person.gaze is None else person.gaze for person in people]),
        "points": _floats(points),
        "weights": _floats(weights),
        "in_frame": _floats([person.in_frame for person in people]),
    }


def _photos(people: Sequence[Person]) -> Tensor | None:
    """Maps (n, r, 2r) of what is photo, where all have one."""
    photos = [person.photo for person in people if person.photo is not None]
    return torch.from_numpy(np.stack(photos)) if len(photos) == len(people) else None


def _floats(values: object) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float32))


def _pictures(pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """Pictures (n, 3, h, w) of RGB arrays (h, w, 3)."""
    return torch.from_numpy(np.stack([picture.transpose(2, 0, 1) for picture in pictures]))


# --- training ---------------------------------------------------------------------------------------------------------


class TrainingLoader:
    """The batches of a training, or one process's part of them.

    Parameters
    ----------
    split
        What is trained on.
    settings
        Of the run; ``train.panoramas`` is the size of a batch over all processes.
    seed
        Of the order and of the augmentation.
    rank, world
        Which of how many processes this is.

    Attributes
    ----------
    waited_s
        Seconds spent so far in waiting for batches; without workers that is all the time that making them takes.
    """

    def __init__(self, split: PreparedSplit, settings: Settings, seed: int, rank: int = 0, world: int = 1) -> None:
        panoramas = settings.train.panoramas
        if panoramas < world:
            raise InputError(
                f"Expected at least one panorama in a batch for each of {world} processes, found train.panoramas={panoramas}. "
                "Set it higher, or start fewer processes."
            )
        self._split, self._settings, self._seed = split, settings, seed
        self._first, self._last = rank * panoramas // world, (rank + 1) * panoramas // world
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self.waited_s = 0.0

    def batches(self, start_step: int = 0) -> Iterator[Batch]:
        """Batches ``start_step`` to ``train.steps`` - 1, on the CPU, made ahead by ``train.workers`` processes."""
        train = self._settings.train
        batches = ahead(self.batch, range(start_step, train.steps), train.workers)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.waited_s += time.perf_counter() - began
            if batch is None:
                return
            yield batch

    def batch(self, step: int) -> Batch:
        """Make batch ``step``, or this process's part of it."""
        start = step * self._settings.train.panoramas
        return collate([self._panorama(place) for place in range(start + self._first, start + self._last)])

    def _panorama(self, place: int) -> Prepared:
        epoch, at = divmod(place, len(self._split))
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, generator(self._seed, "order", epoch).permutation(len(self._split))
        prepared = self._split[int(self._order[1][at])]
        rng = generator(self._seed, "augment", epoch, prepared.panorama_id)
        return augment(prepared, self._settings.augment, self._settings.data, rng)


# --- validation and prediction ----------------------------------------------------------------------------------------


def validation_batches(split: PreparedSplit, settings: Settings, panoramas: int = 16) -> Iterator[Batch]:
    """The whole split once, in order and unchanged, so many ``panoramas`` at a time."""
    for start in range(0, len(split), panoramas):
        chosen = range(start, min(start + panoramas, len(split)))
        yield collate([plain(split[index], settings.data) for index in chosen])


def query_batches(
    batches: Iterable[Sequence[Query]], settings: DataSettings, workers: int = 0, cache: Path | None = None
) -> Iterator[Batch]:
    """Batches for prediction, one for each batch of queries, read ahead by ``workers`` processes.

    People are in the order of the queries; each panorama is there once per batch, whoever is on it. With a ``cache``, all
    panoramas are prepared first, or found prepared by whoever asked the same before: that takes all queries at once.

    Raises
    ------
    InputError
        A panorama cannot be read.
    """
    if cache is None:
        return ahead(partial(_query_batch, settings=settings, page=partial(_read, settings=settings)), batches, workers)
    batches = [list(batch) for batch in batches]
    queries = [query for batch in batches for query in batch]
    panoramas = len({query.panorama_path for query in queries})
    with progress("prepare", panoramas) as advance:
        kept = _Kept(PreparedSplit.asked(queries, settings, cache, workers=workers, advance=advance), queries)
    return ahead(partial(_query_batch, settings=settings, page=kept), batches, workers)


def _read(path: Path, queries: Sequence[Query], settings: DataSettings) -> Prepared:
    return prepare(path, [Subject.of(query) for query in queries], settings)


class _Kept:
    """Prepared panoramas by their path, with the people who are asked about."""

    def __init__(self, split: PreparedSplit, queries: Sequence[Query]) -> None:
        self._split = split
        self._places = {path: index for index, path in enumerate(dict.fromkeys(query.panorama_path for query in queries))}

    def __call__(self, path: Path, queries: Sequence[Query]) -> Prepared:
        page = self._split[self._places[path]]
        people = {person.sample_id: person for person in page.people}
        return page._replace(people=tuple(people[query.sample_id] for query in queries))


def _query_batch(queries: Sequence[Query], settings: DataSettings, page: Callable[[Path, Sequence[Query]], Prepared]) -> Batch:
    groups: dict[Path, list[int]] = {}
    for at, query in enumerate(queries):
        groups.setdefault(query.panorama_path, []).append(at)
    prepared = [page(path, [queries[at] for at in group]) for path, group in groups.items()]
    batch = collate([plain(panorama, settings) for panorama in prepared], targets=False)
    places = torch.from_numpy(np.argsort(np.concatenate(list(groups.values()))))
    fields = {name: getattr(batch, name)[places] for name in ("owner", "heads", "frames", "radii", "crops", "reach")}
    return replace(batch, ids=[query.sample_id for query in queries], **fields)
