"""Rules of copies: labels that are exactly those of somebody else.

Conventions
-----------
Two people are different if photo or name differs; the same person under several conditions is nobody's copy. Labels are
compared where they were made: as fractions of the photo, and as directions of the sphere, for labels that were edited there.
The finding is at the later person's first row, and names the earlier one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from annotation.cameras import Rows
from annotation.lint.labels import HEAD, PERSON, PHOTO, POINTS, Labels
from annotation.lint.registry import Found, rule
from srgaze360.sphere import FloatArray

SAME_SHARE = 1e-7  # of a photo's side
SAME_DEG = 1e-6
Keys = NDArray[np.uint64]


def _hashed(values: FloatArray, step: float) -> Keys:
    """A number (k,) for each row of values (k, d), rounded to ``step``: equal where the rounded values are."""
    whole = np.rint(np.nan_to_num(values, nan=-1e6) / step).astype(np.int64)
    key = np.zeros(len(values), dtype=np.uint64)
    for column in whole.T:
        key = pd.util.hash_array(key ^ column.astype(np.uint64))
    return key


def _row_keys(labels: Labels, values: FloatArray, step: float) -> Keys:
    """A number (n,) for the annotations of each row in their order, given as values (k, d)."""
    place = np.arange(len(labels.owner)) - np.repeat(np.cumsum(labels.counts) - labels.counts, labels.counts)
    each = pd.util.hash_array(_hashed(values, step) + place.astype(np.uint64))
    keys = np.zeros(len(labels), dtype=np.uint64)
    np.add.at(keys, labels.owner, each)
    return keys


def _shares(labels: Labels, pixels: FloatArray, rows: Rows) -> FloatArray:
    return np.asarray(pixels / labels.cameras.sizes()[rows])


def _copies(rows: Rows, keys: Keys, person: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """(row, row of the earlier person) for every person whose key an earlier, different person has."""
    table = pd.DataFrame({"row": rows, "key": keys[rows], "person": person[rows]}).drop_duplicates(["key", "person"])
    first = table.groupby("key", sort=False)["row"].transform("first")
    copied = table["row"] != first
    yield from zip(table["row"][copied].tolist(), first[copied].tolist(), strict=True)


def _strangers(labels: Labels) -> NDArray[np.intp]:
    """Number (n,) of each row's clip: in one, a person may sit still. Clusters that show one photo are one clip."""
    cluster, photo = labels.codes("cluster_id"), labels.codes("source", "source_image")
    clusters, photos = int(cluster.max(initial=-1)) + 1, int(photo.max(initial=-1)) + 1
    size = (clusters + photos,) * 2
    links = coo_array((np.ones(len(labels)), (cluster, clusters + photo)), shape=size)
    return np.asarray(connected_components(links, directed=False)[1][cluster], dtype=np.intp)


@rule(
    "copied-annotations", "error", needs=[*POINTS, *PHOTO, *PERSON],
    fix="Take this person's annotations from the source again, or remove them.",
)  # fmt: skip
def copied_annotations(labels: Labels) -> Iterator[Found]:
    """No two people have exactly the same several annotations."""
    person = labels.codes(*PERSON)
    places = pd.DataFrame({"row": labels.owner, "key": _hashed(labels.points_deg, SAME_DEG)}).drop_duplicates()
    several = np.bincount(places["row"], minlength=len(labels)) > 1
    known = np.ones(len(labels), dtype=bool)
    known[labels.owner[np.isnan(labels.point_pixels).any(axis=1)]] = False
    found: dict[int, int] = {}
    in_photo = _row_keys(labels, _shares(labels, labels.point_pixels, labels.owner), SAME_SHARE)
    for keys, usable in ((in_photo, several & known), (_row_keys(labels, labels.points_deg, SAME_DEG), several)):
        for row, earlier in _copies(np.flatnonzero(usable), keys, person):
            found.setdefault(row, earlier)
    ids = labels.sample_ids
    yield from labels.told({row: f"its {labels.counts[row]} annotations are those of {ids[found[row]]}" for row in found})


@rule(
    "copied-gaze", "warning", needs=[*POINTS, *HEAD, *PHOTO, *PERSON, "cluster_id", "in_frame"],
    fix="Look at it: two people may look at one point, but rarely at one pixel.",
)  # fmt: skip
def copied_gaze(labels: Labels) -> Iterator[Found]:
    """No two people of a photo have exactly the same annotation, and no two of different clips the same head and annotation."""
    every = np.arange(len(labels), dtype=np.intp)
    single = (labels.counts == 1) & labels.flags("in_frame")  # a target beyond the photo was computed, not clicked
    target = np.full((len(labels), 2), np.nan)
    target[labels.owner] = _shares(labels, labels.point_pixels, labels.owner)
    head = _shares(labels, labels.pixels(every, labels.heads), every)
    rows = np.flatnonzero(single & np.isfinite(target).all(axis=1) & np.isfinite(head).all(axis=1))
    person = labels.codes(*PERSON)
    photo = labels.codes("source", "source_image").astype(np.float64)
    of_photo = _hashed(np.column_stack([target, photo * SAME_SHARE]), SAME_SHARE)
    ids = labels.sample_ids
    reasons = {row: f"its gaze is that of {ids[earlier]}" for row, earlier in _copies(rows, of_photo, person)}
    for row, earlier in _copies(rows, _hashed(np.column_stack([target, head]), SAME_SHARE), _strangers(labels)):
        reasons.setdefault(row, f"its head and gaze are those of {ids[earlier]}")
    yield from labels.told(reasons)
