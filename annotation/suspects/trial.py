"""A trial: errors of known kinds are planted in some labels, and it is counted how many of them are found.

Conventions
-----------
Labels are directions (n, 3). What is planted is in memory alone, nothing of the dataset changes; models and annotators are
those of the ranking, lint is left out (it looks at the dataset, in which nothing was planted). An error moves a label by at
least :data:`MOVED`: below that it is no more than what annotators differ by. Of k planted errors, *precision at k* is the share
of them among the k worst labels, which is their recall there, too. Labels that were wrong before count as sound, so that on a
dataset with errors of its own the numbers are lower than the truth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srgaze360 import sphere
from srgaze360.errors import InputError
from srgaze360.sphere import BoolArray, FloatArray

MOVED = np.radians(15.0)
Codes = NDArray[np.intp]
Kind = Callable[[FloatArray, Codes, np.random.Generator], FloatArray]


def _random(labels: FloatArray, _: Codes, rng: np.random.Generator) -> FloatArray:
    return sphere.normalise(rng.normal(size=labels.shape))


def _mirrored(labels: FloatArray, _: Codes, rng: np.random.Generator) -> FloatArray:
    del rng
    return labels * [-1.0, 1.0, 1.0]


def _upside_down(labels: FloatArray, _: Codes, rng: np.random.Generator) -> FloatArray:
    del rng
    return labels * [1.0, -1.0, 1.0]


def _swapped(labels: FloatArray, panorama: Codes, rng: np.random.Generator) -> FloatArray:
    """The label of somebody else of the panorama, drawn at random; NaN where there is nobody."""
    drawn = rng.permutation(len(labels))
    order = drawn[np.argsort(panorama[drawn], kind="stable")]
    start = np.flatnonzero(np.diff(panorama[order], prepend=-1))
    size = np.diff([*start, len(order)])
    place = np.arange(len(order)) - np.repeat(start, size)
    of = np.repeat(size, size)
    other = np.empty(len(labels), dtype=np.intp)
    other[order] = order[np.repeat(start, size) + (place + 1) % of]
    return np.where((other == np.arange(len(labels)))[:, None], np.nan, labels[other])


KINDS: Mapping[str, Kind] = {
    "a random direction": _random,
    "longitude mirrored": _mirrored,
    "latitude's sign": _upside_down,
    "label of somebody else there": _swapped,
}


class Planted(NamedTuple):
    """Labels (n, 3) with errors, and the kind of each: its place in :data:`KINDS`, -1 for a label left as it was."""

    labels: FloatArray
    kind: Codes


def plant(labels: FloatArray, panorama: Codes, allowed: BoolArray, share: float, rng: np.random.Generator) -> Planted:
    """Plant errors in a share of labels (n, 3), as many of each kind as there are labels that it moves far enough.

    Parameters
    ----------
    labels, panorama
        Directions (n, 3), and the number (n,) of the panorama or photo that each is on.
    allowed
        (n,) labels that may be spoiled.
    share
        Of all that may be, to be spoiled.
    rng
        Source of randomness.

    Raises
    ------
    InputError
        There are too few labels.
    """
    wanted = round(share * int(allowed.sum()))
    if wanted < len(KINDS):
        raise InputError(
            f"Expected a share that spoils {len(KINDS)} labels or more for a trial, found {share:g} of "
            f"{int(allowed.sum())} labels. Choose a larger one, or more labels."
        )
    spoiled, kind = labels.copy(), np.full(len(labels), -1, dtype=np.intp)
    moved = [make(labels, panorama, rng) for make in KINDS.values()]
    far = [np.nan_to_num(sphere.angle_between(one, labels)) >= MOVED for one in moved]
    # the kind that fewest labels can have is planted first
    order = sorted(range(len(KINDS)), key=lambda one: int((far[one] & allowed).sum()))
    for done, one in enumerate(order):
        can = np.flatnonzero(far[one] & allowed & (kind < 0))
        share_left = (wanted - int((kind >= 0).sum())) // (len(KINDS) - done)
        chosen = rng.permutation(can)[:share_left]
        spoiled[chosen], kind[chosen] = moved[one][chosen], one
    return Planted(spoiled, kind)


class Trial(NamedTuple):
    """What became of planted errors, as numbers of labels and shares in [0, 1].

    ``labels`` in all, ``planted`` ones; ``precision_at_k`` for k planted; ``precision`` and ``recall`` of the labels below the
    limit, which are ``suspects``; ``average_precision`` over all limits; ``found`` and ``of`` by kind, among the k worst.
    """

    labels: int
    planted: int
    precision_at_k: float
    suspects: int
    precision: float
    recall: float
    average_precision: float
    by_kind: dict[str, tuple[int, int]]


def count(quality: FloatArray, kind: Codes, below: float, ids: Sequence[str]) -> Trial:
    """Count which of the errors (n,), given by kind, are among the labels of least quality (n,); equal ones by id."""
    wrong = kind >= 0
    order = np.lexsort((np.asarray(ids, dtype=str), quality))
    k = int(wrong.sum())
    worst = np.zeros(len(quality), dtype=bool)
    worst[order[:k]] = True
    suspect = quality < below
    hits = wrong[order]
    precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return Trial(
        labels=len(quality),
        planted=k,
        precision_at_k=float(np.mean(hits[:k])) if k else float("nan"),
        suspects=int(suspect.sum()),
        precision=float(np.mean(wrong[suspect])) if suspect.any() else float("nan"),
        recall=float(np.mean(suspect[wrong])) if k else float("nan"),
        average_precision=float(np.mean(precisions[hits])) if k else float("nan"),
        by_kind={name: (int((worst & (kind == place)).sum()), int((kind == place).sum())) for place, name in enumerate(KINDS)},
    )
