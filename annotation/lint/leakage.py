"""Rules of leakage: what is in one split must not be in another.

Conventions
-----------
Rows of two splits may share a panorama, a person, a photo or a cluster; each row is told once, for the most specific of these,
and stands in the split that is named later of train, val and test. A background is an image too: a photo behind others in one
split must not be looked at in another, nor stand behind others there. Panoramas of equal pixels are told by the digests of the
manifest; photos that merely look alike need their pixels (:mod:`annotation.lint.pixels`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from annotation.lint.labels import PERSON, Labels
from annotation.lint.registry import Found, rule
from srgaze360.dataset import SPLITS
from srgaze360.sphere import BoolArray

PHOTO_NAME = ("source", "source_image")
ADVICE = "Keep it in one split: split by cluster, and build again."
SHARED = {"panorama": ("panorama_id",), "person": PERSON, "photo": PHOTO_NAME, "cluster": ("cluster_id",)}
NEEDS = ("split", "cluster_id", *PERSON)


def split_order(labels: Labels) -> NDArray[np.intp]:
    """Place (n,) of each row's split among train, val, test; other names come after them."""
    order = {name: place for place, name in enumerate(SPLITS)}
    return np.array([order.get(split, len(order)) for split in labels.texts("split")], dtype=np.intp)


def _elsewhere(codes: NDArray[np.intp], order: NDArray[np.intp]) -> tuple[BoolArray, NDArray[np.intp]]:
    """Rows (n,) whose thing ``codes`` is also in an earlier split, and that split's first row with it."""
    table = pd.DataFrame({"code": codes, "order": order, "row": np.arange(len(codes))}).sort_values(["order", "row"])
    first = table.groupby("code", sort=False)["row"].transform("first").sort_index().to_numpy()
    return np.asarray(order > order[first]), first


def _leaks(labels: Labels, what: str) -> Iterator[Found]:
    """Rows that share ``what``, and nothing more specific, with a row of an earlier split."""
    order, splits, ids = split_order(labels), labels.texts("split"), labels.sample_ids
    told = np.zeros(len(labels), dtype=bool)
    for kind in itertools.takewhile(lambda kind: kind != what, SHARED):
        told |= _elsewhere(labels.codes(*SHARED[kind]), order)[0]
    leaks, first = _elsewhere(labels.codes(*SHARED[what]), order)
    names = [labels.texts(name) for name in SHARED[what]]
    for row in np.flatnonzero(leaks & ~told).tolist():
        name, other = "/".join(str(column[row]) for column in names), int(first[row])
        text = f"{what} {name} is in {splits[row]}, and in {splits[other]} ({ids[other]})"
        yield Found(ids[row], labels.panorama_ids[row], text)


@rule("panorama-in-two-splits", "error", needs=NEEDS, fix=ADVICE)
def panorama_in_two_splits(labels: Labels) -> Iterator[Found]:
    """A panorama is in one split."""
    yield from _leaks(labels, "panorama")


@rule("person-in-two-splits", "error", needs=NEEDS, fix=ADVICE)
def person_in_two_splits(labels: Labels) -> Iterator[Found]:
    """A person is in one split."""
    yield from _leaks(labels, "person")


@rule("photo-in-two-splits", "error", needs=NEEDS, fix=ADVICE)
def photo_in_two_splits(labels: Labels) -> Iterator[Found]:
    """A photo is in one split."""
    yield from _leaks(labels, "photo")


@rule("cluster-in-two-splits", "error", needs=NEEDS, fix=ADVICE)
def cluster_in_two_splits(labels: Labels) -> Iterator[Found]:
    """A cluster (photo, clip or scene) is in one split."""
    yield from _leaks(labels, "cluster")


@rule("background-in-two-splits", "error", needs=["background_images", "split", *PHOTO_NAME], fix=ADVICE)
def background_in_two_splits(labels: Labels) -> Iterator[Found]:
    """An image behind photos is in one split, whether behind others or as a photo that people are labelled on."""
    order, splits = split_order(labels), labels.texts("split")
    first = labels.first_rows
    column = labels.table.column("background_images").combine_chunks().take(first)
    owner = np.repeat(first, pc.list_value_length(column).to_numpy(zero_copy_only=False))
    behind = np.asarray(pc.list_flatten(column).to_numpy(zero_copy_only=False), dtype=object)
    photos = labels.texts("source") + "/" + labels.texts("source_image")
    table = pd.DataFrame({"image": np.concatenate([photos, behind]), "row": np.concatenate([np.arange(len(labels)), owner])})
    table["order"] = order[table["row"]]
    table["behind"] = np.arange(len(table)) >= len(labels)
    table = table[table.groupby("image")["behind"].transform("any")].drop_duplicates(["image", "order"])
    table = table.sort_values(["order", "row"])
    earlier = table.groupby("image", sort=False)["row"].transform("first")
    leaks = table[order[table["row"]] > order[earlier]]
    for image, row, other in zip(leaks["image"], leaks["row"], earlier[leaks.index], strict=True):
        text = f"{image} is in {splits[row]}, and in {splits[other]} ({labels.panorama_ids[other]})"
        yield Found("", labels.panorama_ids[row], text)


@rule("pixels-in-two-splits", "error", needs=NEEDS, fix="Keep one of the two photos, or both in one split.")
def pixels_in_two_splits(labels: Labels) -> Iterator[Found]:
    """Panoramas of different clusters and splits do not have the same pixels (by the digests of the manifest)."""
    if isinstance(labels.manifest, str):
        return
    rows = np.array([row for row in labels.first_rows.tolist() if labels.panorama_ids[row] in labels.manifest], dtype=np.intp)
    digests = [labels.manifest[labels.panorama_ids[row]]["pixel_digest"] for row in rows.tolist()]
    order, cluster, splits = split_order(labels), labels.codes("cluster_id"), labels.texts("split")
    leaks, first = _elsewhere(pd.factorize(np.array(digests, dtype=object))[0].astype(np.intp), order[rows])
    for row, other in zip(rows[leaks].tolist(), rows[first[leaks]].tolist(), strict=True):
        if cluster[row] != cluster[other]:
            text = f"its pixels in {splits[row]} are those of {labels.panorama_ids[other]} in {splits[other]}"
            yield Found("", labels.panorama_ids[row], text)
